//! `WarmUp`: which plans, and what is told of them.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;

use super::{MAX_NAME_BYTES, Problems, duration_out};
use crate::domain::error::Error;
use crate::domain::trace::TraceContext;
use crate::grpc::pb;
use crate::grpc::pb::warm_up_response::Event as Shown;
use crate::warm::events::MAX_PLANS;
use crate::warm::request::{
    Contention, Counts, Effect, Ended, Event, Happened, Holder, PlanEnd, Progress, Request, Skipped, StepEnd,
    StepPlanned, Trigger,
};

/// How long a lease is waited for, at most and where the caller does not say.
const MAX_WAIT: Duration = Duration::from_secs(600);
const MAX_REASON_BYTES: usize = 256;

pub fn request(message: pb::WarmUpRequest, trace: TraceContext) -> Result<Request, Error> {
    let pb::WarmUpRequest { plans, contention, max_wait, dry_run, reason } = message;
    let mut problems = Problems::default();
    if plans.len() > MAX_PLANS {
        problems.wrong("plans", format!("are {}, and may be {MAX_PLANS}", plans.len()));
    }
    for (at, plan) in plans.iter().enumerate() {
        problems.length(&format!("plans[{at}]"), plan, 1, MAX_NAME_BYTES);
    }
    problems.length("reason", &reason, 0, MAX_REASON_BYTES);
    let longest = match max_wait {
        None => Some(MAX_WAIT),
        Some(prost_types::Duration { seconds, nanos }) => {
            let parts = (u64::try_from(seconds), u32::try_from(nanos));
            match parts {
                (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => Some(Duration::new(seconds, nanos)),
                _ => None,
            }
        }
    };
    let longest = longest.filter(|longest| *longest <= MAX_WAIT);
    if longest.is_none() {
        problems.wrong("max_wait", "must be between nothing and 10 minutes");
    }
    let contention = match pb::WarmUpContention::try_from(contention) {
        Ok(pb::WarmUpContention::Unspecified | pb::WarmUpContention::Skip) => Contention::Skip,
        Ok(pb::WarmUpContention::Wait) => Contention::Wait { longest: longest.unwrap_or(MAX_WAIT) },
        Err(_) => {
            problems.wrong("contention", "is no value that this version knows");
            Contention::Skip
        }
    };
    let effect = if dry_run { Effect::Preview } else { Effect::Run };
    match problems.into_error() {
        Some(error) => Err(error),
        None => Ok(Request { plans, contention, effect, trigger: Trigger::Call, reason, trace }),
    }
}

pub fn event(event: Event) -> pb::WarmUpResponse {
    let Event { plan, time, what } = event;
    let shown = match what {
        Happened::Started { trace, fence, job, steps, resumed } => Shown::Started(pb::WarmUpStarted {
            trace_id: trace.to_string(),
            fence,
            job_id: job.map(|job| job.to_string()).unwrap_or_default(),
            steps: steps.iter().map(ToString::to_string).collect(),
            resumed,
        }),
        Happened::Skipped(why) => Shown::Skipped(skipped_out(&why, time)),
        Happened::StepStarted { step, index, total } => {
            Shown::StepStarted(pb::WarmUpStepStarted { step: step.to_string(), index: place(index), total })
        }
        Happened::Progress(progress) => Shown::Progress(progress_out(progress)),
        Happened::StepFinished(end) => Shown::StepFinished(step_out(end)),
        Happened::Finished(end) => Shown::Finished(plan_out(end)),
        Happened::StepPlanned(planned) => Shown::StepPlanned(planned_out(planned)),
    };
    pb::WarmUpResponse { plan: plan.to_string(), time: Some(Timestamp::from(time)), event: Some(shown) }
}

pub const fn result_out(ended: Option<Ended>) -> pb::WarmUpResult {
    match ended {
        None => pb::WarmUpResult::Unspecified,
        Some(Ended::Success) => pb::WarmUpResult::Success,
        Some(Ended::Partial) => pb::WarmUpResult::Partial,
        Some(Ended::Failed) => pb::WarmUpResult::Failed,
    }
}

pub const fn trigger_out(trigger: Trigger) -> pb::WarmUpTrigger {
    match trigger {
        Trigger::Start => pb::WarmUpTrigger::Start,
        Trigger::Schedule => pb::WarmUpTrigger::Schedule,
        Trigger::Call => pb::WarmUpTrigger::Call,
    }
}

fn skipped_out(why: &Skipped, now: SystemTime) -> pb::WarmUpSkipped {
    let reason = match why {
        Skipped::Held(_) => pb::WarmUpSkipReason::Held,
        Skipped::Waited(_) => pb::WarmUpSkipReason::Waited,
        Skipped::Disabled => pb::WarmUpSkipReason::Disabled,
        Skipped::StoreUnavailable => pb::WarmUpSkipReason::StoreUnavailable,
        Skipped::ShuttingDown => pb::WarmUpSkipReason::ShuttingDown,
    };
    let holder = match why {
        Skipped::Held(holder) | Skipped::Waited(holder) => Some(holder),
        Skipped::Disabled | Skipped::StoreUnavailable | Skipped::ShuttingDown => None,
    };
    let (trace, pod) = holder.map(|Holder { trace, pod, .. }| (trace.clone(), pod.clone())).unwrap_or_default();
    pb::WarmUpSkipped {
        reason: reason.into(),
        holder_trace_id: trace,
        holder: pod,
        until: holder.map(|holder| Timestamp::from(now + holder.remaining)),
    }
}

fn progress_out(progress: Progress) -> pb::WarmUpProgress {
    let Progress { step, counts, rate, workers } = progress;
    let Counts { done, total, warmed: _, fresh, failed } = counts;
    pb::WarmUpProgress { step: step.to_string(), done, total, failed, fresh, rate, workers }
}

fn step_out(end: StepEnd) -> pb::WarmUpStepFinished {
    let StepEnd { step, ended, attempts, counts, elapsed, message } = end;
    pb::WarmUpStepFinished {
        step: step.to_string(),
        result: result_out(Some(ended)).into(),
        attempts,
        keys_warmed: counts.warmed,
        failed: counts.failed,
        fresh: counts.fresh,
        elapsed: Some(duration_out(elapsed)),
        message,
    }
}

fn plan_out(end: PlanEnd) -> pb::WarmUpFinished {
    let PlanEnd { ended, counts, elapsed, lease_lost, message } = end;
    pb::WarmUpFinished {
        result: result_out(Some(ended)).into(),
        keys_warmed: counts.warmed,
        failed: counts.failed,
        elapsed: Some(duration_out(elapsed)),
        lease_lost,
        message,
    }
}

fn planned_out(planned: StepPlanned) -> pb::WarmUpStepPlanned {
    let StepPlanned { step, index, entity, origin, total, sample_keys } = planned;
    pb::WarmUpStepPlanned {
        step: step.to_string(),
        index: place(index),
        entity: entity.map(|entity| entity.to_string()).unwrap_or_default(),
        origin,
        total,
        sample_keys,
    }
}

fn place(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::error::FieldError;
    use crate::domain::random::Random;

    fn read(message: pb::WarmUpRequest) -> Result<Request, Vec<String>> {
        let trace = TraceContext::start(&Random::from_seed(1));
        request(message, trace).map_err(|error| error.fields.into_iter().map(|FieldError { path, .. }| path).collect())
    }

    #[test]
    fn a_lease_is_skipped_unless_it_is_to_be_waited_for() {
        let plain = read(pb::WarmUpRequest::default()).expect("nothing is wrong");
        assert_eq!((plain.contention, plain.effect), (Contention::Skip, Effect::Run));
        let waits = pb::WarmUpRequest { contention: pb::WarmUpContention::Wait.into(), ..Default::default() };
        assert_eq!(read(waits.clone()).expect("good").contention, Contention::Wait { longest: MAX_WAIT });
        let five = Some(prost_types::Duration { seconds: 5, nanos: 0 });
        let briefly = read(pb::WarmUpRequest { max_wait: five, ..waits }).expect("good");
        assert_eq!(briefly.contention, Contention::Wait { longest: Duration::from_secs(5) });
    }

    #[test]
    fn every_wrong_field_is_named() {
        let wrong = pb::WarmUpRequest {
            plans: vec![String::new(); 33],
            contention: 9,
            max_wait: Some(prost_types::Duration { seconds: 601, nanos: 0 }),
            reason: "x".repeat(257),
            dry_run: true,
        };
        let paths = read(wrong).expect_err("all of it is wrong");
        for path in ["plans", "plans[0]", "contention", "max_wait", "reason"] {
            assert!(paths.iter().any(|wrong| wrong == path), "{path} in {paths:?}");
        }
    }
}
