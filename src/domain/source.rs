//! The contract of a source: a system of record from which members are loaded.
//!
//! Why a trait: HTTP and Postgres are both sources, and tests count and delay calls with a third.

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::domain::budget::Meter;
use crate::domain::entity::Member;
use crate::domain::secret::Secret;
use crate::domain::trace::TraceContext;

pub trait Source: Send + Sync {
    fn fetch<'a>(&'a self, ask: FetchAsk<'a>) -> BoxFuture<'a, Result<Fetched, FetchError>>;

    /// Makes the source ready before it is needed: connections opened, TLS and logins done. Where there is nothing of
    /// the kind, nothing is done.
    fn connect<'a>(&'a self, _deadline: Instant) -> BoxFuture<'a, Result<(), FetchError>> {
        std::future::ready(Ok(())).boxed()
    }
}

pub struct FetchAsk<'a> {
    pub member: &'a Member,
    /// The subject's own session; present only where the entity's load asks for it, and then never used for anything else.
    pub session: Option<&'a Secret>,
    pub trace: TraceContext,
    pub deadline: Instant,
    /// More bytes than this are not read.
    pub max_bytes: usize,
    /// The process's budget of bytes in flight: an answer takes from it before it is held in memory.
    pub meter: &'a Meter,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The body as the source sent it.
    Found(Bytes),
    /// The source says there is no such member.
    Absent,
}

/// Why nothing came, as a closed set: it becomes an outcome, a reason and a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    #[error("no answer in time")]
    Timeout,
    #[error("the source cannot be reached")]
    Unreachable,
    /// 401 or 403: the session or the service credential is not good there.
    #[error("the source refused the credential")]
    Denied,
    #[error("the source answered {0}")]
    Status(u16),
    #[error("the answer is larger than allowed")]
    TooLarge,
    /// Redirects are off: following one would carry credentials to another origin.
    #[error("the source answered with a redirect, which is not followed")]
    Redirect,
    #[error("the answer broke off or was not HTTP")]
    Broken,
    /// The source's bulkhead is full, or its breaker is open.
    #[error("too much is waiting for the source")]
    Shed,
    /// The load needs a session and the caller brought none.
    #[error("the source needs the subject's session, and there is none")]
    NoSession,
}

impl FetchError {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Denied => "denied",
            Self::Status(400..=499) => "status_4xx",
            Self::Status(_) => "status_5xx",
            Self::TooLarge => "too_large",
            Self::Redirect => "redirect",
            Self::Broken => "broken",
            Self::Shed => "shed",
            Self::NoSession => "no_session",
        }
    }
}
