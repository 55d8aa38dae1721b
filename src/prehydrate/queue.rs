//! The line of plans that wait for their turn, bounded by time: once the first in line has waited too long, the next
//! plan is refused at once. A queue bounded by count is either too short for a burst or too long for a login.
//!
//! Plans that somebody waits for go first; of those that run in the background, and of those that are waited for, the
//! one that came first. So only its own kind and what goes before it can have a plan refused.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

/// A burst of logins that all arrive within `longest` of each other is not refused by time; this bounds its memory.
const MOST_WAITING: usize = 4_096;

/// Whether anybody waits for a plan's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    Awaited,
    Background,
}

#[derive(Clone)]
pub struct Queue {
    /// Held for one step, never across an await.
    line: Arc<Mutex<Line>>,
    longest: Duration,
}

struct Line {
    free: usize,
    awaited: VecDeque<Waiting>,
    background: VecDeque<Waiting>,
}

/// Dropping the other end of `turn` leaves the line.
struct Waiting {
    came: Instant,
    turn: oneshot::Sender<Turn>,
}

/// A place in the line, to be turned into a turn.
pub struct Ticket(oneshot::Receiver<Turn>);

/// The right to run; dropping it passes it on.
pub struct Turn(Queue);

/// Come back after this long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    pub retry_after: Duration,
}

impl Queue {
    pub fn new(turns: usize, longest: Duration) -> Self {
        let line = Line { free: turns, awaited: VecDeque::new(), background: VecDeque::new() };
        Self { line: Arc::new(Mutex::new(line)), longest }
    }

    /// Takes a place, or says when to come back.
    pub fn join(&self, now: Instant, urgency: Urgency) -> Result<Ticket, Full> {
        let mut line = self.lock();
        let came = line.first(urgency);
        let head_waits = came.map_or(Duration::ZERO, |came| now - came);
        if head_waits > self.longest || line.awaited.len() + line.background.len() >= MOST_WAITING {
            return Err(Full { retry_after: self.longest.max(Duration::from_millis(100)) });
        }
        let (turn, ticket) = oneshot::channel();
        let waiting = Waiting { came: now, turn };
        match urgency {
            Urgency::Awaited => line.awaited.push_back(waiting),
            Urgency::Background => line.background.push_back(waiting),
        }
        drop(line);
        self.pass_on();
        Ok(Ticket(ticket))
    }

    /// Gives the turns there are to those who wait.
    fn pass_on(&self) {
        while let Some(next) = self.take() {
            // One that left the line this very moment lets its turn fall, and that passes it on: no lock may be held.
            drop(next.turn.send(Turn(self.clone())));
        }
    }

    fn take(&self) -> Option<Waiting> {
        self.lock().next()
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Since when the first of those waits who come before a new plan.
    fn first(&mut self, urgency: Urgency) -> Option<Instant> {
        let first = |line: &mut VecDeque<Waiting>| {
            while line.pop_front_if(|waiting| waiting.turn.is_closed()).is_some() {}
            line.front().map(|waiting| waiting.came)
        };
        let awaited = first(&mut self.awaited);
        match urgency {
            Urgency::Awaited => awaited,
            Urgency::Background => [awaited, first(&mut self.background)].into_iter().flatten().min(),
        }
    }

    /// Who goes next, if there is a turn: it is taken.
    fn next(&mut self) -> Option<Waiting> {
        self.free = self.free.checked_sub(1)?;
        let mut in_order = || self.awaited.pop_front().or_else(|| self.background.pop_front());
        let next = std::iter::from_fn(&mut in_order).find(|waiting| !waiting.turn.is_closed());
        self.free += usize::from(next.is_none());
        next
    }
}

impl Ticket {
    /// Waits for the turn. None only when the line is gone.
    pub async fn turn(self) -> Option<Turn> {
        self.0.await.ok()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.lock().free += 1;
        self.0.pass_on();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn join(queue: &Queue, urgency: Urgency) -> Result<Ticket, Full> {
        queue.join(Instant::now(), urgency)
    }

    #[tokio::test(start_paused = true)]
    async fn a_plan_is_refused_once_the_first_in_line_has_waited_too_long() {
        let queue = Queue::new(1, Duration::from_millis(20));
        let running = join(&queue, Urgency::Awaited).expect("a place").turn().await.expect("a turn");
        let _second = join(&queue, Urgency::Awaited).expect("a place");
        let _third = join(&queue, Urgency::Awaited).expect("the first has not waited yet");
        tokio::time::advance(Duration::from_millis(21)).await;
        assert!(join(&queue, Urgency::Awaited).is_err() && join(&queue, Urgency::Background).is_err());
        drop(running);
    }

    #[tokio::test(start_paused = true)]
    async fn the_line_is_empty_once_all_had_their_turn() {
        let queue = Queue::new(1, Duration::from_millis(20));
        for _ in 0..3 {
            drop(join(&queue, Urgency::Background).expect("a place").turn().await.expect("a turn"));
        }
        let line = queue.lock();
        assert_eq!((line.free, line.awaited.len(), line.background.len()), (1, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_waited_for_goes_before_the_background() {
        let queue = Queue::new(1, Duration::from_millis(20));
        let running = join(&queue, Urgency::Background).expect("a place").turn().await.expect("a turn");
        let mut early = Box::pin(join(&queue, Urgency::Background).expect("a place").turn());
        tokio::time::advance(Duration::from_millis(21)).await;
        assert!(join(&queue, Urgency::Background).is_err(), "the background is full");
        let late = join(&queue, Urgency::Awaited).expect("and yet there is a place").turn();
        drop(running);
        let turn = late.await.expect("a turn");
        assert!((&mut early).now_or_never().is_none());
        drop(turn);
        assert!(early.await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_plan_that_left_the_line_holds_up_nobody() {
        let queue = Queue::new(1, Duration::from_millis(20));
        let running = join(&queue, Urgency::Awaited).expect("a place").turn().await.expect("a turn");
        drop(join(&queue, Urgency::Awaited).expect("a place"));
        tokio::time::advance(Duration::from_millis(21)).await;
        let next = join(&queue, Urgency::Awaited).expect("nobody waits").turn();
        drop(running);
        assert!(next.await.is_some());
    }
}
