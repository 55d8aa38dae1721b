//! A bounded map of values and what Hydrant keeps beside them, with time as an argument. The memory store is this behind
//! a lock.
//!
//! Claim, tombstone, index and tags are parts of their key's item: they count towards its bytes and go with it. A member
//! that has to make room takes its aliases along, since nothing would lead to them any more.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use xxhash_rust::xxh3::Xxh3Builder;

use crate::domain::key::Key;
use crate::domain::random::Nonce;
use crate::domain::store::Held;
use crate::domain::tag::Tag;
use crate::local::Config;
use crate::local::tombstone::Tombstone;

/// What an item costs besides its key and value: its place in the map and in the order of use.
const ITEM_OVERHEAD: usize = 160;
/// What an entry of an index or a tag costs besides its name.
const ENTRY_OVERHEAD: usize = 64;
/// Names that one index takes: as many as an entity can have now, and those it had before.
const MAX_INDEX: usize = 64;

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
    tombstone: Option<Tombstone>,
    /// The member's aliases, and until when each may stand.
    index: BTreeMap<Key, Instant>,
    tags: BTreeMap<Tag, Instant>,
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
    writer: Writer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    Hydrant,
    App,
}

/// A value that is larger than all of the shelf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// What of an item stands at a moment.
pub struct Standing<'a> {
    pub key: &'a Key,
    pub value: bool,
    pub guard: bool,
    pub tombstone: bool,
    pub index: bool,
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

    /// Refused, and nothing else has to go for it, where it would not fit even into an empty shelf.
    pub fn set_value(
        &mut self,
        key: &Key,
        bytes: Bytes,
        ttl: Option<Duration>,
        writer: Writer,
        now: Instant,
    ) -> Result<(), TooLarge> {
        if ITEM_OVERHEAD + key.as_bytes().len() + bytes.len() > self.bounds.bytes {
            return Err(TooLarge);
        }
        self.ticks += 1;
        let value = Value { bytes, ends: ttl.map(|ttl| now + ttl), version: self.ticks, writer };
        self.change(key, |item| item.value = Some(value));
        self.make_room();
        Ok(())
    }

    pub fn writer(&mut self, key: &Key, now: Instant) -> Option<Writer> {
        self.drop_ended(key, now);
        Some(self.items.get(key)?.value.as_ref()?.writer)
    }

    /// Lets a value live for this long at most. Answers whether there was one.
    pub fn shorten(&mut self, key: &Key, life: Duration, now: Instant) -> bool {
        self.drop_ended(key, now);
        let Some(value) = self.items.get_mut(key).and_then(|item| item.value.as_mut()) else { return false };
        value.ends = Some(value.ends.map_or(now + life, |ends| ends.min(now + life)));
        true
    }

    pub fn set_guard(&mut self, key: &Key, mark: Mark, life: Duration, now: Instant) {
        self.change(key, |item| item.guard = Some(Guard { mark, since: now, ends: now + life }));
        self.make_room();
    }

    pub fn clear_guard(&mut self, key: &Key) {
        self.change(key, |item| item.guard = None);
    }

    /// Removes the value alone.
    pub fn clear_value(&mut self, key: &Key) {
        self.change(key, |item| item.value = None);
    }

    pub fn tombstone(&mut self, key: &Key, now: Instant) -> Option<Tombstone> {
        self.drop_ended(key, now);
        self.items.get(key)?.tombstone
    }

    pub fn set_tombstone(&mut self, key: &Key, tombstone: Tombstone) {
        self.change(key, |item| item.tombstone = Some(tombstone));
        self.make_room();
    }

    /// Registers as many of the aliases as there is room for, from the first. An entry never ends earlier than it did.
    pub fn register_aliases(&mut self, key: &Key, aliases: &[Key], life: Duration, now: Instant) -> usize {
        self.drop_ended(key, now);
        let mut room = 0;
        self.change(key, |item| {
            for alias in aliases {
                if item.index.len() >= MAX_INDEX && !item.index.contains_key(alias) {
                    break;
                }
                let ends = item.index.entry(alias.clone()).or_insert(now);
                *ends = (*ends).max(now + life);
                room += 1;
            }
        });
        self.make_room();
        room
    }

    pub fn aliases(&mut self, key: &Key, now: Instant) -> Vec<Key> {
        self.drop_ended(key, now);
        self.items.get(key).map(|item| item.index.keys().cloned().collect()).unwrap_or_default()
    }

    pub fn register_tag(&mut self, key: &Key, tag: &Tag, life: Duration, now: Instant) {
        self.change(key, |item| {
            let ends = item.tags.entry(tag.clone()).or_insert(now);
            *ends = (*ends).max(now + life);
        });
        self.make_room();
    }

    /// Every key under a tag, in their order. It looks at all items, of which there are few enough.
    pub fn tagged(&self, tag: &Tag, now: Instant) -> Vec<Key> {
        let is_tagged = |item: &Item| item.tags.get(tag).is_some_and(|ends| *ends > now);
        let mut keys: Vec<Key> = self.items.iter().filter(|(_, i)| is_tagged(i)).map(|(key, _)| key.clone()).collect();
        keys.sort();
        keys
    }

    /// Everything there is, in no order.
    pub fn standing(&self, now: Instant) -> impl Iterator<Item = Standing<'_>> {
        self.items.iter().map(move |(key, item)| Standing {
            key,
            value: item.value.as_ref().is_some_and(|value| value.ends.is_none_or(|ends| ends > now)),
            guard: item.guard.as_ref().is_some_and(|guard| guard.ends > now),
            tombstone: item.tombstone.is_some_and(|tombstone| tombstone.ends > now),
            index: item.index.values().any(|ends| *ends > now),
        })
    }

    /// Removes value and claim in one step, and nothing else. Answers whether there was a value.
    pub fn remove(&mut self, key: &Key, now: Instant) -> bool {
        self.drop_ended(key, now);
        let Some(item) = self.items.get(key) else { return false };
        let had = item.value.is_some();
        if had || item.guard.is_some() {
            self.change(key, |item| (item.value, item.guard) = (None, None));
        }
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
        if item.is_empty() {
            self.items.remove(key);
            return;
        }
        item.used = self.ticks;
        item.cost = ITEM_OVERHEAD + key.as_bytes().len() + item.bytes();
        self.bytes += item.cost;
        self.order.insert(self.ticks, key.clone());
    }

    fn touch(&mut self, key: &Key) {
        self.change(key, |_| {});
    }

    fn drop_ended(&mut self, key: &Key, now: Instant) {
        if self.items.get(key).is_some_and(|item| item.has_ended(now)) {
            self.change(key, |item| item.drop_ended(now));
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
            let index = self.items.get_mut(&oldest).map(|item| std::mem::take(&mut item.index)).unwrap_or_default();
            self.forget(&oldest);
            index.keys().for_each(|alias| self.forget(alias));
        }
    }
}

impl Item {
    fn is_empty(&self) -> bool {
        let Self { value, guard, tombstone, index, tags, used: _, cost: _ } = self;
        value.is_none() && guard.is_none() && tombstone.is_none() && index.is_empty() && tags.is_empty()
    }

    /// What it holds besides its key.
    fn bytes(&self) -> usize {
        let value = self.value.as_ref().map_or(0, |value| value.bytes.len());
        let index = self.index.keys().map(|key| ENTRY_OVERHEAD + key.as_bytes().len());
        let tags = self.tags.keys().map(|tag| ENTRY_OVERHEAD + tag.to_string().len());
        value + index.sum::<usize>() + tags.sum::<usize>()
    }

    fn has_ended(&self, now: Instant) -> bool {
        self.value.as_ref().is_some_and(|value| value.ends.is_some_and(|ends| ends <= now))
            || self.guard.as_ref().is_some_and(|guard| guard.ends <= now)
            || self.tombstone.is_some_and(|tombstone| tombstone.ends <= now)
            || self.index.values().chain(self.tags.values()).any(|ends| *ends <= now)
    }

    fn drop_ended(&mut self, now: Instant) {
        self.value.take_if(|value| value.ends.is_some_and(|ends| ends <= now));
        self.guard.take_if(|guard| guard.ends <= now);
        self.tombstone.take_if(|tombstone| tombstone.ends <= now);
        self.index.retain(|_, ends| *ends > now);
        self.tags.retain(|_, ends| *ends > now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIFE: Duration = Duration::from_secs(9);

    fn put(shelf: &mut Shelf, key: &Key, size: usize, now: Instant) -> Result<(), TooLarge> {
        shelf.set_value(key, vec![1; size].into(), Some(LIFE), Writer::Hydrant, now)
    }

    fn key(n: u8) -> Key {
        Key::new(format!("k:{n}")).expect("a good key")
    }

    #[test]
    fn what_was_used_least_recently_goes_first() {
        let (mut shelf, now) = (Shelf::new(Config { bytes: 1 << 20, items: 2 }, 1), Instant::now());
        for n in [1, 2] {
            put(&mut shelf, &key(n), 1, now).expect("fits");
        }
        assert!(shelf.value(&key(1), now).is_some());
        put(&mut shelf, &key(3), 1, now).expect("fits");
        assert!(shelf.value(&key(2), now).is_none());
        assert!(shelf.value(&key(1), now).is_some());
    }

    #[test]
    fn a_value_larger_than_the_shelf_is_refused_and_costs_nobody_a_place() {
        let (mut shelf, now) = (Shelf::new(Config { bytes: 1_000, items: 9 }, 1), Instant::now());
        put(&mut shelf, &key(1), 400, now).expect("fits");
        assert_eq!(put(&mut shelf, &key(2), 1_000, now), Err(TooLarge));
        assert!(shelf.value(&key(1), now).is_some());
    }

    #[test]
    fn aliases_and_tags_count_and_end() {
        let (mut shelf, now) = (Shelf::new(Config { bytes: 9_000, items: 9 }, 1), Instant::now());
        let tag = Tag::declared("t").expect("a good tag");
        shelf.register_tag(&key(1), &tag, LIFE, now);
        let tagged = shelf.bytes();
        assert_eq!(shelf.register_aliases(&key(1), &[key(2), key(3)], LIFE * 2, now), 2);
        assert!(shelf.bytes() > tagged && tagged > ITEM_OVERHEAD);
        assert_eq!(shelf.tagged(&tag, now), [key(1)]);
        assert_eq!(shelf.tagged(&tag, now + LIFE), []);
        assert_eq!(shelf.register_aliases(&key(1), &[key(2)], LIFE, now), 1);
        assert_eq!(shelf.aliases(&key(1), now + LIFE), [key(2), key(3)], "a shorter life replaces no longer one");
        assert_eq!(shelf.aliases(&key(1), now + LIFE * 2), []);
        assert_eq!((shelf.len(), shelf.bytes()), (0, 0));
    }

    #[test]
    fn an_index_that_is_full_takes_what_it_has() {
        let (mut shelf, now) = (Shelf::new(Config { bytes: 1 << 20, items: 9 }, 1), Instant::now());
        let many: Vec<Key> = (0..=u8::try_from(MAX_INDEX).expect("small")).map(key).collect();
        assert_eq!(shelf.register_aliases(&key(200), &many, LIFE, now), MAX_INDEX);
        assert_eq!(shelf.register_aliases(&key(200), &[key(1), key(201)], LIFE, now), 1);
    }

    #[test]
    fn a_member_that_makes_room_takes_its_aliases_along() {
        let (mut shelf, now) = (Shelf::new(Config { bytes: 1 << 20, items: 3 }, 1), Instant::now());
        put(&mut shelf, &key(1), 1, now).expect("fits");
        shelf.register_aliases(&key(1), &[key(2)], LIFE, now);
        for n in 2..=4 {
            put(&mut shelf, &key(n), 1, now).expect("fits");
        }
        assert!(shelf.value(&key(1), now).is_none() && shelf.value(&key(2), now).is_none());
        assert!(shelf.value(&key(3), now).is_some() && shelf.value(&key(4), now).is_some());
    }

    proptest! {
        /// Whatever is done, the bounds hold, and the books balance once all is removed.
        #[test]
        fn bounds_hold_and_books_balance(steps in proptest::collection::vec((0u8..8, 0u8..20, 0usize..400, 0u64..3), 0..300)) {
            let bounds = Config { bytes: 4_000, items: 10 };
            let (mut shelf, mut now) = (Shelf::new(bounds, 7), Instant::now());
            for (step, n, size, pause) in steps {
                now += Duration::from_secs(pause);
                let key = key(n);
                match step {
                    0 => put(&mut shelf, &key, size, now).expect("fits"),
                    1 => shelf.set_guard(&key, Mark::Absent, Duration::from_secs(1), now),
                    2 => shelf.clear_guard(&key),
                    3 => { shelf.remove(&key, now); }
                    4 => { shelf.guard(&key, now); }
                    5 => { shelf.register_aliases(&key, &[self::key(n + 1), self::key(n + 2)], LIFE, now); }
                    6 => shelf.register_tag(&key, &Tag::declared("t").expect("a good tag"), LIFE, now),
                    _ => { shelf.value(&key, now); }
                }
                prop_assert!(shelf.len() <= bounds.items && shelf.bytes() <= bounds.bytes);
                prop_assert_eq!(shelf.order.len(), shelf.items.len());
            }
            for n in 0..20 { shelf.remove(&key(n), now); }
            for n in 0..20 { shelf.value(&key(n), now + LIFE * 9); }
            prop_assert_eq!((shelf.len(), shelf.bytes()), (0, 0));
        }
    }
}
