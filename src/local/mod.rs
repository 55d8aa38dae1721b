//! This process's memory as a store: the embedded default of the demo and of an app's own CI, and what fast tests use.
//!
//! It keeps the same contract as Redis does, claims included. Bounded by bytes and by items; what was used least
//! recently goes first.

pub mod habits;
pub mod journal;
pub mod lease;
pub mod memory;
mod removal;
mod shelf;
mod tombstone;

/// Bounds of the memory store; both hold at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    pub bytes: usize,
    pub items: usize,
}
