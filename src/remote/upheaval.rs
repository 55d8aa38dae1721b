//! Tells when what was acknowledged may have been undone: slots that have another primary, a primary that lost its memory.
//!
//! A restart is told by the run id that a server draws when it starts, asked for at every connect (`INFO server`). The
//! cluster's own id of a node stays through a restart, and so tells a server that came back at another address, as a pod
//! does, from a replica that was promoted. Where the user may not ask for the run, every reconnect counts as a restart:
//! that sweeps too often, and never too seldom. A replication id is not looked at: it changes with every promotion, which
//! shows as a move, and with a restart, which the run shows; what a primary forgets otherwise, it forgets as a replica of
//! one that knows.
//!
//! A slot that is met on its way is told at once, since what is removed from now on may have a copy on the other side
//! that no redirect leads to: it comes to light when the slot has moved.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::domain::removal::{Primary, Upheaval};

/// What a listener may leave waiting. Slots that are moved one by one bring two each; whoever misses some takes it that
/// everything moved.
const WAITING: usize = 1_024;
/// A slot that is still met on its way is told again, so that whoever gave it up takes it up again.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

pub struct Upheavals {
    told: broadcast::Sender<Upheaval>,
    /// Slots that are on their way, and when that was told last: at most all there are. Behind a lock for one look.
    moving: Mutex<BTreeMap<u16, Instant>>,
}

impl Upheavals {
    pub fn new() -> Self {
        Self { told: broadcast::Sender::new(WAITING), moving: Mutex::default() }
    }

    pub fn listen(&self) -> broadcast::Receiver<Upheaval> {
        self.told.subscribe()
    }

    /// A command was sent after a key to the node that takes its slot over.
    pub fn moving(&self, slot: u16, now: Instant) {
        let mut moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        if moving.get(&slot).is_none_or(|told| now - *told >= TOLD_AGAIN) {
            moving.insert(slot, now);
            drop(moving);
            self.tell(Upheaval::Moving { slot });
        }
    }

    /// These slots, in order, have another primary than before.
    pub fn moved(&self, moved: &[u16]) {
        if moved.is_empty() {
            return;
        }
        let mut moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        moving.retain(|slot, _| moved.binary_search(slot).is_err());
        drop(moving);
        let slots = ranges(moved);
        tracing::info!(slots = moved.len(), "slots have another primary");
        self.tell(Upheaval::Moved { slots });
    }

    pub fn restarted(&self, primary: Primary) {
        tracing::warn!(node = %primary, "a redis primary has restarted, and may have brought back what was removed");
        self.tell(Upheaval::Restarted { primary });
    }

    fn tell(&self, upheaval: Upheaval) {
        // Where nobody listens nothing was acknowledged.
        let _ = self.told.send(upheaval);
    }
}

impl Default for Upheavals {
    fn default() -> Self {
        Self::new()
    }
}

/// From, to, both included.
fn ranges(slots: &[u16]) -> Vec<(u16, u16)> {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for slot in slots {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *slot => *last = *slot,
            _ => ranges.push((*slot, *slot)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_told_as_one_range() {
        assert_eq!(ranges(&[]), []);
        assert_eq!(ranges(&[0, 1, 2, 7, 9, 10, 16_383]), [(0, 2), (7, 7), (9, 10), (16_383, 16_383)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_on_its_way_is_told_once_a_minute_until_it_has_moved() {
        let upheavals = Upheavals::new();
        let mut heard = upheavals.listen();
        let begun = Instant::now();
        for seconds in [0, 1, 59, 60] {
            upheavals.moving(7, begun + Duration::from_secs(seconds));
        }
        upheavals.moved(&[6, 7]);
        upheavals.moving(7, begun + Duration::from_secs(61));
        let all: Vec<Upheaval> = std::iter::from_fn(|| heard.try_recv().ok()).collect();
        let moving = Upheaval::Moving { slot: 7 };
        assert_eq!(all, [moving.clone(), moving.clone(), Upheaval::Moved { slots: vec![(6, 7)] }, moving]);
    }
}
