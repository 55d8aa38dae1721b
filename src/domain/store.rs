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

pub trait Store: Send + Sync {
    /// Asks for the right to write one key for one fill. Any number of claims may be asked for at once; a store that
    /// reaches over the network sends what is in flight together.
    fn claim<'a>(&'a self, ask: ClaimAsk<'a>) -> BoxFuture<'a, Result<Claimed, StoreError>>;

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
    /// Writes the value if the claim still stands.
    fn commit(self: Box<Self>, value: Bytes, ttl: Duration) -> BoxFuture<'static, Result<Committed, StoreError>>;

    /// Remembers for a while that the source had nothing, if the claim still stands. The app's key stays absent; the
    /// memory sits where the claim was, so that an invalidation removes it too.
    fn commit_absent(self: Box<Self>, ttl: Duration) -> BoxFuture<'static, Result<Committed, StoreError>>;

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    Written,
    /// The claim was gone: the member was invalidated, or somebody may have taken the claim over. Nothing was written.
    Fenced,
    /// The claim stood, but an app had written the key in the meantime; its value is kept.
    Kept,
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
