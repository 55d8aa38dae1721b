//! Outermost, so that it sees everything: one span and one set of counts for each call, whatever becomes of it.
//!
//! A call's status stands in the trailers of a good answer and in the headers of a refusal, so the count is made when the
//! body has ended. A caller that hangs up drops the call: the drop counts it, as CANCELLED.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Frame;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::{Instrument, Span, field};

use crate::domain::trace::TraceContext;
use crate::grpc::layer::Answering;
use crate::grpc::metrics::Metrics;
use crate::grpc::rpc::Rpc;
use crate::grpc::status::code_name;

/// Where a caller finds the trace id of a call that failed.
pub const TRACE_ID: HeaderName = HeaderName::from_static("hydrant-trace-id");

/// Ties a call's span to its caller's trace, if it brought one, and answers the context that stands for the call from
/// here on. `telemetry` makes it: this module may not know what exports, if anything does.
pub type Adopt = Arc<dyn Fn(&Span, Option<TraceContext>) -> TraceContext + Send + Sync>;

/// When the call's headers were here: what its deadline and its wait are counted from.
#[derive(Clone, Copy, Debug)]
pub struct Arrived(pub Instant);

#[derive(Clone)]
pub struct ObserveLayer {
    metrics: Metrics,
    adopt: Adopt,
}

#[derive(Clone)]
pub struct Observe<S> {
    inner: S,
    layer: ObserveLayer,
}

impl ObserveLayer {
    pub fn new(metrics: Metrics, adopt: Adopt) -> Self {
        Self { metrics, adopt }
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe { inner, layer: self.clone() }
    }
}

impl<S, B> Service<Request<B>> for Observe<S>
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

    fn call(&mut self, mut request: Request<B>) -> Answering {
        let arrived = Instant::now();
        let rpc = Rpc::of(request.uri().path());
        let span = tracing::info_span!(
            "rpc",
            otel.name = rpc.name(),
            otel.kind = "server",
            otel.status_code = field::Empty,
            rpc.system = "grpc",
            rpc.method = rpc.name(),
            rpc.code = field::Empty,
            trace_id = field::Empty,
        );
        // Before the span is first entered: from then on its place in the trace is fixed.
        let trace = (self.layer.adopt)(&span, traceparent(request.headers()));
        span.record("trace_id", field::display(trace.trace_id()));
        request.extensions_mut().insert(trace);
        request.extensions_mut().insert(Arrived(arrived));

        let seen = Seen::begin(&self.layer.metrics, rpc, arrived, span.clone());
        let answering = span.in_scope(|| self.inner.call(request));
        Box::pin(async move {
            let Ok(response) = answering.instrument(span).await;
            Ok(seen.answered(response, trace))
        })
    }
}

fn traceparent(headers: &HeaderMap) -> Option<TraceContext> {
    TraceContext::parse(headers.get("traceparent")?.to_str().ok()?)
}

/// One call as it is counted; dropping it is the count.
struct Seen {
    metrics: Metrics,
    rpc: Rpc,
    arrived: Instant,
    span: Span,
    code: Code,
}

impl Seen {
    fn begin(metrics: &Metrics, rpc: Rpc, arrived: Instant, span: Span) -> Self {
        metrics.call_began();
        Self { metrics: metrics.clone(), rpc, arrived, span, code: Code::Cancelled }
    }

    fn answered(mut self, mut response: Response<Body>, trace: TraceContext) -> Response<Body> {
        if let Some(code) = code_in(response.headers()) {
            self.code = code;
            if let Ok(id) = HeaderValue::try_from(trace.trace_id().to_string()) {
                response.headers_mut().insert(TRACE_ID, id);
            }
            return response;
        }
        response.map(|body| Body::new(ObservedBody { body, seen: self }))
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        let code = code_name(self.code);
        self.metrics.call_ended(self.rpc, code, self.arrived.elapsed());
        self.span.record("rpc.code", code);
        // Only what is our fault marks a span: a wrong request is no failure of this server's.
        if matches!(self.code, Code::Internal | Code::Unknown | Code::DataLoss) {
            self.span.record("otel.status_code", "ERROR");
        }
    }
}

struct ObservedBody {
    body: Body,
    seen: Seen,
}

impl http_body::Body for ObservedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let _inside = this.seen.span.enter();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(code) = frame.trailers_ref().and_then(code_in) {
                    this.seen.code = code;
                }
            }
            Some(Err(status)) => this.seen.code = status.code(),
            // tonic always ends with trailers; a body without them has told nothing else.
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

fn code_in(headers: &HeaderMap) -> Option<Code> {
    Some(Code::from_bytes(headers.get(Status::GRPC_STATUS)?.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use tower::ServiceExt;

    use super::*;
    use crate::domain::error::{Error, Kind};
    use crate::domain::random::Random;
    use crate::grpc::layer::refuse;
    use crate::grpc::layer::testing::{PREHYDRATE, call, ok, request, service, streamed, trailers};

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn layer() -> ObserveLayer {
        let random = Random::from_seed(1);
        let adopt: Adopt = Arc::new(move |_, caller| match caller {
            Some(context) => context.child(&random),
            None => TraceContext::start(&random),
        });
        ObserveLayer::new(Metrics::register(&mut Default::default()), adopt)
    }

    #[tokio::test]
    async fn a_good_call_is_counted_by_its_trailers() {
        let layer = layer();
        let response = call(&layer, service(|_| async { ok() }), request(PREHYDRATE)).await;
        assert_eq!(layer.metrics.calls_in_flight(), 1);
        assert_eq!(trailers(response).await["grpc-status"], "0");
        assert_eq!(layer.metrics.calls(Rpc::Prehydrate, "OK"), 1);
        assert_eq!(layer.metrics.calls_in_flight(), 0);
    }

    #[tokio::test]
    async fn a_stream_that_fails_late_is_counted_as_it_ended() {
        let layer = layer();
        let inner = service(|_| async { streamed(vec![Bytes::from_static(b"one")], "13") });
        trailers(call(&layer, inner, request(PREHYDRATE)).await).await;
        assert_eq!(layer.metrics.calls(Rpc::Prehydrate, "INTERNAL"), 1);
    }

    #[tokio::test]
    async fn a_refusal_is_counted_by_its_headers_and_names_its_trace() {
        let layer = layer();
        let mut asked = request(PREHYDRATE);
        asked.headers_mut().insert("traceparent", HeaderValue::from_static(PARENT));
        let inner = service(|_| async { refuse(&Error::new(Kind::NotBuilt, "")) });
        let response = call(&layer, inner, asked).await;
        assert_eq!(response.headers()[TRACE_ID], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(layer.metrics.calls(Rpc::Prehydrate, "UNIMPLEMENTED"), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_hangs_up_is_counted_as_cancelled() {
        let layer = layer();
        let inner = service(|_| pending());
        let hanging = layer.layer(inner).oneshot(request(PREHYDRATE));
        assert!(tokio::time::timeout(Duration::from_millis(1), hanging).await.is_err());
        assert_eq!(layer.metrics.calls(Rpc::Prehydrate, "CANCELLED"), 1);
        assert_eq!(layer.metrics.calls_in_flight(), 0);
    }

    #[tokio::test]
    async fn the_callers_trace_goes_on_into_the_service() {
        let inner = service(|request: Request<_>| async move {
            let context = request.extensions().get::<TraceContext>().expect("always there");
            assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
            assert_ne!(context.to_string(), PARENT);
            ok()
        });
        let mut asked = request(PREHYDRATE);
        asked.headers_mut().insert("traceparent", HeaderValue::from_static(PARENT));
        call(&layer(), inner, asked).await;
    }
}
