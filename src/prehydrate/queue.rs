//! The line of plans that wait for their turn, bounded by time: once the first in line has waited too long, the next
//! plan is refused at once. A queue bounded by count is either too short for a burst or too long for a login.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// A burst of logins that all arrive within `longest` of each other is not refused by time; this bounds its memory.
const MOST_WAITING: usize = 4_096;

#[derive(Clone)]
pub struct Queue {
    turns: Arc<Semaphore>,
    /// When each of those waiting came, the first in line first. Held for one step, never across an await.
    waiting: Arc<Mutex<VecDeque<Instant>>>,
    longest: Duration,
}

/// A place in the line, to be turned into a turn.
pub struct Ticket(Queue);

/// Come back after this long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    pub retry_after: Duration,
}

impl Queue {
    pub fn new(turns: usize, longest: Duration) -> Self {
        Self { turns: Arc::new(Semaphore::new(turns)), waiting: Arc::default(), longest }
    }

    /// Takes a place, or says when to come back.
    pub fn join(&self, now: Instant) -> Result<Ticket, Full> {
        let mut waiting = self.waiting();
        let head_waits = waiting.front().map_or(Duration::ZERO, |came| now - *came);
        if head_waits > self.longest || waiting.len() >= MOST_WAITING {
            return Err(Full { retry_after: self.longest.max(Duration::from_millis(100)) });
        }
        waiting.push_back(now);
        Ok(Ticket(self.clone()))
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Instant>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Waits for the turn. None only when the process is stopping.
    pub async fn turn(self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is first come, first served, so whoever gets a turn was the first in line. `self` leaves the
        // line when it is dropped, turn or no turn.
        self.0.turns.clone().acquire_owned().await.ok()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.waiting().pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_plan_is_refused_once_the_first_in_line_has_waited_too_long() {
        let queue = Queue::new(1, Duration::from_millis(20));
        let running = queue.join(Instant::now()).expect("a place").turn().await.expect("a turn");
        let _second = queue.join(Instant::now()).expect("a place");
        let _third = queue.join(Instant::now()).expect("the first has not waited yet");
        tokio::time::advance(Duration::from_millis(21)).await;
        assert!(queue.join(Instant::now()).is_err());
        drop(running);
    }

    #[tokio::test(start_paused = true)]
    async fn the_line_is_empty_once_all_had_their_turn() {
        let queue = Queue::new(1, Duration::from_millis(20));
        for _ in 0..3 {
            drop(queue.join(Instant::now()).expect("a place").turn().await.expect("a turn"));
        }
        assert!(queue.waiting().is_empty());
    }
}
