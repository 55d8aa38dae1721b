//! What the layers' tests are made of: requests, answers, and a service that does as it is told.

use std::convert::Infallible;
use std::future::Future;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use tonic::Status;
use tonic::body::Body;
use tonic_types::StatusExt;
use tower::util::BoxCloneService;
use tower::{Layer, Service, ServiceExt};

pub const PREHYDRATE: &str = "/hydrant.v1.CacheControlService/Prehydrate";
pub const INVALIDATE: &str = "/hydrant.v1.CacheControlService/Invalidate";
pub const WATCH_JOB: &str = "/hydrant.v1.CacheControlService/WatchJob";
pub const RECORD: &str = "/hydrant.v1.CacheReadService/Record";

pub type Inner<B> = BoxCloneService<Request<B>, Response<Body>, Infallible>;

pub fn request(path: &str) -> Request<Full<Bytes>> {
    Request::post(path).body(Full::default()).expect("a good request")
}

/// The innermost service: what the test says happens with a call.
pub fn service<B, F, T>(serve: F) -> Inner<B>
where
    B: Send + 'static,
    F: FnMut(Request<B>) -> T + Clone + Send + Sync + 'static,
    T: Future<Output = Response<Body>> + Send + 'static,
{
    let mut serve = serve;
    BoxCloneService::new(tower::service_fn(move |request| {
        let answer = serve(request);
        async move { Ok(answer.await) }
    }))
}

/// One call through a layer.
pub async fn call<L, B>(layer: &L, inner: Inner<B>, request: Request<Full<Bytes>>) -> Response<Body>
where
    L: Layer<Inner<B>>,
    L::Service: Service<Request<Full<Bytes>>, Response = Response<Body>, Error = Infallible>,
{
    match layer.layer(inner).oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// An answer with a message in its body and its status in the trailers, as tonic gives.
pub fn ok() -> Response<Body> {
    streamed(vec![Bytes::from_static(b"answer")], "0")
}

pub fn streamed(frames: Vec<Bytes>, status: &'static str) -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    let data = frames.into_iter().map(http_body::Frame::data);
    let frames = data.chain([http_body::Frame::trailers(trailers)]).map(Ok::<_, Status>);
    Response::new(Body::new(http_body_util::StreamBody::new(tokio_stream::iter(frames))))
}

/// The reason an error carries in its headers.
pub fn reason(response: &Response<Body>) -> Option<String> {
    let status = Status::from_header_map(response.headers())?;
    status.get_details_error_info().map(|info| info.reason)
}

/// Reads an answer to its end and gives the trailers.
pub async fn trailers(response: Response<Body>) -> HeaderMap {
    let collected = response.into_body().collect().await.expect("a whole body");
    collected.trailers().cloned().unwrap_or_default()
}
