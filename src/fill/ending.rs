//! How a fill ends: every answer of a store or a source as an outcome and a few words for the caller.

use std::time::Duration;

use crate::domain::entity::Member;
use crate::domain::outcome::{Outcome, Resource, Written};
use crate::domain::projection::Refusal;
use crate::domain::source::FetchError;
use crate::domain::store::{Committed, StoreError};

/// How a fill ended, without what it was about.
#[derive(Clone, Debug)]
pub struct Filled {
    pub outcome: Outcome,
    pub reason: String,
    pub written: Option<Written>,
    pub is_session_refused: bool,
}

impl Filled {
    pub fn plain(outcome: Outcome) -> Self {
        Self { outcome, reason: String::new(), written: None, is_session_refused: false }
    }

    /// As the line of a report.
    pub fn about(self, member: Member, elapsed: Duration) -> Resource {
        let Self { outcome, reason, written, is_session_refused } = self;
        Resource { member, outcome, reason, elapsed, written, is_session_refused }
    }

    pub fn because(outcome: Outcome, reason: impl ToString) -> Self {
        Self { reason: reason.to_string(), ..Self::plain(outcome) }
    }

    pub fn from_value(committed: Committed, written: Written) -> Self {
        match committed {
            Committed::Written => Self { written: Some(written), ..Self::plain(Outcome::Filled) },
            Committed::Kept => Self::plain(Outcome::Fresh),
            Committed::Fenced | Committed::Superseded => Self::from_refused(committed),
        }
    }

    pub fn from_absent(committed: Committed) -> Self {
        match committed {
            Committed::Written | Committed::Kept => Self::because(Outcome::Absent, "the source has none"),
            Committed::Fenced | Committed::Superseded => Self::from_refused(committed),
        }
    }

    fn from_refused(committed: Committed) -> Self {
        let why = match committed {
            Committed::Superseded => "older than what was declared invalid",
            Committed::Fenced | Committed::Written | Committed::Kept => "invalidated while it was being fetched",
        };
        Self::because(Outcome::Fenced, why)
    }

    pub fn from_store(error: StoreError) -> Self {
        let outcome = match error {
            StoreError::Overloaded => Outcome::Shed,
            StoreError::Unreachable | StoreError::Timeout | StoreError::Refused(_) => Outcome::Failed,
        };
        Self::because(outcome, error)
    }

    pub fn from_fetch(error: FetchError) -> Self {
        let outcome = match error {
            FetchError::Timeout => Outcome::Timeout,
            FetchError::Denied | FetchError::NoSession => Outcome::Denied,
            FetchError::TooLarge => Outcome::TooLarge,
            FetchError::Shed => Outcome::Shed,
            FetchError::Unreachable
            | FetchError::Status(_)
            | FetchError::Redirect
            | FetchError::Broken
            | FetchError::Refused
            | FetchError::Ambiguous => Outcome::Failed,
        };
        Self::because(outcome, error)
    }

    pub fn from_refusal(refusal: &Refusal) -> Self {
        let outcome = match refusal {
            Refusal::TooLarge { .. } => Outcome::TooLarge,
            Refusal::Secret { .. } => Outcome::Denied,
            Refusal::Malformed(_) | Refusal::NoBody(_) => Outcome::Failed,
        };
        Self::because(outcome, refusal)
    }
}
