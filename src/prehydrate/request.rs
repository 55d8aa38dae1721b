//! What a caller asks of a prehydration and what it is told: the flow's own words, which the door converts to and from.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::entity::Name;
use crate::domain::secret::Secret;
use crate::domain::subject::Subject;
use crate::domain::template::Params;
use crate::domain::trace::{TraceContext, TraceId};
use crate::prehydrate::ending::{Ending, Reason};
use crate::prehydrate::wanted::Wanted;

#[derive(Clone, Debug)]
pub struct Request {
    pub who: Who,
    /// What to fill besides what is always filled; parameters left out are taken from the subject.
    pub members: Vec<MemberRef>,
    pub wait: Wait,
    pub freshness: Freshness,
    pub trace: TraceContext,
}

/// Whom a call is about, as its caller says it.
#[derive(Clone, Debug)]
pub enum Who {
    /// Stated by the caller, who answers for it.
    Subject(Subject),
    /// The whole `Cookie` header of the user's request.
    CookieHeader(Secret),
    /// The configured cookie's value alone.
    CookieValue(Secret),
}

/// A member as a caller names it, not yet looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRef {
    pub entity: String,
    pub params: Params,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Answer once the request is checked and queued.
    Accepted,
    /// Answer once the plan is done, or at this moment with what is done by then. The plan runs on.
    Completed { until: Instant },
    /// Answer what would be filled, and fill nothing.
    DryRun,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// What is fresh is left alone.
    Keep,
    /// What is fresh is fetched again.
    Refresh,
}

#[derive(Clone, Debug)]
pub struct Report {
    pub trace: TraceId,
    pub status: Status,
    /// What became of each item; empty unless waited for.
    pub lines: Vec<Line>,
    /// What would be filled, and after it what would not; empty unless it was a dry run.
    pub plan: Vec<Proposed>,
    /// When trying again helps; only where shed.
    pub retry_after: Option<Duration>,
    pub elapsed: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    Accepted,
    /// All of it is settled.
    Completed,
    /// Some of it is not; the resources say which.
    Partial,
    /// The same plan was under way already; this call joined it.
    Coalesced,
    Shed,
    /// Switched off, for all or for this subject.
    Disabled,
    Planned,
}

/// One item of a plan, and why it is in it.
#[derive(Clone, Debug)]
pub struct Planned {
    pub wanted: Wanted,
    pub why: Why,
}

/// One item of a plan, and what became of it.
#[derive(Clone, Debug)]
pub struct Line {
    pub planned: Planned,
    pub ending: Ending,
}

/// Why something is in a plan, and how likely it is to be read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Why {
    pub reason: Reason,
    /// From 0 to 1; 1 for what was asked for.
    pub score: f64,
}

/// An item as a dry run shows it.
#[derive(Clone, Debug)]
pub struct Proposed {
    pub planned: Planned,
    /// Why it would not be filled; none if it would be.
    pub exclusion: Option<Exclusion>,
    pub expected: Expected,
}

/// What an item will cost, by what was seen of its entity; none where nothing was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Expected {
    pub bytes: Option<u64>,
    pub elapsed: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exclusion {
    /// Switched off, for all, for this subject or for the entity.
    Disabled,
    /// Not this subject's to fill.
    Denied,
    /// It is not likely enough to be read.
    BelowFloor,
    /// The plan has its items.
    ItemCap,
    /// The plan has its bytes.
    ByteCap,
    /// It would take too long, or the plan has its calls at this source.
    TimeCap,
    /// The configuration never wants it predicted.
    Never,
    /// What was filled of it has hardly been read of late.
    Unused,
}

/// What an application found where it read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Found {
    /// Not told: it counts for the history alone.
    Untold,
    Hit,
    Miss,
    Error,
}

impl Why {
    /// Of what was asked for, by the caller or by the configuration.
    pub const fn certain(reason: Reason) -> Self {
        Self { reason, score: 1.0 }
    }
}

impl Planned {
    pub fn source(&self) -> Option<&Name> {
        self.wanted.entity().load().map(|load| &load.source)
    }
}

impl Status {
    pub const ALL: [Self; 7] =
        [Self::Accepted, Self::Completed, Self::Partial, Self::Coalesced, Self::Shed, Self::Disabled, Self::Planned];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Completed => "completed",
            Self::Partial => "partial",
            Self::Coalesced => "coalesced",
            Self::Shed => "shed",
            Self::Disabled => "disabled",
            Self::Planned => "planned",
        }
    }
}

impl Found {
    pub const ALL: [Self; 3] = [Self::Hit, Self::Miss, Self::Error];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Untold => "untold",
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Error => "error",
        }
    }
}
