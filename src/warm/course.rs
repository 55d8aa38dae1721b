//! One run of a plan: what its steps share, and what they count by.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::backoff::Backoff;
use crate::domain::lease::Noted;
use crate::domain::random::Random;
use crate::domain::trace::TraceContext;
use crate::warm::Inner;
use crate::warm::checkpoint::Checkpoint;
use crate::warm::events::Sink;
use crate::warm::jobs::Place;
use crate::warm::plan::{Plan, Plans};
use crate::warm::request::{Ended, StepEnd};
use crate::warm::tally::Tally;
use crate::warm::tenure::Tenure;

/// Waits before the second, third and fourth try, before chance shortens them.
const RETRIES: Backoff = match Backoff::new(Duration::from_secs(1), Duration::from_secs(4)) {
    Ok(backoff) => backoff,
    Err(_) => panic!("the first wait is the shorter one"),
};
/// One run of a plan: what its steps share.
pub(super) struct Course<'a> {
    pub warm: &'a Inner,
    pub plans: &'a Plans,
    pub plan: &'a Plan,
    pub tenure: &'a Tenure,
    pub trace: TraceContext,
    pub sink: &'a Sink,
    pub place: Option<&'a Place>,
    /// How the steps ended so far.
    pub ends: Vec<StepEnd>,
}

/// What a step has come to, without what is known of it anyway.
pub(super) struct Outcome {
    pub ended: Ended,
    pub attempts: u32,
    pub message: String,
}

/// A step's counters, shared between who counts and who tells.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Tally>>);

impl<'a> Course<'a> {
    pub fn new(
        warm: &'a Inner,
        plans: &'a Plans,
        plan: &'a Plan,
        tenure: &'a Tenure,
        trace: TraceContext,
        sink: &'a Sink,
        place: Option<&'a Place>,
    ) -> Self {
        Self { warm, plans, plan, tenure, trace, sink, place, ends: Vec::new() }
    }

    /// A note that cannot be written costs a page that is looked at again; one that is superseded says that the lease is
    /// somebody else's, which the next renewal will find as well.
    pub async fn note(&self, checkpoint: Checkpoint) {
        match self.tenure.note(checkpoint.into_progress()).await {
            Ok(Noted::Written) => {}
            Ok(Noted::Superseded) => tracing::warn!("a later run has begun; this one's progress is not written"),
            Err(error) => tracing::debug!(%error, "progress could not be noted"),
        }
    }
}

impl Shared {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Tally::new(Instant::now()))))
    }

    pub fn lock(&self) -> MutexGuard<'_, Tally> {
        // Held for a few additions, none of which panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Before the next try after so many: anything up to 1, 2, 4 seconds, so that what failed together does not come back
/// together.
pub(super) fn wait(attempts: u32, random: &Random) -> Duration {
    RETRIES.wait(attempts.saturating_sub(1)).mul_f64(random.unit())
}
