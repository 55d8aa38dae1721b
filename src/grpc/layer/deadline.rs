//! Every call ends: at the caller's deadline, or at its rpc's own where the caller names none.
//!
//! The moment goes along with the request, so that a service can answer with what it has shortly before. When it passes,
//! the call is dropped and answered DEADLINE_EXCEEDED. Dropping is right for reads; what must run to its end (a fill that
//! has begun, an invalidation) runs on a task of its own and is not dropped with its call.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::domain::error::{Error, Kind};
use crate::grpc::Limits;
use crate::grpc::layer::observe::Arrived;
use crate::grpc::layer::panic::last_words;
use crate::grpc::layer::{Answering, refuse};
use crate::grpc::rpc::{Answer, Rpc};
use crate::grpc::status;

/// When the call ends, in the request's extensions; none for a stream without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(pub Option<Instant>);

#[derive(Clone, Copy)]
pub struct DeadlineLayer {
    limits: Limits,
}

#[derive(Clone)]
pub struct DeadlineService<S> {
    inner: S,
    limits: Limits,
}

impl DeadlineLayer {
    pub fn new(limits: Limits) -> Self {
        Self { limits }
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = DeadlineService<S>;

    fn layer(&self, inner: S) -> DeadlineService<S> {
        DeadlineService { inner, limits: self.limits }
    }
}

impl<S, B> Service<Request<B>> for DeadlineService<S>
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
        let rpc = Rpc::of(request.uri().path());
        let arrived = request.extensions().get::<Arrived>().map_or_else(Instant::now, |arrived| arrived.0);
        let longest = match given(request.headers()) {
            Ok(given) => given.or_else(|| rpc.deadline(&self.limits)),
            Err(error) => return Box::pin(std::future::ready(Ok(refuse(&error)))),
        };
        // A caller may name a time so far off that no clock reaches it.
        let end = longest.and_then(|longest| arrived.checked_add(longest));
        request.extensions_mut().insert(Deadline(end));
        let answering = self.inner.call(request);
        let Some(end) = end else { return Box::pin(answering) };
        Box::pin(async move {
            let Ok(answered) = timeout_at(end, answering).await else { return Ok(refuse(&passed())) };
            let Ok(response) = answered;
            Ok(match rpc.answer() {
                Answer::One => response,
                Answer::Stream => response.map(|body| Body::new(TimedBody::new(body, end))),
            })
        })
    }
}

fn passed() -> Error {
    Error::new(Kind::Deadline, "deadline passed")
}

/// `grpc-timeout`: at most eight digits and a unit.
fn given(headers: &HeaderMap) -> Result<Option<Duration>, Error> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    let parsed = value.to_str().ok().and_then(parse);
    parsed.map(Some).ok_or_else(|| Error::field("grpc-timeout", "is not up to eight digits and one of H M S m u n"))
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let digits = Some(digits).filter(|d| (1..=8).contains(&d.len()) && d.bytes().all(|b| b.is_ascii_digit()))?;
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3_600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// A stream that ends with its call's deadline.
struct TimedBody {
    /// None once the time has passed.
    body: Option<Body>,
    end: Pin<Box<Sleep>>,
}

impl TimedBody {
    fn new(body: Body, end: Instant) -> Self {
        Self { body: Some(body), end: Box::pin(sleep_until(end)) }
    }
}

impl http_body::Body for TimedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        match this.end.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                this.body = None;
                Poll::Ready(Some(Ok(last_words(&status::of(&passed())))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use http::HeaderValue;

    use super::*;
    use crate::grpc::layer::testing::{
        INVALIDATE, PREHYDRATE, WATCH_JOB, call, ok, reason, request, service, trailers,
    };

    fn layer() -> DeadlineLayer {
        DeadlineLayer::new(Limits::default())
    }

    fn timed(path: &str, timeout: &'static str) -> Request<http_body_util::Full<Bytes>> {
        let mut request = request(path);
        request.headers_mut().insert("grpc-timeout", HeaderValue::from_static(timeout));
        request
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_at_its_callers_deadline() {
        let began = Instant::now();
        let response = call(&layer(), service(|_| pending()), timed(PREHYDRATE, "150m")).await;
        assert_eq!(reason(&response).as_deref(), Some("DEADLINE"));
        assert_eq!(began.elapsed(), Duration::from_millis(150));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_without_a_deadline_gets_its_rpcs_own() {
        for (path, longest) in [(PREHYDRATE, 4_000), (INVALIDATE, 100)] {
            let began = Instant::now();
            call(&layer(), service(|_| pending()), request(path)).await;
            assert_eq!(began.elapsed(), Duration::from_millis(longest));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_service_knows_when_its_call_ends() {
        let inner = service(|request: Request<_>| async move {
            let end = Instant::now() + Duration::from_secs(2);
            assert_eq!(request.extensions().get(), Some(&Deadline(Some(end))));
            ok()
        });
        assert_eq!(reason(&call(&layer(), inner, timed(PREHYDRATE, "2S")).await), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_at_its_deadline_with_a_status() {
        let inner = service(|_| async {
            let frames = tokio_stream::pending::<Result<Frame<Bytes>, Status>>();
            Response::new(Body::new(http_body_util::StreamBody::new(frames)))
        });
        let began = Instant::now();
        let response = call(&layer(), inner, timed(WATCH_JOB, "3S")).await;
        assert_eq!(trailers(response).await["grpc-status"], "4");
        assert_eq!(began.elapsed(), Duration::from_secs(3));
    }

    #[tokio::test]
    async fn a_deadline_that_cannot_be_read_is_refused() {
        let inner = service(|_| async { panic!("reached") });
        let response = call(&layer(), inner, timed(PREHYDRATE, "soon")).await;
        assert_eq!(reason(&response).as_deref(), Some("INVALID_FIELD"));
    }

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3_600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("4m", Some(Duration::from_millis(4))),
            ("5u", Some(Duration::from_micros(5))),
            ("6n", Some(Duration::from_nanos(6))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3_600))),
            ("", None),
            ("S", None),
            ("1", None),
            ("+1S", None),
            ("123456789S", None),
            ("1é", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
