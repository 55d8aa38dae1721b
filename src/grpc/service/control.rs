//! `CacheControlService`: what will be needed, what has changed, how the cache is doing.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::domain::trace::TraceContext;
use crate::grpc::layer::deadline::Deadline;
use crate::grpc::pb::cache_control_service_server::CacheControlService;
use crate::grpc::pb::{
    ExplainRequest, ExplainResponse, GetJobRequest, GetJobResponse, InvalidateRequest, InvalidateResponse,
    PrehydrateRequest, PrehydrateResponse, StatsRequest, StatsResponse, WarmUpRequest, WatchJobRequest,
};
use crate::grpc::service::follow::{Following, follow};
use crate::grpc::service::warm_up::{Events, events};
use crate::grpc::service::{Services, not_built, refuse};
use crate::grpc::{convert, status};
use crate::warm::jobs;

/// A caller that waits is answered this long before its deadline, or a tenth of its time where that is less, so that it
/// hears what is done so far instead of nothing.
const ANSWER_MARGIN: Duration = Duration::from_millis(50);

pub struct Control {
    services: Services,
}

impl Control {
    pub fn new(services: Services) -> Self {
        Self { services }
    }
}

#[tonic::async_trait]
impl CacheControlService for Control {
    type WatchJobStream = Following;
    type WarmUpStream = Events;

    async fn prehydrate(&self, call: Request<PrehydrateRequest>) -> Result<Response<PrehydrateResponse>, Status> {
        let trace = *call.extensions().get::<TraceContext>().ok_or_else(status::internal)?;
        let until = answer_by(call.extensions().get(), Instant::now());
        let request = convert::request(call.into_inner(), trace, until).map_err(refuse)?;
        let report = self.services.prehydrate.run(request).await.map_err(refuse)?;
        Ok(Response::new(convert::response(report)))
    }

    async fn invalidate(&self, call: Request<InvalidateRequest>) -> Result<Response<InvalidateResponse>, Status> {
        let trace = *call.extensions().get::<TraceContext>().ok_or_else(status::internal)?;
        let until = answer_by(call.extensions().get(), Instant::now());
        let Services { prehydrate, invalidate, .. } = &self.services;
        let identify = |who| prehydrate.identify(who);
        let brought = convert::invalidate::Call { trace, until };
        let request = convert::invalidate::request(call.into_inner(), brought, identify).map_err(refuse)?;
        let answer = invalidate.run(request).await.map_err(refuse)?;
        Ok(Response::new(convert::invalidate::response(answer)))
    }

    async fn get_job(&self, call: Request<GetJobRequest>) -> Result<Response<GetJobResponse>, Status> {
        let id = convert::job::id(call.into_inner().job_id).map_err(refuse)?;
        let job = match jobs::is_ours(&id) {
            true => convert::job::warm_up(self.services.warm.job(&id).map_err(refuse)?),
            false => convert::job::job(self.services.invalidate.job(&id).await.map_err(refuse)?),
        };
        Ok(Response::new(GetJobResponse { job: Some(job) }))
    }

    async fn watch_job(&self, call: Request<WatchJobRequest>) -> Result<Response<Self::WatchJobStream>, Status> {
        let id = convert::job::id(call.into_inner().job_id).map_err(refuse)?;
        let Services { invalidate, warm, stopping, .. } = &self.services;
        Ok(Response::new(match jobs::is_ours(&id) {
            true => {
                let states = warm.watch(&id).map_err(refuse)?;
                follow(states.map(convert::job::warm_up), stopping.clone())
            }
            false => {
                let states = invalidate.watch(&id).await.map_err(refuse)?;
                follow(states.map(convert::job::job), stopping.clone())
            }
        }))
    }

    async fn warm_up(&self, call: Request<WarmUpRequest>) -> Result<Response<Self::WarmUpStream>, Status> {
        let trace = *call.extensions().get::<TraceContext>().ok_or_else(status::internal)?;
        let request = convert::warm_up::request(call.into_inner(), trace).map_err(refuse)?;
        let told = self.services.warm.run(request).map_err(refuse)?;
        Ok(Response::new(events(told, self.services.stopping.clone())))
    }

    async fn stats(&self, _: Request<StatsRequest>) -> Result<Response<StatsResponse>, Status> {
        Err(not_built())
    }

    async fn explain(&self, _: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        Err(not_built())
    }
}

/// Shortly before the call's deadline. What waits always has one: its own, where the caller names none.
fn answer_by(deadline: Option<&Deadline>, now: Instant) -> Instant {
    let end = deadline.and_then(|deadline| deadline.0).unwrap_or(now);
    let left = end.saturating_duration_since(now);
    now + left.saturating_sub(ANSWER_MARGIN.min(left / 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_waiting_caller_is_answered_shortly_before_its_deadline() {
        let now = Instant::now();
        let by = |left: u64| answer_by(Some(&Deadline(Some(now + Duration::from_millis(left)))), now) - now;
        assert_eq!(by(4_000), Duration::from_millis(3_950));
        assert_eq!(by(100), Duration::from_millis(90));
        assert_eq!(by(0), Duration::ZERO);
    }
}
