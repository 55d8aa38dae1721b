//! The members that are followed at present, so that an invalidation voids what is being checked of an older one.
//!
//! Every invalidation of this process passes here, whether anything is followed or not, so it costs one look-up a key.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::key::Key;

/// Cases at once. One lasts about a minute, and a minute's looks are fewer.
const MOST: usize = 4_096;

/// Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Open {
    /// Held for one step, never across an await.
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    cases: BTreeMap<Key, u64>,
    last: u64,
}

impl Open {
    /// A new case's number; none where there is no room. It takes the place of an older case of the same key.
    pub fn enter(&self, key: &Key) -> Option<u64> {
        let mut inner = self.lock();
        if inner.cases.len() >= MOST && !inner.cases.contains_key(key) {
            return None;
        }
        inner.last += 1;
        let id = inner.last;
        inner.cases.insert(key.clone(), id);
        Some(id)
    }

    pub fn void(&self, keys: &[Key]) {
        let mut inner = self.lock();
        if !inner.cases.is_empty() {
            for key in keys {
                inner.cases.remove(key);
            }
        }
    }

    pub fn holds(&self, key: &Key, id: u64) -> bool {
        self.lock().cases.get(key) == Some(&id)
    }

    pub fn leave(&self, key: &Key, id: u64) {
        let mut inner = self.lock();
        if inner.cases.get(key) == Some(&id) {
            inner.cases.remove(key);
        }
    }

    pub fn count(&self) -> usize {
        self.lock().cases.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalidation_voids_the_case_before_it_and_not_the_one_after() {
        let (open, key) = (Open::default(), Key::new("a").expect("a good key"));
        let first = open.enter(&key).expect("room");
        assert!(open.holds(&key, first));
        open.void(std::slice::from_ref(&key));
        assert!(!open.holds(&key, first));
        let second = open.enter(&key).expect("room");
        open.leave(&key, first);
        assert!(open.holds(&key, second) && !open.holds(&key, first));
        open.leave(&key, second);
        assert_eq!(open.count(), 0);
    }

    #[test]
    fn there_is_an_end_to_what_is_followed() {
        let open = Open::default();
        let key = |n: usize| Key::new(n.to_string()).expect("a good key");
        assert!((0..MOST).all(|n| open.enter(&key(n)).is_some()));
        assert!(open.enter(&key(MOST)).is_none());
        assert!(open.enter(&key(0)).is_some(), "it takes its own place");
    }
}
