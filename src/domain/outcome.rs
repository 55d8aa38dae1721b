//! What became of one resource. A resource that fails is a result, not an error: the others are filled all the same.

use std::time::Duration;

use crate::domain::entity::Member;

/// The closed set that callers see, one to one with the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Fetched and written.
    Filled,
    /// There already, and it lives long enough; or an app wrote it meanwhile.
    Fresh,
    /// The source has none.
    Absent,
    /// Somebody else is filling it.
    InFlight,
    /// Invalidated while it was being fetched: nothing was written.
    Fenced,
    /// Not allowed: another subject's, a credential refused, a secret in the value.
    Denied,
    TooLarge,
    Timeout,
    /// Not tried: too much was waiting.
    Shed,
    /// Fills of this entity are switched off.
    Disabled,
    Failed,
}

/// One line of a report.
#[derive(Clone, Debug)]
pub struct Resource {
    pub member: Member,
    pub outcome: Outcome,
    /// Why, in a few words fit for the caller; empty where the outcome says it all.
    pub reason: String,
    pub elapsed: Duration,
    /// Size of the value as written, and for how long; nothing where nothing was written.
    pub written: Option<Written>,
    /// The source did not accept the subject's session: what is asked with it next is in vain.
    pub is_session_refused: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    pub bytes: usize,
    pub ttl: Duration,
    /// It stands there as if nobody had touched it for a long time: the first read will show.
    pub is_marked: bool,
}

impl Outcome {
    pub const ALL: [Self; 11] = [
        Self::Filled,
        Self::Fresh,
        Self::Absent,
        Self::InFlight,
        Self::Fenced,
        Self::Denied,
        Self::TooLarge,
        Self::Timeout,
        Self::Shed,
        Self::Disabled,
        Self::Failed,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Filled => "filled",
            Self::Fresh => "fresh",
            Self::Absent => "absent",
            Self::InFlight => "in_flight",
            Self::Fenced => "fenced",
            Self::Denied => "denied",
            Self::TooLarge => "too_large",
            Self::Timeout => "timeout",
            Self::Shed => "shed",
            Self::Disabled => "disabled",
            Self::Failed => "failed",
        }
    }

    /// Whether what the caller wanted is so: the value is there, or is known not to exist.
    pub const fn is_settled(self) -> bool {
        matches!(self, Self::Filled | Self::Fresh | Self::Absent)
    }
}
