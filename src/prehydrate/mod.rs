//! Fill for one subject because a caller asked, before the app needs it.
//!
//! The story: see who it is, draw up the plan, join the same plan if it is under way, else take a place in the line, answer, and carry
//! the plan out on a task of its own. A caller that names no members leaves it to the subject's habits: they are read
//! while what is always filled is being filled. A caller that hangs up leaves nothing half done; a resource that fails
//! is a line of the report.

pub mod access;
pub mod cookies;
pub mod ending;
pub mod history;
pub mod identity;
mod items;
pub mod learn;
pub mod metrics;
pub mod plan;
pub mod predict;
mod queue;
pub mod record;
pub mod refused;
pub mod request;
mod run;
pub mod sampler;
pub mod usefulness;
pub mod wanted;
mod work;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;
use tracing::Instrument;

use crate::domain::clock::Clock;
use crate::domain::entity::{Entity, Name};
use crate::domain::error::Error;
use crate::domain::habits::Habits;
use crate::domain::key::Key;
use crate::domain::outcome::Outcome;
use crate::domain::pseudonym::Pseudonym;
use crate::domain::random::Random;
use crate::domain::subject::Subject;
use crate::domain::template::Params;
use crate::domain::trace::TraceContext;
use crate::fill::Filler;
use crate::fill::settings::{Live, Settings};
use crate::prehydrate::access::Accesses;
use crate::prehydrate::cookies::Cookies;
use crate::prehydrate::ending::Ending;
use crate::prehydrate::identity::Identity;
use crate::prehydrate::learn::Learner;
use crate::prehydrate::metrics::Metrics;
use crate::prehydrate::plan::Plan;
use crate::prehydrate::predict::Candidate;
use crate::prehydrate::queue::{Queue, Urgency};
use crate::prehydrate::record::Recorder;
use crate::prehydrate::refused::{Session, Withdraw};
use crate::prehydrate::request::{Exclusion, Freshness, Line, Planned, Proposed, Report, Request, Status, Wait, Who};
use crate::prehydrate::run::{Growth, Joined, PlanId, Predicted, Run, Runs};
use crate::prehydrate::sampler::Samples;
use crate::prehydrate::usefulness::{Sampling, Usefulness};
use crate::prehydrate::wanted::Wanted;
use crate::tasks::Tasks;

#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Filled at every login, named or not.
    pub always: Vec<Name>,
    /// One plan's time, fetches and writes together.
    pub deadline: Duration,
    /// Plans under way at once.
    pub in_flight: usize,
    /// Longest a plan may wait for its turn before the next one is shed.
    pub queue: Duration,
    /// Items of one plan.
    pub items: usize,
    pub plan: predict::Config,
    /// None: nothing is remembered, and nothing predicted.
    pub history: Option<history::Config>,
    pub sampling: Sampling,
}

/// The flow's handle; cloning shares it.
#[derive(Clone)]
pub struct Prehydrate {
    config: Arc<ArcSwap<Config>>,
    cookies: Cookies,
    live: Live,
    filler: Filler,
    queue: Queue,
    runs: Runs,
    learner: Learner,
    accesses: Accesses,
    samples: Samples,
    withdraw: Withdraw,
    random: Random,
    tasks: Tasks,
    metrics: Metrics,
}

/// What the flow works with, made elsewhere.
pub struct Tools {
    pub cookies: Cookies,
    pub live: Live,
    pub filler: Filler,
    pub habits: Arc<dyn Habits>,
    pub withdraw: Withdraw,
    pub group: String,
    pub clock: Clock,
    pub random: Random,
    pub tasks: Tasks,
    pub metrics: Metrics,
}

/// A request once it is known who it is about.
struct Login {
    subject: Subject,
    name: Pseudonym,
    freshness: Freshness,
    trace: TraceContext,
    accepted: Instant,
}

/// A plan that is queued: for whom, what, and until when.
struct Work {
    pub config: Arc<Config>,
    pub login: Login,
    pub planned: Vec<Planned>,
    /// To predict by; none where the caller has named what it wants.
    pub habits: Option<history::Config>,
    pub deadline: Instant,
    pub run: Arc<Run>,
    pub session: Session,
}

impl Prehydrate {
    /// Begins to take what is told of reads, and to look at what became of fills.
    pub fn start(config: Config, tools: Tools) -> Self {
        let Tools { cookies, live, filler, habits, withdraw, group, clock, random, tasks, metrics } = tools;
        let queue = Queue::new(config.in_flight, config.queue);
        let runs = Runs::new(u64::from_le_bytes(random.bytes()), filler.epochs().clone());
        let learner = Learner::new(habits.clone(), &group, clock, metrics.clone());
        let (config, samples) = (Arc::new(ArcSwap::from_pointee(config)), Samples::default());
        let (kept, looker, looked_at) = (config.clone(), learner.clone(), samples.clone());
        tasks.until_stop(async move { sampler::look(&*habits, &looker, &kept, &looked_at).await });
        let recorder = Recorder::start(learner.clone(), config.clone(), metrics.clone(), &tasks);
        let accesses = Accesses::new(live.clone(), learner.clone(), recorder, config.clone(), metrics.clone());
        Self {
            config,
            cookies,
            live,
            filler,
            queue,
            runs,
            learner,
            accesses,
            samples,
            withdraw,
            random,
            tasks,
            metrics,
        }
    }

    /// Where applications tell of what they read.
    pub const fn accesses(&self) -> &Accesses {
        &self.accesses
    }

    /// Puts a new configuration in force. How many plans run at once, and how long they wait, stays as it was at the start.
    pub fn reconfigure(&self, config: Config, identity: Option<Identity>) {
        self.config.store(Arc::new(config));
        self.cookies.replace(identity);
    }

    /// Who a call is about, for the flow beside this one: a logout shows the same cookies.
    pub fn identify(&self, who: Who) -> Result<Subject, Error> {
        self.cookies.subject(who, &self.metrics)
    }

    /// Checks, queues and, where the caller waits, reports. An error says that the call itself could not be served.
    pub async fn run(&self, request: Request) -> Result<Report, Error> {
        let started = Instant::now();
        let Request { who, members, wait, freshness, trace } = request;
        let subject = self.identify(who)?;
        let login = Login { name: self.learner.name_of(&subject), subject, freshness, trace, accepted: started };
        let config = self.config.load_full();
        let settings = self.live.get();
        let plan = plan::draw_up(&settings.catalog, &config.always, &login.subject, &members)?;
        let habits = if members.is_empty() { config.history } else { None };
        let report = |status| Report {
            trace: trace.trace_id(),
            status,
            lines: Vec::new(),
            plan: Vec::new(),
            retry_after: None,
            elapsed: Duration::ZERO,
        };

        let answer = if wait == Wait::DryRun {
            let candidates = match habits {
                Some(habits) => self.predict(&config, &settings, &login, &plan.fills, &habits).await.candidates,
                None => Vec::new(),
            };
            let proposed = propose(&settings, &login.subject, plan, candidates, self.learner.usefulness());
            Report { plan: proposed, ..report(Status::Planned) }
        } else if !is_on(&settings, &login.subject, &plan, habits.is_some()) {
            report(Status::Disabled)
        } else {
            let denied = plan.denied.clone();
            let urgency = match wait {
                Wait::Completed { .. } => Urgency::Awaited,
                Wait::Accepted | Wait::DryRun => Urgency::Background,
            };
            match self.begin(&config, login, plan, habits, urgency) {
                Err(full) => Report { retry_after: Some(full.retry_after), ..report(Status::Shed) },
                Ok((status, run)) => match wait {
                    Wait::Completed { until } => {
                        let mut lines = run.report(until).await;
                        lines.extend(denied.into_iter().map(deny));
                        Report { status: overall(status, &lines), lines, ..report(status) }
                    }
                    Wait::Accepted | Wait::DryRun => report(status),
                },
            }
        };
        self.metrics.call_answered(answer.status);
        Ok(Report { elapsed: started.elapsed(), ..answer })
    }

    /// The keys of all that is the subject's own. Once one of them is invalidated (a logout does so with all) a plan
    /// from before is not joined any more.
    fn own_keys(&self, subject: &Subject) -> Vec<Key> {
        let settings = self.live.get();
        let own = settings.catalog.entities().filter(|entity| entity.follows_from_subject());
        let member = |entity: &Arc<Entity>| {
            let params = entity.complete(subject, &Params::default());
            settings.catalog.member(entity.name().as_str(), params).ok()
        };
        own.filter_map(member).map(|member| member.key).collect()
    }

    /// Joins the same plan if it is under way, else queues this one. Returns as soon as that is certain.
    fn begin(
        &self,
        config: &Arc<Config>,
        login: Login,
        plan: Plan,
        habits: Option<history::Config>,
        urgency: Urgency,
    ) -> Result<(Status, Arc<Run>), queue::Full> {
        let predicted = habits.map(|_| Predicted { subject: login.name, own: self.own_keys(&login.subject) });
        let growth = if predicted.is_some() { Growth::Ahead } else { Growth::Over };
        let id = PlanId::new(&plan, login.subject.session(), login.freshness, predicted);
        let now = Instant::now();
        match self.runs.join(id, &plan.fills, growth, || self.queue.join(now, urgency))? {
            Joined::Another(run) => Ok((Status::Coalesced, run)),
            Joined::First { run, entry, place: ticket } => {
                let config = config.clone();
                let deadline = now + config.deadline;
                let (planned, session) = (plan.fills, Session::accepted());
                let work = Work { config, login, planned, habits, deadline, run: run.clone(), session };
                let carried = self.clone().carry_out(ticket, work, entry);
                // Detached: what has begun is finished, whoever hangs up.
                self.tasks.finish(carried.in_current_span());
                Ok((Status::Accepted, run))
            }
        }
    }
}

/// Whether there is anything that may be filled; what will be predicted may always turn out to be.
fn is_on(settings: &Settings, subject: &Subject, plan: &Plan, is_predicted: bool) -> bool {
    let any_fills = plan.fills.iter().any(|planned| settings.switch.fills(planned.wanted.entity()));
    let may_fill = any_fills || plan.fills.is_empty() || (is_predicted && settings.switch.all);
    settings.switch.serves(subject) && may_fill
}

/// What would be filled as things stand, and after it what would be left out.
fn propose(
    settings: &Settings,
    subject: &Subject,
    plan: Plan,
    candidates: Vec<Candidate>,
    usefulness: &Usefulness,
) -> Vec<Proposed> {
    let serves = settings.switch.serves(subject);
    let fills = |wanted: &Wanted| settings.switch.fills(wanted.entity());
    let fills_above = |wanted: &Wanted| wanted.above(&settings.catalog, subject).is_ok_and(|all| all.iter().all(fills));
    let is_off = |planned: &Planned| !serves || !fills(&planned.wanted) || !fills_above(&planned.wanted);
    let (off, on): (Vec<_>, Vec<_>) = plan.fills.into_iter().partition(is_off);
    let with = |exclusion| move |planned| proposed(planned, exclusion, usefulness);
    let on = on.into_iter().map(with(None));
    let off = off.into_iter().map(with(Some(Exclusion::Disabled)));
    let denied = plan.denied.into_iter().map(with(Some(Exclusion::Denied)));
    let candidates = candidates.into_iter().map(|candidate| {
        let exclusion = candidate.exclusion;
        let planned = candidate.planned();
        let exclusion = exclusion.or_else(|| is_off(&planned).then_some(Exclusion::Disabled));
        proposed(planned, exclusion, usefulness)
    });
    let (taken, left_out): (Vec<_>, Vec<_>) = candidates.partition(|proposed| proposed.exclusion.is_none());
    on.chain(taken).chain(off).chain(denied).chain(left_out).collect()
}

fn proposed(planned: Planned, exclusion: Option<Exclusion>, usefulness: &Usefulness) -> Proposed {
    let expected = usefulness.of(planned.wanted.entity().name()).expected();
    Proposed { planned, exclusion, expected }
}

/// The status of a call that waited: a plan that was joined stays `Coalesced`, its resources tell the rest.
fn overall(status: Status, lines: &[Line]) -> Status {
    let settled = lines.iter().all(|line| line.ending.outcome.is_settled());
    match status {
        Status::Coalesced => Status::Coalesced,
        _ if settled => Status::Completed,
        _ => Status::Partial,
    }
}

fn deny(planned: Planned) -> Line {
    let ending = Ending::not_filled(Outcome::Denied, "it belongs to another subject or tenant");
    Line { planned, ending }
}
