//! What this process has removed of late, by slot: an upheaval may bring some of it back, and then it is removed again.
//!
//! A minute covers a failover, which is noticed within seconds. A slot that is known to be moving is remembered from its
//! first sign on, however long it takes: a copy that was torn off on the way comes to light when the slot has moved.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::removal::Erasure;
use crate::invalidate::metrics::Metrics;

/// How far back a repetition reaches.
const KEPT: Duration = Duration::from_secs(60);
/// The same for slots that are moving. One whose move is given up must not be remembered for ever.
const KEPT_WHILE_MOVING: Duration = Duration::from_secs(1_800);
/// Erasures kept, at about 200 bytes each: a thousand a second for a minute.
const MOST: usize = 60_000;

/// Cloning shares it.
#[derive(Clone)]
pub struct Recent {
    /// Held for one step, never across an await.
    inner: Arc<Mutex<Inner>>,
    metrics: Metrics,
}

#[derive(Default)]
struct Inner {
    /// The oldest first.
    erasures: VecDeque<(Instant, Erasure)>,
    /// What is older than a minute, of slots that are moving.
    long: VecDeque<(Instant, Erasure)>,
    /// Since when.
    moving: BTreeMap<u16, Instant>,
}

impl Recent {
    pub fn new(metrics: Metrics) -> Self {
        Self { inner: Arc::default(), metrics }
    }

    pub fn remember(&self, erasures: &[Erasure]) {
        let now = Instant::now();
        let mut inner = self.lock();
        inner.let_go(now);
        inner.erasures.extend(erasures.iter().map(|erasure| (now, erasure.clone())));
        let over = inner.erasures.len().saturating_sub(MOST);
        inner.erasures.drain(..over);
        let over_long = inner.long.len().saturating_sub(MOST);
        inner.long.drain(..over_long);
        drop(inner);
        self.metrics.recent_dropped(over + over_long);
    }

    /// A command met a slot on its way to another node.
    pub fn is_moving(&self, slot: u16) {
        self.lock().moving.entry(slot).or_insert_with(Instant::now);
    }

    /// What was removed of late in these slots (from, to, both included), each key once, as it was removed last.
    pub fn of_slots(&self, slots: &[(u16, u16)]) -> Vec<Erasure> {
        let concerned = |slot: u16| slots.iter().any(|(from, to)| (*from..=*to).contains(&slot));
        let mut inner = self.lock();
        inner.let_go(Instant::now());
        let mut last = BTreeMap::new();
        for (_, erasure) in inner.long.iter().chain(&inner.erasures) {
            if concerned(erasure.key.slot()) {
                last.insert(erasure.key.clone(), erasure.clone());
            }
        }
        inner.moving.retain(|slot, _| !concerned(*slot));
        last.into_values().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn let_go(&mut self, now: Instant) {
        while self.erasures.front().is_some_and(|(at, _)| now - *at > KEPT) {
            let Some((at, erasure)) = self.erasures.pop_front() else { break };
            // From a minute before the first sign on: the move may have begun unnoticed.
            let since = self.moving.get(&erasure.key.slot());
            if since.is_some_and(|since| at + KEPT >= *since) {
                self.long.push_back((at, erasure));
            }
        }
        self.moving.retain(|_, since| now - *since <= KEPT_WHILE_MOVING);
        while self.long.front().is_some_and(|(at, _)| now - *at > KEPT_WHILE_MOVING) {
            self.long.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::domain::key::Key;

    fn recent() -> Recent {
        Recent::new(Metrics::register(&mut Default::default()))
    }

    fn erasure(key: &'static str) -> Erasure {
        Erasure { key: Key::new(key).expect("a good key"), has_index: false, mark: None }
    }

    fn keys(recent: &Recent, slots: &[(u16, u16)]) -> Vec<String> {
        recent.of_slots(slots).iter().map(|erasure| erasure.key.to_string()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_minute_of_erasures_is_remembered_by_slot() {
        let recent = recent();
        recent.remember(&[erasure("foo"), erasure("123456789"), erasure("foo")]);
        assert_eq!(keys(&recent, &[(12_182, 12_182)]), ["foo"]);
        assert_eq!(keys(&recent, &[(0, 16_383)]), ["123456789", "foo"]);
        advance(Duration::from_secs(61)).await;
        assert!(keys(&recent, &[(0, 16_383)]).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_that_moves_is_remembered_until_it_has_moved() {
        let recent = recent();
        recent.remember(&[erasure("foo"), erasure("123456789")]);
        advance(Duration::from_secs(30)).await;
        recent.is_moving(12_182);
        advance(Duration::from_secs(300)).await;
        recent.remember(&[erasure("foo{}{bar}")]);
        assert_eq!(keys(&recent, &[(12_182, 12_739)]), ["foo"]);
        advance(Duration::from_secs(61)).await;
        recent.remember(&[]);
        assert!(keys(&recent, &[(8_363, 8_363)]).is_empty(), "a slot that did not move");
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_go_when_there_are_too_many() {
        let recent = recent();
        recent.remember(&[erasure("foo")]);
        recent.remember(&vec![erasure("123456789"); MOST]);
        assert_eq!(keys(&recent, &[(0, 16_383)]), ["123456789"]);
    }
}
