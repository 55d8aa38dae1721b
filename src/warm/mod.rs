//! Fill because the schedule says so: plans of steps, run by one sidecar at a time under a lease.
//!
//! The story: a run is asked for (by a call), is due (by a `schedule`), or follows the start of a sidecar (`ticker`). It
//! takes its plan's lease (`run`) and holds on to it (`tenure`); goes step by step (`step`), each filling the members
//! that a listing names (`fill`) at a pace that leaves the sources to live traffic; notes how far it is (`checkpoint`) so
//! that another can go on; and tells of it all the while (`events`, `jobs`). Values are claimed and fetched one by one
//! like everybody's: a listing only names members. A plan that is shared is cut into shards (`wide`), which the workers
//! of all sidecars carry out (`worker`).

pub mod checkpoint;
mod course;
pub mod events;
mod fill;
pub mod jobs;
pub mod metrics;
pub mod plan;
mod preview;
pub mod request;
mod run;
pub mod schedule;
mod shard;
mod step;
pub mod tagged;
mod tally;
mod tenure;
mod ticker;
mod wide;
mod worker;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;
use tracing::{Instrument, Span};

use crate::domain::clock::Clock;
use crate::domain::entity::Name;
use crate::domain::error::{Error, FieldError, Kind};
use crate::domain::lease::Leases;
use crate::domain::random::Random;
use crate::domain::shards::Shards;
use crate::domain::trace::TraceContext;
use crate::fill::Filler;
use crate::fill::settings::Live;
use crate::tasks::Tasks;
use crate::warm::events::{MAX_PLANS, Sink};
use crate::warm::jobs::{Board, Job};
use crate::warm::metrics::Metrics;
use crate::warm::plan::{Plan, Plans, Ready};
use crate::warm::request::{Effect, Event, Request};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The sidecars that share one configuration.
    pub group: String,
    /// This pod's name, for those who ask who holds a lease.
    pub pod: String,
}

/// What the flow works with, made elsewhere.
pub struct Tools {
    pub leases: Arc<dyn Leases>,
    /// None where there is nobody to share with.
    pub shards: Option<Arc<dyn Shards>>,
    pub filler: Filler,
    pub live: Live,
    pub tasks: Tasks,
    pub clock: Clock,
    pub random: Random,
    pub adopt: Adopt,
    pub metrics: Metrics,
}

/// Ties a span to a trace, and answers the context that stands for it.
pub type Adopt = Arc<dyn Fn(&Span, Option<TraceContext>) -> TraceContext + Send + Sync>;

/// Calls under way at once; each may run for long, and plans of one lock run one after the other anyway.
const IN_FLIGHT: usize = 16;
/// When a call that found no place may try again.
const RETRY: Duration = Duration::from_secs(1);

/// The flow's handle; cloning shares it.
#[derive(Clone)]
pub struct Warm(Arc<Inner>);

struct Inner {
    config: Config,
    plans: watch::Sender<Arc<Plans>>,
    tools: Tools,
    board: Board,
    /// Plans for whose first run a sidecar's readiness waits.
    first_runs: watch::Sender<BTreeSet<Name>>,
    in_flight: Arc<Semaphore>,
}

impl Warm {
    /// Begins to run what is due.
    pub fn start(config: Config, plans: Plans, tools: Tools) -> Self {
        let waited_for = |plan: &&Plan| plan.when.start.is_some() && matches!(plan.ready, Ready::After { .. });
        let first_runs = plans.plans.iter().filter(waited_for).map(|plan| plan.name.clone()).collect();
        let warm = Self(Arc::new(Inner {
            config,
            plans: watch::Sender::new(Arc::new(plans)),
            tools,
            board: Board::default(),
            first_runs: watch::Sender::new(first_runs),
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT)),
        }));
        let plans = warm.0.plans.borrow().clone();
        for plan in &plans.plans {
            if let Some(after) = plan.when.start {
                ticker::start(&warm, plan, after);
            }
        }
        if let Some(shards) = warm.0.tools.shards.clone() {
            warm.0.tools.tasks.live("warm-up shards", worker::keep(warm.clone(), shards));
        }
        warm.0.tools.tasks.live("warm-up schedule", ticker::keep(warm.clone()));
        warm
    }

    /// Puts new plans in force. A run that has begun keeps the one it began with.
    pub fn reconfigure(&self, plans: Plans) {
        self.0.plans.send_replace(Arc::new(plans));
    }

    /// Waits for the first runs that readiness depends on, each for as long as its plan says.
    pub async fn wait_until_ready(&self) {
        let plans = self.0.plans.borrow().clone();
        let longest = plans.plans.iter().filter_map(|plan| match plan.ready {
            Ready::After { longest } => Some(longest),
            Ready::Before => None,
        });
        let Some(longest) = longest.max() else { return };
        let mut pending = self.0.first_runs.subscribe();
        if timeout(longest, pending.wait_for(BTreeSet::is_empty)).await.is_err() {
            tracing::warn!(?longest, "the first warm-up takes too long; this sidecar is ready without it");
        }
    }

    /// Begins to run the plans, one after the other, and tells how they go. Whoever stops listening stops nothing.
    pub fn run(&self, request: Request) -> Result<mpsc::Receiver<Event>, Error> {
        let plans = self.0.plans.borrow().clone();
        let chosen = choose(&plans, &request.plans)?;
        let Ok(place) = self.0.in_flight.clone().try_acquire_owned() else { return Err(Error::shed(RETRY)) };
        let (sink, events) = events::channel(self.0.tools.clock);
        let inner = self.0.clone();
        let work = async move {
            for plan in chosen.iter().filter_map(|name| plans.named(name.as_str())) {
                inner.serve(&plans, plan, &request, &sink).await;
            }
            drop(place);
        };
        // Detached: what has begun goes on, whoever hangs up.
        self.0.tools.tasks.finish(work.in_current_span());
        Ok(events)
    }

    pub fn job(&self, id: &str) -> Result<Job, Error> {
        self.0.board.see(id).ok_or_else(unknown_job)
    }

    pub fn watch(&self, id: &str) -> Result<impl Stream<Item = Job> + Send + Unpin + 'static, Error> {
        self.0.board.watch(id).ok_or_else(unknown_job)
    }
}

impl Inner {
    async fn serve(&self, plans: &Plans, plan: &Plan, request: &Request, sink: &Sink) {
        match request.effect {
            Effect::Preview => self.preview(plans, plan, request.trace, sink).await,
            Effect::Run => drop(self.run(plans, plan, request, sink).await),
        }
    }
}

/// The plans asked for by their names, or all; refused as a whole where one is not declared.
fn choose(plans: &Plans, asked: &[String]) -> Result<Vec<Name>, Error> {
    if plans.plans.is_empty() && asked.is_empty() {
        return Err(Error::new(Kind::NotConfigured, "no plan is configured"));
    }
    let unknown = asked.iter().enumerate().filter(|(_, name)| plans.named(name).is_none());
    let fields: Vec<FieldError> =
        unknown.map(|(at, _)| FieldError::new(format!("plans[{at}]"), "no such plan is configured")).collect();
    if !fields.is_empty() {
        return Err(Error { kind: Kind::UnknownPlan, ..Error::fields(fields) });
    }
    let all = || plans.plans.iter().take(MAX_PLANS).map(|plan| plan.name.clone()).collect();
    let named = asked.iter().filter_map(|name| Some(plans.named(name)?.name.clone()));
    Ok(if asked.is_empty() { all() } else { named.collect() })
}

fn unknown_job() -> Error {
    Error::new(Kind::UnknownJob, "no run of a plan has this id here")
}
