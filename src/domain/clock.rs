//! The wall clock as an argument. Durations and deadlines use tokio's `Instant`, which a test pauses; calendar time
//! comes from here, and in a test follows that same paused clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

#[derive(Clone, Copy, Debug)]
pub enum Clock {
    System,
    /// Calendar time that starts at a given moment and moves with tokio's clock.
    Fixed {
        at: SystemTime,
        started: Instant,
    },
}

impl Clock {
    pub fn fixed(at: SystemTime) -> Self {
        Self::Fixed { at, started: Instant::now() }
    }

    pub fn wall(&self) -> SystemTime {
        match self {
            Self::System => SystemTime::now(),
            Self::Fixed { at, started } => *at + started.elapsed(),
        }
    }

    pub fn unix(&self) -> Duration {
        // Before 1970 there is nothing to be late for.
        self.wall().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}
