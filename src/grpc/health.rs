//! grpc.health.v1, answered from the process's phase: on the api port, and on the probe port, which has a runtime of its
//! own.
//!
//! Why not tonic-health's reporter: it keeps statuses of its own beside the phase, and its watch streams never end, so
//! that each one would hold up a drain.

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::sync::watch;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::domain::phase::Phase;
use crate::grpc::pb::cache_control_service_server::CacheControlServiceServer;
use crate::grpc::pb::cache_read_service_server::CacheReadServiceServer;
use crate::grpc::service::control::Control;
use crate::grpc::service::read::Read;

#[derive(Clone)]
pub struct PhaseHealth {
    phase: watch::Receiver<Phase>,
}

/// What can be asked about.
#[derive(Clone, Copy)]
enum Subject {
    /// The sidecar as a whole, and the services that are as healthy as it.
    Process,
    /// A service that is switched off.
    Off,
}

/// The service as routes, for a server that need not know what is in them.
pub fn routes(phase: watch::Receiver<Phase>) -> axum::Router {
    Routes::from(axum::Router::new()).add_service(server(phase)).into_axum_router()
}

pub fn server(phase: watch::Receiver<Phase>) -> HealthServer<PhaseHealth> {
    HealthServer::new(PhaseHealth { phase })
}

#[tonic::async_trait]
impl Health for PhaseHealth {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        match subject(&request.get_ref().service) {
            Some(subject) => Ok(Response::new(response(status(subject, *self.phase.borrow())))),
            None => Err(Status::not_found("no such service")),
        }
    }

    /// Tells of each change and ends with the process's stop. A service nobody knows may yet come, says the protocol; here
    /// none ever does.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let subject = subject(&request.get_ref().service);
        let mut phase = self.phase.clone();
        // So that the phase as it is now is told first.
        phase.mark_changed();
        let told = stream::unfold(Some(phase), move |phase| async move {
            let mut phase = phase?;
            phase.changed().await.ok()?;
            let now = *phase.borrow_and_update();
            let told = subject.map_or(ServingStatus::ServiceUnknown, |subject| status(subject, now));
            Some((Ok(response(told)), (now != Phase::Stopping).then_some(phase)))
        });
        Ok(Response::new(told.boxed()))
    }
}

fn subject(service: &str) -> Option<Subject> {
    match service {
        "" => Some(Subject::Process),
        name if name == CacheControlServiceServer::<Control>::NAME => Some(Subject::Process),
        name if name == CacheReadServiceServer::<Read>::NAME => Some(Subject::Off),
        _ => None,
    }
}

fn status(subject: Subject, phase: Phase) -> ServingStatus {
    match (subject, phase) {
        (Subject::Process, Phase::Serving) => ServingStatus::Serving,
        (Subject::Process, Phase::Starting | Phase::Stopping) | (Subject::Off, _) => ServingStatus::NotServing,
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::phase;

    fn about(service: &str) -> Request<HealthCheckRequest> {
        Request::new(HealthCheckRequest { service: service.to_owned() })
    }

    #[tokio::test]
    async fn health_follows_the_phase() {
        let (set, phase) = phase::channel();
        let health = PhaseHealth { phase };
        for (now, expected) in [
            (Phase::Starting, ServingStatus::NotServing),
            (Phase::Serving, ServingStatus::Serving),
            (Phase::Stopping, ServingStatus::NotServing),
        ] {
            set.send_replace(now);
            for service in ["", "hydrant.v1.CacheControlService"] {
                let told = health.check(about(service)).await.expect("known").into_inner();
                assert_eq!(told.status(), expected, "{now:?} {service}");
            }
            let off = health.check(about("hydrant.v1.CacheReadService")).await.expect("known").into_inner();
            assert_eq!(off.status(), ServingStatus::NotServing);
        }
        assert!(health.check(about("x.Y")).await.is_err());
    }

    #[tokio::test]
    async fn a_watch_tells_each_change_and_ends_with_the_stop() {
        let (set, phase) = phase::channel();
        let mut watching = PhaseHealth { phase }.watch(about("")).await.expect("a stream").into_inner();
        let mut next = async || watching.next().await.map(|told| told.expect("no error").status());
        assert_eq!(next().await, Some(ServingStatus::NotServing));
        set.send_replace(Phase::Serving);
        assert_eq!(next().await, Some(ServingStatus::Serving));
        set.send_replace(Phase::Stopping);
        assert_eq!(next().await, Some(ServingStatus::NotServing));
        assert_eq!(next().await, None);
    }
}
