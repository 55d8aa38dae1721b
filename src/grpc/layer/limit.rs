//! What a request's body may be: each message no larger than its rpc takes, all messages of all calls within one budget
//! of bytes, and the whole of it here in time.
//!
//! The length that precedes each message is read from the stream, so a message that is too large is refused before it
//! is here. The budget is held until the call ends, because the decoded message is. Why not tonic's own limit: it holds
//! for a service, not for an rpc, and its error is not the one the contract promises; it stays set as a second fence.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{Request, Response};
use http_body::Frame;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::domain::budget::{Budget, Meter};
use crate::domain::error::{Error, Kind};
use crate::grpc::Limits;
use crate::grpc::layer::Answering;
use crate::grpc::rpc::{self, Rpc};
use crate::grpc::status;

/// What a caller is told when the budget is spent: messages of others are decoded and gone in this time.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// One byte that says whether the message is compressed, four of length.
const PREFIX: usize = 5;

#[derive(Clone)]
pub struct LimitLayer {
    limits: Limits,
    budget: Budget,
}

#[derive(Clone)]
pub struct Limit<S> {
    inner: S,
    layer: LimitLayer,
}

impl LimitLayer {
    pub fn new(limits: Limits) -> Self {
        Self { limits, budget: Budget::new(limits.in_flight_bytes) }
    }
}

impl<S> Layer<S> for LimitLayer {
    type Service = Limit<S>;

    fn layer(&self, inner: S) -> Limit<S> {
        Limit { inner, layer: self.clone() }
    }
}

impl<S, B> Service<Request<B>> for Limit<S>
where
    S: Service<Request<LimitedBody<B>>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Answering {
        let rpc = Rpc::of(request.uri().path());
        let meter = Arc::new(self.layer.budget.meter());
        let limited = request.map(|body| LimitedBody::new(body, rpc, &self.layer, meter.clone()));
        let answering = self.inner.call(limited);
        Box::pin(async move {
            let response = answering.await;
            drop(meter);
            response
        })
    }
}

/// A request's body as it is read.
pub struct LimitedBody<B> {
    body: B,
    longest: usize,
    /// Where in the stream of messages it stands.
    at: At,
    meter: Arc<Meter>,
    budget: Budget,
    requests: rpc::Request,
    end: End,
}

enum At {
    Prefix { have: usize, length: usize },
    Message { left: usize },
}

/// When the body must have ended. The timer is made when there is something to wait for: most bodies come at once.
enum End {
    By(Instant),
    Timed(Pin<Box<Sleep>>),
    /// A stream of requests ends when its caller is done.
    Open,
}

impl<B> LimitedBody<B> {
    fn new(body: B, rpc: Rpc, layer: &LimitLayer, meter: Arc<Meter>) -> Self {
        let end = match rpc.request() {
            rpc::Request::One => End::By(Instant::now() + layer.limits.body),
            rpc::Request::Stream => End::Open,
        };
        Self {
            body,
            longest: rpc.message(&layer.limits),
            at: At::Prefix { have: 0, length: 0 },
            meter,
            budget: layer.budget.clone(),
            requests: rpc.request(),
            end,
        }
    }

    /// Follows the messages through the bytes that came.
    fn take(&mut self, mut bytes: &[u8]) -> Result<(), Status> {
        while !bytes.is_empty() {
            match &mut self.at {
                At::Prefix { have, length } => {
                    // The first byte is no part of the length; shifting it out of four bytes loses it.
                    *length = (*length << 8 | usize::from(bytes.get_u8())) & 0xffff_ffff;
                    *have += 1;
                    if *have == PREFIX {
                        let left = *length;
                        self.begin(left)?;
                    }
                }
                At::Message { left } => {
                    let step = bytes.len().min(*left);
                    bytes.advance(step);
                    *left -= step;
                    if *left == 0 {
                        self.at = At::Prefix { have: 0, length: 0 };
                    }
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, length: usize) -> Result<(), Status> {
        if length > self.longest {
            return Err(status::of(&Error::new(Kind::TooLarge, "message over its limit")));
        }
        if self.requests == rpc::Request::Stream {
            // The message before this one has been taken: only one is held at a time.
            self.meter = Arc::new(self.budget.meter());
        }
        if !self.meter.grow(length) {
            return Err(status::of(&Error::shed(RETRY_AFTER)));
        }
        self.at = if length == 0 { At::Prefix { have: 0, length: 0 } } else { At::Message { left: length } };
        Ok(())
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        if let End::By(end) = self.end {
            self.end = End::Timed(Box::pin(sleep_until(end)));
        }
        match &mut self.end {
            End::Timed(sleep) => sleep.as_mut().poll(cx).is_ready(),
            End::By(_) | End::Open => false,
        }
    }
}

impl<B> http_body::Body for LimitedBody<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<tonic::codegen::StdError>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let frame = match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending if this.is_late(cx) => {
                let late = Error::new(Kind::Deadline, "the request's body did not end in time");
                return Poll::Ready(Some(Err(status::of(&late))));
            }
            Poll::Pending => return Poll::Pending,
        };
        Poll::Ready(frame.map(|frame| {
            let frame = frame.map_err(|error| Status::from_error(error.into()))?;
            if let Some(data) = frame.data_ref() {
                this.take(data)?;
            }
            Ok(frame)
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use http_body_util::{BodyExt, Full, StreamBody};
    use tonic_types::StatusExt;
    use tower::ServiceExt;

    use super::*;
    use crate::grpc::layer::testing::{INVALIDATE, PREHYDRATE, RECORD, ok, reason, request, service};

    const LIMITS: fn() -> Limits =
        || Limits { message: 100, value_message: 200, in_flight_bytes: 250, ..Limits::default() };

    /// Messages of these lengths, as they stand on the wire.
    fn wire(lengths: &[usize]) -> Bytes {
        let mut wire = Vec::new();
        for length in lengths {
            wire.push(0);
            wire.extend(u32::try_from(*length).expect("short").to_be_bytes());
            wire.extend(std::iter::repeat_n(7, *length));
        }
        wire.into()
    }

    /// The bytes in pieces of this size, and how reading them ended.
    async fn read(layer: &LimitLayer, path: &str, bytes: Bytes, piece: usize) -> Option<String> {
        let frames: Vec<_> = bytes.chunks(piece).map(Bytes::copy_from_slice).collect();
        let frames = tokio_stream::iter(frames).map(|piece| Ok::<_, Status>(Frame::data(piece)));
        let asked = request(path).map(|_| StreamBody::new(frames));
        let inner = service(|request: Request<LimitedBody<_>>| async move {
            match request.into_body().collect().await {
                Ok(_) => ok(),
                Err(status) => status.into_http(),
            }
        });
        let Ok(response) = layer.layer(inner).oneshot(asked).await;
        reason(&response)
    }

    #[tokio::test]
    async fn a_message_may_be_as_large_as_its_rpc_takes() {
        let layer = LimitLayer::new(LIMITS());
        for piece in [1, 3, 64, 1_000] {
            assert_eq!(read(&layer, PREHYDRATE, wire(&[100]), piece).await, None);
            assert_eq!(read(&layer, PREHYDRATE, wire(&[101]), piece).await.as_deref(), Some("TOO_LARGE"));
            assert_eq!(read(&layer, INVALIDATE, wire(&[200]), piece).await, None);
        }
    }

    #[tokio::test]
    async fn a_message_that_is_too_large_is_refused_by_its_length_alone() {
        let layer = LimitLayer::new(LIMITS());
        let prefix = wire(&[4_000]).slice(..PREFIX);
        assert_eq!(read(&layer, PREHYDRATE, prefix, PREFIX).await.as_deref(), Some("TOO_LARGE"));
    }

    #[tokio::test]
    async fn a_stream_may_send_many_messages_and_none_too_large() {
        let layer = LimitLayer::new(LIMITS());
        assert_eq!(read(&layer, RECORD, wire(&[100, 0, 100, 100, 100]), 7).await, None);
        assert_eq!(read(&layer, RECORD, wire(&[100, 101]), 7).await.as_deref(), Some("TOO_LARGE"));
    }

    #[tokio::test]
    async fn what_does_not_fit_the_budget_is_shed_and_an_ended_call_gives_its_bytes_back() {
        let layer = LimitLayer::new(LIMITS());
        let busy = layer.budget.meter();
        assert!(busy.grow(200));
        assert_eq!(read(&layer, PREHYDRATE, wire(&[60]), 64).await.as_deref(), Some("SHED"));
        drop(busy);
        assert_eq!(read(&layer, PREHYDRATE, wire(&[60]), 64).await, None);
        assert_eq!(layer.budget.left(), 250);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_is_refused_in_time() {
        let layer = LimitLayer::new(LIMITS());
        let inner = service(|request: Request<LimitedBody<_>>| async move {
            let status = request.into_body().collect().await.expect_err("never ends");
            assert_eq!(status.get_details_error_info().expect("details").reason, "DEADLINE");
            ok()
        });
        let began = Instant::now();
        let frames = tokio_stream::pending::<Result<Frame<Bytes>, Status>>();
        let Ok(_) = layer.layer(inner).oneshot(request(PREHYDRATE).map(|_| StreamBody::new(frames))).await;
        assert_eq!(began.elapsed(), layer.limits.body);
    }

    #[tokio::test]
    async fn a_call_without_a_body_passes() {
        let layer = LimitLayer::new(LIMITS());
        let inner = service(|_: Request<LimitedBody<Full<Bytes>>>| async { ok() });
        let Ok(response) = layer.layer(inner).oneshot(request(PREHYDRATE)).await;
        assert_eq!(reason(&response), None);
    }
}
