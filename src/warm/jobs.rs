//! Runs as jobs, for those who ask later: the words that `GetJob` and `WatchJob` answer with, and the board they stand on.
//!
//! Only the sidecar that runs a plan can tell of it; what survives it is the note beside the lease.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::{Stream, stream};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::domain::entity::Name;
use crate::domain::journal::JobId;
use crate::warm::request::{Counts, Ended, Trigger};

/// What a job's id begins with.
const PREFIX: &str = "warm:";
/// Runs remembered: a call may have 32 plans.
const MOST: usize = 256;
/// How long a run that has ended is remembered, as the contract promises.
const KEPT: Duration = Duration::from_secs(3_600);

#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub id: JobId,
    pub plan: Name,
    pub trigger: Trigger,
    /// As 32 hexadecimal digits.
    pub trace: String,
    pub fence: u64,
    pub created: SystemTime,
    pub updated: SystemTime,
    pub finished: Option<SystemTime>,
    /// The step it is in.
    pub step: Option<Name>,
    /// Over all steps.
    pub counts: Counts,
    pub rate: f64,
    /// None while it runs.
    pub ended: Option<Ended>,
    pub holder: String,
    pub reason: String,
    pub message: String,
}

/// Cloning shares the board.
#[derive(Clone, Default)]
pub struct Board {
    /// Held for one step, never across an await.
    jobs: Arc<Mutex<BTreeMap<JobId, Posted>>>,
}

struct Posted {
    noted: watch::Sender<Job>,
    ended: Option<Instant>,
    number: u64,
}

/// A run's place on the board.
pub struct Place {
    board: Board,
    id: JobId,
    noted: watch::Sender<Job>,
}

/// Whether an id is that of a run.
pub fn is_ours(id: &str) -> bool {
    id.starts_with(PREFIX)
}

/// Of the run of this trace under this fence; a call of several plans has one trace.
pub fn id(plan: &Name, trace: &str, fence: u64) -> Option<JobId> {
    // The plan's name may be as long as half an id.
    let plan: String = plan.as_str().chars().take(48).collect();
    JobId::new(format!("{PREFIX}{plan}:{trace}:{fence}"))
}

impl Board {
    pub fn post(&self, job: Job) -> Place {
        let (id, noted, now) = (job.id.clone(), watch::Sender::new(job), Instant::now());
        let mut jobs = self.lock();
        jobs.retain(|_, job| job.ended.is_none_or(|ended| now - ended < KEPT));
        while jobs.len() >= MOST {
            // One that has ended makes room before one that has not.
            let first = jobs.iter().min_by_key(|(_, job)| (job.ended.is_none(), job.number)).map(|(id, _)| id.clone());
            first.map(|first| jobs.remove(&first));
        }
        let number = jobs.values().map(|job| job.number + 1).max().unwrap_or_default();
        jobs.insert(id.clone(), Posted { noted: noted.clone(), ended: None, number });
        Place { board: self.clone(), id, noted }
    }

    pub fn see(&self, id: &str) -> Option<Job> {
        self.subscribe(id).map(|noted| noted.borrow().clone())
    }

    /// Its states as they change, beginning with the present one; ends after the final one.
    pub fn watch(&self, id: &str) -> Option<impl Stream<Item = Job> + Send + Unpin + 'static> {
        let noted = self.subscribe(id)?;
        let states = stream::unfold((noted, Told::Nothing), |(mut noted, told)| async move {
            match told {
                Told::Nothing => {}
                Told::State => noted.changed().await.ok()?,
                Told::Final => return None,
            }
            let job = noted.borrow_and_update().clone();
            let told = if job.ended.is_some() { Told::Final } else { Told::State };
            Some((job, (noted, told)))
        });
        Some(Box::pin(states))
    }

    fn subscribe(&self, id: &str) -> Option<watch::Receiver<Job>> {
        let (id, jobs) = (JobId::new(id)?, self.lock());
        let posted = jobs.get(&id).filter(|job| job.ended.is_none_or(|ended| ended.elapsed() < KEPT))?;
        Some(posted.noted.subscribe())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<JobId, Posted>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Told {
    Nothing,
    State,
    Final,
}

impl Place {
    pub fn id(&self) -> &JobId {
        &self.id
    }

    pub fn note(&self, change: impl FnOnce(&mut Job)) {
        self.noted.send_modify(change);
    }

    /// Leaves the run on the board as it ended.
    pub fn end(self, change: impl FnOnce(&mut Job)) {
        self.note(change);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(job) = self.board.lock().get_mut(&self.id) {
            job.ended = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    fn job(number: u64) -> Job {
        let plan = Name::new("default").expect("a name");
        Job {
            id: id(&plan, "4bf92f3577b34da6a3ce929d0e0e4736", number).expect("a good id"),
            plan,
            trigger: Trigger::Call,
            trace: String::new(),
            fence: number,
            created: SystemTime::UNIX_EPOCH,
            updated: SystemTime::UNIX_EPOCH,
            finished: None,
            step: None,
            counts: Counts::default(),
            rate: 0.0,
            ended: None,
            holder: String::new(),
            reason: String::new(),
            message: String::new(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_watcher_sees_each_change_and_last_the_end() {
        let board = Board::default();
        let place = board.post(job(1));
        let id = place.id().to_string();
        let mut states = board.watch(&id).expect("known");
        assert_eq!(states.next().await.map(|job| job.counts.done), Some(0));
        place.note(|job| job.counts.done = 5);
        assert_eq!(states.next().await.map(|job| job.counts.done), Some(5));
        place.end(|job| job.ended = Some(Ended::Success));
        assert_eq!(states.next().await.and_then(|job| job.ended), Some(Ended::Success));
        assert!(states.next().await.is_none());
        assert!(board.see(&id).is_some());
        tokio::time::advance(KEPT).await;
        assert!(board.see(&id).is_none() && board.watch(&id).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_board_gives_up_what_ended_first() {
        let board = Board::default();
        let first = board.post(job(0));
        let running = board.post(job(1));
        drop(first);
        let rest: Vec<Place> = (2..=MOST as u64).map(|number| board.post(job(number))).collect();
        assert!(board.see(job(0).id.as_str()).is_none());
        assert!(board.see(running.id().as_str()).is_some());
        drop(rest);
    }

    #[test]
    fn an_id_is_no_longer_than_the_contract_allows() {
        let plan = Name::new(&"p".repeat(64)).expect("a name");
        let id = id(&plan, &"a".repeat(32), u64::MAX).expect("a good id");
        assert!(is_ours(id.as_str()) && !is_ours("7-1732180000000-3"));
    }
}
