//! The contract's services. Each rpc converts, calls a flow and converts back; what is decided is decided below.

pub mod control;
mod follow;
pub mod read;
mod warm_up;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

use crate::domain::error::{Error, Kind};
use crate::fill::settings::Live;
use crate::grpc::caller::Caller;
use crate::grpc::status;
use crate::invalidate::Invalidate;
use crate::prehydrate::Prehydrate;
use crate::warm::Warm;

/// The flows behind the door; one more for each issue that brings one.
#[derive(Clone)]
pub struct Services {
    pub prehydrate: Prehydrate,
    pub invalidate: Invalidate,
    /// What is declared: whose data a call is about follows from it.
    pub live: Live,
    pub warm: Warm,
    /// Ends streams that would outlive the process.
    pub stopping: CancellationToken,
}

/// Tells the log what the caller is not told, and makes the caller's status.
fn refuse(error: Error) -> Status {
    match error.kind {
        Kind::Internal => tracing::error!(detail = error.detail, "call failed"),
        _ => tracing::debug!(kind = ?error.kind, detail = error.detail, "call refused"),
    }
    status::of(&error)
}

/// Who calls. A layer has put it there; without it nothing is served.
fn caller<T>(call: &Request<T>) -> Result<Arc<Caller>, Status> {
    call.extensions().get().cloned().ok_or_else(status::internal)
}

/// For an rpc of the contract whose flow comes with a later version.
fn not_built() -> Status {
    status::of(&Error::new(Kind::NotBuilt, "not built"))
}
