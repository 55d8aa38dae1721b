//! The contract of a lease: the right to run one schedule, held by one process at a time.
//!
//! It decides about work, not about truth: fills are claimed in any case. Its validity is counted from the moment the
//! request was *sent*, since the server began to count before the answer came; and a margin is taken off for clocks that
//! run at different speeds.
//!
//! Why a trait: Redis and memory both keep leases, and tests lose them at will.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::domain::key::{Key, KeyError};
use crate::domain::store::StoreError;

pub trait Leases: Send + Sync {
    /// Takes the lease if nobody holds it, and counts its fence up, in one step. Where replicas are configured it is
    /// granted only once they know; else it is an error, and perhaps nobody's until it ends.
    fn acquire<'a>(&'a self, ask: &'a LeaseAsk) -> BoxFuture<'a, Result<Acquired, StoreError>>;

    /// Holds on to it for another `ask.ttl`; `Lost` where the lock is no longer the holder's own.
    fn renew<'a>(&'a self, ask: &'a LeaseAsk, fence: u64) -> BoxFuture<'a, Result<Renewed, StoreError>>;

    /// Gives it back, if it is still the holder's own.
    fn release<'a>(&'a self, ask: &'a LeaseAsk, fence: u64) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Once for each tick over the whole fleet: true for the first who asks.
    fn tick<'a>(&'a self, tick: &'a Key, life: Duration) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Writes beside the lock how far its work has come, unless a later lease was granted since.
    fn note<'a>(&'a self, lock: &'a Key, fence: u64, note: Progress) -> BoxFuture<'a, Result<Noted, StoreError>>;

    /// What was noted last.
    fn noted<'a>(&'a self, lock: &'a Key) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseAsk {
    /// The lock, as the configuration names it.
    pub lock: Key,
    /// The trace id of the run: the value of the lock, by which its owner is known.
    pub holder: String,
    /// What those who find the lease held are told of its holder.
    pub pod: String,
    pub ttl: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// A later lease has a higher one.
    pub fence: u64,
    pub validity: Validity,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acquired {
    Granted(Grant),
    /// Somebody holds it: their trace id, the name of their pod, and how long it stands unless it is renewed.
    Held {
        holder: String,
        pod: String,
        remaining: Duration,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    Until(Validity),
    Lost,
}

/// How far the work has come, in the flow's own words, and how long that is worth keeping.
#[derive(Clone, Debug)]
pub struct Progress {
    pub text: Bytes,
    pub life: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    Written,
    /// A later lease was granted: what it notes counts.
    Superseded,
}

/// The key of one tick of a schedule, in seconds since 1970: it says that somebody has it.
pub fn tick_key(group: &str, plan: &str, seconds: u64) -> Result<Key, KeyError> {
    Key::new(format!("hydrant:{{{group}:warm:{plan}}}:tick:{seconds}"))
}

/// The moment from which the lease could belong to somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Validity(Instant);

impl Validity {
    /// One part in so many is taken off: clocks that differ by more than that are broken.
    const DRIFT: u32 = 100;
    /// Taken off as well: the server rounds, and timers wake late.
    const SLACK: Duration = Duration::from_millis(50);

    /// The end of a lease that was asked for at `sent`. One that is too short to be of use is over at once.
    pub fn of(sent: Instant, ttl: Duration) -> Self {
        Self(sent + ttl.saturating_sub(ttl / Self::DRIFT).saturating_sub(Self::SLACK))
    }

    pub const fn end(self) -> Instant {
        self.0
    }

    pub fn left(self, now: Instant) -> Duration {
        self.0.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lease_ends_a_little_before_the_server_thinks_so() {
        let sent = Instant::now();
        let validity = Validity::of(sent, Duration::from_secs(30));
        assert_eq!(validity.left(sent), Duration::from_millis(29_650));
        assert_eq!(validity.left(sent + Duration::from_secs(30)), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_shorter_than_the_slack_is_over_at_once() {
        let sent = Instant::now();
        assert_eq!(Validity::of(sent, Duration::from_millis(40)).end(), sent);
    }
}
