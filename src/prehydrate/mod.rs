//! Fill for one subject because a caller asked, before the app needs it.

pub mod request;

use std::time::Duration;

use crate::domain::entity::Name;
use crate::domain::error::{Error, Kind};
use crate::prehydrate::request::{Report, Request};

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

/// The flow's handle; cloning shares it.
#[derive(Clone)]
pub struct Prehydrate {}

impl Prehydrate {
    /// Checks, queues and, where the caller waits, reports. An error says that the call itself could not be served; a
    /// resource that fails is a line of the report.
    pub async fn run(&self, request: Request) -> Result<Report, Error> {
        let _ = request;
        Err(Error::new(Kind::NotBuilt, "not built"))
    }
}
