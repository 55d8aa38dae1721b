//! A bounded map of values and claims, with time as an argument. The memory store is this behind a lock.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use xxhash_rust::xxh3::Xxh3Builder;

use crate::domain::key::Key;
use crate::domain::random::Nonce;
use crate::domain::store::Held;
use crate::local::Config;

/// What an item costs besides its key and value: its place in the map and in the order of use.
const ITEM_OVERHEAD: usize = 160;

#[derive(Debug)]
pub struct Shelf {
    bounds: Config,
    /// Seeded, so that a repeated simulation walks it in the same order.
    items: HashMap<Key, Item, Xxh3Builder>,
    /// Items by when they were last used: the first is the next to go.
    order: BTreeMap<u64, Key>,
    ticks: u64,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Item {
    value: Option<Value>,
    guard: Option<Guard>,
    used: u64,
    cost: usize,
}

#[derive(Debug)]
struct Value {
    bytes: Bytes,
    /// None: an app wrote it without an end.
    ends: Option<Instant>,
    /// Changes with every write: "has the key changed since the claim?"
    version: u64,
}

#[derive(Debug)]
pub struct Guard {
    pub mark: Mark,
    pub since: Instant,
    pub ends: Instant,
}

/// What stands where a claim would: a claim, or the memory that the source had nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Claim { nonce: Nonce, saw: Option<u64> },
    Absent,
}

impl Shelf {
    pub fn new(bounds: Config, seed: u64) -> Self {
        let items = HashMap::with_hasher(Xxh3Builder::new().with_seed(seed));
        Self { bounds, items, order: BTreeMap::new(), ticks: 0, bytes: 0 }
    }

    /// The value at a key, and how long it will live.
    pub fn value(&mut self, key: &Key, now: Instant) -> Option<Held> {
        self.drop_ended(key, now);
        let value = self.items.get(key)?.value.as_ref()?;
        let held = Held { value: value.bytes.clone(), ttl: value.ends.map(|ends| ends - now) };
        self.touch(key);
        Some(held)
    }

    pub fn version(&mut self, key: &Key, now: Instant) -> Option<u64> {
        self.drop_ended(key, now);
        Some(self.items.get(key)?.value.as_ref()?.version)
    }

    /// Whether there is a value that lives this long or longer.
    pub fn lives(&mut self, key: &Key, at_least: Duration, now: Instant) -> bool {
        self.drop_ended(key, now);
        let value = self.items.get(key).and_then(|item| item.value.as_ref());
        value.is_some_and(|value| value.ends.is_none_or(|ends| ends - now >= at_least))
    }

    pub fn guard(&mut self, key: &Key, now: Instant) -> Option<&Guard> {
        self.drop_ended(key, now);
        self.items.get(key)?.guard.as_ref()
    }

    pub fn set_value(&mut self, key: &Key, bytes: Bytes, ttl: Option<Duration>, now: Instant) {
        self.ticks += 1;
        let version = self.ticks;
        self.change(key, |item| item.value = Some(Value { bytes, ends: ttl.map(|ttl| now + ttl), version }));
        self.make_room();
    }

    pub fn set_guard(&mut self, key: &Key, mark: Mark, life: Duration, now: Instant) {
        self.change(key, |item| item.guard = Some(Guard { mark, since: now, ends: now + life }));
        self.make_room();
    }

    pub fn clear_guard(&mut self, key: &Key) {
        self.change(key, |item| item.guard = None);
    }

    /// Removes value and claim in one step. Answers whether there was a value.
    pub fn remove(&mut self, key: &Key, now: Instant) -> bool {
        self.drop_ended(key, now);
        let had = self.items.get(key).is_some_and(|item| item.value.is_some());
        self.forget(key);
        had
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Every change goes through here, so that cost and order are right whatever changed.
    fn change(&mut self, key: &Key, change: impl FnOnce(&mut Item)) {
        self.ticks += 1;
        let item = self.items.entry(key.clone()).or_default();
        change(item);
        self.bytes -= item.cost;
        self.order.remove(&item.used);
        if item.value.is_none() && item.guard.is_none() {
            self.items.remove(key);
            return;
        }
        item.used = self.ticks;
        item.cost = ITEM_OVERHEAD + key.as_bytes().len() + item.value.as_ref().map_or(0, |v| v.bytes.len());
        self.bytes += item.cost;
        self.order.insert(self.ticks, key.clone());
    }

    fn touch(&mut self, key: &Key) {
        self.change(key, |_| {});
    }

    fn drop_ended(&mut self, key: &Key, now: Instant) {
        let Some(item) = self.items.get(key) else { return };
        let value_ended = item.value.as_ref().is_some_and(|v| v.ends.is_some_and(|ends| ends <= now));
        let guard_ended = item.guard.as_ref().is_some_and(|g| g.ends <= now);
        if value_ended || guard_ended {
            self.change(key, |item| {
                item.value = item.value.take().filter(|v| v.ends.is_none_or(|ends| ends > now));
                item.guard = item.guard.take().filter(|g| g.ends > now);
            });
        }
    }

    fn forget(&mut self, key: &Key) {
        if let Some(item) = self.items.remove(key) {
            self.bytes -= item.cost;
            self.order.remove(&item.used);
        }
    }

    fn make_room(&mut self) {
        while self.items.len() > self.bounds.items || self.bytes > self.bounds.bytes {
            let Some((_, oldest)) = self.order.pop_first() else { return };
            self.forget(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(n: u8) -> Key {
        Key::new(format!("k:{n}")).expect("a good key")
    }

    #[test]
    fn what_was_used_least_recently_goes_first() {
        let (mut shelf, now) = (Shelf::new(Config { bytes: 1 << 20, items: 2 }, 1), Instant::now());
        for n in [1, 2] {
            shelf.set_value(&key(n), Bytes::from_static(b"v"), Some(Duration::from_secs(9)), now);
        }
        assert!(shelf.value(&key(1), now).is_some());
        shelf.set_value(&key(3), Bytes::from_static(b"v"), Some(Duration::from_secs(9)), now);
        assert!(shelf.value(&key(2), now).is_none());
        assert!(shelf.value(&key(1), now).is_some());
    }

    #[test]
    fn a_value_larger_than_the_shelf_is_not_kept() {
        let (mut shelf, now) = (Shelf::new(Config { bytes: 1_000, items: 9 }, 1), Instant::now());
        shelf.set_value(&key(1), vec![0; 2_000].into(), Some(Duration::from_secs(9)), now);
        assert_eq!((shelf.len(), shelf.bytes()), (0, 0));
    }

    proptest! {
        /// Whatever is done, the bounds hold, and the books balance once all is removed.
        #[test]
        fn bounds_hold_and_books_balance(steps in proptest::collection::vec((0u8..6, 0u8..20, 0usize..400, 0u64..3), 0..300)) {
            let bounds = Config { bytes: 4_000, items: 10 };
            let (mut shelf, mut now) = (Shelf::new(bounds, 7), Instant::now());
            for (step, n, size, pause) in steps {
                now += Duration::from_secs(pause);
                let key = key(n);
                match step {
                    0 => shelf.set_value(&key, vec![1; size].into(), Some(Duration::from_secs(2)), now),
                    1 => shelf.set_guard(&key, Mark::Absent, Duration::from_secs(1), now),
                    2 => shelf.clear_guard(&key),
                    3 => { shelf.remove(&key, now); }
                    4 => { shelf.guard(&key, now); }
                    _ => { shelf.value(&key, now); }
                }
                prop_assert!(shelf.len() <= bounds.items && shelf.bytes() <= bounds.bytes);
                prop_assert_eq!(shelf.order.len(), shelf.items.len());
            }
            for n in 0..20 { shelf.remove(&key(n), now); }
            prop_assert_eq!((shelf.len(), shelf.bytes()), (0, 0));
        }
    }
}
