//! How fast a sweep may go: it has time, and whoever reads Redis has not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::domain::removal::Primary;

/// Places that one step of a scan looks at. The server is busy with it for a quarter of a millisecond.
pub const LOOKED_AT_ONCE: u32 = 500;
/// Keys that one request removes, with their guards and indexes: a server goes through all of a request before it turns to others.
pub const REMOVED_AT_ONCE: usize = 64;
/// What the sweeps of this sidecar may take of one primary in a second, all together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    pub looked: u32,
    pub removed: u32,
}

/// The paces on all primaries; cloning shares them.
#[derive(Clone)]
pub struct Paces {
    rates: Rates,
    /// Of the primaries that are swept at present. Held for one look, never across an await.
    by_primary: Arc<Mutex<BTreeMap<String, Weak<Pace>>>>,
}

/// The pace on one primary, whoever goes there.
pub struct Pace {
    rates: Rates,
    /// Not before this. Held for one step, never across an await.
    next: Mutex<Instant>,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            // At most a fortieth of its time, and a million keys in twenty seconds.
            looked: 50_000,
            // What a busy source can load again as fast.
            removed: 5_000,
        }
    }
}

impl Paces {
    pub fn new(rates: Rates) -> Self {
        Self { rates, by_primary: Arc::default() }
    }

    pub fn on(&self, primary: &Primary) -> Arc<Pace> {
        let mut paces = self.by_primary.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pace) = paces.get(&primary.name).and_then(Weak::upgrade) {
            return pace;
        }
        paces.retain(|_, pace| pace.strong_count() > 0);
        let pace = Arc::new(Pace { rates: self.rates, next: Mutex::new(Instant::now()) });
        paces.insert(primary.name.clone(), Arc::downgrade(&pace));
        pace
    }
}

impl Pace {
    pub async fn look(&self) {
        self.take(LOOKED_AT_ONCE, self.rates.looked).await;
    }

    pub async fn remove(&self, keys: usize) {
        self.take(keys as u32, self.rates.removed).await;
    }

    /// Waits for its turn, and takes what this costs. Time that was not used is not saved up.
    async fn take(&self, count: u32, per_second: u32) {
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = (*next).max(Instant::now());
            *next = turn + Duration::from_secs(1) * count / per_second.max(1);
            turn
        };
        sleep_until(turn).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_million_keys_take_twenty_seconds() {
        let begun = Instant::now();
        let paces = Paces::new(Rates::default());
        let primary = Primary { name: "one".to_owned(), run: String::new() };
        let some = async || {
            let pace = paces.on(&primary);
            for _ in 0..250_000 / LOOKED_AT_ONCE {
                pace.look().await;
            }
        };
        // However many sweeps look at them.
        join_all([some(), some(), some(), some()]).await;
        let took = begun.elapsed();
        assert!((19..=23).contains(&took.as_secs()), "{took:?}");
    }
}
