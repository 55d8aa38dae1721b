//! How fast a sweep may go: it has time, and whoever reads Redis has not.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Places that one step of a scan looks at. The server is busy with it for a quarter of a millisecond.
pub const LOOKED_AT_ONCE: u32 = 500;
/// Keys that one request removes, with their guards and indexes: a server goes through all of a request before it turns to others.
pub const REMOVED_AT_ONCE: usize = 64;
/// What a sweep may take of one primary in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    pub looked: u32,
    pub removed: u32,
}

/// The pace on one primary.
pub struct Pace {
    rates: Rates,
    /// Not before this.
    next: Instant,
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

impl Pace {
    pub fn new(rates: Rates) -> Self {
        Self { rates, next: Instant::now() }
    }

    pub async fn look(&mut self) {
        self.take(LOOKED_AT_ONCE, self.rates.looked).await;
    }

    pub async fn remove(&mut self, keys: usize) {
        self.take(keys as u32, self.rates.removed).await;
    }

    /// Waits for its turn, and takes what this costs. Time that was not used is not saved up.
    async fn take(&mut self, count: u32, per_second: u32) {
        sleep_until(self.next).await;
        self.next = Instant::now() + Duration::from_secs(1) * count / per_second.max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_million_keys_take_twenty_seconds() {
        let begun = Instant::now();
        let mut pace = Pace::new(Rates::default());
        for _ in 0..1_000_000 / LOOKED_AT_ONCE {
            pace.look().await;
        }
        let took = begun.elapsed();
        assert!((19..=23).contains(&took.as_secs()), "{took:?}");
    }
}
