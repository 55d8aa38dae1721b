//! Epochs of keys, each ended by an invalidation: a fill or a plan from before can be told from one that began after.
//!
//! Whoever joins work that is under way inherits its end. After an invalidation that end is `FENCED`, so nobody may join
//! any more. Instead of looking up who is at work on a key, each invalidation counts it, and work that is joined shows
//! that its keys' counts are still what they were when it began. Keys share counters: then somebody does alone what
//! might have been joined, which costs a fetch and breaks nothing.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use xxhash_rust::xxh3::Xxh3Builder;

use crate::domain::key::Key;

/// Cloning shares the counts.
#[derive(Clone)]
pub struct Epochs(Arc<Counts>);

struct Counts {
    by_key: Box<[AtomicU32]>,
    /// Of all keys at once.
    whole: AtomicU32,
    hasher: Xxh3Builder,
}

/// The counts of some keys at one moment. They only grow, so one sum stands for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(u64);

/// 64 KiB. While a plan of 8 keys runs for 100 ms, 1,000 invalidations a second end up on one of its counters once in
/// twenty times.
const COUNTERS: usize = 16_384;

impl Epochs {
    pub fn new(seed: u64) -> Self {
        let by_key = (0..COUNTERS).map(|_| AtomicU32::new(0)).collect();
        let hasher = Xxh3Builder::new().with_seed(seed);
        Self(Arc::new(Counts { by_key, whole: AtomicU32::new(0), hasher }))
    }

    /// To be taken before the work begins.
    pub fn stamp<'a>(&self, keys: impl IntoIterator<Item = &'a Key>) -> Stamp {
        let counts = keys.into_iter().map(|key| u64::from(self.counter(key).load(Ordering::Acquire)));
        Stamp(counts.sum::<u64>() + u64::from(self.0.whole.load(Ordering::Acquire)))
    }

    pub fn end(&self, keys: &[Key]) {
        for key in keys {
            self.counter(key).fetch_add(1, Ordering::Release);
        }
    }

    pub fn end_all(&self) {
        self.0.whole.fetch_add(1, Ordering::Release);
    }

    fn counter(&self, key: &Key) -> &AtomicU32 {
        &self.0.by_key[self.0.hasher.hash_one(key) as usize % COUNTERS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::new(text.to_owned()).expect("a good key")
    }

    #[test]
    fn an_invalidation_shows_on_every_stamp_that_holds_its_key() {
        let (epochs, a, b) = (Epochs::new(1), key("a"), key("b"));
        let (both, only_b) = (epochs.stamp([&a, &b]), epochs.stamp([&b]));
        assert_eq!(epochs.stamp([&b, &a]), both);
        epochs.end(std::slice::from_ref(&a));
        assert_ne!(epochs.stamp([&a, &b]), both);
        assert_eq!(epochs.stamp([&b]), only_b);
        epochs.end_all();
        assert_ne!(epochs.stamp([&b]), only_b);
        assert_ne!(epochs.stamp([]), Epochs::new(1).stamp([]));
    }
}
