//! The memory store: the store contract over a [`Shelf`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use tokio::time::Instant;

use crate::domain::key::Key;
use crate::domain::random::{Nonce, Random};
use crate::domain::store::{
    Claim, ClaimAsk, ClaimMode, Claimed, Committed, Confirmation, Held, Landing, Registered, Registration, Rules,
    Store, StoreError, StoreState, Write,
};
use crate::local::Config;
use crate::local::shelf::{Mark, Shelf};

/// Cloning shares the memory.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    /// One lock, held for one step and never across an await: as atomic as a Redis script, and as short.
    shelf: Arc<Mutex<Shelf>>,
    random: Random,
}

struct MemoryClaim {
    store: MemoryStore,
    key: Key,
    nonce: Nonce,
}

impl MemoryStore {
    pub fn new(bounds: Config, random: Random) -> Self {
        let seed = u64::from_le_bytes(random.bytes());
        Self { shelf: Arc::new(Mutex::new(Shelf::new(bounds, seed))), random }
    }

    /// Writes a key as an app would: past every claim.
    pub fn put(&self, key: &Key, value: Bytes, ttl: Option<Duration>) {
        self.shelf().set_value(key, value, ttl, Instant::now());
    }

    /// Items and bytes held at present.
    pub fn size(&self) -> (usize, usize) {
        let shelf = self.shelf();
        (shelf.len(), shelf.bytes())
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
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

    fn register<'a>(&'a self, _ask: Registration<'a>) -> BoxFuture<'a, Result<Registered, StoreError>> {
        ready(Ok(Registered { gone: None, confirmation: Confirmation::given() })).boxed()
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
    /// Runs `write` if this very claim still stands, and gives the claim up.
    fn settle(self, write: impl FnOnce(&mut Shelf, Instant) -> Committed) -> Committed {
        let now = Instant::now();
        let mut shelf = self.store.shelf();
        let saw = match shelf.guard(&self.key, now).map(|guard| guard.mark) {
            Some(Mark::Claim { nonce, saw }) if nonce == self.nonce => saw,
            _ => return Committed::Fenced,
        };
        shelf.clear_guard(&self.key);
        // What stood there may have ended meanwhile: only something newer is kept.
        let stands = shelf.version(&self.key, now);
        if stands.is_some() && stands != saw {
            return Committed::Kept;
        }
        write(&mut shelf, now)
    }
}

impl Claim for MemoryClaim {
    fn commit(self: Box<Self>, write: Write) -> BoxFuture<'static, Result<Landing, StoreError>> {
        let key = self.key.clone();
        let done = self.settle(|shelf, now| {
            shelf.set_value(&key, write.value, Some(write.ttl), now);
            Committed::Written
        });
        ready(Ok(Landing::plain(done, write.ttl))).boxed()
    }

    fn commit_absent(
        self: Box<Self>,
        ttl: Duration,
        _rules: Rules,
    ) -> BoxFuture<'static, Result<Committed, StoreError>> {
        let key = self.key.clone();
        let done = self.settle(|shelf, now| {
            shelf.remove(&key, now);
            shelf.set_guard(&key, Mark::Absent, ttl, now);
            Committed::Written
        });
        ready(Ok(done)).boxed()
    }

    fn abort(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        self.settle(|_, _| Committed::Kept);
        ready(Ok(())).boxed()
    }
}
