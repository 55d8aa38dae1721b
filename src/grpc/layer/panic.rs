//! A defect of ours costs the call that met it: INTERNAL, counted, and everybody else goes on.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::domain::error::{Error, Kind};
use crate::grpc::layer::{Answering, refuse};
use crate::grpc::metrics::Metrics;
use crate::grpc::rpc::{Answer, Rpc};
use crate::grpc::status;

#[derive(Clone)]
pub struct CatchPanicLayer {
    metrics: Metrics,
}

#[derive(Clone)]
pub struct CatchPanic<S> {
    inner: S,
    metrics: Metrics,
}

impl CatchPanicLayer {
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics }
    }
}

impl<S> Layer<S> for CatchPanicLayer {
    type Service = CatchPanic<S>;

    fn layer(&self, inner: S) -> CatchPanic<S> {
        CatchPanic { inner, metrics: self.metrics.clone() }
    }
}

impl<S, B> Service<Request<B>> for CatchPanic<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Answering {
        let answer = Rpc::of(request.uri().path()).answer();
        let metrics = self.metrics.clone();
        // What a panicking call leaves behind is dropped with it; state that is shared guards itself.
        let Ok(answering) = catch_unwind(AssertUnwindSafe(|| self.inner.call(request))) else {
            metrics.call_panicked();
            return Box::pin(std::future::ready(Ok(refuse(&defect()))));
        };
        Box::pin(async move {
            match (AssertUnwindSafe(answering).catch_unwind().await, answer) {
                (Ok(Ok(response)), Answer::One) => Ok(response),
                (Ok(Ok(response)), Answer::Stream) => {
                    Ok(response.map(|body| Body::new(CaughtBody { body: Some(body), metrics })))
                }
                (Err(_panic), _) => {
                    metrics.call_panicked();
                    Ok(refuse(&defect()))
                }
            }
        })
    }
}

/// The panic's own text goes to the log by way of the panic hook, and never to a caller.
fn defect() -> Error {
    Error::new(Kind::Internal, "panicked")
}

/// A stream is made while it is sent, so it can panic there too.
struct CaughtBody {
    /// None once it has panicked.
    body: Option<Body>,
    metrics: Metrics,
}

impl http_body::Body for CaughtBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        match catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(cx))) {
            Ok(frame) => frame,
            Err(_panic) => {
                this.body = None;
                this.metrics.call_panicked();
                Poll::Ready(Some(Ok(last_words(&status::internal()))))
            }
        }
    }
}

/// The trailers that end a stream with an error.
pub fn last_words(status: &Status) -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    // It fails only for text that is no header, and ours is fixed.
    let _ = status.add_header(&mut trailers);
    Frame::trailers(trailers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::layer::testing::{PREHYDRATE, WATCH_JOB, call, ok, reason, request, service, trailers};

    fn layer() -> CatchPanicLayer {
        CatchPanicLayer::new(Metrics::register(&mut Default::default()))
    }

    #[tokio::test]
    async fn a_panic_is_internal_and_counted() {
        let layer = layer();
        let inner = service(|_| async { panic!("a value nobody may read") });
        let response = call(&layer, inner, request(PREHYDRATE)).await;
        assert_eq!(reason(&response).as_deref(), Some("INTERNAL"));
        assert!(!format!("{response:?}").contains("nobody"));
        assert_eq!(layer.metrics.panics(), 1);
    }

    #[tokio::test]
    async fn a_panic_in_a_stream_ends_it_with_a_status() {
        let layer = layer();
        let inner = service(|_| async {
            let frames = tokio_stream::iter([1, 2]).map(|n| match n {
                1 => Ok::<_, Status>(Frame::data(Bytes::from_static(b"one"))),
                _ => panic!("while streaming"),
            });
            Response::new(Body::new(http_body_util::StreamBody::new(frames)))
        });
        let response = call(&layer, inner, request(WATCH_JOB)).await;
        assert_eq!(trailers(response).await["grpc-status"], "13");
        assert_eq!(layer.metrics.panics(), 1);
    }

    #[tokio::test]
    async fn a_good_answer_passes() {
        let response = call(&layer(), service(|_| async { ok() }), request(WATCH_JOB)).await;
        assert_eq!(trailers(response).await["grpc-status"], "0");
    }

    use futures_util::StreamExt;
}
