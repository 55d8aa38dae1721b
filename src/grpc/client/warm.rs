//! `WarmUp` for callers: plans run now, and told of while they run.

use prost_types::Timestamp;
use serde::Serialize;
use tonic::Streaming;

use super::{CallError, Client, milliseconds, short};
use crate::grpc::pb;
use crate::grpc::pb::cache_control_service_client::CacheControlServiceClient;
use crate::grpc::pb::warm_up_response::Event as Shown;

#[derive(Clone, Debug, Default)]
pub struct AskWarmUp {
    /// None are all.
    pub plans: Vec<String>,
    /// So many seconds for a lease that another run holds; none: the plan is skipped then.
    pub wait_seconds: Option<u32>,
    pub dry_run: bool,
    pub reason: String,
}

/// What happened to one plan, and when.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    pub plan: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    Started {
        trace_id: String,
        fence: u64,
        job_id: String,
        steps: Vec<String>,
        resumed: bool,
    },
    Skipped {
        reason: String,
        holder: String,
        holder_trace_id: String,
        until: Option<String>,
    },
    StepStarted {
        step: String,
        index: u32,
    },
    Progress {
        step: String,
        done: u64,
        total: u64,
        failed: u64,
        fresh: u64,
        per_second: f64,
        workers: u32,
    },
    StepFinished(StepEnd),
    Finished {
        result: String,
        keys_warmed: u64,
        failed: u64,
        elapsed_ms: f64,
        lease_lost: bool,
        message: String,
    },
    StepPlanned {
        step: String,
        entity: String,
        origin: String,
        total: u64,
        sample_keys: Vec<String>,
    },
    /// Of a later version.
    Unknown,
}

#[derive(Clone, Debug, Serialize)]
pub struct StepEnd {
    pub step: String,
    pub result: String,
    pub attempts: u32,
    pub keys_warmed: u64,
    pub failed: u64,
    pub fresh: u64,
    pub elapsed_ms: f64,
    pub message: String,
}

/// The events of one call, as they come.
pub struct Events {
    client: Client,
    events: Streaming<pb::WarmUpResponse>,
}

impl Client {
    /// Runs plans; takes as long as they do.
    pub async fn warm_up(&self, ask: AskWarmUp) -> Result<Events, CallError> {
        let AskWarmUp { plans, wait_seconds, dry_run, reason } = ask;
        let contention = match wait_seconds {
            Some(_) => pb::WarmUpContention::Wait,
            None => pb::WarmUpContention::Skip,
        };
        let max_wait = wait_seconds.map(|seconds| prost_types::Duration { seconds: seconds.into(), nanos: 0 });
        let request = pb::WarmUpRequest { plans, contention: contention.into(), max_wait, dry_run, reason };
        let mut client = CacheControlServiceClient::new(self.channel.clone());
        let answer = client.warm_up(request).await.map_err(|status| self.failed(status))?;
        Ok(Events { client: self.clone(), events: answer.into_inner() })
    }
}

impl Events {
    /// The next event; none after the last plan's end.
    pub async fn next(&mut self) -> Result<Option<Event>, CallError> {
        let told = self.events.message().await.map_err(|status| self.client.failed(status))?;
        Ok(told.map(Event::from_message))
    }
}

impl Event {
    fn from_message(message: pb::WarmUpResponse) -> Self {
        let pb::WarmUpResponse { plan, time, event } = message;
        Self { plan, time: time.map(|time: Timestamp| time.to_string()), what: What::from_message(event) }
    }
}

impl What {
    fn from_message(event: Option<Shown>) -> Self {
        match event {
            Some(Shown::Started(pb::WarmUpStarted { trace_id, fence, job_id, steps, resumed })) => {
                Self::Started { trace_id, fence, job_id, steps, resumed }
            }
            Some(Shown::Skipped(skipped)) => Self::Skipped {
                reason: short(skipped.reason().as_str_name(), "WARM_UP_SKIP_REASON_"),
                holder: skipped.holder,
                holder_trace_id: skipped.holder_trace_id,
                until: skipped.until.map(|time| time.to_string()),
            },
            Some(Shown::StepStarted(pb::WarmUpStepStarted { step, index, total: _ })) => {
                Self::StepStarted { step, index }
            }
            Some(Shown::Progress(pb::WarmUpProgress { step, done, total, failed, fresh, rate, workers })) => {
                Self::Progress { step, done, total, failed, fresh, per_second: rate, workers }
            }
            Some(Shown::StepFinished(end)) => Self::StepFinished(StepEnd {
                result: short(end.result().as_str_name(), "WARM_UP_RESULT_"),
                elapsed_ms: milliseconds(end.elapsed.as_ref()),
                step: end.step,
                attempts: end.attempts,
                keys_warmed: end.keys_warmed,
                failed: end.failed,
                fresh: end.fresh,
                message: end.message,
            }),
            Some(Shown::Finished(end)) => Self::Finished {
                result: short(end.result().as_str_name(), "WARM_UP_RESULT_"),
                elapsed_ms: milliseconds(end.elapsed.as_ref()),
                keys_warmed: end.keys_warmed,
                failed: end.failed,
                lease_lost: end.lease_lost,
                message: end.message,
            },
            Some(Shown::StepPlanned(pb::WarmUpStepPlanned { step, index: _, entity, origin, total, sample_keys })) => {
                Self::StepPlanned { step, entity, origin, total, sample_keys }
            }
            None => Self::Unknown,
        }
    }
}
