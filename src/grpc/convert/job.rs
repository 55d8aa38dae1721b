//! `GetJob` and `WatchJob`: which job, and how it stands.

use std::time::SystemTime;

use prost_types::Timestamp;

use super::invalidate::{cause_out, counts_out, durability_out, mode_out};
use super::warm_up::{result_out, trigger_out};
use super::{Problems, duration_out};
use crate::domain::error::Error;
use crate::domain::journal::MAX_JOB_ID_BYTES;
use crate::grpc::pb;
use crate::invalidate::jobs::{Detail, Job, JobState};
use crate::warm;
use crate::warm::request::{Counts, Ended};

/// An id that no job can have is the caller's mistake; one that none has is for the flow to say.
pub fn id(job_id: String) -> Result<String, Error> {
    let mut problems = Problems::default();
    problems.length("job_id", &job_id, 1, MAX_JOB_ID_BYTES);
    match problems.into_error() {
        Some(error) => Err(error),
        None => Ok(job_id),
    }
}

pub fn job(job: Job) -> pb::Job {
    let Job {
        id,
        state,
        trace,
        created,
        updated,
        finished,
        attempts,
        next_attempt,
        holder,
        durability,
        reason,
        within: _,
        message,
        mode,
        counts,
        detail,
    } = job;
    let (kind, progress) = match &detail {
        Detail::Invalidation { .. } => (pb::JobKind::Invalidation, None),
        Detail::Sweep { rate, .. } => {
            let progress = pb::JobProgress { done: counts.removed, total: 0, failed: 0, rate: *rate };
            (pb::JobKind::Sweep, Some(progress))
        }
    };
    let (mode, counts) = (mode_out(mode).into(), Some(counts_out(counts)));
    let detail = match detail {
        Detail::Invalidation { cause } => {
            pb::job::Detail::Invalidation(pb::InvalidationJob { mode, cause: cause_out(cause).into(), counts })
        }
        Detail::Sweep { pattern, entities, pass, scanned, nodes_done, nodes_total, rate: _ } => {
            pb::job::Detail::Sweep(pb::SweepJob {
                mode,
                pattern,
                entities,
                pass,
                scanned,
                nodes_done,
                nodes_total,
                counts,
            })
        }
    };
    pb::Job {
        job_id: id.to_string(),
        kind: kind.into(),
        state: state_out(state).into(),
        trace_id: trace,
        create_time: Some(time_out(created)),
        update_time: Some(time_out(updated)),
        finish_time: finished.map(time_out),
        progress,
        attempts,
        next_attempt_time: next_attempt.map(time_out),
        holder,
        durability: durability_out(durability).into(),
        reason,
        message,
        detail: Some(detail),
    }
}

/// A run of a plan. Its sidecar alone knows of it.
pub fn warm_up(job: warm::jobs::Job) -> pb::Job {
    let warm::jobs::Job {
        id,
        plan,
        trigger,
        trace,
        fence,
        created,
        updated,
        finished,
        step,
        counts,
        rate,
        ended,
        holder,
        reason,
        message,
    } = job;
    let Counts { done, total, warmed, fresh: _, failed } = counts;
    let elapsed = finished.unwrap_or(updated).duration_since(created).unwrap_or_default();
    let state = match ended {
        None => pb::JobState::Running,
        Some(Ended::Success) => pb::JobState::Succeeded,
        Some(Ended::Partial) => pb::JobState::Partial,
        Some(Ended::Failed) => pb::JobState::Failed,
    };
    pb::Job {
        job_id: id.to_string(),
        kind: pb::JobKind::WarmUp.into(),
        state: state.into(),
        trace_id: trace,
        create_time: Some(time_out(created)),
        update_time: Some(time_out(updated)),
        finish_time: finished.map(time_out),
        progress: Some(pb::JobProgress { done, total, failed, rate }),
        attempts: 1,
        next_attempt_time: None,
        holder: if ended.is_none() { holder } else { String::new() },
        durability: pb::Durability::Pod.into(),
        reason,
        message,
        detail: Some(pb::job::Detail::WarmUp(pb::WarmUpJob {
            plan: plan.to_string(),
            trigger: trigger_out(trigger).into(),
            fence,
            step: step.map(|step| step.to_string()).unwrap_or_default(),
            keys_warmed: warmed,
            result: result_out(ended).into(),
            elapsed: Some(duration_out(elapsed)),
        })),
    }
}

fn time_out(time: SystemTime) -> Timestamp {
    Timestamp::from(time)
}

const fn state_out(state: JobState) -> pb::JobState {
    match state {
        JobState::Queued => pb::JobState::Queued,
        JobState::Running => pb::JobState::Running,
        JobState::Waiting => pb::JobState::Waiting,
        JobState::Succeeded => pb::JobState::Succeeded,
    }
}
