//! `GetJob` and `WatchJob` for callers: what became of a pending invalidation, a sweep or a warm-up.

use prost_types::Timestamp;
use serde::Serialize;
use tonic::{Request, Streaming};

use super::invalidate::Counts;
use super::{CallError, Client, short};
use crate::grpc::pb;
use crate::grpc::pb::cache_control_service_client::CacheControlServiceClient;
use crate::grpc::pb::job::Detail;

/// A job as it is now. What does not apply to its kind is left out.
#[derive(Clone, Debug, Serialize)]
pub struct Job {
    pub job_id: String,
    /// `INVALIDATION`, `SWEEP` or `WARM_UP`.
    pub kind: String,
    pub state: String,
    pub trace_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    pub attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub holder: String,
    /// `FLEET` or `POD`: what its record survives.
    pub durability: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Why an invalidation is pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sweep: Option<Sweep>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Progress {
    pub done: u64,
    /// 0 where nobody knows.
    pub total: u64,
    pub failed: u64,
    pub per_second: f64,
}

/// How far a scan of Redis is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sweep {
    pub pattern: String,
    pub entities: Vec<String>,
    pub pass: u32,
    pub scanned: u64,
    pub nodes_done: u32,
    pub nodes_total: u32,
}

/// The states of one job, as they come.
pub struct Watch {
    client: Client,
    states: Streaming<pb::WatchJobResponse>,
}

impl Client {
    pub async fn get_job(&self, job_id: &str) -> Result<Job, CallError> {
        let mut client = CacheControlServiceClient::new(self.channel.clone());
        let mut request = Request::new(pb::GetJobRequest { job_id: job_id.to_owned() });
        request.set_timeout(self.deadline);
        let answer = client.get_job(request).await.map_err(|status| self.failed(status))?;
        Ok(Job::from_message(answer.into_inner().job.unwrap_or_default()))
    }

    /// Follows a job to its end, however long that takes: the client's deadline does not bound it.
    pub async fn watch_job(&self, job_id: &str) -> Result<Watch, CallError> {
        let mut client = CacheControlServiceClient::new(self.channel.clone());
        let request = pb::WatchJobRequest { job_id: job_id.to_owned() };
        let answer = client.watch_job(request).await.map_err(|status| self.failed(status))?;
        Ok(Watch { client: self.clone(), states: answer.into_inner() })
    }
}

impl Watch {
    /// The next state; none after the final one, or where the sidecar stops first.
    pub async fn next(&mut self) -> Result<Option<Job>, CallError> {
        let told = self.states.message().await.map_err(|status| self.client.failed(status))?;
        Ok(told.map(|told| Job::from_message(told.job.unwrap_or_default())))
    }
}

impl Job {
    pub fn is_final(&self) -> bool {
        matches!(self.state.as_str(), "SUCCEEDED" | "PARTIAL" | "FAILED")
    }

    fn from_message(job: pb::Job) -> Self {
        let (cause, counts, sweep) = match &job.detail {
            Some(Detail::Invalidation(detail)) => {
                let cause = short(detail.cause().as_str_name(), "PENDING_CAUSE_");
                (Some(cause), Some(Counts::from_message(detail.counts.as_ref())), None)
            }
            Some(Detail::Sweep(detail)) => {
                (None, Some(Counts::from_message(detail.counts.as_ref())), Some(Sweep::from_message(detail)))
            }
            Some(Detail::WarmUp(_)) | None => (None, None, None),
        };
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
        Self {
            kind: short(job.kind().as_str_name(), "JOB_KIND_"),
            state: short(job.state().as_str_name(), "JOB_STATE_"),
            durability: short(job.durability().as_str_name(), "DURABILITY_"),
            progress: job.progress.map(Progress::from_message),
            created: time(job.create_time),
            updated: time(job.update_time),
            finished: time(job.finish_time),
            next_attempt: time(job.next_attempt_time),
            job_id: job.job_id,
            trace_id: job.trace_id,
            attempts: job.attempts,
            holder: job.holder,
            reason: job.reason,
            message: job.message,
            cause,
            counts,
            sweep,
        }
    }
}

impl Progress {
    fn from_message(progress: pb::JobProgress) -> Self {
        let pb::JobProgress { done, total, failed, rate } = progress;
        Self { done, total, failed, per_second: rate }
    }
}

impl Sweep {
    fn from_message(sweep: &pb::SweepJob) -> Self {
        Self {
            pattern: sweep.pattern.clone(),
            entities: sweep.entities.clone(),
            pass: sweep.pass,
            scanned: sweep.scanned,
            nodes_done: sweep.nodes_done,
            nodes_total: sweep.nodes_total,
        }
    }
}
