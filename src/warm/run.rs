//! One plan from its lease to its end: take the lease, go on where an earlier run was cut off, carry out step after step,
//! give the lease back.
//!
//! A step that fails does not end the plan: what the other steps warm is of use by itself. A lease that is lost does, at
//! the very moment; what is under way then is one batch, and ends by itself under its claims.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::Instrument;

use crate::domain::lease::{Acquired, Grant, LeaseAsk};
use crate::domain::store::StoreError;
use crate::domain::trace::TraceContext;
use crate::warm::Inner;
use crate::warm::checkpoint::Checkpoint;
use crate::warm::course::Course;
use crate::warm::events::Sink;
use crate::warm::jobs::{self, Job, Place};
use crate::warm::plan::{Plan, Plans};
use crate::warm::request::{Contention, Counts, Ended, Happened, Holder, PlanEnd, Request, Skipped, StepEnd, Trigger};
use crate::warm::tenure::{Lost, Tenure};

/// Between looks at a lease that is waited for.
const LOOK: Duration = Duration::from_millis(500);

/// For so long a store that cannot be reached may just be about to be: a sidecar that starts, a node that moves.
const CONNECTING: Duration = Duration::from_secs(1);

/// How a run came out, for those who have to decide whether to try again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ran {
    Ended(PlanEnd),
    Skipped(Skipped),
}

impl Inner {
    /// Runs one plan under its lease, and tells of it.
    pub(super) async fn run(&self, plans: &Plans, plan: &Plan, request: &Request, sink: &Sink) -> Ran {
        let span = tracing::info_span!(
            "warm_up",
            plan = %plan.name,
            trigger = request.trigger.as_str(),
            trace_id = tracing::field::Empty,
            fence = tracing::field::Empty,
        );
        let trace = match request.trigger {
            // The call's own span stands for it already.
            Trigger::Call => request.trace,
            Trigger::Start | Trigger::Schedule => (self.tools.adopt)(&span, None),
        };
        span.record("trace_id", tracing::field::display(trace.trace_id()));
        let ran = self.run_traced(plans, plan, request, trace, sink).instrument(span.clone()).await;
        if let Ran::Skipped(why) = &ran {
            span.in_scope(|| tracing::info!(plan = %plan.name, why = why.as_str(), "a warm-up is skipped"));
            self.tools.metrics.run_skipped(&plan.name, why);
            sink.tell(&plan.name, Happened::Skipped(why.clone()));
        }
        ran
    }

    async fn run_traced(&self, plans: &Plans, plan: &Plan, request: &Request, trace: TraceContext, sink: &Sink) -> Ran {
        let ask = LeaseAsk {
            lock: plan.lease.lock.clone(),
            holder: trace.trace_id().to_string(),
            pod: self.config.pod.clone(),
            ttl: plan.lease.ttl,
        };
        let grant = match self.acquire(&ask, request.contention).await {
            Ok(grant) => grant,
            Err(why) => return Ran::Skipped(why),
        };
        tracing::Span::current().record("fence", grant.fence);
        let _running = self.tools.metrics.run_started();
        // Where that is not known it is begun anew, and what is fresh is passed over.
        let left = self.left(plan).await.unwrap_or_default();
        let tenure = Tenure::new(self.tools.leases.clone(), ask, grant);
        let place = self.post(plan, request, trace, grant.fence);
        tracing::info!(plan = %plan.name, fence = grant.fence, trigger = request.trigger.as_str(), resumed = left.is_some(), "a warm-up begins");
        sink.tell(
            &plan.name,
            Happened::Started {
                trace: trace.trace_id(),
                fence: grant.fence,
                job: place.as_ref().map(|place| place.id().clone()),
                steps: plan.steps.iter().map(|step| step.name.clone()).collect(),
                resumed: left.is_some(),
            },
        );
        let started = Instant::now();
        let mut course = Course::new(self, plans, plan, &tenure, trace, sink, place.as_ref());
        let worked = tenure.work(course.carry_out(left)).await;
        let end = plan_end(&course.ends, worked, plan, started.elapsed());
        self.conclude(plan, request.trigger, &end, place);
        // What waits for its end may look at once: so the lease is given back before it is told.
        tenure.release().await;
        sink.tell(&plan.name, Happened::Finished(end.clone()));
        Ran::Ended(end)
    }

    fn post(&self, plan: &Plan, request: &Request, trace: TraceContext, fence: u64) -> Option<Place> {
        let (now, trace) = (self.tools.clock.wall(), trace.trace_id().to_string());
        Some(self.board.post(Job {
            id: jobs::id(&plan.name, &trace, fence)?,
            plan: plan.name.clone(),
            trigger: request.trigger,
            trace,
            fence,
            created: now,
            updated: now,
            finished: None,
            step: None,
            counts: Counts::default(),
            rate: 0.0,
            ended: None,
            holder: self.config.pod.clone(),
            reason: request.reason.clone(),
            message: String::new(),
        }))
    }

    fn conclude(&self, plan: &Plan, trigger: Trigger, end: &PlanEnd, place: Option<Place>) {
        let now = self.tools.clock.wall();
        self.tools.metrics.run_ended(&plan.name, trigger, end, now);
        let PlanEnd { ended, counts, elapsed, lease_lost, message } = end;
        let facts = || format!("{} warmed, {} fresh, {} failed", counts.warmed, counts.fresh, counts.failed);
        if *ended == Ended::Success {
            tracing::info!(plan = %plan.name, keys = facts(), ?elapsed, "a warm-up ends well");
        } else {
            tracing::warn!(plan = %plan.name, ended = ended.as_str(), keys = facts(), ?elapsed, lease_lost, why = message, "a warm-up ends");
        }
        if let Some(place) = place {
            place.end(|job| {
                job.step = None;
                job.counts = *counts;
                job.rate = 0.0;
                job.ended = Some(*ended);
                job.message.clone_from(message);
                (job.updated, job.finished) = (now, Some(now));
            });
        }
    }

    /// The lease, or why there is none.
    async fn acquire(&self, ask: &LeaseAsk, contention: Contention) -> Result<Grant, Skipped> {
        let until = match contention {
            Contention::Skip => Instant::now(),
            Contention::Wait { longest } => Instant::now() + longest,
        };
        let (asked, mut first) = (Instant::now(), true);
        loop {
            if self.tools.tasks.stopping().is_cancelled() {
                return Err(Skipped::ShuttingDown);
            }
            let settings = self.tools.live.get();
            if !settings.switch.all {
                return Err(Skipped::Disabled);
            }
            let holder = match self.tools.leases.acquire(ask).await {
                Ok(Acquired::Granted(grant)) => return Ok(grant),
                Ok(Acquired::Held { holder, pod, remaining }) => Holder { trace: holder, pod, remaining },
                Err(error) if asked.elapsed() >= CONNECTING => {
                    tracing::warn!(%error, "the lease cannot be asked for");
                    return Err(Skipped::StoreUnavailable);
                }
                Err(_) => {
                    sleep(CONNECTING / 10).await;
                    continue;
                }
            };
            let now = Instant::now();
            if now >= until {
                return Err(if first { Skipped::Held(holder) } else { Skipped::Waited(holder) });
            }
            first = false;
            let look = LOOK.min(holder.remaining.max(Duration::from_millis(10))).min(until - now);
            tokio::select! {
                biased;
                () = self.tools.tasks.stopping().cancelled_owned() => {}
                () = sleep(look) => {}
            }
        }
    }

    /// What an earlier run of the plan has left undone.
    pub(super) async fn left(&self, plan: &Plan) -> Result<Option<Checkpoint>, StoreError> {
        let noted = self.tools.leases.noted(&plan.lease.lock).await;
        Ok(noted?.and_then(|noted| Checkpoint::left(plan, &noted)))
    }
}

fn plan_end(ends: &[StepEnd], worked: Result<(), Lost>, plan: &Plan, elapsed: Duration) -> PlanEnd {
    let mut counts = Counts::default();
    ends.iter().for_each(|end| counts.add(&end.counts));
    let lease_lost = worked.is_err();
    let ended = match Ended::of(ends.iter().map(|end| end.ended)) {
        _ if lease_lost && counts.warmed + counts.fresh == 0 => Ended::Failed,
        _ if lease_lost => Ended::Partial,
        ended => ended,
    };
    let message = match ends.iter().find(|end| end.ended != Ended::Success) {
        _ if lease_lost => format!("the lease was lost in step {} of {}", ends.len() + 1, plan.steps.len()),
        Some(end) => format!("{}: {}", end.step, end.message),
        None => String::new(),
    };
    PlanEnd { ended, counts, elapsed, lease_lost, message }
}
