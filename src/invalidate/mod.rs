//! What has changed must go: from a typed request to `DONE`, or to `PENDING` with a job that somebody will finish.
//!
//! The story: work out what is meant, drop what this process remembers of it, write the intent down, erase the members'
//! keys, then what their indexes name, wait for the replicas, take the intent off, answer. It runs on a task of its own,
//! so that a caller who hangs up leaves nothing half done; and at the deadline the caller is told what is certain by
//! then. What was begun and is recorded nowhere has no third answer: it is an error, which says that nothing was promised.

mod ask;
mod board;
mod intent;
pub mod janitor;
pub mod jobs;
pub mod metrics;
mod note;
mod preview;
pub mod recent;
mod record;
mod refill;
pub mod request;
mod resolve;
mod rules;
pub mod spool;
pub mod sweep;
mod takeover;
mod tally;
mod todo;
mod tools;
mod upheaval;
mod weed;
mod work;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use crate::domain::cleared::Cleared;
use crate::domain::clock::Clock;
use crate::domain::error::{Error, Kind};
use crate::domain::journal::Journal;
use crate::domain::key::Key;
use crate::domain::random::Random;
use crate::domain::removal::Removal;
use crate::domain::store::Store;
use crate::domain::trace::TraceContext;
use crate::fill::Filler;
use crate::fill::settings::Live;
use crate::invalidate::intent::Intent;
use crate::invalidate::jobs::Job;
use crate::invalidate::metrics::{Ended, Metrics};
use crate::invalidate::recent::Recent;
use crate::invalidate::record::{Books, Promise, Record};
use crate::invalidate::request::{Answer, Cause, Durability, Effect, Request, State};
use crate::invalidate::resolve::{Resolved, resolve};
use crate::invalidate::spool::{Spool, SpoolError};
use crate::invalidate::sweep::pace::Rates;
use crate::invalidate::tally::Tally;
use crate::invalidate::tools::Tools;
use crate::invalidate::work::{Shut, Stage, Work, Worker};
use crate::tasks::Tasks;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The sidecars that share one configuration.
    pub group: String,
    /// This pod's name, for those who ask who works on a job.
    pub pod: String,
    /// The longest life of a claim in the whole fleet.
    pub claim_life: Duration,
    pub rates: Rates,
    /// Members loaded again at once after REFRESH and SOFT: the apps' own misses and the prehydrations need the sources
    /// more.
    pub refreshes: usize,
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

/// Drops what this process remembers of some keys, beside the filler: its local tier.
pub type Forget = Arc<dyn Fn(&[Key]) + Send + Sync>;

/// Hears of some of the members that an invalidation has cleared, when all of it is done. It must not wait.
pub type Report = Arc<dyn Fn(Vec<Cleared>) + Send + Sync>;

/// The states of a job as they change; ends after the final one, or with an error where there will be none.
pub type Watched = Pin<Box<dyn Stream<Item = Result<Job, Error>> + Send>>;

/// Calls under way at once. Each waits for a few round trips; more of them at a time means that Redis does not keep up.
const IN_FLIGHT: usize = 1_024;
/// When a call that found no place may try again.
const RETRY: Duration = Duration::from_millis(50);

/// The flow's handle; cloning shares it.
#[derive(Clone)]
pub struct Invalidate {
    worker: Worker,
    in_flight: Arc<Semaphore>,
}

impl Invalidate {
    pub fn new(config: Config, hands: Hands, means: Means, forget: Forget) -> Self {
        let spool = config.spool.clone().map(|config| Arc::new(Spool::new(config, means.metrics.clone())));
        let recent = Recent::new(means.metrics.clone());
        let filler = hands.filler.clone();
        let forget: Forget = Arc::new(move |keys| {
            filler.forget(keys);
            forget(keys);
        });
        let tools = Tools { config: Arc::new(config), hands, means, forget, recent };
        let books = Books { tools: tools.clone(), spool };
        Self { worker: Worker::new(tools, books), in_flight: Arc::new(Semaphore::new(IN_FLIGHT)) }
    }

    /// To be called before `start`, if at all.
    pub fn reporting(mut self, report: Report) -> Self {
        self.worker.report = report;
        self
    }

    /// Begins what goes on beside the calls: what the spool holds, what other sidecars left behind, what an upheaval may
    /// have undone. To be called once, before the first fill: what the spool names is not filled until it is gone.
    pub async fn start(&self) -> Result<(), SpoolError> {
        let tasks = &self.worker.tools.means.tasks;
        if let Some(spool) = &self.worker.books.spool {
            for (id, bytes) in spool.load().await? {
                match Intent::from_bytes(&bytes) {
                    Ok(intent) => {
                        let shut = Shut::of(&self.worker.tools, &intent);
                        let work = Work::new(intent, TraceContext::start(&self.worker.tools.means.random));
                        let (worker, record) = (self.worker.clone(), Record::Pod { id, also: None });
                        tasks.until_stop(async move { worker.take_up(work, record, Some(shut)).await });
                    }
                    Err(error) => tracing::error!(%error, job = %id, "an invalidation in the spool is left there"),
                }
            }
        }
        tasks.live("journal", takeover::keep(self.worker.clone()));
        let upheavals = self.worker.tools.hands.removal.upheavals();
        tasks.live("upheavals", upheaval::listen(self.worker.clone(), upheavals));
        tasks.live("janitor", janitor::keep(self.worker.clone()));
        Ok(())
    }

    /// Checks, records, removes, and answers at `until` at the latest. An error says that nothing was promised.
    pub async fn run(&self, request: Request) -> Result<Answer, Error> {
        let (started, mode) = (Instant::now(), request.mode);
        let answer = self.serve(request, started).await;
        let ended = match &answer {
            Ok(Answer { state: State::Done { .. }, .. }) => Ended::Done,
            Ok(Answer { state: State::Preview { .. }, .. }) => Ended::Preview,
            Ok(Answer { state: State::Pending { durability: Durability::Fleet, .. }, .. }) => Ended::PendingFleet,
            Ok(Answer { state: State::Pending { durability: Durability::Pod, .. }, .. }) => Ended::PendingPod,
            Err(error) if error.kind == Kind::JournalUnavailable => Ended::Unavailable,
            Err(_) => Ended::Refused,
        };
        self.worker.tools.means.metrics.call_answered(mode, ended, started.elapsed());
        answer
    }

    /// What a sweep works with that goes by other settings than those in force: by those of before, where a reload has made
    /// wrong what they filled.
    pub fn sweeping(&self, before: Live) -> sweep::Tools {
        sweep::Tools { live: before, ..self.worker.tools.for_sweeps(Arc::new(|_purged| {})) }
    }

    pub async fn job(&self, id: &str) -> Result<Job, Error> {
        ask::job(&self.worker, id).await
    }

    pub async fn watch(&self, id: &str) -> Result<Watched, Error> {
        Ok(ask::watch(&self.worker, id).await?.boxed())
    }

    async fn serve(&self, request: Request, started: Instant) -> Result<Answer, Error> {
        let Ok(place) = self.in_flight.clone().try_acquire_owned() else { return Err(Error::shed(RETRY)) };
        let tools = &self.worker.tools;
        let until = request.until;
        let resolved = timeout_at(until, resolve(tools, &request)).await.map_err(|_elapsed| late())??;
        if request.effect == Effect::Preview {
            let tally = Tally::new(resolved.intent.targets);
            let preview = preview::preview(tools, &resolved.intent, &tally);
            let exactness = timeout_at(until, preview).await.map_err(|_elapsed| late())??;
            return Ok(answer(&request, &tally, State::Preview { exactness }));
        }
        // From here on whoever comes next starts anew, also where keys will be met that nobody can name yet.
        (tools.forget)(&resolved.keys());
        if resolved.has_unknown_keys() {
            tools.hands.filler.forget_all();
        }
        let Resolved { intent, bytes, givens, reloaded } = resolved;
        let now = Instant::now();
        let patience = Some(now + until.saturating_duration_since(now) / 2);
        let work = Work { givens, reloaded, patience, ..Work::new(intent, request.trace) };
        let tally = work.tally.clone();
        let (stage, stages) = watch::channel(Stage::Begun);
        let promised = Arc::new(AtomicBool::new(false));
        let (worker, is_promised) = (self.worker.clone(), promised.clone());
        // Its place is free when the first try has ended, also where its caller has gone before that.
        let carried = async move { worker.carry(work, bytes, stage, is_promised, place).await };
        // Detached: what has begun is finished, whoever hangs up.
        tools.means.tasks.finish(carried.in_current_span());
        let state = match reached(stages, until, &promised).await {
            Stage::Done => State::Done { elapsed: started.elapsed() },
            Stage::Pending(Promise { job, durability }, cause) => State::Pending { job, durability, cause },
            Stage::Recorded(Promise { job, durability }) => State::Pending { job, durability, cause: Cause::Deadline },
            Stage::Begun | Stage::Lost(_) => return Err(Error::new(Kind::JournalUnavailable, "not recorded in time")),
        };
        Ok(answer(&request, &tally, state))
    }
}

/// How far the work is when it is settled, or at the deadline. A promise is left where the worker sees it: either it
/// sees that somebody was told of the job, or the caller sees that it is done.
async fn reached(mut stages: watch::Receiver<Stage>, until: Instant, promised: &AtomicBool) -> Stage {
    let is_settled = |stage: &Stage| match stage {
        Stage::Begun | Stage::Recorded(_) => false,
        Stage::Done | Stage::Pending(..) | Stage::Lost(_) => true,
    };
    // Settled, too late, or a defect that ended the worker: in each case what it said last is so.
    let _ = timeout_at(until, stages.wait_for(is_settled)).await;
    promised.store(true, Ordering::SeqCst);
    let stage = stages.borrow().clone();
    if matches!(stage, Stage::Done | Stage::Begun | Stage::Lost(_)) {
        promised.store(false, Ordering::SeqCst);
    }
    stage
}

fn answer(request: &Request, tally: &Tally, state: State) -> Answer {
    Answer {
        trace: request.trace.trace_id(),
        state,
        counts: tally.total(),
        target_counts: tally.targets(),
        sample_keys: tally.sample(),
        // TODO(#6): the change that this call has published.
        change: None,
    }
}

fn late() -> Error {
    Error::new(Kind::Deadline, "the deadline passed before anything was begun")
}
