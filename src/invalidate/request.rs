//! What a caller asks of an invalidation and what it is told: the flow's own words, which the doors convert to and from.
//!
//! There is nothing between done and pending: [`State`] has no third case, and what is neither is an error.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::domain::journal::JobId;
use crate::domain::member_version::Version;
use crate::domain::subject::Subject;
use crate::domain::template::Params;
use crate::domain::trace::{TraceContext, TraceId};

/// They share one answer, and one intent in the journal.
pub const MAX_TARGETS: usize = 64;
/// Of one `keys` target.
pub const MAX_KEYS: usize = 256;
/// Of one member: an account that changed its e-mail, name and telephone has six, old and new.
pub const MAX_KNOWN_ALIASES: usize = 32;
pub const MAX_PATTERN_BYTES: usize = 512;
pub const MAX_REASON_BYTES: usize = 256;
/// An answer is for people; the job tells the rest.
pub const MAX_SAMPLE: usize = 20;

#[derive(Clone, Debug)]
pub struct Request {
    pub targets: Vec<Target>,
    pub mode: Mode,
    pub effect: Effect,
    /// Why, in a few words; for logs and jobs. It must not hold personal data.
    pub reason: String,
    /// The tenants that it stays within, by their names; empty where nobody knows.
    pub within: Vec<String>,
    pub trace: TraceContext,
    /// Answer by then, with what is so by then; what has begun runs on.
    pub until: Instant,
}

#[derive(Clone, Debug)]
pub enum Target {
    Member(MemberTarget),
    /// Exactly as they are in Redis.
    Keys(Vec<String>),
    /// As the configuration's templates form it.
    Tag(String),
    /// Everything of subject scope that belongs to one user. A door that was shown a cookie has read it already.
    Subject {
        subject: Subject,
        history: History,
    },
    /// A glob in Redis's notation.
    Pattern(String),
    /// Everything of these entities; of all, where none is named.
    All {
        entities: Vec<String>,
    },
}

#[derive(Clone, Debug)]
pub struct MemberTarget {
    pub entity: String,
    /// The alias that the parameters speak of; none for the entity's own key.
    pub alias: Option<String>,
    pub params: Params,
    /// Values that the caller knows, old and new.
    pub known_aliases: Vec<KnownAlias>,
    pub min_version: Option<Stated>,
    pub replacement: Option<NewValue>,
}

#[derive(Clone, Debug)]
pub struct KnownAlias {
    pub alias: String,
    pub params: Params,
}

/// A value as the source would answer it.
#[derive(Clone)]
pub struct NewValue {
    pub value: Bytes,
    pub version: Option<Stated>,
}

/// A version as a caller states it, before it is known which kind the entity uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stated {
    Number(i64),
    /// Since 1970.
    Time(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    Keep,
    /// What this user reads is forgotten as well.
    Forget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Real,
    /// Say what would be concerned, and change nothing.
    Preview,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    #[default]
    Remove,
    /// Remove, then load again what was cached, with a service credential.
    Refresh,
    /// Write the value given, and drop every other copy.
    Replace,
    /// Let old values live for the entity's grace, and load them again.
    Soft,
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub trace: TraceId,
    pub state: State,
    /// Over all targets. While pending: so far.
    pub counts: Counts,
    /// In the order of the targets.
    pub target_counts: Vec<Counts>,
    /// At most [`MAX_SAMPLE`], with hashes for secret ids.
    pub sample_keys: Vec<String>,
    pub change: Option<Change>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Done { elapsed: Duration },
    Pending { job: JobId, durability: Durability, cause: Cause },
    Preview { exactness: Exactness },
}

/// What the record of a pending invalidation survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// It is in Redis, and its replicas know it: any sidecar can finish it.
    Fleet,
    /// It is on this pod's disk.
    Pod,
}

/// Why an invalidation is pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A node that holds keys of it cannot be reached, or refuses.
    NodeUnavailable,
    /// Gone from the primary, but not enough replicas have confirmed it.
    ReplicasLate,
    /// Slots are moving.
    Topology,
    /// Redis is being scanned.
    Sweep,
    /// The deadline came first.
    Deadline,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exactness {
    Counted,
    /// Redis would have to be scanned to know.
    Estimated,
}

/// In keys; Hydrant's own beside them do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Belonging to the targets, whether they existed or not; for scans: found.
    pub matched: u64,
    /// Existed, and were removed or shortened.
    pub removed: u64,
    /// Queued to be loaded again.
    pub refreshing: u64,
    /// Written with a given value.
    pub replaced: u64,
    /// Given values not written, because a newer version is known.
    pub superseded: u64,
    /// Fills in flight that were voided.
    pub fenced: u64,
}

/// A place in the sequence of changes that this sidecar publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub incarnation: String,
    pub sequence: u64,
}

impl Stated {
    /// In the one currency of versions: the number itself, or microseconds since 1970.
    pub fn version(self) -> Option<Version> {
        match self {
            Self::Number(number) => Version::new(u64::try_from(number).ok()?),
            Self::Time(since) => Version::new(u64::try_from(since.as_micros()).ok()?),
        }
    }
}

impl Mode {
    pub const ALL: [Self; 4] = [Self::Remove, Self::Refresh, Self::Replace, Self::Soft];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Remove => "remove",
            Self::Refresh => "refresh",
            Self::Replace => "replace",
            Self::Soft => "soft",
        }
    }
}

impl Durability {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fleet => "fleet",
            Self::Pod => "pod",
        }
    }
}

impl Cause {
    pub const ALL: [Self; 5] = [Self::NodeUnavailable, Self::ReplicasLate, Self::Topology, Self::Sweep, Self::Deadline];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NodeUnavailable => "node_unavailable",
            Self::ReplicasLate => "replicas_late",
            Self::Topology => "topology",
            Self::Sweep => "sweep",
            Self::Deadline => "deadline",
        }
    }
}

impl Counts {
    pub fn add(&mut self, more: &Self) {
        let Self { matched, removed, refreshing, replaced, superseded, fenced } = more;
        self.matched += matched;
        self.removed += removed;
        self.refreshing += refreshing;
        self.replaced += replaced;
        self.superseded += superseded;
        self.fenced += fenced;
    }
}

/// Without the value, which is secret.
impl fmt::Debug for NewValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewValue({} bytes, {:?})", self.value.len(), self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_number_or_microseconds_and_never_negative() {
        assert_eq!(Stated::Number(7).version(), Version::new(7));
        assert_eq!(Stated::Time(Duration::from_millis(3)).version(), Version::new(3_000));
        assert_eq!(Stated::Number(-1).version(), None);
        assert_eq!(Stated::Number(i64::MAX).version(), None);
    }
}
