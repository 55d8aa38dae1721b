//! Leases in this process's memory, for `store: memory`: one process, which still runs a schedule only once at a time.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use tokio::time::Instant;

use crate::domain::key::Key;
use crate::domain::lease::{Acquired, Grant, LeaseAsk, Leases, Noted, Progress, Renewed, Validity};
use crate::domain::store::StoreError;

/// Ticks that are remembered. They end by themselves; a schedule that ticks every second has no more than this.
const TICKS: usize = 4_096;

#[derive(Debug, Default)]
pub struct MemoryLeases {
    /// Held for one step, never across an await.
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// As many as the configuration has locks.
    leases: BTreeMap<Key, Lease>,
    ticks: BTreeMap<Key, Instant>,
}

#[derive(Debug, Default)]
struct Lease {
    fence: u64,
    held: Option<Held>,
    note: Option<(Bytes, Instant)>,
}

#[derive(Debug)]
struct Held {
    holder: String,
    pod: String,
    end: Instant,
}

impl MemoryLeases {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the lease is this holder's, under this fence; and the lease.
    fn own<T>(&self, ask: &LeaseAsk, fence: u64, act: impl FnOnce(&mut Lease, Instant) -> T) -> Option<T> {
        let (now, mut inner) = (Instant::now(), self.lock());
        let lease = inner.leases.get_mut(&ask.lock)?;
        let held = lease.held.as_ref()?;
        let is_own = lease.fence == fence && held.holder == ask.holder && held.end > now;
        is_own.then(|| act(lease, now))
    }
}

impl Leases for MemoryLeases {
    fn acquire<'a>(&'a self, ask: &'a LeaseAsk) -> BoxFuture<'a, Result<Acquired, StoreError>> {
        let (now, mut inner) = (Instant::now(), self.lock());
        let lease = inner.leases.entry(ask.lock.clone()).or_default();
        let acquired = match lease.held.as_ref().filter(|held| held.end > now) {
            Some(Held { holder, pod, end }) => {
                Acquired::Held { holder: holder.clone(), pod: pod.clone(), remaining: *end - now }
            }
            None => {
                lease.fence += 1;
                lease.held = Some(Held { holder: ask.holder.clone(), pod: ask.pod.clone(), end: now + ask.ttl });
                Acquired::Granted(Grant { fence: lease.fence, validity: Validity::of(now, ask.ttl) })
            }
        };
        ready(Ok(acquired)).boxed()
    }

    fn renew<'a>(&'a self, ask: &'a LeaseAsk, fence: u64) -> BoxFuture<'a, Result<Renewed, StoreError>> {
        let prolonged = self.own(ask, fence, |lease, now| {
            lease.held.iter_mut().for_each(|held| held.end = now + ask.ttl);
            Renewed::Until(Validity::of(now, ask.ttl))
        });
        ready(Ok(prolonged.unwrap_or(Renewed::Lost))).boxed()
    }

    fn release<'a>(&'a self, ask: &'a LeaseAsk, fence: u64) -> BoxFuture<'a, Result<(), StoreError>> {
        self.own(ask, fence, |lease, _| lease.held = None);
        ready(Ok(())).boxed()
    }

    fn tick<'a>(&'a self, tick: &'a Key, life: Duration) -> BoxFuture<'a, Result<bool, StoreError>> {
        let (now, mut inner) = (Instant::now(), self.lock());
        inner.ticks.retain(|_, end| *end > now);
        if inner.ticks.contains_key(tick) {
            return ready(Ok(false)).boxed();
        }
        if inner.ticks.len() >= TICKS {
            return ready(Err(StoreError::Overloaded)).boxed();
        }
        inner.ticks.insert(tick.clone(), now + life);
        ready(Ok(true)).boxed()
    }

    fn note<'a>(&'a self, lock: &'a Key, fence: u64, note: Progress) -> BoxFuture<'a, Result<Noted, StoreError>> {
        let (now, mut inner) = (Instant::now(), self.lock());
        let lease = inner.leases.entry(lock.clone()).or_default();
        if lease.fence > fence {
            return ready(Ok(Noted::Superseded)).boxed();
        }
        lease.note = Some((note.text, now + note.life));
        ready(Ok(Noted::Written)).boxed()
    }

    fn noted<'a>(&'a self, lock: &'a Key) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        let (now, inner) = (Instant::now(), self.lock());
        let note = inner.leases.get(lock).and_then(|lease| lease.note.as_ref()).filter(|(_, end)| *end > now);
        ready(Ok(note.map(|(text, _)| text.clone()))).boxed()
    }
}
