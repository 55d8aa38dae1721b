//! A sweep that one sidecar of the group does for all of them, and the journal sees through.
//!
//! Whoever does it leaves word of it at a place in the journal that all of them find. Word is left only once the fleet will
//! finish the sweep: the word of one that died with its sidecar would keep all others from it. Where the journal cannot be
//! asked, it is better done twice than not at all.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join;
use tokio::sync::watch;
use tokio::time::sleep;
use xxhash_rust::xxh3::xxh3_64;

use crate::domain::journal::JobId;
use crate::domain::trace::TraceContext;
use crate::invalidate::intent::{Intent, Sweep};
use crate::invalidate::note::Noted;
use crate::invalidate::request::{Durability, Mode};
use crate::invalidate::sweep::Spec;
use crate::invalidate::work::{Stage, Work, Worker};

/// Sidecars that notice the same come forward within this time of each other, and the first of them does the work.
const COME_FORWARD: Duration = Duration::from_secs(2);
/// Longer than between the beginning of a sweep and its word.
const WORD_COMES: Duration = Duration::from_secs(2);
/// Where one has swept already, those who need it again gather for so long: while a configuration reaches one pod after
/// another, one of them sweeps now and then for all it has reached by then.
const GATHER: Duration = Duration::from_secs(20);

/// What all of them have noticed, and the name they all give it.
pub struct Event {
    pub name: Vec<u8>,
    pub spec: Spec,
    pub reason: &'static str,
}

/// Sweeps, unless one of the others does.
pub async fn sweep(worker: &Worker, event: Event) {
    let sign = sign(worker, &event.name);
    sleep(COME_FORWARD.mul_f64(worker.tools.means.random.unit())).await;
    if word(worker, sign.as_ref()).await.is_none() {
        carry_out(worker, event, sign).await;
    }
}

/// The same where each of them needs a sweep that begins after it noticed, and some notice later than others.
pub async fn sweep_since(worker: &Worker, event: Event) {
    let sign = sign(worker, &event.name);
    // What is left after this look is of a sweep that began after this call.
    sleep(WORD_COMES).await;
    let earlier = word(worker, sign.as_ref()).await;
    let unit = worker.tools.means.random.unit();
    sleep(if earlier.is_some() { GATHER.mul_f64(0.75 + unit / 4.0) } else { COME_FORWARD.mul_f64(unit) }).await;
    let now = word(worker, sign.as_ref()).await;
    if now.is_none() || now == earlier {
        carry_out(worker, event, sign).await;
    }
}

async fn word(worker: &Worker, sign: Option<&JobId>) -> Option<Bytes> {
    worker.tools.hands.journal.standing(sign?).await.ok()?.note
}

async fn carry_out(worker: &Worker, Event { name: _, spec, reason }: Event, sign: Option<JobId>) {
    tracing::warn!(reason, "what is declared is swept");
    let means = &worker.tools.means;
    let trace = TraceContext::start(&means.random);
    let (nonce, now) = (means.random.nonce(), means.clock.unix());
    let mut intent = Intent::new(Mode::Remove, nonce, trace.trace_id().to_string(), reason.to_owned(), now);
    intent.sweep = Some(Sweep { target: 0, spec });
    let noted = Noted { holder: worker.tools.config.pod.clone(), ..Noted::queued(&intent) };
    let Ok(bytes) = intent.to_bytes() else { return };
    let (stage, stages) = watch::channel(Stage::Begun);
    let carried = worker.carry(Work::new(intent, trace), bytes, stage, Arc::new(AtomicBool::new(true)), ());
    join(carried, leave_word(worker, sign, stages, &noted)).await;
}

async fn leave_word(worker: &Worker, sign: Option<JobId>, mut stages: watch::Receiver<Stage>, noted: &Noted) {
    let is_recorded = |stage: &Stage| match stage {
        Stage::Begun => false,
        Stage::Recorded(_) | Stage::Done | Stage::Pending(..) | Stage::Lost(_) => true,
    };
    let Ok(stage) = stages.wait_for(is_recorded).await.map(|stage| stage.clone()) else { return };
    let (Stage::Recorded(promise) | Stage::Pending(promise, _)) = stage else { return };
    if let (Durability::Fleet, Some(sign), Some(note)) = (promise.durability, sign, noted.to_note())
        && let Err(error) = worker.tools.hands.journal.note(&sign, note).await
    {
        tracing::debug!(%error, "other sidecars may sweep for the same reason as well");
    }
}

/// A place in the journal at which no intent can stand, the same for all of them.
fn sign(worker: &Worker, name: &[u8]) -> Option<JobId> {
    let hash = xxh3_64(name);
    let part = hash % u64::from(worker.tools.hands.journal.parts().max(1));
    JobId::new(format!("{part}-0-{hash}"))
}
