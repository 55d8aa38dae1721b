//! The jobs that this process works on, or worked on of late, for those who ask and for those who watch.
//!
//! A job stands here from the moment its intent is recorded, promised or not, so that one that is promised at the last
//! moment is known; when it ends unpromised it is forgotten at once. The board is bounded: work that finds no place is
//! left to whoever looks after the journal.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use crate::domain::journal::JobId;
use crate::invalidate::jobs::KEPT;
use crate::invalidate::note::Noted;
use crate::invalidate::request::Durability;

/// Jobs at once, under way and ended: at about 1 KB each, a few megabytes.
const MOST: usize = 8_192;

/// Cloning shares it.
#[derive(Clone, Default)]
pub struct Board {
    /// Held for one step, never across an await.
    jobs: Arc<Mutex<BTreeMap<JobId, Posted>>>,
}

struct Posted {
    durability: Durability,
    noted: watch::Sender<Noted>,
    ended: Option<Instant>,
}

/// A job's place on the board; when it is dropped without `keep`, the job is forgotten.
pub struct Place {
    board: Board,
    id: JobId,
    noted: watch::Sender<Noted>,
    is_kept: bool,
}

/// A job as the board knows it.
pub struct Seen {
    pub durability: Durability,
    pub noted: watch::Receiver<Noted>,
}

impl Board {
    /// A place for a job; none if it has one already, or if all are taken.
    pub fn post(&self, id: JobId, durability: Durability, noted: Noted) -> Option<Place> {
        let mut jobs = self.lock();
        if jobs.contains_key(&id) {
            return None;
        }
        if jobs.len() >= MOST {
            let now = Instant::now();
            jobs.retain(|_, job| job.ended.is_none_or(|ended| now - ended < KEPT));
            // One that has ended makes room for one that has not.
            if jobs.len() >= MOST {
                let oldest = jobs.iter().filter_map(|(id, job)| Some((job.ended?, id.clone()))).min()?;
                jobs.remove(&oldest.1);
            }
        }
        let noted = watch::Sender::new(noted);
        jobs.insert(id.clone(), Posted { durability, noted: noted.clone(), ended: None });
        Some(Place { board: self.clone(), id, noted, is_kept: false })
    }

    pub fn see(&self, id: &JobId) -> Option<Seen> {
        let jobs = self.lock();
        let job = jobs.get(id).filter(|job| job.ended.is_none_or(|ended| ended.elapsed() < KEPT))?;
        Some(Seen { durability: job.durability, noted: job.noted.subscribe() })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<JobId, Posted>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub fn note(&self, change: impl FnOnce(&mut Noted)) {
        self.noted.send_modify(change);
    }

    pub fn noted(&self) -> Noted {
        self.noted.borrow().clone()
    }

    /// Leaves the job on the board as it is now, as one that has ended.
    pub fn keep(mut self) {
        self.is_kept = true;
        if let Some(job) = self.board.lock().get_mut(&self.id) {
            job.ended = Some(Instant::now());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_kept {
            self.board.lock().remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;
    use crate::domain::random::Random;
    use crate::invalidate::intent::Intent;
    use crate::invalidate::request::Mode;

    fn noted() -> Noted {
        let nonce = Random::from_seed(1).nonce();
        Noted::queued(&Intent::new(Mode::Remove, nonce, String::new(), String::new(), Duration::ZERO))
    }

    fn id(number: usize) -> JobId {
        JobId::new(format!("0-{number}-0")).expect("a good id")
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_is_known_for_an_hour_after_its_end_if_it_is_kept() {
        let board = Board::default();
        let (kept, dropped) =
            (board.post(id(1), Durability::Fleet, noted()), board.post(id(2), Durability::Pod, noted()));
        assert!(board.post(id(1), Durability::Fleet, noted()).is_none(), "it has a place");
        kept.expect("a place").keep();
        drop(dropped);
        assert!(board.see(&id(2)).is_none());
        assert!(board.see(&id(1)).is_some());
        advance(KEPT).await;
        assert!(board.see(&id(1)).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_board_gives_up_the_job_that_ended_first() {
        let board = Board::default();
        board.post(id(0), Durability::Fleet, noted()).expect("a place").keep();
        let places: Vec<Place> =
            (1..MOST).map(|n| board.post(id(n), Durability::Fleet, noted()).expect("a place")).collect();
        let last = board.post(id(MOST), Durability::Fleet, noted()).expect("in place of the first");
        assert!(board.see(&id(0)).is_none());
        assert!(board.post(id(MOST + 1), Durability::Fleet, noted()).is_none());
        drop((places, last));
    }
}
