//! What has changed must go: from typed request to `DONE`, or to `PENDING` with a job that somebody will finish.

pub mod jobs;
pub mod metrics;
pub mod request;
pub mod spool;
pub mod sweep;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;

use crate::domain::clock::Clock;
use crate::domain::error::{Error, Kind};
use crate::domain::journal::Journal;
use crate::domain::key::Key;
use crate::domain::random::Random;
use crate::domain::removal::Removal;
use crate::domain::store::Store;
use crate::fill::Filler;
use crate::fill::settings::Live;
use crate::invalidate::jobs::Job;
use crate::invalidate::metrics::Metrics;
use crate::invalidate::request::{Answer, Request};
use crate::tasks::Tasks;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The sidecars that share one configuration.
    pub group: String,
    /// This pod's name, for those who ask who works on a job.
    pub pod: String,
    /// The longest life of a claim in the whole fleet.
    pub claim_life: Duration,
    /// Where intents are kept that the journal would not take; none: they are kept in memory, and promised to nobody.
    pub spool: Option<spool::Config>,
}

/// What the flow works on.
#[derive(Clone)]
pub struct Hands {
    pub store: Arc<dyn Store>,
    pub removal: Arc<dyn Removal>,
    pub journal: Arc<dyn Journal>,
    pub filler: Filler,
}

/// What the process lends to every flow.
#[derive(Clone)]
pub struct Means {
    pub live: Live,
    pub tasks: Tasks,
    pub clock: Clock,
    pub random: Random,
    pub metrics: Metrics,
}

/// Drops what this process remembers of some keys: its local tier, its flights.
pub type Forget = Arc<dyn Fn(&[Key]) + Send + Sync>;

/// The states of a job as they change; ends after the final one.
pub type Watched = Pin<Box<dyn Stream<Item = Job> + Send>>;

/// The flow's handle; cloning shares it.
#[derive(Clone)]
pub struct Invalidate {
    _config: Arc<Config>,
    _hands: Hands,
    _means: Means,
    _forget: Forget,
}

impl Invalidate {
    pub fn new(config: Config, hands: Hands, means: Means, forget: Forget) -> Self {
        Self { _config: Arc::new(config), _hands: hands, _means: means, _forget: forget }
    }

    /// Begins what goes on beside the calls: what the spool holds, what other sidecars left behind, what an upheaval may
    /// have undone. To be called once, before the first fill.
    pub fn start(&self) {}

    /// Checks, records, removes, and answers at `until` at the latest. An error says that nothing was promised.
    pub async fn run(&self, _request: Request) -> Result<Answer, Error> {
        Err(Error::new(Kind::NotBuilt, "invalidation is being built"))
    }

    pub async fn job(&self, _id: &str) -> Result<Job, Error> {
        Err(Error::new(Kind::NotBuilt, "invalidation is being built"))
    }

    pub async fn watch(&self, _id: &str) -> Result<Watched, Error> {
        Err(Error::new(Kind::NotBuilt, "invalidation is being built"))
    }
}
