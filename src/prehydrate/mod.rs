//! Fill for one subject because a caller asked, before the app needs it.

use std::time::Duration;

use crate::domain::entity::Name;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Filled at every login, named or not.
    pub always: Vec<Name>,
    /// One plan's time, fetches and writes together.
    pub deadline: Duration,
    /// Plans under way at once.
    pub in_flight: usize,
    /// Longest a plan may wait for its turn before it is shed.
    pub queue: Duration,
    /// Items of one plan.
    pub items: usize,
}
