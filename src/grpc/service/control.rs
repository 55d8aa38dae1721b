//! `CacheControlService`: what will be needed, what has changed, how the cache is doing.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::domain::caller::Right;
use crate::domain::error::Error;
use crate::domain::trace::TraceContext;
use crate::grpc::caller::{Caller, tenancy};
use crate::grpc::layer::deadline::Deadline;
use crate::grpc::pb::cache_control_service_server::CacheControlService;
use crate::grpc::pb::{
    ExplainRequest, ExplainResponse, GetJobRequest, GetJobResponse, InvalidateRequest, InvalidateResponse,
    PrehydrateRequest, PrehydrateResponse, StatsRequest, StatsResponse, WarmUpRequest, WatchJobRequest,
};
use crate::grpc::service::follow::{Following, follow};
use crate::grpc::service::warm_up::{Events, events};
use crate::grpc::service::{Services, caller, not_built, refuse};
use crate::grpc::{convert, status};
use crate::prehydrate::request::{self as prehydrate, Who};
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

    /// The same prehydration, of a caller that is held to some tenants: whom it is about is settled first.
    fn held(&self, caller: &Caller, request: prehydrate::Request) -> Result<prehydrate::Request, Error> {
        let shown = match &request.who {
            Who::Subject(_) => "subject.tenant",
            Who::CookieHeader(_) => "cookie_header",
            Who::CookieValue(_) => "cookie_value",
        };
        let subject = self.services.prehydrate.identify(request.who)?;
        let catalog = self.services.live.get().catalog.clone();
        tenancy::prehydration(caller, &catalog, (shown, &subject), &request.members)?;
        Ok(prehydrate::Request { who: Who::Subject(subject), ..request })
    }
}

#[tonic::async_trait]
impl CacheControlService for Control {
    type WatchJobStream = Following;
    type WarmUpStream = Events;

    async fn prehydrate(&self, call: Request<PrehydrateRequest>) -> Result<Response<PrehydrateResponse>, Status> {
        let trace = *call.extensions().get::<TraceContext>().ok_or_else(status::internal)?;
        let until = answer_by(call.extensions().get(), Instant::now());
        let caller = caller(&call)?;
        let mut request = convert::request(call.into_inner(), trace, until).map_err(refuse)?;
        caller.may_name(&request.who).map_err(refuse)?;
        if caller.is_held() {
            request = self.held(&caller, request).map_err(refuse)?;
        }
        let report = self.services.prehydrate.run(request).await.map_err(refuse)?;
        Ok(Response::new(convert::response(report)))
    }

    async fn invalidate(&self, call: Request<InvalidateRequest>) -> Result<Response<InvalidateResponse>, Status> {
        let trace = *call.extensions().get::<TraceContext>().ok_or_else(status::internal)?;
        let until = answer_by(call.extensions().get(), Instant::now());
        let caller = caller(&call)?;
        let Services { prehydrate, invalidate, live, .. } = &self.services;
        let identify = |who| caller.may_name(&who).and_then(|()| prehydrate.identify(who));
        let brought = convert::invalidate::Call { trace, until };
        let mut request = convert::invalidate::request(call.into_inner(), brought, identify).map_err(refuse)?;
        let catalog = live.get().catalog.clone();
        request.within = tenancy::invalidation(&caller, &catalog, &request, Instant::now()).map_err(refuse)?;
        let answer = invalidate.run(request).await.map_err(refuse)?;
        Ok(Response::new(convert::invalidate::response(answer)))
    }

    async fn get_job(&self, call: Request<GetJobRequest>) -> Result<Response<GetJobResponse>, Status> {
        let caller = caller(&call)?;
        let id = convert::job::id(call.into_inner().job_id).map_err(refuse)?;
        if jobs::is_ours(&id) {
            let job = self.services.warm.job(&id).map_err(refuse)?;
            return Ok(Response::new(GetJobResponse { job: Some(convert::job::warm_up(job)) }));
        }
        let job = self.services.invalidate.job(&id).await.map_err(refuse)?;
        caller.may_see(&job).map_err(refuse)?;
        Ok(Response::new(GetJobResponse { job: Some(convert::job::job(job)) }))
    }

    async fn watch_job(&self, call: Request<WatchJobRequest>) -> Result<Response<Self::WatchJobStream>, Status> {
        let caller = caller(&call)?;
        let id = convert::job::id(call.into_inner().job_id).map_err(refuse)?;
        let Services { invalidate, warm, stopping, .. } = &self.services;
        if jobs::is_ours(&id) {
            let states = warm.watch(&id).map_err(refuse)?;
            return Ok(Response::new(follow(states.map(|job| Ok(convert::job::warm_up(job))), stopping.clone())));
        }
        if caller.is_held() {
            let job = invalidate.job(&id).await.map_err(refuse)?;
            caller.may_see(&job).map_err(refuse)?;
        }
        let states = invalidate.watch(&id).await.map_err(refuse)?;
        Ok(Response::new(follow(states.map(|job| job.map(convert::job::job)), stopping.clone())))
    }

    async fn warm_up(&self, call: Request<WarmUpRequest>) -> Result<Response<Self::WarmUpStream>, Status> {
        let trace = *call.extensions().get::<TraceContext>().ok_or_else(status::internal)?;
        let request = convert::warm_up::request(call.into_inner(), trace).map_err(refuse)?;
        let told = self.services.warm.run(request).map_err(refuse)?;
        Ok(Response::new(events(told, self.services.stopping.clone())))
    }

    async fn stats(&self, call: Request<StatsRequest>) -> Result<Response<StatsResponse>, Status> {
        let caller = caller(&call)?;
        if call.get_ref().plain_ids {
            caller.must_have(Right::ReadIds).map_err(refuse)?;
        }
        caller.must_see_all().map_err(refuse)?;
        Err(not_built())
    }

    async fn explain(&self, call: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        let (caller, catalog) = (caller(&call)?, self.services.live.get().catalog.clone());
        tenancy::explanation(&caller, &catalog, call.get_ref()).map_err(refuse)?;
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
