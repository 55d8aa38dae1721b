//! Words and pure decisions: what Hydrant talks about, with no way to reach Redis, a backend or the wire.
//!
//! Modules are listed in the order data meets them. Nothing here reads a clock, draws a random number or formats a
//! gRPC status by itself: time, randomness and hashers come in as arguments, so that a simulation can repeat a run.

pub mod backoff;
pub mod breaker;
pub mod bucket;
pub mod budget;
pub mod caller;
pub mod catalog;
pub mod cleared;
pub mod clock;
pub mod declared_version;
pub mod detect;
pub mod entity;
pub mod error;
pub mod field;
pub mod glob;
pub mod habits;
pub mod journal;
pub mod json;
pub mod key;
pub mod lease;
pub mod listing;
pub mod member_version;
pub mod mutant;
pub mod outcome;
pub mod pace;
pub mod phase;
pub mod projection;
pub mod pseudonym;
pub mod query;
pub mod random;
pub mod removal;
pub mod secret;
pub mod shards;
pub mod shown;
pub mod source;
pub mod store;
pub mod subject;
pub mod switch;
pub mod tag;
pub mod template;
pub mod trace;
pub mod ttl;
pub mod version;
pub mod watched;
