//! What became of a job: from this process's board, or from what its worker noted in the journal.

use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use tokio::time::sleep;

use crate::domain::error::{Error, Kind};
use crate::domain::journal::{JobId, Standing};
use crate::invalidate::board::Seen;
use crate::invalidate::intent::Intent;
use crate::invalidate::jobs::Job;
use crate::invalidate::note::Noted;
use crate::invalidate::request::Durability;
use crate::invalidate::work::Worker;

/// Between looks at another sidecar's job for somebody who watches it.
const LOOK: Duration = Duration::from_millis(500);

pub async fn job(worker: &Worker, id: &str) -> Result<Job, Error> {
    let unknown = || Error::new(Kind::UnknownJob, "no such job");
    let id = JobId::new(id).ok_or_else(unknown)?;
    if let Some(seen) = worker.board.see(&id) {
        let noted = seen.noted.borrow().clone();
        return Ok(noted.job(id, seen.durability));
    }
    elsewhere(worker, &id).await?.ok_or_else(unknown)
}

pub async fn watch(worker: &Worker, id: &str) -> Result<impl Stream<Item = Result<Job, Error>> + Send + use<>, Error> {
    let first = job(worker, id).await?;
    let id = first.id.clone();
    let states = match worker.board.see(&id) {
        Some(seen) => here(id, seen).boxed(),
        None => polled(worker.clone(), first).boxed(),
    };
    // The final state is told, or that there will be none, and nothing is asked for after it.
    Ok(stream::unfold(Some(states), |states| async {
        let mut states = states?;
        let told = states.next().await?;
        let goes_on = told.as_ref().is_ok_and(|job| !job.state.is_final());
        Some((told, goes_on.then_some(states)))
    }))
}

fn here(id: JobId, seen: Seen) -> impl Stream<Item = Result<Job, Error>> + Send {
    let Seen { durability, mut noted } = seen;
    noted.mark_changed();
    stream::unfold(noted, move |mut noted| {
        let id = id.clone();
        async move {
            noted.changed().await.ok()?;
            let job = noted.borrow_and_update().job(id, durability);
            Some((Ok(job), noted))
        }
    })
}

fn polled(worker: Worker, first: Job) -> impl Stream<Item = Result<Job, Error>> + Send {
    let states = stream::unfold((worker, first.clone()), |(worker, last)| async move {
        loop {
            sleep(LOOK).await;
            match elsewhere(&worker, &last.id).await {
                Ok(Some(job)) if job != last => return Some((Ok(job.clone()), (worker, job))),
                Ok(Some(_)) => {}
                Ok(None) => return Some((Err(lost()), (worker, last))),
                Err(error) => tracing::debug!(%error, "a job that is watched could not be asked for"),
            }
        }
    });
    stream::once(std::future::ready(Ok(first))).chain(states)
}

async fn elsewhere(worker: &Worker, id: &JobId) -> Result<Option<Job>, Error> {
    let standing = worker.tools.hands.journal.standing(id).await;
    let Standing { intent, note } = standing.map_err(|error| Error::new(Kind::StoreUnavailable, error.to_string()))?;
    let noted = note.and_then(|note| Noted::from_bytes(&note));
    let job = |noted: Noted| noted.job(id.clone(), Durability::Fleet);
    let now = worker.tools.means.clock.wall();
    Ok(match (intent, noted) {
        (Some(_), Some(noted)) => Some(job(noted)),
        (Some(intent), None) => Intent::from_bytes(&intent).ok().map(|intent| job(Noted::queued(&intent))),
        (None, Some(noted)) if noted.state.is_final() => Some(job(noted)),
        // Its worker has it in memory and goes on, though the journal has lost it.
        (None, Some(noted)) if noted.is_alive(now) => Some(job(noted)),
        // That the intent is gone does not say that it was carried out.
        (None, Some(_) | None) => None,
    })
}

fn lost() -> Error {
    Error::new(
        Kind::UnknownJob,
        "the journal no longer knows this job, and nobody left word that it was done: repeat the call",
    )
}
