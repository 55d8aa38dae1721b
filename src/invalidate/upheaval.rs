//! What Redis may have brought back: keys of slots that have another primary than before, and everything that a primary
//! had on its disk when it restarted in place.
//!
//! The first is answered by repeating what was removed there of late. The second cannot be: nobody knows what the primary
//! forgot, and with it went the indexes and tags that lead to keys on other nodes. So every declared prefix is swept, on
//! every node; one sidecar of the group does it, and the journal sees to it that it is done.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::future::join;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::sleep;
use tracing::Instrument;
use xxhash_rust::xxh3::xxh3_64;

use crate::domain::journal::{JobId, Standing};
use crate::domain::key::SLOTS;
use crate::domain::removal::{Primary, Upheaval};
use crate::domain::trace::TraceContext;
use crate::invalidate::intent::{Intent, Sweep};
use crate::invalidate::note::Noted;
use crate::invalidate::request::{Durability, Mode};
use crate::invalidate::sweep::Spec;
use crate::invalidate::todo::Todo;
use crate::invalidate::work::{Stage, Work, Worker};

/// Sidecars that notice a restart come forward within this time of each other, and the first of them does the work.
const COME_FORWARD: Duration = Duration::from_secs(2);

pub async fn listen(worker: Worker, mut upheavals: broadcast::Receiver<Upheaval>) {
    loop {
        match upheavals.recv().await {
            Ok(Upheaval::Moved { slots }) => repeat(&worker, &slots),
            // What was missed may have been anything.
            Err(RecvError::Lagged(_)) => repeat(&worker, &[(0, SLOTS - 1)]),
            Ok(Upheaval::Moving { slot }) => worker.tools.recent.is_moving(slot),
            Ok(Upheaval::Restarted { primary }) => {
                let worker = worker.clone();
                let tasks = worker.tools.means.tasks.clone();
                tasks.until_stop(async move { sweep_once(&worker, &primary).await }.in_current_span());
            }
            // A store that never changes.
            Err(RecvError::Closed) => return std::future::pending().await,
        }
    }
}

fn repeat(worker: &Worker, slots: &[(u16, u16)]) {
    let erasures = worker.tools.recent.of_slots(slots);
    tracing::info!(keys = erasures.len(), "slots have moved: what was removed there of late is removed again");
    if erasures.is_empty() {
        return;
    }
    worker.tools.means.metrics.keys_repeated(erasures.len());
    let todo = Todo::again(worker.tools.means.random.nonce(), erasures);
    let repeating = worker.clone();
    worker.tools.means.tasks.until_stop(async move { repeating.repeat(todo).await });
}

/// Records a sweep of everything, unless another sidecar has done so.
async fn sweep_once(worker: &Worker, primary: &Primary) {
    let means = &worker.tools.means;
    sleep(COME_FORWARD.mul_f64(means.random.unit())).await;
    let sign = sign(worker, primary);
    if let Some(sign) = &sign
        && let Ok(Standing { intent: _, note: Some(_) }) = worker.tools.hands.journal.standing(sign).await
    {
        return;
    }
    tracing::warn!(%primary, "a primary restarted in place: every declared prefix is swept");
    let intent = everything(worker);
    let mut noted = Noted::queued(&intent);
    noted.holder = worker.tools.config.pod.clone();
    let Ok(bytes) = intent.to_bytes() else { return };
    let work = Work::new(intent, TraceContext::start(&means.random));
    let (stage, stages) = watch::channel(Stage::Begun);
    let carried = worker.carry(work, bytes, stage, Arc::new(AtomicBool::new(true)), ());
    join(carried, leave_sign(worker, sign, stages, &noted)).await;
}

/// Only once the fleet will see the sweep through: a sign of one that died with its sidecar would keep all others from it.
async fn leave_sign(worker: &Worker, sign: Option<JobId>, mut stages: watch::Receiver<Stage>, noted: &Noted) {
    let is_recorded = |stage: &Stage| match stage {
        Stage::Begun => false,
        Stage::Recorded(_) | Stage::Done | Stage::Pending(..) | Stage::Lost(_) => true,
    };
    let Ok(stage) = stages.wait_for(is_recorded).await.map(|stage| stage.clone()) else { return };
    let (Stage::Recorded(promise) | Stage::Pending(promise, _)) = stage else { return };
    if let (Durability::Fleet, Some(sign), Some(note)) = (promise.durability, sign, noted.to_note())
        && let Err(error) = worker.tools.hands.journal.note(&sign, note).await
    {
        tracing::debug!(%error, "other sidecars may sweep after this restart as well");
    }
}

fn everything(worker: &Worker) -> Intent {
    let means = &worker.tools.means;
    let trace = TraceContext::start(&means.random).trace_id().to_string();
    let reason = "a primary restarted in place".to_owned();
    let mut intent = Intent::new(Mode::Remove, means.random.nonce(), trace, reason, means.clock.unix());
    let spec = Spec::of(means.live.get().catalog.entities().map(AsRef::as_ref));
    let spec = Spec { mode: Mode::Remove, requested: intent.requested, ..spec };
    intent.sweep = Some(Sweep { target: 0, spec });
    intent
}

/// Where sidecars leave word that one of them sweeps after this restart: a place in the journal at which no intent can
/// stand, the same for all of them.
fn sign(worker: &Worker, primary: &Primary) -> Option<JobId> {
    let hash = xxh3_64(primary.run.as_bytes());
    let part = hash % u64::from(worker.tools.hands.journal.parts().max(1));
    JobId::new(format!("{part}-0-{hash}"))
}
