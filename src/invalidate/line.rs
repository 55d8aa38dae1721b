//! Where intents of the spool wait whose turn to be worked on has not come: more of them are kept on disk than are worked
//! on at once, and none that was promised is ever dropped.
//!
//! They wait by name alone, what they say stays on disk; but their slots are shut to fills as for those that are worked
//! on. What cannot be done for long gives way to those who wait, and waits anew: a node that is away must not keep from
//! the others what is theirs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::domain::journal::JobId;
use crate::domain::trace::TraceContext;
use crate::domain::watched::Watched;
use crate::invalidate::intent::Intent;
use crate::invalidate::shut::Shut;
use crate::invalidate::spool::{Spool, SpoolError};
use crate::invalidate::work::{Turn, Work, Worker};

/// Before a disk that fails is asked again.
const PAUSE: Duration = Duration::from_secs(5);

/// Cloning shares it. There are no more in it than the spool has files.
#[derive(Clone)]
pub struct Line(Arc<Watched<VecDeque<Waiting>>>);

/// An intent in the spool.
pub struct Waiting {
    pub id: JobId,
    /// Where it stands in the journal too, of which the replicas say nothing.
    pub also: Option<JobId>,
    /// No fill begins before it is carried out.
    pub shut: Shut,
}

impl Line {
    pub fn new() -> Self {
        Self(Arc::new(Watched::new(VecDeque::new())))
    }

    pub fn join(&self, last: Waiting) {
        self.0.change(|waiting| waiting.push_back(last));
    }

    pub fn is_empty(&self) -> bool {
        self.0.look(VecDeque::is_empty)
    }

    async fn somebody(&self) {
        self.0.wait_for(|waiting| (!waiting.is_empty()).then_some(())).await;
    }

    fn first(&self) -> Option<Waiting> {
        let mut first = None;
        self.0.change(|waiting| first = waiting.pop_front());
        first
    }
}

/// Everything that the process before this one has left in the spool joins the line. No fill begins in its slots from now
/// on.
pub async fn fill(worker: &Worker, spool: &Spool) -> Result<(), SpoolError> {
    for id in spool.load().await? {
        let Some(intent) = read(spool, &id).await? else { continue };
        worker.line.join(Waiting { id, also: None, shut: Shut::of(&worker.tools, &intent) });
    }
    Ok(())
}

/// Takes up one after the other, as fast as there are turns to be had, for ever.
pub async fn draw(worker: Worker, spool: Arc<Spool>) {
    loop {
        worker.line.somebody().await;
        let Some(turn) = worker.turn().await else { return };
        let Some(first) = worker.line.first() else { continue };
        let (drawing, spool) = (worker.clone(), spool.clone());
        worker.tools.means.tasks.until_stop(async move { take_up(&drawing, &spool, first, turn).await });
    }
}

async fn take_up(worker: &Worker, spool: &Spool, first: Waiting, turn: Turn) {
    match read(spool, &first.id).await {
        Ok(Some(intent)) => {
            let work = Work::new(intent, TraceContext::start(&worker.tools.means.random));
            worker.take_up_own(work, first, turn).await;
        }
        Ok(None) => {}
        Err(error) => {
            tracing::error!(%error, job = %first.id, "an invalidation in the spool waits");
            sleep(PAUSE).await;
            worker.line.join(first);
        }
    }
}

/// None for one that another version has written, or nobody can read: it is left where it is, for people to see.
async fn read(spool: &Spool, id: &JobId) -> Result<Option<Intent>, SpoolError> {
    let Some(bytes) = spool.read(id).await? else { return Ok(None) };
    let intent = Intent::from_bytes(&bytes);
    if let Err(error) = &intent {
        tracing::error!(%error, job = %id, "an invalidation in the spool is left there");
    }
    Ok(intent.ok())
}
