//! What is true: the members as the source has them, what was acknowledged of them, and so whether a value that a
//! reader has found is older than it may be.
//!
//! A member has a version, which grows with every change, and an epoch, which grows when its aliases change. Everything
//! is in this one process, so that "before" means what it says: a reader asks what was acknowledged and then reads.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

/// The entities of the harness. `docs/consistency.md` says what each is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entity {
    /// Written by Hydrant alone, with an alias that holds the whole value and one that holds the id.
    User,
    /// Of subject scope, and removed by a logout.
    Basket,
    /// Written by applications as well.
    Price,
    /// From a source that may lag behind.
    Note,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub version: u64,
    pub epoch: u64,
}

/// What a reader found at a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Version(u64),
    /// An alias that holds an id: only which of the member's aliases it is.
    Epoch(u64),
}

pub struct Truth {
    pub started: Instant,
    members: [Vec<Mutex<Member>>; Entity::ALL.len()],
    nonce: AtomicU64,
}

#[derive(Default)]
struct Member {
    now: State,
    /// What it was, and until when.
    past: VecDeque<(State, Instant)>,
    /// What was acknowledged, and when.
    acked: VecDeque<(State, Instant)>,
}

/// Few prices, so that applications and invalidations meet at them all the time.
pub const PRICES: usize = 12;
/// Changes of one member that are remembered: more than it sees within a value's life.
const REMEMBERED: usize = 512;

impl Entity {
    pub const ALL: [Self; 4] = [Self::User, Self::Basket, Self::Price, Self::Note];

    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Basket => "basket",
            Self::Price => "price",
            Self::Note => "note",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|entity| entity.name() == name)
    }

    pub fn key(self, id: usize) -> String {
        match self {
            Self::User => format!("user:id:{}:{id}", shop(id)),
            Self::Basket | Self::Price | Self::Note => format!("{}:id:{id}", self.name()),
        }
    }
}

pub fn email(id: usize, epoch: u64) -> String {
    format!("u{id}.{epoch}@example.com")
}

pub fn phone(id: usize, epoch: u64) -> String {
    format!("p{id}.{epoch}")
}

/// A user's keys beside its own: the e-mail's holds the whole value, the phone's the id alone.
pub fn alias_keys(id: usize, epoch: u64) -> [String; 2] {
    [format!("user:email:{}", email(id, epoch)), format!("user:phone:{}:{}", shop(id), phone(id, epoch))]
}

/// The shop, and so the tag, that a user belongs to.
pub fn shop(id: usize) -> String {
    format!("s{}", id % 8)
}

impl Truth {
    pub fn new(members: usize) -> Self {
        let fresh = || (0..members).map(|_| Mutex::default()).collect();
        Self { started: Instant::now(), members: [fresh(), fresh(), fresh(), fresh()], nonce: AtomicU64::new(0) }
    }

    pub fn members(&self) -> usize {
        self.members[0].len()
    }

    pub fn now(&self, entity: Entity, id: usize) -> State {
        self.member(entity, id).now
    }

    /// As it was so long ago.
    pub fn then(&self, entity: Entity, id: usize, ago: Duration) -> State {
        let (member, now) = (self.member(entity, id), Instant::now());
        let past = member.past.iter().find(|(_, until)| *until + ago > now);
        past.map_or(member.now, |(state, _)| *state)
    }

    pub fn change(&self, entity: Entity, id: usize, renames: bool) -> (State, State) {
        let mut member = self.member(entity, id);
        let old = member.now;
        member.now = State { version: old.version + 1, epoch: old.epoch + u64::from(renames) };
        remember(&mut member.past, old);
        (old, member.now)
    }

    pub fn acknowledge(&self, entity: Entity, id: usize, state: State) {
        let mut member = self.member(entity, id);
        if member.acked.back().is_none_or(|(last, _)| last.version < state.version) {
            remember(&mut member.acked, state);
        }
    }

    pub fn acked(&self, entity: Entity, id: usize) -> State {
        self.member(entity, id).acked.back().map_or_else(State::default, |(state, _)| *state)
    }

    /// How long ago the first state was acknowledged that is newer than what was found.
    pub fn age(&self, entity: Entity, id: usize, found: &Found) -> Duration {
        let member = self.member(entity, id);
        let newer = member.acked.iter().find(|(state, _)| found.is_older_than(*state));
        newer.map_or(Duration::ZERO, |(_, at)| at.elapsed())
    }

    /// A value as the source answers it: enough in it to explain itself when it is found where it should not be.
    pub fn value(&self, entity: Entity, id: usize, state: State, reader: &str) -> Value {
        let nonce = self.nonce.fetch_add(1, Ordering::Relaxed);
        let read_ms = self.started.elapsed().as_millis() as u64;
        json!({
            "entity": entity.name(), "id": id, "version": state.version, "epoch": state.epoch,
            "email": email(id, state.epoch), "phone": phone(id, state.epoch),
            "nonce": nonce, "by": reader, "read_ms": read_ms,
        })
    }

    fn member(&self, entity: Entity, id: usize) -> MutexGuard<'_, Member> {
        self.members[entity as usize][id].lock().expect("unpoisoned")
    }
}

impl Found {
    pub fn is_older_than(&self, state: State) -> bool {
        match self {
            Self::Version(version) => *version < state.version,
            Self::Epoch(epoch) => *epoch < state.epoch,
        }
    }
}

fn remember(states: &mut VecDeque<(State, Instant)>, state: State) {
    if states.len() == REMEMBERED {
        states.pop_front();
    }
    states.push_back((state, Instant::now()));
}
