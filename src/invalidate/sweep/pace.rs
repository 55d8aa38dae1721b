//! How fast a sweep may go: it has time, and whoever reads Redis has not.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Places that one step of a scan looks at. The server is busy with it for a quarter of a millisecond.
pub const LOOKED_AT_ONCE: u32 = 500;
/// Keys that one request removes: with their guards and indexes about half a millisecond of the server's time.
pub const REMOVED_AT_ONCE: usize = 128;
/// Of one primary: at most a fortieth of its time, and a million keys in twenty seconds.
const LOOKED_PER_SECOND: u32 = 50_000;
/// Of one primary: what a busy source can load again as fast.
const REMOVED_PER_SECOND: u32 = 5_000;

/// The pace on one primary.
pub struct Pace {
    /// Not before this.
    next: Instant,
}

impl Pace {
    pub fn new() -> Self {
        Self { next: Instant::now() }
    }

    pub async fn look(&mut self) {
        self.take(LOOKED_AT_ONCE, LOOKED_PER_SECOND).await;
    }

    pub async fn remove(&mut self, keys: usize) {
        self.take(keys as u32, REMOVED_PER_SECOND).await;
    }

    /// Waits for its turn, and takes what this costs. Time that was not used is not saved up.
    async fn take(&mut self, count: u32, per_second: u32) {
        sleep_until(self.next).await;
        self.next = Instant::now() + Duration::from_secs(1) * count / per_second;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_million_keys_take_twenty_seconds() {
        let begun = Instant::now();
        let mut pace = Pace::new();
        for _ in 0..1_000_000 / LOOKED_AT_ONCE {
            pace.look().await;
        }
        let took = begun.elapsed();
        assert!((19..=23).contains(&took.as_secs()), "{took:?}");
    }
}
