//! The door put together: the layers a call passes, from the outside in, and the listeners it comes in by.
//!
//! What each layer does stands in its own file; that it stands where it does, here.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming as RequestBody;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::service::Routes;
use tower::{Service, ServiceBuilder};

use crate::domain::phase::Phase;
use crate::grpc::Limits;
use crate::grpc::connection::{self, Stop};
use crate::grpc::health;
use crate::grpc::layer::auth::{AuthLayer, pod_local};
use crate::grpc::layer::deadline::DeadlineLayer;
use crate::grpc::layer::detail::DetailLayer;
use crate::grpc::layer::limit::LimitLayer;
use crate::grpc::layer::observe::{Adopt, ObserveLayer};
use crate::grpc::layer::panic::CatchPanicLayer;
use crate::grpc::layer::shed::ShedLayer;
use crate::grpc::listen::{Incoming, Listeners};
use crate::grpc::metrics::{ConnectionEnd, Metrics};
use crate::grpc::pb;
use crate::grpc::pb::cache_control_service_server::CacheControlServiceServer;
use crate::grpc::pb::cache_read_service_server::CacheReadServiceServer;
use crate::grpc::service::Services;
use crate::grpc::service::control::Control;
use crate::grpc::service::read::Read;
use crate::tasks::Tasks;

/// After an accept that failed for want of files or memory: at once it would only fail again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the door is built from.
pub struct Door {
    pub services: Services,
    pub limits: Limits,
    /// How long calls under way may take to end once the process stops.
    pub drain: Duration,
    pub metrics: Metrics,
    pub adopt: Adopt,
    /// The door says `Stopping` before it turns anybody away; who says `Serving` is the app.
    pub phase: watch::Sender<Phase>,
    pub tasks: Tasks,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every call ended.
    Whole,
    /// Some were cut off.
    Cut,
}

/// Serves until the tasks are told to stop, then drains: not healthy any more, no new connections, no new calls (GOAWAY),
/// the calls under way to their end, and after `drain` whatever is left is dropped.
pub async fn serve(listeners: Listeners, door: Door) -> Drained {
    let stack = stack(&door);
    let places = Arc::new(Semaphore::new(door.limits.connections));
    let (stop, open) = (Stop::default(), TaskTracker::new());
    let stopping = door.tasks.stopping();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopping.cancelled() => break,
            accepted = listeners.accept() => accepted,
        };
        let incoming = match accepted {
            Ok(incoming) => incoming,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                door.metrics.accept_failed();
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            // Closed by being dropped, before a byte of it is read.
            door.metrics.connection_refused(ConnectionEnd::OverLimit);
            continue;
        };
        let (stack, limits, tasks) = (stack.clone(), door.limits, door.tasks.clone());
        let (metrics, stop) = (door.metrics.clone(), stop.clone());
        metrics.connection_opened();
        drop(door.tasks.finish(open.track_future(async move {
            let end = match incoming {
                Incoming::Tcp(io) => connection::serve(io, stack, &limits, tasks, stop).await,
                Incoming::Unix(io) => connection::serve(io, stack, &limits, tasks, stop).await,
            };
            metrics.connection_ended(end);
            drop(place);
        })));
    }
    door.phase.send_replace(Phase::Stopping);
    drop(listeners);
    open.close();
    drain(&stop, &open, door.drain).await
}

async fn drain(stop: &Stop, open: &TaskTracker, longest: Duration) -> Drained {
    stop.go_away.cancel();
    if timeout(longest, open.wait()).await.is_ok() {
        return Drained::Whole;
    }
    tracing::warn!(connections = open.len(), "the drain is over; what is left is cut off");
    stop.cut.cancel();
    open.wait().await;
    Drained::Cut
}

/// The layers, outermost first.
fn stack(
    door: &Door,
) -> impl Service<Request<RequestBody>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
+ Clone
+ Send
+ 'static {
    let limits = door.limits;
    ServiceBuilder::new()
        // Sees every call and every answer, refusals and panics included; begins the span that all else happens in.
        .layer(ObserveLayer::new(door.metrics.clone(), door.adopt.clone()))
        // Around everything that could panic, inside what counts.
        .layer(CatchPanicLayer::new(door.metrics.clone()))
        // Before any work is done for the call: refusing must cost less than serving.
        .layer(ShedLayer::new(limits.in_flight, limits.queue))
        // Before a body is read: nobody spends our memory without being known.
        .layer(AuthLayer::new(pod_local))
        // Bounds what is read of a request.
        .layer(LimitLayer::new(limits))
        // Bounds how long it may take, reading and decoding included.
        .layer(DeadlineLayer::new(limits))
        // Around tonic's own refusals, which know nothing of our details.
        .layer(DetailLayer)
        .service(routes(door))
}

/// The services. tonic's router is the one boxed seam between the layers and the generated code.
fn routes(door: &Door) -> Routes {
    let control = CacheControlServiceServer::new(Control::new(door.services.clone()))
        .max_decoding_message_size(door.limits.value_message);
    let read =
        CacheReadServiceServer::new(Read::new(door.services.clone())).max_decoding_message_size(door.limits.message);
    let mut routes = Routes::builder();
    routes.add_service(control).add_service(read).add_service(health::server(door.phase.subscribe()));
    // Both versions: many tools still ask for the older one.
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(pb::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    match (reflection().build_v1(), reflection().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => {
            routes.add_service(v1).add_service(v1alpha);
        }
        // The descriptors were compiled with this very binary; a test calls both.
        (Err(error), _) | (_, Err(error)) => tracing::error!(%error, "reflection is off"),
    }
    routes.routes().prepare()
}
