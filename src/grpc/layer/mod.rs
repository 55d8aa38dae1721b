//! The layers of the door, outermost first; `server.rs` puts them together and says why in this order.
//!
//! Each is a tower layer over one request body type and tonic's response body. None of them fails: what a layer refuses
//! it answers, as gRPC answers errors. None is ever unready: what has to wait waits inside its call, where it is counted
//! and has a limit.

pub mod auth;
pub mod deadline;
pub mod detail;
pub mod limit;
pub mod observe;
pub mod panic;
pub mod shed;

use std::convert::Infallible;

use futures_util::future::BoxFuture;
use http::Response;
use tonic::body::Body;

use crate::domain::error::Error;
use crate::grpc::status;

/// A call's answer, on its way out.
pub type Answering = BoxFuture<'static, Result<Response<Body>, Infallible>>;

/// An error as the whole answer.
pub fn refuse(error: &Error) -> Response<Body> {
    status::of(error).into_http()
}

#[cfg(test)]
mod testing;
