//! Claim, fetch, commit: the one way a value gets into a store.

use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The longest life of one attempt: a claim stands this long if nothing more is heard of its fill.
    pub claim_life: Duration,
    /// Values' bytes in flight at once, over all fills.
    pub in_flight_bytes: usize,
}
