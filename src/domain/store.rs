//! The contract every store keeps: memory, a single Redis, a cluster. One conformance suite runs over all of them.
//!
//! A fill takes a *claim* before it reads the source, and its write is refused unless that very claim still stands.
//! Removing a key removes its claim in the same step. So an invalidation always beats a fill in flight, without clocks;
//! and a claim that was lost (eviction, failover, a broken connection) refuses the write, which is the safe way to be wrong.
//!
//! Why a trait: two stores are really used, Redis and memory; the simulator brings faults as a third.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::domain::key::Key;
use crate::domain::member_version::Version;
use crate::domain::tag::Tag;

pub trait Store: Send + Sync {
    /// Asks for the right to write one key for one fill. Any number of claims may be asked for at once; a store that
    /// reaches over the network sends what is in flight together.
    fn claim<'a>(&'a self, ask: ClaimAsk<'a>) -> BoxFuture<'a, Result<Claimed, StoreError>>;

    /// Writes a key into its tags, before its source is asked: one pass over a tag then meets every fill that began
    /// before the pass.
    fn register<'a>(&'a self, ask: Registration<'a>) -> BoxFuture<'a, Result<Registered, StoreError>>;

    /// Removes keys together with their claims, so that no fill in flight can bring an old value back. Answers how many
    /// held a value. It says nothing of replicas: that is the invalidation's business.
    fn remove<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<usize, StoreError>>;

    /// The values at the keys, in their order.
    fn read<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<Vec<Option<Held>>, StoreError>>;

    /// Whether the store can be reached, from memory: health and metrics ask, and must not wait.
    fn state(&self) -> StoreState;
}

/// The claim of one fill. Committing or aborting uses it up; one that is dropped ends by itself when its life is over.
pub trait Claim: Send + Sync {
    /// Writes the value if the claim still stands, and registers the member's aliases in the same step.
    fn commit(self: Box<Self>, write: Write) -> BoxFuture<'static, Result<Landing, StoreError>>;

    /// Remembers for a while that the source had nothing, if the claim still stands. The app's key stays absent; the
    /// memory sits where the claim was, so that an invalidation removes it too. Refused while a floor stands: absence
    /// has no version to hold against it.
    fn commit_absent(self: Box<Self>, ttl: Duration, rules: Rules)
    -> BoxFuture<'static, Result<Committed, StoreError>>;

    /// Gives the claim back, so that the next fill need not wait for its end.
    fn abort(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>>;
}

#[derive(Clone, Copy, Debug)]
pub struct ClaimAsk<'a> {
    pub key: &'a Key,
    /// How long the claim stands if nothing more is heard: the longest life of one attempt.
    pub life: Duration,
    pub mode: ClaimMode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimMode {
    /// Only where the key is missing, or has less than this left to live.
    Miss { renew_below: Duration },
    /// Even where the key is fresh or is remembered as absent.
    Refresh,
}

pub enum Claimed {
    /// Go and fetch.
    Held(Box<dyn Claim>),
    /// The key has a value that lives long enough.
    Fresh,
    /// The source had nothing a moment ago.
    Absent,
    /// Another fill holds the claim, taken this long ago.
    InFlight { age: Duration },
}

/// What one fill writes.
#[derive(Clone, Debug)]
pub struct Write {
    pub value: Bytes,
    pub ttl: Duration,
    pub rules: Rules,
    /// Registered in the key's index, as far as it has room.
    pub aliases: Vec<Key>,
    /// How long the registrations have to last: the longest life a value of this entity can have, and one attempt more.
    pub registered_for: Duration,
    /// The store is to remember the value as if nobody had touched it for so long, so that the first read shows.
    pub untouched_for: Option<Duration>,
}

/// What a write has to ask the key's tombstone first. Most entities have no rules, and pay for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// How new the value is, where the entity declares a version: below the floor it is refused.
    pub version: Option<Version>,
    /// The entity declares a version, so that a floor may stand.
    pub has_floor: bool,
    /// The source may answer old values for this long after a change: until then a value lives only as long as that.
    pub lag: Option<Duration>,
    /// Apps write this key too: the value's hash is left beside it while an invalidation is recent.
    pub is_shared: bool,
}

/// How a commit ended.
pub struct Landing {
    pub committed: Committed,
    /// The life the value was given: less than asked for where its source may lag.
    pub ttl: Duration,
    /// How many of the aliases found room in the index, from the first.
    pub aliases: usize,
    /// Where aliases were registered: whether the replicas know of them.
    pub confirmation: Option<Confirmation>,
    /// The value stands as if it had not been touched, as the write asked.
    pub is_marked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    Written,
    /// The value is older than what was declared invalid. Nothing was written.
    Superseded,
    /// The claim was gone: the member was invalidated, or somebody may have taken the claim over. Nothing was written.
    Fenced,
    /// The claim stood, but an app had written the key in the meantime; its value is kept.
    Kept,
}

/// A key and the tags under which it can be found again.
#[derive(Clone, Copy, Debug)]
pub struct Registration<'a> {
    pub key: &'a Key,
    /// At least one.
    pub tags: &'a [Tag],
    /// How long it has to last, as for aliases.
    pub life: Duration,
}

/// That a key stands in its tags.
pub struct Registered {
    /// How long ago the subject was told to be gone, where one of the tags is a subject's: plans that are older must not
    /// fill any more.
    pub gone: Option<Duration>,
    /// Whether the replicas know of it; to be awaited before the commit.
    pub confirmation: Confirmation,
}

/// Whether what was written has reached the replicas that are configured. It is asked when it is polled, so one that is
/// dropped costs nothing.
pub struct Confirmation(BoxFuture<'static, Confirmed>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// All of them have it; or none are configured.
    Yes,
    /// Not in time, or the connection that wrote is gone: nobody can say.
    Short,
}

/// A value and how long it will live; `None` for a key that has no end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub value: Bytes,
    pub ttl: Option<Duration>,
}

/// What went wrong below the store, as far as a caller can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Nothing was sent: the node's breaker is open, or there is no connection to it.
    #[error("the store cannot be reached")]
    Unreachable,
    /// Sent, and no answer in time: what was asked may or may not have happened.
    #[error("the store did not answer in time")]
    Timeout,
    /// The store refused: a redirect that must not be followed, out of memory, no permission.
    #[error("the store refused: {0}")]
    Refused(Refusal),
    /// Too much is waiting for it already.
    #[error("too much is waiting for the store")]
    Overloaded,
}

/// Why a store refuses, as a closed set: it becomes a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The slot is moving or has moved.
    Moved,
    /// A replica, a node that is loading, or a cluster that is down.
    NotServing,
    OutOfMemory,
    /// The user's ACL does not allow the command.
    NotAllowed,
    /// Authentication failed.
    BadCredentials,
    /// The functions that fills need are not installed.
    NoFunctions,
    /// The key holds something other than a string.
    WrongType,
    /// Anything else, to be read in the log.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreState {
    /// Every node answers.
    Up,
    /// Some do.
    Partial,
    /// None does, or none has been reached yet.
    Down,
}

impl Write {
    /// A value of an entity without aliases and rules.
    pub fn plain(value: Bytes, ttl: Duration) -> Self {
        Self { value, ttl, rules: Rules::default(), aliases: Vec::new(), registered_for: ttl, untouched_for: None }
    }
}

impl Landing {
    /// Of a commit that registered no aliases.
    pub const fn plain(committed: Committed, ttl: Duration) -> Self {
        Self { committed, ttl, aliases: 0, confirmation: None, is_marked: false }
    }
}

impl Confirmation {
    pub fn new(asking: impl Future<Output = Confirmed> + Send + 'static) -> Self {
        Self(Box::pin(asking))
    }

    /// Where nothing has to be asked: there are no replicas.
    pub fn given() -> Self {
        Self::new(std::future::ready(Confirmed::Yes))
    }
}

impl IntoFuture for Confirmation {
    type Output = Confirmed;
    type IntoFuture = BoxFuture<'static, Confirmed>;

    fn into_future(self) -> Self::IntoFuture {
        self.0
    }
}

impl Refusal {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Moved => "moved",
            Self::NotServing => "not_serving",
            Self::OutOfMemory => "out_of_memory",
            Self::NotAllowed => "not_allowed",
            Self::BadCredentials => "bad_credentials",
            Self::NoFunctions => "no_functions",
            Self::WrongType => "wrong_type",
            Self::Other => "other",
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
