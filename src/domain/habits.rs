//! Where subjects' histories are kept: one bounded hash a subject, in the subject's own slot.
//!
//! What the fields mean is `prehydrate/history`'s business. Reading one is one round trip and one bounded reply, writing
//! never lets it grow beyond bounds: one that somebody has flooded is read in part and said to be so, and the next write
//! at a login replaces it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::domain::key::{Key, KeyError};
use crate::domain::pseudonym::Pseudonym;
use crate::domain::store::StoreError;

pub trait Habits: Send + Sync {
    fn read<'a>(&'a self, subject: Pseudonym) -> BoxFuture<'a, Result<Reading, StoreError>>;

    /// Writes fields, as far as there is room for new ones, and lets the hash live so long from now. Nothing is written
    /// where the subject was told to be forgotten since the update was known.
    fn write<'a>(
        &'a self,
        subject: Pseudonym,
        update: &'a Update,
        life: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// When a key was read last, without counting as a read.
    fn look<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Sight, StoreError>>;
}

/// Fields of one history: what the longest that may be kept needs at a login (three an item, of 128), and a hundred reads
/// of other things on the visit after it.
pub const MAX_FIELDS: usize = 512;
/// Times so many fields are looked through for ours, where somebody else has written there too.
pub const MAX_STEPS: usize = 8;
/// No field of ours is longer: an item of 256 bytes, with what is said of it.
pub const MAX_NAME_BYTES: usize = 258;
/// Nor is a value: a number, or a moment.
pub const MAX_VALUE_BYTES: usize = 32;
/// For how long it is known that a subject was forgotten: longer than a plan takes, and than a report of a read may be
/// late.
pub const FORGOTTEN_FOR: Duration = Duration::from_secs(3_660);

/// Names and values of a hash's fields.
pub type Fields = Vec<(Bytes, Bytes)>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub fields: Fields,
    /// There is more, which nobody of ours has written.
    pub is_flooded: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    pub set: Vec<(String, String)>,
    pub remove: Vec<Bytes>,
    /// Everything else goes as well.
    pub from_scratch: bool,
    /// How long it has been known. A subject that was forgotten since stays so.
    pub age: Duration,
}

/// The key of a subject's history, which applications compute too.
pub fn key(group: &str, subject: Pseudonym) -> Result<Key, KeyError> {
    Key::new(format!("hydrant:{{{group}:{subject}}}:history"))
}

/// A key as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    pub touched: Touched,
    /// What is left of its life; none where it has no end, or is not there.
    pub left: Option<Duration>,
}

/// What a key's own clock says of its readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touched {
    /// Read or written last, this long ago, to the second.
    Idle(Duration),
    /// How often it was read, on a scale of the server's that begins low, hardly grows, and falls with time.
    Frequency(u64),
    /// The key is not there, or the server cannot say.
    Unknown,
}

impl Sight {
    pub const NOTHING: Self = Self { touched: Touched::Unknown, left: None };
}
