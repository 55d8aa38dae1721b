//! Who is calling. For now a hook with one answer: whoever reaches the loopback port or the socket shares the pod, and has
//! every right. Callers from elsewhere will come by a listener of their own and a function of their own.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::request::Parts;
use http::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

use crate::domain::error::Error;
use crate::grpc::layer::refuse;

/// Who is calling, and so what it may do; in the request's extensions for the service to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Shares the pod: every right, every tenant.
    PodLocal,
}

/// Looks at a request's head and says who calls, or that it is nobody we know.
pub type Resolve = fn(&Parts) -> Result<Caller, Error>;

/// Everybody who gets here is in the pod.
pub fn pod_local(_: &Parts) -> Result<Caller, Error> {
    Ok(Caller::PodLocal)
}

#[derive(Clone, Copy)]
pub struct AuthLayer {
    resolve: Resolve,
}

#[derive(Clone)]
pub struct Auth<S> {
    inner: S,
    resolve: Resolve,
}

impl AuthLayer {
    pub fn new(resolve: Resolve) -> Self {
        Self { resolve }
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = Auth<S>;

    fn layer(&self, inner: S) -> Auth<S> {
        Auth { inner, resolve: self.resolve }
    }
}

impl<S, B> Service<Request<B>> for Auth<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        match (self.resolve)(&parts) {
            Ok(caller) => {
                parts.extensions.insert(caller);
                Either::Left(self.inner.call(Request::from_parts(parts, body)))
            }
            Err(error) => Either::Right(ready(Ok(refuse(&error)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::error::Kind;
    use crate::grpc::layer::testing::{PREHYDRATE, call, ok, reason, request, service};

    #[tokio::test]
    async fn the_service_learns_who_calls() {
        let inner = service(|request: Request<_>| async move {
            assert_eq!(request.extensions().get(), Some(&Caller::PodLocal));
            ok()
        });
        let response = call(&AuthLayer::new(pod_local), inner, request(PREHYDRATE)).await;
        assert_eq!(reason(&response), None);
    }

    #[tokio::test]
    async fn a_stranger_reaches_nothing() {
        let nobody: Resolve = |_| Err(Error::new(Kind::Unauthenticated, "no credential"));
        let inner = service(|_| async { panic!("reached") });
        let response = call(&AuthLayer::new(nobody), inner, request(PREHYDRATE)).await;
        assert_eq!(reason(&response).as_deref(), Some("UNAUTHENTICATED"));
    }
}
