//! What an invalidation asks of a store, beyond the plain removal of `Store`.
//!
//! The order is the promise. A key and its claim go first, and only then is its index read: a fill registers its aliases
//! in the same step that writes the key, so whatever the removal did not meet stands in the index that is read after it.
//! What has to be there before the key goes (a floor, a mark for the writes that follow) is set before.
//!
//! Why a trait: Redis and memory, as for `Store`; the flow that composes these steps knows neither.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::broadcast;

use crate::domain::key::Key;
use crate::domain::member_version::Version;
use crate::domain::pseudonym::Pseudonym;
use crate::domain::random::Nonce;
use crate::domain::store::{Confirmation, StoreError};
use crate::domain::tag::Tag;

pub trait Removal: Send + Sync {
    /// Removes keys with their claims, and reads what their indexes name. Every key is tried, whatever becomes of another.
    fn erase<'a>(&'a self, erasures: &'a [Erasure]) -> BoxFuture<'a, Erased>;

    /// Writes a value past any claim, and voids it: only for a value that its owner gave, with its version.
    fn replace<'a>(&'a self, replacement: Replacement<'a>) -> BoxFuture<'a, Result<Replaced, StoreError>>;

    /// Voids the claim, and lets the value live for the grace at most. Answers whether there was one.
    fn soften<'a>(&'a self, key: &'a Key, grace: Duration) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Removes what an app wrote back after the invalidation that left `mark`: a value that no fill wrote since, and only
    /// while that invalidation is the key's newest. Answers whether there was one.
    fn weed<'a>(&'a self, key: &'a Key, mark: Nonce) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Some of the keys registered under a tag, beginning where the last page ended.
    fn tagged<'a>(&'a self, tag: &'a Tag, from: TagPlace) -> BoxFuture<'a, Result<TagPage, StoreError>>;

    /// Leaves a tombstone for a subject: registrations learn from it how long ago the subject was told to be gone.
    fn bury<'a>(&'a self, subject: Pseudonym, life: Duration) -> BoxFuture<'a, Result<Confirmation, StoreError>>;

    /// The primaries there are now. A store of one place has one.
    fn primaries(&self) -> Vec<Primary>;

    /// One step of a scan over one primary.
    fn scan<'a>(&'a self, step: ScanStep<'a>) -> BoxFuture<'a, Result<ScanPage, StoreError>>;

    /// Takes some members that have ended out of one index or tag; answers how many. A store that does so by itself has
    /// nothing to do.
    fn trim<'a>(&'a self, _name: &'a [u8]) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(std::future::ready(Ok(0)))
    }

    /// Tells when what was acknowledged may have been undone: slots that have another primary, a primary that restarted.
    /// Whoever lags has to take it that everything moved.
    fn upheavals(&self) -> broadcast::Receiver<Upheaval>;
}

/// One key to remove.
#[derive(Clone, Debug)]
pub struct Erasure {
    pub key: Key,
    /// The member has aliases: read its index.
    pub has_index: bool,
    pub mark: Option<Mark>,
}

/// What is left beside a key for the commits, replacements and sweeps that come after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The invalidation that left it.
    pub nonce: Nonce,
    /// One for all marks of an entity, so that its age can be told by what is left of it.
    pub life: Duration,
    /// The oldest version that may be cached from now on. None where the caller named none: then it is not known how new
    /// the source is, and a replacement that comes while the mark stands is not believed.
    pub floor: Option<Version>,
}

/// What became of each key, in the order asked for, and one confirmation for all that was removed.
pub struct Erased {
    pub keys: Vec<Result<Gone, StoreError>>,
    pub confirmation: Confirmation,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// There was a value.
    pub held: bool,
    /// There was a claim, or the memory that the source had none.
    pub fenced: bool,
    /// What the index names.
    pub aliases: Vec<Key>,
}

#[derive(Clone, Debug)]
pub struct Replacement<'a> {
    pub key: &'a Key,
    pub value: Bytes,
    pub ttl: Duration,
    pub version: Version,
    pub mark: Nonce,
    /// The life of the entity's marks.
    pub life: Duration,
}

pub enum Replaced {
    Written(Confirmation),
    /// A newer version is known, or an invalidation that named none: the key is left removed.
    Superseded(Confirmation),
}

/// Where to go on reading a tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TagPlace {
    pub shard: u8,
    pub cursor: u64,
    /// Whose word the cursor is: it means nothing to another server, nor to the same one in another life.
    pub server: u64,
}

#[derive(Clone, Debug)]
pub struct TagPage {
    pub keys: Vec<Key>,
    /// None after the last.
    pub next: Option<TagPlace>,
}

/// A primary and which life of it: after a restart it is another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Primary {
    /// Its address, for people.
    pub name: String,
    pub run: String,
}

#[derive(Clone, Copy, Debug)]
pub struct ScanStep<'a> {
    pub primary: &'a Primary,
    pub cursor: u64,
    /// In Redis's notation.
    pub pattern: &'a str,
    /// About how many keys to look at.
    pub count: u32,
}

#[derive(Clone, Debug)]
pub struct ScanPage {
    /// Everything that matches, Hydrant's own keys included, as bytes.
    pub keys: Vec<Bytes>,
    /// None when this primary has been gone through.
    pub next: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upheaval {
    /// These slots (from, to, both included) have another primary than before.
    Moved { slots: Vec<(u16, u16)> },
    /// Met on its way to another primary: what was removed since the move began, which may be some time ago, may have a
    /// copy that comes to light when the slot has moved.
    Moving { slot: u16 },
    /// The primary lost its memory and may have brought back an older one.
    Restarted { primary: Primary },
}

impl fmt::Display for Primary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
