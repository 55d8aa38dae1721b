//! Errors that tonic makes itself (an unknown method, an encoding it does not take) get the details that the contract
//! promises of every error. Services that are not Hydrant's (health, reflection) keep their own.

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures_util::TryFutureExt;
use futures_util::future::{Either, MapOk};
use http::{Request, Response};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::grpc::rpc::Rpc;
use crate::grpc::status;

#[derive(Clone, Copy)]
pub struct DetailLayer;

#[derive(Clone)]
pub struct Detail<S> {
    inner: S,
}

impl<S> Layer<S> for DetailLayer {
    type Service = Detail<S>;

    fn layer(&self, inner: S) -> Detail<S> {
        Detail { inner }
    }
}

impl<S, B> Service<Request<B>> for Detail<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, MapOk<S::Future, fn(Response<Body>) -> Response<Body>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let rpc = Rpc::of(request.uri().path());
        let answering = self.inner.call(request);
        match rpc {
            Rpc::Health | Rpc::Reflection => Either::Left(answering),
            _ => Either::Right(answering.map_ok(complete)),
        }
    }
}

fn complete(response: Response<Body>) -> Response<Body> {
    let headers = response.headers();
    match headers.get(Status::GRPC_STATUS) {
        Some(code) if !headers.contains_key(Status::GRPC_STATUS_DETAILS) => {
            let code = Code::from_bytes(code.as_bytes());
            if code == Code::Ok { response } else { status::complete(code).into_http() }
        }
        _ => response,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::layer::testing::{PREHYDRATE, call, reason, request, service};

    #[tokio::test]
    async fn a_bare_error_gets_a_reason() {
        let inner = service(|_| async { Status::unimplemented("").into_http() });
        let response = call(&DetailLayer, inner, request(PREHYDRATE)).await;
        assert_eq!(reason(&response).as_deref(), Some("NOT_BUILT"));
    }

    #[tokio::test]
    async fn an_error_with_details_and_one_of_another_service_are_left_alone() {
        let inner = service(|_| async { status::malformed().into_http() });
        let response = call(&DetailLayer, inner, request(PREHYDRATE)).await;
        assert_eq!(reason(&response).as_deref(), Some("MALFORMED_MESSAGE"));
        let inner = service(|_| async { Status::not_found("service not registered").into_http() });
        let response = call(&DetailLayer, inner, request("/grpc.health.v1.Health/Check")).await;
        assert_eq!(reason(&response), None);
    }
}
