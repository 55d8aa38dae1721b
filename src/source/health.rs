//! How a source fares: its breaker, and who is told when it opens and closes.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::backoff::Backoff;
use crate::domain::breaker::{self, Admission, Breaker, Change};
use crate::domain::entity::Name;
use crate::domain::random::Random;
use crate::source::metrics::SourceMetrics;

/// Failures one after the other that open a source's breaker: fewer would open it on the hiccup of one of its instances.
const FAILURES: u32 = 5;
/// How long an open breaker waits: 2, 4, 8 ... 60 s.
const WAITS: Backoff = match Backoff::new(Duration::from_secs(2), Duration::from_secs(60)) {
    Ok(backoff) => backoff,
    Err(_) => panic!("the first wait is the shorter one"),
};

#[derive(Debug)]
pub struct Health {
    name: Name,
    /// Held for the few instructions of one decision.
    breaker: Mutex<Breaker>,
    random: Random,
    metrics: SourceMetrics,
}

/// Whose failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    Source,
    /// The source did what it should: it answered.
    None,
    /// It says nothing of the source.
    Ours,
}

impl Health {
    pub fn new(name: Name, random: Random, metrics: SourceMetrics) -> Self {
        let breaker = Mutex::new(Breaker::new(breaker::Config { failures: FAILURES, waits: WAITS }));
        Self { name, breaker, random, metrics }
    }

    pub fn admit(&self) -> Admission {
        self.with_breaker(|breaker| breaker.admit(Instant::now()))
    }

    pub fn learn(&self, started: Instant, blame: Blame) {
        let change = match blame {
            Blame::None => self.with_breaker(|breaker| breaker.succeeded(started)),
            Blame::Source => {
                let unit = self.random.unit();
                self.with_breaker(|breaker| breaker.failed(started, Instant::now(), unit))
            }
            Blame::Ours => Change::None,
        };
        match change {
            Change::None => {}
            Change::Opened { wait } => {
                self.metrics.breaker_opened();
                tracing::warn!(source = %self.name, ?wait, "the source keeps failing and is left alone for a while");
            }
            Change::Closed => {
                self.metrics.breaker_closed();
                tracing::info!(source = %self.name, "the source answers again");
            }
        }
    }

    fn with_breaker<T>(&self, act: impl FnOnce(&mut Breaker) -> T) -> T {
        // A breaker has no half-made state that a panic could leave behind.
        act(&mut self.breaker.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
