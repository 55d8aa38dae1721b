//! What Redis may have brought back: keys of slots that have another primary than before, and everything that a primary
//! had on its disk when it restarted in place.
//!
//! The first is answered by repeating what was removed there of late. The second cannot be: nobody knows what the primary
//! forgot, and with it went the indexes and tags that lead to keys on other nodes. So every declared prefix is swept, on
//! every node; one sidecar of the group does it, and the journal sees to it that it is done.

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tracing::Instrument;

use crate::domain::key::SLOTS;
use crate::domain::removal::{Primary, Upheaval};
use crate::invalidate::once::{self, Event};
use crate::invalidate::sweep::Spec;
use crate::invalidate::todo::Todo;
use crate::invalidate::work::Worker;

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
                tasks.until_stop(async move { sweep(&worker, &primary).await }.in_current_span());
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

/// Everything that is declared, on every node.
async fn sweep(worker: &Worker, primary: &Primary) {
    tracing::warn!(%primary, "a primary restarted in place: every declared prefix is to be swept");
    let spec = Spec::of(worker.tools.means.live.get().catalog.entities().map(AsRef::as_ref));
    let reason = "a primary restarted in place";
    // With what is declared here: one who knows less does not sweep it for the others.
    let name = [primary.run.as_bytes(), spec.templates.join("\n").as_bytes()].concat();
    once::sweep(worker, Event { name, spec, reason }).await;
}
