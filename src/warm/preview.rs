//! What a plan would do: a look at each step's listing. No lease is taken and nothing is written.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::domain::listing::{PageAsk, Parameters};
use crate::domain::shown;
use crate::domain::trace::TraceContext;
use crate::warm::Inner;
use crate::warm::events::Sink;
use crate::warm::plan::{Plan, Plans, Step, What};
use crate::warm::request::{Counts, Ended, Happened, PlanEnd, StepPlanned};

/// Keys that are shown, as the contract says.
const SHOWN: usize = 20;
/// For one listing.
const LONGEST: Duration = Duration::from_secs(5);

impl Inner {
    pub(super) async fn preview(&self, plans: &Plans, plan: &Plan, trace: TraceContext, sink: &Sink) {
        let started = Instant::now();
        let (mut total, mut why) = (0, String::new());
        for (at, step) in plan.steps.iter().enumerate() {
            let planned = match &step.what {
                What::Connect { sources } => {
                    let names: Vec<&str> = sources.iter().map(|name| name.as_str()).collect();
                    let origin = format!("connections to {}", names.join(", "));
                    let step = step.name.clone();
                    StepPlanned { step, index: at + 1, entity: None, origin, total: 0, sample_keys: Vec::new() }
                }
                What::Fill { .. } => {
                    let (planned, problem) = self.look(plans, plan, step, at, trace).await;
                    if let (Some(problem), true) = (problem, why.is_empty()) {
                        why = format!("{}: {problem}", step.name);
                    }
                    planned
                }
            };
            total += planned.total;
            sink.tell(&plan.name, Happened::StepPlanned(planned));
        }
        // What would be written is not known before each key is looked at: as many as there are, at most.
        let counts = Counts { total, warmed: total, ..Counts::default() };
        let elapsed = started.elapsed();
        let end = PlanEnd { ended: Ended::Success, counts, elapsed, lease_lost: false, message: why };
        sink.tell(&plan.name, Happened::Finished(end));
    }

    /// The beginning of a step's listing, and why there is none.
    async fn look(
        &self,
        plans: &Plans,
        plan: &Plan,
        step: &Step,
        at: usize,
        trace: TraceContext,
    ) -> (StepPlanned, Option<String>) {
        let entity = match &step.what {
            What::Fill { entity } => Some(entity.clone()),
            What::Connect { .. } => None,
        };
        let (step_name, sample_keys) = (step.name.clone(), Vec::new());
        let mut planned =
            StepPlanned { step: step_name, index: at + 1, entity, origin: String::new(), total: 0, sample_keys };
        let Some(listing) = plans.listing(&plan.name, &step.name) else {
            return (planned, Some("it has no listing".to_owned()));
        };
        listing.origin().clone_into(&mut planned.origin);
        let deadline = Instant::now() + LONGEST;
        let ask = PageAsk { after: None, limit: SHOWN, trace: trace.child(&self.tools.random), deadline };
        match timeout_at(deadline, listing.page(ask)).await {
            Ok(Ok(page)) => {
                let last = page.next.is_none().then_some(page.members.len() as u64);
                planned.total = page.total.or(last).unwrap_or_default();
                planned.sample_keys = self.keys(&planned, page.members);
                (planned, None)
            }
            Ok(Err(error)) => (planned, Some(error.to_string())),
            Err(_elapsed) => (planned, Some("no answer in time".to_owned())),
        }
    }

    fn keys(&self, planned: &StepPlanned, members: Vec<Parameters>) -> Vec<String> {
        let settings = self.tools.live.get();
        let Some(entity) = planned.entity.as_ref().and_then(|name| settings.catalog.entity(name.as_str())) else {
            return Vec::new();
        };
        let own = |parameters: Parameters| {
            let own = parameters.into_iter().filter(|(name, _)| entity.key().params().any(|param| param == name));
            settings.catalog.member(entity.name().as_str(), own.collect()).ok()
        };
        members.into_iter().filter_map(own).take(SHOWN).map(|member| shown::key(&member)).collect()
    }
}
