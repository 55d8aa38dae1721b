//! The contract of a source: a system of record from which members are loaded.
//!
//! Why a trait: HTTP and Postgres are both sources, and tests count and delay calls with a third.

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use tokio::time::Instant;

use crate::domain::budget::Meter;
use crate::domain::entity::Member;
use crate::domain::secret::Secret;
use crate::domain::trace::TraceContext;

pub trait Source: Send + Sync {
    fn fetch<'a>(&'a self, ask: FetchAsk<'a>) -> BoxFuture<'a, Result<Fetched, FetchError>>;

    /// Loads members of one entity that declares `load.bulk`, with one call: one result for each, in their order. What
    /// comes is what `fetch` would have given for each of them. A source that knows no such call makes them one by one.
    fn fetch_many<'a>(&'a self, ask: FetchManyAsk<'a>) -> BoxFuture<'a, Vec<Result<Fetched, FetchError>>> {
        join_all(ask.members.iter().map(move |member| self.fetch(ask.of(member)))).boxed()
    }

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

/// Several members, all of one entity and none of them twice. There is no session: what is one subject's own is not
/// loaded together with others.
#[derive(Clone, Copy)]
pub struct FetchManyAsk<'a> {
    pub members: &'a [&'a Member],
    pub trace: TraceContext,
    pub deadline: Instant,
    /// Of each member, more bytes than this are not read.
    pub max_bytes: usize,
    /// For all of them together.
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
    #[error("the answer broke off or makes no sense")]
    Broken,
    /// The query is wrong, or a parameter is nothing that its column could hold.
    #[error("the source refused what it was asked")]
    Refused,
    /// Several rows where one was meant; or an answer in bulk that lacks members and holds others that nobody asked for.
    #[error("the answer does not tell whose it is")]
    Ambiguous,
    /// The source's bulkhead is full, or its breaker is open.
    #[error("too much is waiting for the source")]
    Shed,
    /// The load needs a session and the caller brought none.
    #[error("the source needs the subject's session, and there is none")]
    NoSession,
}

impl<'a> FetchManyAsk<'a> {
    /// The same for one member by itself.
    pub fn of(&self, member: &'a Member) -> FetchAsk<'a> {
        let Self { members: _, trace, deadline, max_bytes, meter } = *self;
        FetchAsk { member, session: None, trace, deadline, max_bytes, meter }
    }
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
            Self::Refused => "refused",
            Self::Ambiguous => "ambiguous",
            Self::Shed => "shed",
            Self::NoSession => "no_session",
        }
    }
}
