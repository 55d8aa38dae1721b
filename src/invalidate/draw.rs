//! Working through what waits in the spool: what the process before this one left there, and what came when too much was
//! under way already.
//!
//! One after the other, as fast as there are turns to be had. A file that another version has written, or that nobody can
//! read, stays where it is for people to see.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::domain::journal::JobId;
use crate::domain::trace::TraceContext;
use crate::invalidate::intent::Intent;
use crate::invalidate::line::Waiting;
use crate::invalidate::shut::Shut;
use crate::invalidate::spool::{Spool, SpoolError};
use crate::invalidate::work::{Turn, Work, Worker};

/// Before a disk that fails is asked again.
const PAUSE: Duration = Duration::from_secs(5);

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

/// None for one that is left where it is.
async fn read(spool: &Spool, id: &JobId) -> Result<Option<Intent>, SpoolError> {
    let Some(bytes) = spool.read(id).await? else { return Ok(None) };
    let intent = Intent::from_bytes(&bytes);
    if let Err(error) = &intent {
        tracing::error!(%error, job = %id, "an invalidation in the spool is left there");
    }
    Ok(intent.ok())
}
