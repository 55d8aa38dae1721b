//! Carries out shards of plans that are shared, whoever put them there.
//!
//! One at a time: a sidecar is not to fill its memory with work that another could do. While it works it says so, so that
//! a shard which takes long is not given to another; a worker that has died is silent, and its shard is taken over by the
//! next who asks. What the dead one had filled of it is fresh.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::Instrument;

use crate::domain::key::Key;
use crate::domain::shards::{Done, Shards, Taken};
use crate::warm::Warm;
use crate::warm::course::Shared;
use crate::warm::fill::{Crew, Filling};
use crate::warm::plan::Plans;
use crate::warm::request::Counts;
use crate::warm::shard::Shard;

/// Between looks where there was nothing: a command for each plan that is shared.
const LOOK: Duration = Duration::from_secs(1);
/// A worker that is silent for so long is taken for dead: longer than a claim of its last fills stands by default.
const SILENT: Duration = Duration::from_secs(10);
/// Well within it.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// One shard's time: its fills, and what failed three times more.
const LONGEST: Duration = Duration::from_secs(300);

/// Runs as long as the process.
pub(super) async fn keep(warm: Warm, shards: Arc<dyn Shards>) {
    let mut changes = warm.0.plans.subscribe();
    // The pod's name is not unique where it is not known.
    let nonce: [u8; 4] = warm.0.tools.random.bytes();
    let worker = format!("{}:{}", warm.0.config.pod, nonce.map(|byte| format!("{byte:02x}")).concat());
    loop {
        let plans = changes.borrow_and_update().clone();
        let mut found = false;
        for plan in plans.plans.iter().filter(|plan| plan.rules.is_shared) {
            found |= take(&warm, &plans, &plan.lease.lock, &*shards, &worker).await;
        }
        if !found {
            let is_shared = plans.plans.iter().any(|plan| plan.rules.is_shared);
            // Spread, so that a fleet does not look at once.
            let wait = LOOK.mul_f64(0.75 + warm.0.tools.random.unit() / 2.0);
            tokio::select! {
                biased;
                changed = changes.changed() => if changed.is_err() { return },
                () = sleep(wait), if is_shared => {}
            }
        }
    }
}

/// Whether there was a shard; it is finished then.
async fn take(warm: &Warm, plans: &Plans, lock: &Key, shards: &dyn Shards, worker: &str) -> bool {
    let Taken { id, shard } = match shards.take(lock, worker, SILENT).await {
        Ok(Some(taken)) => taken,
        Ok(None) => return false,
        Err(error) => {
            tracing::debug!(%error, "shards cannot be asked for");
            return false;
        }
    };
    let Some(shard) = Shard::read(&shard) else {
        tracing::warn!("a shard that nobody understands is dropped");
        let _ = shards.finish(lock, worker, &id, Done::default()).await;
        return true;
    };
    let tally = Shared::new();
    let working = carry_out(warm, plans, shard, tally.clone());
    let beating = beat(shards, lock, worker, &id);
    tokio::select! {
        biased;
        () = working => {}
        () = beating => unreachable!("it beats until it is dropped"),
    }
    let Counts { done, warmed, fresh, failed, total: _ } = tally.lock().counts();
    if let Err(error) = shards.finish(lock, worker, &id, Done { done, warmed, fresh, failed }).await {
        tracing::warn!(%error, "a shard is done and cannot be taken off; another will find it fresh");
    }
    true
}

async fn carry_out(warm: &Warm, plans: &Plans, shard: Shard, tally: Shared) {
    // Another configuration than that of the sidecar which put it there: nothing can be done, and that is told.
    let (Some(plan), Some(trace)) = (plans.named(&shard.plan), shard.trace()) else {
        tally.lock().failed(shard.members.len() as u64, Instant::now());
        return;
    };
    let span =
        tracing::info_span!("warm_up_shard", plan = %plan.name, step = shard.step, trace_id = tracing::field::Empty);
    let trace = (warm.0.tools.adopt)(&span, Some(trace));
    span.record("trace_id", tracing::field::display(trace.trace_id()));
    let crew = Crew { warm: &warm.0, plan, trace, tenure: None };
    let filling = async {
        let count = shard.members.len();
        Filling::new(crew, LONGEST, tally.clone()).page_alone(&shard.entity, shard.members).await;
        let counts = tally.lock().counts();
        tracing::debug!(
            members = count,
            warmed = counts.warmed,
            fresh = counts.fresh,
            failed = counts.failed,
            "a shard is done"
        );
    };
    filling.instrument(span).await;
}

async fn beat(shards: &dyn Shards, lock: &Key, worker: &str, id: &str) {
    loop {
        sleep(HEARTBEAT).await;
        if let Err(error) = shards.hold(lock, worker, id).await {
            tracing::debug!(%error, "whether a shard is still held is not known");
        }
    }
}
