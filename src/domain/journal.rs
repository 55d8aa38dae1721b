//! Invalidations accepted but not yet carried out, kept where other sidecars find them.
//!
//! An intent is written before anything is removed, and taken off when all of it is confirmed. One that stays behind,
//! because its sidecar died or a node is away, is repeated by whoever holds its part of the journal: repeating is
//! harmless. What an intent says is the flow's own business; the journal keeps bytes.
//!
//! Beside an intent its job's standing can be noted, for those who ask what became of it; it outlives the intent.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::domain::random::Nonce;
use crate::domain::store::{Confirmation, StoreError};

pub trait Journal: Send + Sync {
    /// Writes an intent to the first part of the journal that takes it, beginning with one chosen at random.
    fn record<'a>(&'a self, intent: Bytes) -> BoxFuture<'a, Result<Recorded, StoreError>>;

    /// Takes an intent off; a last note may stay for those who ask.
    fn finish<'a>(&'a self, id: &'a JobId, note: Option<Note>) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Notes how a job stands.
    fn note<'a>(&'a self, id: &'a JobId, note: Note) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Whether the intent is still there, and what was noted last.
    fn standing<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, Result<Standing, StoreError>>;

    /// How many parts there are; they are numbered from 0.
    fn parts(&self) -> u8;

    /// Takes or renews the right to repeat what one part holds. One sidecar has it at a time, as a matter of economy.
    fn hold<'a>(&'a self, part: u8, holder: Nonce, life: Duration) -> BoxFuture<'a, Result<Hold, StoreError>>;

    /// The oldest intents of one part that are older than this by the server's clock, at most so many; those that come
    /// after one of them, where it is named.
    fn due<'a>(
        &'a self,
        part: u8,
        after: Option<&'a JobId>,
        older_than: Duration,
        limit: u16,
    ) -> BoxFuture<'a, Result<Vec<Due>, StoreError>>;

    /// How many intents wait in each part, as far as it can be asked.
    fn backlog<'a>(&'a self) -> BoxFuture<'a, Vec<Result<u64, StoreError>>>;
}

/// The name of a job: which part of the journal, and which entry. Opaque to callers.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(String);

pub const MAX_JOB_ID_BYTES: usize = 128;

pub struct Recorded {
    pub id: JobId,
    /// Only once the replicas know of it may somebody be told that the fleet will finish it.
    pub confirmation: Confirmation,
}

/// How a job stands, as its worker wrote it, and how long that is worth keeping.
#[derive(Clone, Debug)]
pub struct Note {
    pub text: Bytes,
    pub life: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The intent, while it is not finished.
    pub intent: Option<Bytes>,
    pub note: Option<Bytes>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    Held,
    /// Somebody else has it, for so long.
    Taken {
        left: Duration,
    },
}

#[derive(Clone, Debug)]
pub struct Due {
    pub id: JobId,
    pub intent: Bytes,
    /// Since it was recorded, by the server's clock.
    pub age: Duration,
}

impl JobId {
    /// Letters, digits, `-`, `_` and `:`.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let fits = !text.is_empty() && text.len() <= MAX_JOB_ID_BYTES;
        let clean = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ':'));
        (fits && clean).then_some(Self(text))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
