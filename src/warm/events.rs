//! What is told of a call while it runs, to whoever made it.
//!
//! The line holds every event that has to arrive, so a plan never waits for its reader; progress, of which the next says
//! the same and more, is left out while a reader lags. A reader who has gone is no matter.

use tokio::sync::mpsc;

use crate::domain::clock::Clock;
use crate::domain::entity::Name;
use crate::warm::request::{Event, Happened};

/// Plans of one call, as the contract says.
pub const MAX_PLANS: usize = 32;
/// Steps of one plan, as the configuration allows.
pub const MAX_STEPS: usize = 64;
/// What must not be lost: each step's begin and end, each plan's.
const ESSENTIAL: usize = MAX_PLANS * (2 * MAX_STEPS + 2);
/// Progress that may wait: a minute of it.
const SPARE: usize = 64;

#[derive(Clone)]
pub struct Sink {
    line: Option<mpsc::Sender<Event>>,
    clock: Clock,
}

pub fn channel(clock: Clock) -> (Sink, mpsc::Receiver<Event>) {
    let (line, events) = mpsc::channel(ESSENTIAL + SPARE);
    (Sink { line: Some(line), clock }, events)
}

impl Sink {
    /// For runs that nobody follows.
    pub const fn silent(clock: Clock) -> Self {
        Self { line: None, clock }
    }

    pub fn tell(&self, plan: &Name, what: Happened) {
        let Some(line) = &self.line else { return };
        if matches!(what, Happened::Progress(_)) && line.capacity() <= ESSENTIAL {
            return;
        }
        // Whoever asked may have hung up; the plan goes on.
        let _ = line.try_send(Event { plan: plan.clone(), time: self.clock.wall(), what });
    }
}
