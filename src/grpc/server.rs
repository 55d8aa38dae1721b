//! The door put together: the layers a call passes, from the outside in, and the listeners it comes in by.
//!
//! What each layer does stands in its own file; that it stands where it does, here.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming as RequestBody;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::service::Routes;
use tower::{Service, ServiceBuilder, ServiceExt};

use crate::domain::phase::Phase;
use crate::grpc::caller::Callers;
use crate::grpc::caller::certificate::Names;
use crate::grpc::connection::{self, Stop};
use crate::grpc::health;
use crate::grpc::layer::auth::{AuthLayer, Shown, Way};
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
use crate::grpc::tls::{Tls, TlsProblem};
use crate::grpc::{Limits, Remote};
use crate::tasks::Tasks;

/// After an accept that failed for want of files or memory: at once it would only fail again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the door is built from.
pub struct Door {
    pub services: Services,
    pub callers: Callers,
    /// How callers from outside the pod come in; none where they do not.
    pub outside: Option<Outside>,
    pub limits: Limits,
    /// How long calls under way may take to end once the process stops.
    pub drain: Duration,
    pub metrics: Metrics,
    pub adopt: Adopt,
    /// The door says `Stopping` before it turns anybody away; who says `Serving` is the app.
    pub phase: watch::Sender<Phase>,
    pub tasks: Tasks,
}

/// The way in for callers from outside the pod.
#[derive(Clone)]
pub struct Outside {
    pub tls: Tls,
    pub connections: usize,
    pub in_flight: usize,
}

impl Outside {
    pub fn new(remote: Remote) -> Result<Self, TlsProblem> {
        let Remote { address: _, tls, connections, in_flight } = remote;
        Ok(Self { tls: Tls::new(tls)?, connections, in_flight })
    }
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
    let pod = Room::new(&door, Way::Pod, door.limits);
    let outside = door.outside.as_ref().map(|outside| {
        let Outside { tls, connections, in_flight } = outside.clone();
        (Room::new(&door, Way::Remote, Limits { connections, in_flight, ..door.limits }), tls)
    });
    let (stop, open) = (Stop::default(), TaskTracker::new());
    let stopping = door.tasks.stopping();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopping.cancelled() => break,
            accepted = listeners.accept() => accepted,
        };
        let hall = Hall { door: &door, stop: &stop, open: &open };
        match (accepted, &outside) {
            (Ok(Incoming::Tcp(io)), _) => hall.admit(&pod, |room, tasks, stop| room.serve(io, None, tasks, stop)),
            (Ok(Incoming::Unix(io)), _) => hall.admit(&pod, |room, tasks, stop| room.serve(io, None, tasks, stop)),
            (Ok(Incoming::Remote(io)), Some((room, tls))) => {
                let tls = tls.clone();
                hall.admit(room, |room, tasks, stop| async move {
                    match tls.accept(io, room.limits.handshake).await {
                        Some((io, shown)) => room.serve(io, shown, tasks, stop).await,
                        None => ConnectionEnd::Handshake,
                    }
                });
            }
            // Nothing listens there without a way in.
            (Ok(Incoming::Remote(io)), None) => drop(io),
            (Err(error), _) => {
                tracing::warn!(%error, "a connection could not be accepted");
                door.metrics.accept_failed();
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    door.phase.send_replace(Phase::Stopping);
    drop(listeners);
    open.close();
    drain(&stop, &open, door.drain).await
}

/// What all connections of one way share. The ways share no places, so that nobody outside can take those inside.
#[derive(Clone)]
struct Room<S> {
    stack: S,
    limits: Limits,
    places: Arc<Semaphore>,
}

/// What a connection needs besides its room.
struct Hall<'a> {
    door: &'a Door,
    stop: &'a Stop,
    open: &'a TaskTracker,
}

impl Room<()> {
    fn new(door: &Door, way: Way, limits: Limits) -> Room<impl Stack> {
        Room { stack: stack(door, way, limits), limits, places: Arc::new(Semaphore::new(limits.connections)) }
    }
}

impl<S: Stack> Room<S> {
    /// One connection to its end.
    async fn serve<IO>(self, io: IO, shown: Option<Arc<Names>>, tasks: Tasks, stop: Stop) -> ConnectionEnd
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stack = self.stack.map_request(move |mut request: Request<RequestBody>| {
            request.extensions_mut().insert(Shown(shown.clone()));
            request
        });
        connection::serve(io, stack, &self.limits, tasks, stop).await
    }
}

impl Hall<'_> {
    /// Serves a connection on a task of its own, if there is a place for it.
    fn admit<S, F>(&self, room: &Room<S>, serve: impl FnOnce(Room<S>, Tasks, Stop) -> F)
    where
        S: Clone,
        F: Future<Output = ConnectionEnd> + Send + 'static,
    {
        let metrics = self.door.metrics.clone();
        let Ok(place) = room.places.clone().try_acquire_owned() else {
            // Closed by being dropped, before a byte of it is read.
            metrics.connection_refused(ConnectionEnd::OverLimit);
            return;
        };
        metrics.connection_opened();
        let served = serve(room.clone(), self.door.tasks.clone(), self.stop.clone());
        drop(self.door.tasks.finish(self.open.track_future(async move {
            metrics.connection_ended(served.await);
            drop(place);
        })));
    }
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

/// All that a call passes.
trait Stack:
    Service<Request<RequestBody>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + 'static
{
}

impl<S> Stack for S where
    S: Service<Request<RequestBody>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + 'static
{
}

/// The layers, outermost first. Both ways in have the same ones.
fn stack(door: &Door, way: Way, limits: Limits) -> impl Stack + use<> {
    ServiceBuilder::new()
        // Sees every call and every answer, refusals and panics included; begins the span that all else happens in.
        .layer(ObserveLayer::new(door.metrics.clone(), door.adopt.clone()))
        // Around everything that could panic, inside what counts.
        .layer(CatchPanicLayer::new(door.metrics.clone()))
        // Before any work is done for the call: refusing must cost less than serving.
        .layer(ShedLayer::new(limits.in_flight, limits.queue))
        // Before a body is read: nobody spends our memory without being known.
        .layer(AuthLayer::new(way, door.callers.clone()))
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
