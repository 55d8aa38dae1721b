//! Virtual time: the clock of every run is paused, and jumps to the next moment at which anybody has something to do.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;

pub async fn pause(time: Duration) {
    // tidy: waits because time is virtual, `world::run` has paused the clock
    tokio::time::sleep(time).await;
}

/// Up to so many milliseconds.
pub fn up_to(rng: &mut StdRng, millis: u64) -> Duration {
    Duration::from_millis(rng.random_range(0..=millis))
}
