//! A member that an invalidation has removed, to the end: its key and its aliases are gone and the replicas know it.
//!
//! It is what one flow may tell another of, so that somebody can look afterwards whether it holds.

use crate::domain::key::Key;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cleared {
    /// The member's own.
    pub key: Key,
    /// Those that its index named, and those that the caller did.
    pub aliases: Vec<Key>,
}
