//! Load shedding by the time spent waiting: a call that cannot begin soon is refused while its caller can still do
//! something else about it.
//!
//! Calls under way are limited. A call waits at most `Limits::queue` for its turn, counted from its arrival, and is then
//! refused with RetryInfo. Why time and not the length of a line: how long a line may be depends on how fast it moves,
//! and only the time matters to a login that waits. A share of places is kept for invalidations and health checks: they
//! are what must still work when everything else is too much.

use std::convert::Infallible;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::domain::error::Error;
use crate::grpc::layer::observe::Arrived;
use crate::grpc::layer::{Answering, refuse};
use crate::grpc::rpc::{Answer, Places, Rpc};

/// One place in this many is kept, on top of the common ones: invalidations are short, and few beside reads.
const RESERVED_SHARE: usize = 8;

/// What a refused caller is told: several times a queue's wait, so that the line has moved.
const RETRY_AFTER: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub struct ShedLayer {
    common: Arc<Semaphore>,
    reserved: Arc<Semaphore>,
    queue: Duration,
}

#[derive(Clone)]
pub struct Shed<S> {
    inner: S,
    layer: ShedLayer,
}

impl ShedLayer {
    pub fn new(in_flight: usize, queue: Duration) -> Self {
        let reserved = in_flight.div_ceil(RESERVED_SHARE);
        Self { common: Arc::new(Semaphore::new(in_flight)), reserved: Arc::new(Semaphore::new(reserved)), queue }
    }

    /// A place, or none in time. The first look takes one without a timer.
    async fn place(&self, places: Places, arrived: Instant) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = self.common.clone().try_acquire_owned() {
            return Some(permit);
        }
        let either = async {
            match places {
                Places::Common => self.common.clone().acquire_owned().await.ok(),
                Places::Reserved => tokio::select! {
                    biased;
                    permit = self.reserved.clone().acquire_owned() => permit.ok(),
                    permit = self.common.clone().acquire_owned() => permit.ok(),
                },
            }
        };
        timeout_at(arrived + self.queue, either).await.ok().flatten()
    }
}

impl<S> Layer<S> for ShedLayer {
    type Service = Shed<S>;

    fn layer(&self, inner: S) -> Shed<S> {
        Shed { inner, layer: self.clone() }
    }
}

impl<S, B> Service<Request<B>> for Shed<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Answering {
        let rpc = Rpc::of(request.uri().path());
        let arrived = request.extensions().get::<Arrived>().map_or_else(Instant::now, |arrived| arrived.0);
        let layer = self.layer.clone();
        // The service that was made ready is the one to call; its clone stays behind for the next.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            let Some(place) = layer.place(rpc.places(), arrived).await else {
                return Ok(refuse(&Error::shed(RETRY_AFTER)));
            };
            let Ok(response) = inner.call(request).await;
            Ok(match rpc.answer() {
                // The message is made; sending it is the connection's work.
                Answer::One => response,
                Answer::Stream => response.map(|body| Body::new(PlacedBody { body, _place: place })),
            })
        })
    }
}

/// A stream keeps its place until it ends.
struct PlacedBody {
    body: Body,
    _place: OwnedSemaphorePermit,
}

impl http_body::Body for PlacedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use http_body_util::Full;
    use tonic_types::StatusExt;
    use tower::ServiceExt;

    use super::*;
    use crate::grpc::layer::testing::{INVALIDATE, Inner, PREHYDRATE, WATCH_JOB, call, ok, reason, request, service};

    const QUEUE: Duration = Duration::from_millis(20);

    fn hanging() -> Inner<Full<Bytes>> {
        service(|_| pending())
    }

    fn answering() -> Inner<Full<Bytes>> {
        service(|_| async { ok() })
    }

    /// Calls that never end, as many as given; they hold their places as long as they are kept.
    fn occupy(layer: &ShedLayer, path: &str, calls: usize) -> Vec<impl Future<Output = ()>> {
        let mut calls: Vec<_> = (0..calls)
            .map(|_| {
                let hanging = layer.layer(hanging()).oneshot(request(path));
                Box::pin(async { drop(hanging.await) })
            })
            .collect();
        for call in &mut calls {
            assert!(futures_util::FutureExt::now_or_never(call.as_mut()).is_none());
        }
        calls
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_waits_too_long_is_shed_with_a_time_to_come_back() {
        let layer = ShedLayer::new(2, QUEUE);
        let _busy = occupy(&layer, PREHYDRATE, 2);
        let began = Instant::now();
        let response = call(&layer, answering(), request(PREHYDRATE)).await;
        assert_eq!(began.elapsed(), QUEUE);
        assert_eq!(reason(&response).as_deref(), Some("SHED"));
        let status = Status::from_header_map(response.headers()).expect("an error");
        assert_eq!(status.get_details_retry_info().and_then(|info| info.retry_delay), Some(RETRY_AFTER));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_begins_as_soon_as_a_place_is_free() {
        let layer = ShedLayer::new(1, QUEUE);
        let busy = occupy(&layer, PREHYDRATE, 1);
        let waiting = call(&layer, answering(), request(PREHYDRATE));
        let freeing = async {
            tokio::time::sleep(QUEUE / 2).await;
            drop(busy);
        };
        let (response, ()) = tokio::join!(waiting, freeing);
        assert_eq!(reason(&response), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_counts_from_the_arrival() {
        let layer = ShedLayer::new(1, QUEUE);
        let _busy = occupy(&layer, PREHYDRATE, 1);
        let mut late = request(PREHYDRATE);
        late.extensions_mut().insert(Arrived(Instant::now()));
        tokio::time::advance(QUEUE).await;
        let began = Instant::now();
        call(&layer, answering(), late).await;
        assert!(began.elapsed() < QUEUE);
    }

    #[tokio::test(start_paused = true)]
    async fn an_invalidation_gets_through_when_all_common_places_are_taken() {
        let layer = ShedLayer::new(8, QUEUE);
        let _busy = occupy(&layer, PREHYDRATE, 8);
        assert_eq!(reason(&call(&layer, answering(), request(INVALIDATE)).await), None);
        let _invalidating = occupy(&layer, INVALIDATE, 1);
        assert_eq!(reason(&call(&layer, answering(), request(INVALIDATE)).await).as_deref(), Some("SHED"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_keeps_its_place_until_it_is_dropped() {
        let layer = ShedLayer::new(1, QUEUE);
        let stream = call(&layer, answering(), request(WATCH_JOB)).await;
        assert_eq!(reason(&call(&layer, answering(), request(PREHYDRATE)).await).as_deref(), Some("SHED"));
        drop(stream);
        assert_eq!(reason(&call(&layer, answering(), request(PREHYDRATE)).await), None);
    }
}
