//! Who owns which slot, and what a node answers to somebody who asks it for keys: the rules of Redis Cluster.

use std::collections::BTreeMap;

use hydrant::domain::key::{SLOTS, slot_of};

use crate::redis::server::Server;

/// One answer to "who owns what". Nodes may still go by an older one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The newer table has the higher one.
    pub epoch: u64,
    owners: Vec<u8>,
    pub ranges: Vec<Range>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub first: u16,
    pub last: u16,
    /// An index into the nodes.
    pub owner: usize,
}

/// Slots on their way, as one node was told.
#[derive(Clone, Debug, Default)]
pub struct Moves {
    pub out: BTreeMap<u16, usize>,
    pub into: BTreeMap<u16, usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Here,
    Moved(u16, usize),
    Ask(u16, usize),
    TryAgain,
    CrossSlot,
}

impl Table {
    /// Evenly over these nodes.
    pub fn even(owners: &[usize]) -> Self {
        let share = |slot: usize| owners[slot * owners.len() / usize::from(SLOTS)] as u8;
        Self::new(0, (0..usize::from(SLOTS)).map(share).collect())
    }

    fn new(epoch: u64, owners: Vec<u8>) -> Self {
        let mut ranges: Vec<Range> = Vec::new();
        for (slot, owner) in owners.iter().enumerate() {
            match ranges.last_mut() {
                Some(range) if range.owner == usize::from(*owner) => range.last = slot as u16,
                _ => ranges.push(Range { first: slot as u16, last: slot as u16, owner: usize::from(*owner) }),
            }
        }
        Self { epoch, owners, ranges }
    }

    pub fn owner(&self, slot: u16) -> usize {
        usize::from(self.owners[usize::from(slot)])
    }

    /// The same with one slot elsewhere.
    pub fn with_slot(&self, slot: u16, owner: usize) -> Self {
        let mut owners = self.owners.clone();
        owners[usize::from(slot)] = owner as u8;
        Self::new(self.epoch + 1, owners)
    }

    /// The same with one node in the place of another.
    pub fn with_heir(&self, old: usize, new: usize) -> Self {
        let heir = |owner: &u8| if usize::from(*owner) == old { new as u8 } else { *owner };
        Self::new(self.epoch + 1, self.owners.iter().map(heir).collect())
    }

    pub fn owns_any(&self, node: usize) -> bool {
        self.ranges.iter().any(|range| range.owner == node)
    }
}

/// What node `me` does with a command for these keys.
pub fn route(me: usize, table: &Table, moves: &Moves, server: &Server, keys: &[Vec<u8>], asking: bool) -> Route {
    let Some(slot) = keys.first().map(|key| slot_of(key)) else { return Route::Here };
    if keys.iter().any(|key| slot_of(key) != slot) {
        return Route::CrossSlot;
    }
    let missing = keys.iter().filter(|key| server.keys.peek(key).is_none()).count();
    let owner = table.owner(slot);
    if owner == me {
        return match moves.out.get(&slot) {
            Some(_) if missing > 0 && missing < keys.len() => Route::TryAgain,
            Some(target) if missing > 0 => Route::Ask(slot, *target),
            _ => Route::Here,
        };
    }
    if asking && moves.into.contains_key(&slot) {
        return if keys.len() > 1 && missing > 0 { Route::TryAgain } else { Route::Here };
    }
    Route::Moved(slot, owner)
}
