//! How the items of a plan end, and why they are in it: words that every part of the flow shares.
//!
//! An item that is not filled ends as well, with its outcome and a reason fit for the caller: there is no other failure.

use std::time::Duration;

use crate::domain::outcome::{Outcome, Resource, Written};

/// What became of an item.
#[derive(Clone, Debug)]
pub struct Ending {
    pub outcome: Outcome,
    /// Why, in a few words fit for the caller; empty where the outcome says it all.
    pub reason: String,
    pub elapsed: Duration,
    pub written: Option<Written>,
}

/// An item that has ended.
pub struct Done {
    pub at: usize,
    pub ending: Ending,
    /// The source did not accept the subject's session.
    pub is_session_refused: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The caller named it.
    Requested,
    /// The configuration names it for every login.
    Always,
    /// The subject has read it before.
    History,
    /// Others read it, and this subject has no history yet.
    Cohort,
    /// It follows from another resource's answer.
    Dependent,
    /// A try, to learn whether it has become useful again.
    Exploration,
}

impl Ending {
    /// Of what was never begun.
    pub fn not_filled(outcome: Outcome, why: impl Into<String>) -> Self {
        Self { outcome, reason: why.into(), elapsed: Duration::ZERO, written: None }
    }

    pub fn of(resource: Resource) -> Self {
        let Resource { member: _, outcome, reason, elapsed, written, is_session_refused: _ } = resource;
        Self { outcome, reason, elapsed, written }
    }
}
