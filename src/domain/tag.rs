//! Tags: names under which keys are registered, so that they can be removed together.
//!
//! A tag is known before the source is asked: it comes from the request, never from the answer. Its keys are spread over
//! a fixed number of shards, so that no set grows without end and no slot carries all of a tenant. A subject has a tag
//! of its own in one slot, because what is registered there is compared with the subject's tombstone in the same step.

use std::fmt;

use crate::domain::key::{Key, KeyError};
use crate::domain::pseudonym::Pseudonym;

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tag {
    /// As a template of the configuration forms it.
    Declared(Text),
    /// Everything of subject scope that belongs to one user.
    Subject(Pseudonym),
}

/// The text of a declared tag.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(String);

/// Enough to spread a tag of a million keys over a cluster; few enough that reading an empty tag is cheap.
const SHARDS: u8 = 16;
pub const MAX_TAG_BYTES: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    #[error("a tag cannot be empty")]
    Empty,
    #[error("a tag is at most {MAX_TAG_BYTES} bytes")]
    TooLong,
    #[error("a tag cannot hold braces or control characters")]
    BadCharacter,
}

impl Tag {
    pub fn declared(text: impl Into<String>) -> Result<Self, TagError> {
        let text = text.into();
        match text.len() {
            0 => return Err(TagError::Empty),
            n if n > MAX_TAG_BYTES => return Err(TagError::TooLong),
            _ => {}
        }
        if text.chars().any(|c| matches!(c, '{' | '}') || c.is_control()) {
            return Err(TagError::BadCharacter);
        }
        Ok(Self::Declared(Text(text)))
    }

    pub const fn shards(&self) -> u8 {
        match self {
            Self::Declared(_) => SHARDS,
            Self::Subject(_) => 1,
        }
    }

    /// The shard in which a key is registered: the same for every sidecar, for ever.
    pub fn shard_of(&self, key: &Key) -> u8 {
        (key.slot() % u16::from(self.shards())) as u8
    }

    /// Where the shard's set stands.
    pub fn key(&self, group: &str, shard: u8) -> Result<Key, KeyError> {
        match self {
            Self::Declared(Text(text)) => Key::new(format!("hydrant:{{{group}:{shard}:{text}}}:tag")),
            Self::Subject(subject) => Key::new(format!("hydrant:{{{group}:{subject}}}:tag")),
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Declared(Text(text)) => f.write_str(text),
            Self::Subject(subject) => write!(f, "subject:{subject}"),
        }
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A tag may hold what an operator must not see in a log: a user's name.
            Self::Declared(Text(text)) => write!(f, "Tag({} bytes)", text.len()),
            Self::Subject(subject) => write!(f, "Tag(subject {subject})"),
        }
    }
}
