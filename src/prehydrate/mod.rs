//! Fill for one subject because a caller asked, before the app needs it.
//!
//! The story: see who it is, draw up the plan, join the same plan if it is under way, else take a place in the line, answer, and carry
//! the plan out on a task of its own. A caller that hangs up leaves nothing half done; a resource that fails is a line
//! of the report.

pub mod cookies;
pub mod identity;
pub mod metrics;
pub mod plan;
mod queue;
pub mod request;
mod run;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::time::Instant;
use tracing::Instrument;

use crate::domain::entity::{Member, Name};
use crate::domain::error::Error;
use crate::domain::outcome::{Outcome, Resource};
use crate::domain::random::Random;
use crate::domain::store::ClaimMode;
use crate::domain::subject::Subject;
use crate::domain::trace::TraceContext;
use crate::fill::settings::{Live, Settings};
use crate::fill::{Filler, Job};
use crate::prehydrate::cookies::Cookies;
use crate::prehydrate::identity::Identity;
use crate::prehydrate::metrics::Metrics;
use crate::prehydrate::plan::Plan;
use crate::prehydrate::queue::{Queue, Ticket};
use crate::prehydrate::request::{Exclusion, Freshness, Planned, Proposed, Reason, Report, Request, Status, Wait, Who};
use crate::prehydrate::run::{Entry, Joined, PlanId, Run, Runs};
use crate::tasks::Tasks;

#[derive(Clone, Debug, PartialEq, Eq)]
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
    tasks: Tasks,
    metrics: Metrics,
}

/// A request once it is known who it is about.
struct Login {
    subject: Subject,
    freshness: Freshness,
    trace: TraceContext,
    accepted: Instant,
}

impl Prehydrate {
    pub fn new(
        config: Config,
        cookies: Cookies,
        live: Live,
        filler: Filler,
        tasks: Tasks,
        random: &Random,
        metrics: Metrics,
    ) -> Self {
        let queue = Queue::new(config.in_flight, config.queue);
        let runs = Runs::new(u64::from_le_bytes(random.bytes()), filler.tally().clone());
        Self { config: Arc::new(ArcSwap::from_pointee(config)), cookies, live, filler, queue, runs, tasks, metrics }
    }

    /// Puts a new configuration in force. How many plans run at once stays as it was at the start.
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
        let login = Login { subject: self.identify(who)?, freshness, trace, accepted: started };
        let config = self.config.load_full();
        let settings = self.live.get();
        let plan = plan::draw_up(&settings.catalog, &config.always, &login.subject, &members)?;
        let report = |status| Report {
            trace: trace.trace_id(),
            status,
            resources: Vec::new(),
            plan: Vec::new(),
            retry_after: None,
            elapsed: Duration::ZERO,
        };

        let answer = if wait == Wait::DryRun {
            Report { plan: propose(&settings, &login.subject, plan), ..report(Status::Planned) }
        } else if !is_on(&settings, &login.subject, &plan) {
            report(Status::Disabled)
        } else {
            let denied = plan.denied.clone();
            match self.start(&config, login, plan) {
                Err(full) => Report { retry_after: Some(full.retry_after), ..report(Status::Shed) },
                Ok((status, run)) => match wait {
                    Wait::Completed { until } => {
                        let mut resources = run.report(until).await;
                        resources.extend(denied.into_iter().map(deny));
                        Report { status: overall(status, &resources), resources, ..report(status) }
                    }
                    Wait::Accepted | Wait::DryRun => report(status),
                },
            }
        };
        self.metrics.call_answered(answer.status);
        Ok(Report { elapsed: started.elapsed(), ..answer })
    }

    /// Joins the same plan if it is under way, else queues this one. Returns as soon as that is certain.
    fn start(&self, config: &Config, login: Login, plan: Plan) -> Result<(Status, Arc<Run>), queue::Full> {
        let id = PlanId::new(&plan, login.subject.session(), login.freshness);
        let now = Instant::now();
        match self.runs.join(id, &plan.fills, || self.queue.join(now))? {
            Joined::Another(run) => Ok((Status::Coalesced, run)),
            Joined::First { run, entry, place: ticket } => {
                let work = Work { login, planned: plan.fills, deadline: now + config.deadline };
                let carried = self.clone().carry_out(ticket, work, run.clone(), entry);
                // Detached: what has begun is finished, whoever hangs up.
                self.tasks.finish(carried.in_current_span());
                Ok((Status::Accepted, run))
            }
        }
    }

    async fn carry_out(self, ticket: Ticket, work: Work, run: Arc<Run>, entry: Entry) {
        let waiting = self.metrics.plan_queued();
        let Some(_turn) = ticket.turn().await else { return };
        drop(waiting);
        let _under_way = self.metrics.plan_started();
        let started = Instant::now();
        let Work { login, planned, deadline } = work;
        // As things stand now: the plan may have waited while the configuration changed.
        let settings = self.live.get();
        let fill = async |(at, planned): (usize, Planned)| (at, self.fill(&settings, &login, planned, deadline).await);
        let mut fills: FuturesUnordered<_> = planned.into_iter().enumerate().map(fill).collect();
        while let Some((at, resource)) = fills.next().await {
            run.settle(at, resource);
        }
        drop(entry);
        self.metrics.plan_finished(started.elapsed());
    }

    /// One resource of a plan. A defect in its fill costs its own entry, not the plan.
    async fn fill(&self, settings: &Arc<Settings>, login: &Login, planned: Planned, deadline: Instant) -> Resource {
        let Planned { member, reason: _ } = planned;
        let Ok(member) = settings.catalog.member(member.entity.name().as_str(), member.params.clone()) else {
            return not_filled(member, Outcome::Disabled, "the configuration has changed, and no longer has it");
        };
        let filling = self.filler.fill(self.job(settings, login, member.clone(), deadline));
        match AssertUnwindSafe(filling).catch_unwind().await {
            Ok(resource) => resource,
            Err(_panic) => not_filled(member, Outcome::Failed, "a defect of hydrant's own, told in its log"),
        }
    }

    fn job(&self, settings: &Arc<Settings>, login: &Login, member: Member, deadline: Instant) -> Job {
        let renew_below = member.entity.ttl().renew_below();
        let mode = match login.freshness {
            Freshness::Keep => ClaimMode::Miss { renew_below },
            Freshness::Refresh => ClaimMode::Refresh,
        };
        Job {
            settings: settings.clone(),
            member,
            owner: Some(self.filler.owner(&login.subject)),
            session: login.subject.session().cloned(),
            mode,
            trace: login.trace,
            accepted: login.accepted,
            deadline,
        }
    }
}

/// A plan that is queued: for whom, what, and until when.
struct Work {
    login: Login,
    planned: Vec<Planned>,
    deadline: Instant,
}

fn is_on(settings: &Settings, subject: &Subject, plan: &Plan) -> bool {
    let any_fills = plan.fills.iter().any(|planned| settings.switch.fills(&planned.member.entity));
    settings.switch.serves(subject) && (any_fills || plan.fills.is_empty())
}

/// What would be filled as things stand, and after it what would be left out.
fn propose(settings: &Settings, subject: &Subject, plan: Plan) -> Vec<Proposed> {
    let serves = settings.switch.serves(subject);
    let is_off = |planned: &Planned| !serves || !settings.switch.fills(&planned.member.entity);
    let (off, on): (Vec<_>, Vec<_>) = plan.fills.into_iter().partition(is_off);
    let with = |exclusion| move |planned| Proposed { planned, exclusion };
    let on = on.into_iter().map(with(None));
    let off = off.into_iter().map(with(Some(Exclusion::Disabled)));
    let denied = plan.denied.into_iter().map(with(Some(Exclusion::Denied)));
    on.chain(off).chain(denied).collect()
}

/// The status of a call that waited: a plan that was joined stays `Coalesced`, its resources tell the rest.
fn overall(status: Status, resources: &[(Reason, Resource)]) -> Status {
    let settled = resources.iter().all(|(_, resource)| resource.outcome.is_settled());
    match status {
        Status::Coalesced => Status::Coalesced,
        _ if settled => Status::Completed,
        _ => Status::Partial,
    }
}

fn deny(planned: Planned) -> (Reason, Resource) {
    let why = "it belongs to another subject or tenant";
    (planned.reason, not_filled(planned.member, Outcome::Denied, why))
}

/// A resource that was never begun.
fn not_filled(member: Member, outcome: Outcome, why: &str) -> Resource {
    Resource { member, outcome, reason: why.to_owned(), elapsed: Duration::ZERO, written: None }
}
