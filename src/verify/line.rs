//! Cases that wait for their next look, and the step that each takes when its time has come.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::verify::case::{Blind, Case, Finding, Found, Step};
use crate::verify::look::{Looked, Looker};

/// By the time of the next look; the number keeps apart what is due at the same moment.
#[derive(Default)]
pub struct Line {
    cases: BTreeMap<(Instant, u64), Case>,
    count: u64,
}

/// What one step came to.
pub struct Stepped {
    pub found: Option<Found>,
    /// When the case wants to be looked at again.
    pub next: Option<Instant>,
    pub bytes: usize,
}

impl Line {
    pub fn add(&mut self, case: Case, due: Instant) {
        self.count += 1;
        self.cases.insert((due, self.count), case);
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.cases.keys().next().map(|(due, _)| *due)
    }

    pub fn take(&mut self) -> Option<Case> {
        self.cases.pop_first().map(|(_, case)| case)
    }
}

/// Looks, and tells the case what was seen.
pub async fn step(looker: &Looker, case: &mut Case) -> Stepped {
    if case.step == Step::Ask {
        return match looker.ask(&case.key).await {
            (Ok(truth), bytes) => Stepped { found: None, next: case.begins_with(truth, Instant::now()), bytes },
            // Without knowing what was true at the beginning nothing could be held against anybody.
            (Err(blind), bytes) => Stepped { found: Some(unseen(blind)), next: None, bytes },
        };
    }
    let Looked { sight, bytes, patience } = looker.look(&case.key, &case.aliases).await;
    let (found, next) = case.saw(sight, Instant::now(), patience);
    Stepped { found, next, bytes }
}

fn unseen(blind: Blind) -> Found {
    Found { look: 0, finding: Finding::Blind(blind) }
}

/// How old a wrong value is, at least: so long ago it should not have been read any more.
pub fn age(case: &Case) -> Duration {
    case.since.elapsed()
}
