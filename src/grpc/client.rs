//! A small client of the contract: what the command line and the demo call with, and what a Rust app may use.
//!
//! It dials one endpoint, `http://127.0.0.1:4770`, `unix:/run/hydrant.sock` or, from outside the pod with credentials,
//! `https://…`, gives every call a deadline, and turns
//! answers into plain data. An app should fail open: an error from here is never a reason to fail a login.

pub mod credentials;
pub mod invalidate;
pub mod job;
pub mod warm;

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use serde::Serialize;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use crate::domain::secret::Secret;
use crate::grpc::client::credentials::{Credentials, Wire};
use crate::grpc::pb;
use crate::grpc::pb::cache_control_service_client::CacheControlServiceClient;
use crate::grpc::pb::prehydrate_request::Who as Shown;
use crate::grpc::status::code_name;

#[derive(Clone, Debug)]
pub struct Client {
    channel: Wire,
    endpoint: String,
    deadline: Duration,
}

/// One prehydration.
#[derive(Clone, Debug)]
pub struct Ask {
    pub who: Who,
    pub members: Vec<AskMember>,
    pub mode: Mode,
    pub refresh: bool,
}

/// Whom it is about.
#[derive(Clone, Debug)]
pub enum Who {
    Stated(Stated),
    /// The user's whole `Cookie` header.
    CookieHeader(Secret),
    /// The configured cookie's value alone.
    CookieValue(Secret),
}

/// A user that the caller answers for.
#[derive(Clone, Debug, Default)]
pub struct Stated {
    pub user: String,
    pub session: Option<Secret>,
    pub tenant: Option<String>,
    pub attributes: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskMember {
    pub entity: String,
    pub params: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Accepted,
    Completed,
    DryRun,
}

#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    pub trace_id: String,
    pub status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<f64>,
    pub elapsed_ms: f64,
    pub resources: Vec<Line>,
}

/// One resource: what became of it or, in a dry run, what would be filled.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    pub entity: String,
    pub key: String,
    pub outcome: String,
    pub source: String,
    pub elapsed_ms: f64,
    pub bytes: u64,
    pub reason: String,
    /// Why it is in the plan, and how likely it is to be read: 0 to 1.
    pub why: String,
    pub score: f64,
}

/// Why a call failed, in words for the person who made it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    #[error("`{0}` is not an endpoint: write http://host:port, https://host:port or unix:/path")]
    BadEndpoint(String),
    #[error("nobody answers at {0}; is `hydrant serve` running there?")]
    Unreachable(String),
    #[error("no connection to {0} that both ends trust: {1}")]
    Untrusted(String, String),
    #[error("credentials are for https:// alone, and {0} is in the clear")]
    InTheClear(String),
    #[error("the credentials cannot be used: {0}")]
    BadCredentials(String),
    #[error("what answers at {0} is not hydrant's API: its port is `listen.api`, 4770 by default")]
    NotHydrant(String),
    #[error("{0} went away before it answered")]
    Lost(String),
    /// The server's refusal: its code, its sentence and the fields to blame.
    #[error("{}", refusal(.0))]
    Refused(Box<Status>),
}

/// Whose fault a failed call is: what a script can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request is wrong, and would be refused again.
    Caller,
    Unreachable,
    /// The same call may work later.
    Busy,
    NotAllowed,
    /// Not built, or not configured.
    No,
    Defect,
}

impl Client {
    /// Connects now, so that a wrong endpoint is told at once.
    pub async fn connect(endpoint: &str, deadline: Duration) -> Result<Self, CallError> {
        Self::connect_as(endpoint, deadline, Credentials::default()).await
    }

    /// The same from outside the pod, for somebody.
    pub async fn connect_as(endpoint: &str, deadline: Duration, who: Credentials) -> Result<Self, CallError> {
        let bad = || CallError::BadEndpoint(endpoint.to_owned());
        let is_tls = endpoint.starts_with("https://");
        if !is_tls && !["http://", "unix:"].iter().any(|scheme| endpoint.starts_with(scheme)) {
            return Err(bad());
        }
        // A token in the clear is everybody's.
        if !is_tls && !who.is_anonymous() {
            return Err(CallError::InTheClear(endpoint.to_owned()));
        }
        let mut dial = Endpoint::from_shared(endpoint.to_owned()).map_err(|_| bad())?.connect_timeout(deadline);
        if is_tls {
            dial = dial.tls_config(who.tls()).map_err(|error| CallError::BadCredentials(cause(&error)))?;
        }
        let bearer = who.bearer()?;
        let channel = dial.connect().await.map_err(|error| {
            let endpoint = endpoint.to_owned();
            if is_tls && is_distrust(&error) {
                CallError::Untrusted(endpoint, cause(&error))
            } else {
                CallError::Unreachable(endpoint)
            }
        })?;
        Ok(Self { channel: InterceptedService::new(channel, bearer), endpoint: endpoint.to_owned(), deadline })
    }

    pub async fn prehydrate(&self, ask: Ask) -> Result<Answer, CallError> {
        let mut client = CacheControlServiceClient::new(self.channel.clone());
        let mut request = Request::new(ask.into_request());
        request.set_timeout(self.deadline);
        let answer = client.prehydrate(request).await.map_err(|status| self.failed(status))?;
        Ok(Answer::from_response(answer.into_inner()))
    }

    /// Whether the server says that it serves.
    pub async fn is_healthy(&self) -> Result<bool, CallError> {
        let mut request = Request::new(HealthCheckRequest::default());
        request.set_timeout(self.deadline);
        let answer = HealthClient::new(self.channel.clone()).check(request).await;
        let status = answer.map_err(|status| self.failed(status))?.into_inner().status();
        Ok(status == ServingStatus::Serving)
    }

    /// What became of a call that was not answered well. Every refusal of hydrant's names its reason, so an internal error
    /// without one comes from this end: what was there spoke no gRPC, or broke off.
    fn failed(&self, status: Status) -> CallError {
        let bare = status.get_details_error_info().is_none();
        match status.code() {
            // The transport's error lies below.
            Code::Unknown if std::error::Error::source(&status).is_some() => CallError::Lost(self.endpoint.clone()),
            Code::Internal | Code::Unimplemented if bare => CallError::NotHydrant(self.endpoint.clone()),
            _ => CallError::Refused(Box::new(status)),
        }
    }
}

impl CallError {
    pub fn fault(&self) -> Fault {
        let status = match self {
            Self::BadEndpoint(_) | Self::InTheClear(_) | Self::BadCredentials(_) => return Fault::Caller,
            Self::Unreachable(_) | Self::Untrusted(_, _) | Self::NotHydrant(_) | Self::Lost(_) => {
                return Fault::Unreachable;
            }
            Self::Refused(status) => status,
        };
        match status.code() {
            Code::InvalidArgument | Code::NotFound | Code::OutOfRange => Fault::Caller,
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => Fault::Unreachable,
            Code::ResourceExhausted | Code::Aborted => Fault::Busy,
            Code::Unauthenticated | Code::PermissionDenied => Fault::NotAllowed,
            Code::Unimplemented | Code::FailedPrecondition => Fault::No,
            Code::Ok | Code::Unknown | Code::AlreadyExists | Code::Internal | Code::DataLoss => Fault::Defect,
        }
    }
}

/// Whether somebody answers there, and one of the two ends will not talk to the other.
fn is_distrust(error: &(dyn std::error::Error + 'static)) -> bool {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let mut kinds = chain.filter_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind);
    kinds.any(|kind| matches!(kind, io::ErrorKind::InvalidData | io::ErrorKind::ConnectionReset))
}

/// What lies at the bottom of an error: the layers above it only say that there is one.
fn cause(error: &dyn std::error::Error) -> String {
    let mut lowest = error;
    while let Some(below) = lowest.source() {
        lowest = below;
    }
    lowest.to_string()
}

fn refusal(status: &Status) -> String {
    let violations = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    // The sentence goes on with the first of them; here all of them follow.
    let first = violations.first().and_then(|first| status.message().split_once(&format!(": {}: ", first.field)));
    let sentence = first.map_or(status.message(), |(sentence, _)| sentence);
    let mut text = format!("{}: {sentence}", code_name(status.code()));
    if let Some(right) = status.get_details_error_info().and_then(|info| info.metadata.get("right").cloned()) {
        text.push_str(&format!("\n  the right: {right}"));
    }
    if let Some(after) = status.get_details_retry_info().and_then(|info| info.retry_delay) {
        text.push_str(&format!("\n  try again in {:.1} s", after.as_secs_f64()));
    }
    for violation in violations {
        text.push_str(&format!("\n  {}: {}", violation.field, violation.description));
    }
    text
}

impl Ask {
    /// Answered at once, with nothing to fill but what is always filled.
    pub fn new(who: Who) -> Self {
        Self { who, members: Vec::new(), mode: Mode::default(), refresh: false }
    }

    fn into_request(self) -> pb::PrehydrateRequest {
        let members = self.members.into_iter().map(|member| pb::Member {
            entity: member.entity,
            alias: String::new(),
            params: member.params.into_iter().collect(),
        });
        let mode = match self.mode {
            Mode::Completed => pb::PrehydrateMode::Completed,
            Mode::Accepted | Mode::DryRun => pb::PrehydrateMode::Accepted,
        };
        pb::PrehydrateRequest {
            who: Some(self.who.into_message()),
            members: members.collect(),
            mode: mode.into(),
            refresh: self.refresh,
            dry_run: self.mode == Mode::DryRun,
        }
    }
}

impl Who {
    fn into_message(self) -> Shown {
        match self {
            Self::CookieHeader(cookie) => Shown::CookieHeader(cookie.expose().to_owned()),
            Self::CookieValue(cookie) => Shown::CookieValue(cookie.expose().to_owned()),
            Self::Stated(Stated { user, session, tenant, attributes }) => Shown::Subject(pb::Subject {
                user_id: user,
                session_token: session.map(|s| s.expose().to_owned()).unwrap_or_default(),
                tenant: tenant.unwrap_or_default(),
                attributes: attributes.into_iter().collect(),
            }),
        }
    }
}

impl Answer {
    /// Whether each resource is cached, or known not to exist.
    pub fn is_settled(&self) -> bool {
        self.resources.iter().all(|r| matches!(r.outcome.as_str(), "FILLED" | "FRESH" | "ABSENT"))
    }

    fn from_response(response: pb::PrehydrateResponse) -> Self {
        let outcomes = response.outcomes.iter().map(|outcome| Line {
            entity: outcome.member.as_ref().map(|m| m.entity.clone()).unwrap_or_default(),
            key: outcome.key.clone(),
            outcome: short(outcome.outcome().as_str_name(), "FILL_OUTCOME_"),
            source: outcome.source.clone(),
            elapsed_ms: milliseconds(outcome.elapsed.as_ref()),
            bytes: outcome.bytes,
            reason: outcome.reason.clone(),
            why: short(outcome.plan_reason().as_str_name(), "PLAN_REASON_"),
            score: outcome.score,
        });
        let planned = response.plan.iter().map(|planned| Line {
            entity: planned.member.as_ref().map(|m| m.entity.clone()).unwrap_or_default(),
            key: planned.key.clone(),
            outcome: match planned.exclusion() {
                pb::PlanExclusion::Unspecified => "PLANNED".to_owned(),
                exclusion => short(exclusion.as_str_name(), "PLAN_EXCLUSION_"),
            },
            source: planned.source.clone(),
            elapsed_ms: milliseconds(planned.expected_elapsed.as_ref()),
            bytes: planned.expected_bytes,
            reason: planned.explanation.clone(),
            why: short(planned.plan_reason().as_str_name(), "PLAN_REASON_"),
            score: planned.score,
        });
        Self {
            status: short(response.status().as_str_name(), "PREHYDRATE_STATUS_"),
            retry_after_ms: response.retry_after.as_ref().map(|d| milliseconds(Some(d))),
            elapsed_ms: milliseconds(response.elapsed.as_ref()),
            resources: outcomes.chain(planned).collect(),
            trace_id: response.trace_id.clone(),
        }
    }
}

fn short(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_owned()
}

fn milliseconds(duration: Option<&prost_types::Duration>) -> f64 {
    duration.map_or(0.0, |d| d.seconds as f64 * 1e3 + f64::from(d.nanos) / 1e6)
}
