//! Why a whole call could not be served. One failed key is an [`Outcome`](crate::domain::outcome::Outcome), not an error.

use std::time::Duration;

use crate::domain::caller::Right;

/// A deliberately small closed set; each has one gRPC code, one stable reason and one public sentence (`grpc/status.rs`).
/// A new kind is a decision for an ADR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    InvalidField,
    UnknownEntity,
    UnknownAlias,
    /// A key or pattern that no declared entity has.
    ForeignKey,
    /// A given value that must not be cached, or cannot be read.
    ValueRefused,
    UnknownJob,
    /// A warm-up plan that the configuration does not declare.
    UnknownPlan,
    /// An alias that leads to no member: its key is gone, and the source cannot say.
    MemberUnresolved,
    Unauthenticated,
    PermissionDenied,
    /// The call concerns a tenant that is not among the caller's.
    TenantDenied,
    /// Too busy: try again after a while.
    Shed,
    RateLimited,
    /// In the contract, not in this version.
    NotBuilt,
    /// In this version, not in this sidecar's configuration.
    NotConfigured,
    StoreUnavailable,
    /// An invalidation could be neither finished nor recorded.
    JournalUnavailable,
    ShuttingDown,
    Deadline,
    TooLarge,
    Internal,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind:?}: {detail}")]
pub struct Error {
    pub kind: Kind,
    /// For the log; the caller reads a fixed sentence.
    pub detail: String,
    /// Which fields are wrong and why, for the caller. Never holds a value.
    pub fields: Vec<FieldError>,
    pub retry_after: Option<Duration>,
    /// The right that the caller lacks.
    pub lacks: Option<Right>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// As in the request: `members[2].params.id`.
    pub path: String,
    pub problem: String,
}

impl Error {
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), fields: Vec::new(), retry_after: None, lacks: None }
    }

    pub fn fields(fields: Vec<FieldError>) -> Self {
        Self { fields, ..Self::new(Kind::InvalidField, "bad request") }
    }

    pub fn field(path: impl Into<String>, problem: impl ToString) -> Self {
        Self::fields(vec![FieldError::new(path, problem)])
    }

    pub fn lacks(right: Right) -> Self {
        Self { lacks: Some(right), ..Self::new(Kind::PermissionDenied, "a right is missing") }
    }

    pub fn shed(retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(Kind::Shed, "over capacity") }
    }
}

impl FieldError {
    pub fn new(path: impl Into<String>, problem: impl ToString) -> Self {
        Self { path: path.into(), problem: problem.to_string() }
    }
}
