//! The memory store: the store contract over a [`Shelf`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::domain::key::Key;
use crate::domain::random::{Nonce, Random};
use crate::domain::removal::Upheaval;
use crate::domain::store::{
    Claim, ClaimAsk, ClaimMode, Claimed, Committed, Confirmation, Held, Landing, Refusal, Registered, Registration,
    Rules, Store, StoreError, StoreState, Write,
};
use crate::local::Config;
use crate::local::shelf::{Mark, Shelf, TooLarge, Writer};
use crate::local::tombstone::grave;

/// Cloning shares the memory.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    /// One lock, held for one step and never across an await: as atomic as a Redis script, and as short.
    shelf: Arc<Mutex<Shelf>>,
    pub(super) random: Random,
    /// Nothing is ever undone here: it is kept so that those who listen do not hear an end.
    pub(super) upheavals: broadcast::Sender<Upheaval>,
}

struct MemoryClaim {
    store: MemoryStore,
    key: Key,
    nonce: Nonce,
}

impl MemoryStore {
    pub fn new(bounds: Config, random: Random) -> Self {
        let seed = u64::from_le_bytes(random.bytes());
        let upheavals = broadcast::Sender::new(1);
        Self { shelf: Arc::new(Mutex::new(Shelf::new(bounds, seed))), random, upheavals }
    }

    /// Writes a key as an app would: past every claim. What does not fit is not written.
    pub fn put(&self, key: &Key, value: Bytes, ttl: Option<Duration>) {
        let _ = self.shelf().set_value(key, value, ttl, Writer::App, Instant::now());
    }

    /// Items and bytes held at present.
    pub fn size(&self) -> (usize, usize) {
        let shelf = self.shelf();
        (shelf.len(), shelf.bytes())
    }

    pub(super) fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // A panic in here is a bug of ours, and the shelf is consistent between steps.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_claim(&self, ask: ClaimAsk<'_>) -> Claimed {
        let now = Instant::now();
        let mut shelf = self.shelf();
        if let ClaimMode::Miss { renew_below } = ask.mode
            && shelf.lives(ask.key, renew_below, now)
        {
            return Claimed::Fresh;
        }
        let saw = shelf.version(ask.key, now);
        if let Some(guard) = shelf.guard(ask.key, now) {
            match (guard.mark, ask.mode) {
                // A value that an app wrote since says more than the memory that there was none.
                (Mark::Absent, ClaimMode::Miss { .. }) if saw.is_none() => return Claimed::Absent,
                (Mark::Absent, _) => {}
                (Mark::Claim { .. }, _) => return Claimed::InFlight { age: now - guard.since },
            }
        }
        let nonce = self.random.nonce();
        shelf.set_guard(ask.key, Mark::Claim { nonce, saw }, ask.life, now);
        Claimed::Held(Box::new(MemoryClaim { store: self.clone(), key: ask.key.clone(), nonce }))
    }
}

impl Store for MemoryStore {
    fn claim<'a>(&'a self, ask: ClaimAsk<'a>) -> BoxFuture<'a, Result<Claimed, StoreError>> {
        ready(Ok(self.take_claim(ask))).boxed()
    }

    fn register<'a>(&'a self, ask: Registration<'a>) -> BoxFuture<'a, Result<Registered, StoreError>> {
        let now = Instant::now();
        let mut shelf = self.shelf();
        for tag in ask.tags {
            shelf.register_tag(ask.key, tag, ask.life, now);
        }
        let graves = ask.tags.iter().filter_map(grave);
        let gone = graves.filter_map(|grave| Some(now - shelf.tombstone(&grave, now)?.since)).min();
        ready(Ok(Registered { gone, confirmation: Confirmation::given() })).boxed()
    }

    fn remove<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<usize, StoreError>> {
        let now = Instant::now();
        let mut shelf = self.shelf();
        ready(Ok(keys.iter().filter(|key| shelf.remove(key, now)).count())).boxed()
    }

    fn read<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<Vec<Option<Held>>, StoreError>> {
        let now = Instant::now();
        let mut shelf = self.shelf();
        ready(Ok(keys.iter().map(|key| shelf.value(key, now)).collect())).boxed()
    }

    fn state(&self) -> StoreState {
        StoreState::Up
    }
}

impl MemoryClaim {
    /// Runs `write` if this very claim still stands, and gives the claim up; else says why not.
    fn settle<T>(self, write: impl FnOnce(&mut Shelf, Instant) -> T) -> Result<T, Committed> {
        let now = Instant::now();
        let mut shelf = self.store.shelf();
        let saw = match shelf.guard(&self.key, now).map(|guard| guard.mark) {
            Some(Mark::Claim { nonce, saw }) if nonce == self.nonce => saw,
            _ => return Err(Committed::Fenced),
        };
        shelf.clear_guard(&self.key);
        // What stood there may have ended meanwhile: only something newer is kept.
        let stands = shelf.version(&self.key, now);
        if stands.is_some() && stands != saw {
            return Err(Committed::Kept);
        }
        Ok(write(&mut shelf, now))
    }
}

impl Claim for MemoryClaim {
    fn commit(self: Box<Self>, write: Write) -> BoxFuture<'static, Result<Landing, StoreError>> {
        let Write { value, ttl, rules, aliases, registered_for, untouched_for: _ } = write;
        let key = self.key.clone();
        let done = self.settle(|shelf, now| {
            let tombstone = shelf.tombstone(&key, now);
            if tombstone.is_some_and(|tombstone| tombstone.refuses(rules)) {
                return Ok(Landing::plain(Committed::Superseded, ttl));
            }
            let ttl = tombstone.map_or(ttl, |tombstone| tombstone.cut(ttl, rules, now));
            shelf.set_value(&key, value, Some(ttl), Writer::Hydrant, now)?;
            let landing = Landing::plain(Committed::Written, ttl);
            if aliases.is_empty() {
                return Ok(landing);
            }
            let aliases = shelf.register_aliases(&key, &aliases, registered_for, now);
            Ok(Landing { aliases, confirmation: Some(Confirmation::given()), ..landing })
        });
        let done = done.unwrap_or_else(|refused| Ok(Landing::plain(refused, ttl)));
        ready(done.map_err(|TooLarge| StoreError::Refused(Refusal::OutOfMemory))).boxed()
    }

    fn commit_absent(
        self: Box<Self>,
        ttl: Duration,
        rules: Rules,
    ) -> BoxFuture<'static, Result<Committed, StoreError>> {
        let key = self.key.clone();
        let done = self.settle(|shelf, now| {
            let tombstone = shelf.tombstone(&key, now);
            // Absence has no version.
            if tombstone.is_some_and(|tombstone| tombstone.refuses(Rules { version: None, ..rules })) {
                return Committed::Superseded;
            }
            let ttl = tombstone.map_or(ttl, |tombstone| tombstone.cut(ttl, rules, now));
            shelf.remove(&key, now);
            shelf.set_guard(&key, Mark::Absent, ttl, now);
            Committed::Written
        });
        ready(Ok(done.unwrap_or_else(|refused| refused))).boxed()
    }

    fn abort(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        // Where the claim is gone already there is nothing to give back.
        let _ = self.settle(|_, _| ());
        ready(Ok(())).boxed()
    }
}
