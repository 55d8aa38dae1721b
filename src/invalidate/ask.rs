//! What became of a job: from this process's board, or from what its worker noted in the journal.

use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use tokio::time::sleep;

use crate::domain::error::{Error, Kind};
use crate::domain::journal::{JobId, Standing};
use crate::invalidate::board::Seen;
use crate::invalidate::intent::Intent;
use crate::invalidate::jobs::{Job, JobState};
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

pub async fn watch(worker: &Worker, id: &str) -> Result<impl Stream<Item = Job> + Send + use<>, Error> {
    let first = job(worker, id).await?;
    let id = first.id.clone();
    let states = match worker.board.see(&id) {
        Some(seen) => here(id, seen).boxed(),
        None => polled(worker.clone(), first).boxed(),
    };
    // The final state is told, and nothing is asked for after it.
    Ok(stream::unfold(Some(states), |states| async {
        let mut states = states?;
        let job = states.next().await?;
        let rest = (!job.state.is_final()).then_some(states);
        Some((job, rest))
    }))
}

fn here(id: JobId, seen: Seen) -> impl Stream<Item = Job> + Send {
    let Seen { durability, mut noted } = seen;
    noted.mark_changed();
    stream::unfold(noted, move |mut noted| {
        let id = id.clone();
        async move {
            noted.changed().await.ok()?;
            let job = noted.borrow_and_update().job(id, durability);
            Some((job, noted))
        }
    })
}

fn polled(worker: Worker, first: Job) -> impl Stream<Item = Job> + Send {
    let states = stream::unfold((worker, first.clone()), |(worker, last)| async move {
        loop {
            sleep(LOOK).await;
            match elsewhere(&worker, &last.id).await {
                Ok(Some(job)) if job != last => return Some((job.clone(), (worker, job))),
                Ok(Some(_)) => {}
                // It ended, and nobody left word.
                Ok(None) => {
                    let job = ended(&worker, last);
                    return Some((job.clone(), (worker, job)));
                }
                Err(error) => tracing::debug!(%error, "a job that is watched could not be asked for"),
            }
        }
    });
    stream::once(std::future::ready(first)).chain(states)
}

async fn elsewhere(worker: &Worker, id: &JobId) -> Result<Option<Job>, Error> {
    let standing = worker.tools.hands.journal.standing(id).await;
    let Standing { intent, note } = standing.map_err(|error| Error::new(Kind::StoreUnavailable, error.to_string()))?;
    let noted = note.and_then(|note| Noted::from_bytes(&note));
    let job = |noted: Noted| noted.job(id.clone(), Durability::Fleet);
    Ok(match (intent, noted) {
        (Some(_), Some(noted)) => Some(job(noted)),
        (Some(intent), None) => Intent::from_bytes(&intent).ok().map(|intent| job(Noted::queued(&intent))),
        (None, Some(noted)) if noted.state.is_final() => Some(job(noted)),
        // The intent is gone, so it was carried out; its last note was not left, or was overtaken by one before.
        (None, Some(noted)) => Some(ended(worker, job(noted))),
        (None, None) => None,
    })
}

fn ended(worker: &Worker, job: Job) -> Job {
    let finished = job.finished.or_else(|| Some(worker.tools.means.clock.wall()));
    Job { state: JobState::Succeeded, finished, next_attempt: None, message: "done".to_owned(), ..job }
}
