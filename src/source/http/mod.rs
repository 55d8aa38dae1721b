//! A source behind HTTP: one fixed origin, templated paths, GET only.
//!
//! A call passes, in this order: its request (path and credential, refused before anything is waited for), its turn
//! (so many calls at once, and a short wait), the breaker, and then one try after another, each with its own timeout,
//! while the retry budget and the deadline allow. Redirects are never followed and proxies of the environment never
//! used: a credential goes to the origin that was configured, and nowhere else.

mod answer;
mod bulk;
mod client;
mod request;
mod retry;

use std::path::PathBuf;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::Instrument;

use crate::domain::breaker::Admission;
use crate::domain::budget::Meter;
use crate::domain::entity::Name;
use crate::domain::random::Random;
use crate::domain::secret::SecretCell;
use crate::domain::source::{FetchAsk, FetchError, FetchManyAsk, Fetched, Source};
use crate::domain::trace::TraceContext;
use crate::source::gate::Gate;
use crate::source::health::{Blame, Health};
use crate::source::http::request::Requests;
use crate::source::http::retry::Budget;
use crate::source::metrics::{Metrics, SourceMetrics};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `https://accounts.internal:8443`: scheme, host and port, no path. Nothing else is ever called.
    pub origin: String,
    pub timeout: Duration,
    pub connect_timeout: Duration,
    /// How the subject's session is forwarded; None: this source takes no session.
    pub session: Option<SessionStyle>,
    /// The sidecar's own credential.
    pub service: Option<ServiceCredential>,
    /// Calls under way at once.
    pub concurrency: usize,
    /// Extra tries of one call; all of them together stay under the retry budget of a tenth of the calls.
    pub retries: u32,
    pub max_bytes: usize,
    pub tls: SourceTls,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionStyle {
    /// `Authorization: Bearer <session>`
    Bearer,
    /// `Cookie: <name>=<session>`
    Cookie { name: String },
    /// `<name>: <session>`
    Header { name: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceCredential {
    Bearer { token: SecretCell },
    Header { name: String, value: SecretCell },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceTls {
    pub ca: Option<PathBuf>,
    /// A PEM with the client's certificate and key.
    pub client_certificate: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
}

/// Why a source cannot be built from its configuration.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("`{0}` is not an origin: {1}")]
    Origin(String, &'static str),
    #[error("`{name}` cannot carry a credential: {why}")]
    Carrier { field: &'static str, name: String, why: &'static str },
    #[error("must be more than nothing")]
    Zero(&'static str),
    #[error("a client key needs the client's certificate too")]
    KeyAlone,
    #[error("{path}: {why}")]
    File { field: &'static str, path: String, why: String },
    #[error("the HTTP client cannot be built: {0}")]
    Client(String),
}

/// A caller that waits less than this says nothing of the source when it runs out of time.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct HttpSource {
    name: Name,
    client: reqwest::Client,
    requests: Requests,
    timeout: Duration,
    max_bytes: usize,
    retries: u32,
    gate: Gate,
    budget: Budget,
    health: Health,
    random: Random,
    metrics: SourceMetrics,
}

/// How long a call may take and how much its answer may hold.
struct Bounds<'a> {
    deadline: Instant,
    max_bytes: usize,
    meter: &'a Meter,
}

/// A try that gave nothing, and how far it came.
struct Failed {
    error: FetchError,
    stage: Stage,
}

enum Stage {
    /// Nothing of an answer was seen.
    BeforeHeaders,
    Answered,
    /// The caller's deadline was too near for the source to be blamed.
    Impatient,
}

impl BuildError {
    /// The part of the source's configuration to look at.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Origin(..) => "origin",
            Self::Carrier { field, .. } | Self::Zero(field) | Self::File { field, .. } => field,
            Self::KeyAlone => "tls.client_key",
            Self::Client(_) => "tls",
        }
    }
}

impl HttpSource {
    /// Reads the certificates it names; nothing is connected before the first call.
    pub fn build(name: Name, config: Config, random: Random, metrics: &Metrics) -> Result<Self, BuildError> {
        for (field, is_zero) in [
            ("timeout", config.timeout.is_zero()),
            ("connect_timeout", config.connect_timeout.is_zero()),
            ("concurrency", config.concurrency == 0),
            ("max_bytes", config.max_bytes == 0),
        ] {
            if is_zero {
                return Err(BuildError::Zero(field));
            }
        }
        let origin = request::parse_origin(&config.origin)?;
        let client = client::build(&config, &origin)?;
        let metrics = metrics.of(&name);
        Ok(Self {
            client,
            requests: Requests::new(origin, config.session, config.service)?,
            timeout: config.timeout,
            max_bytes: config.max_bytes,
            retries: config.retries,
            gate: Gate::new(config.concurrency),
            budget: Budget::full(),
            health: Health::new(name.clone(), random.clone(), metrics.clone()),
            random,
            metrics,
            name,
        })
    }

    /// A page of a list, or members in bulk: by path, with the sidecar's own credential or none.
    async fn list(&self, path: &str, trace: TraceContext, bounds: &Bounds<'_>) -> Result<Fetched, FetchError> {
        let request = self.requests.own(path, trace)?;
        self.call(request, bounds).await
    }

    async fn call(&self, request: reqwest::Request, bounds: &Bounds<'_>) -> Result<Fetched, FetchError> {
        let _turn = self.gate.turn(bounds.deadline).await?;
        self.budget.call_started();
        let mut last = FetchError::Shed;
        for attempt in 0.. {
            let admission = self.health.admit();
            if let Admission::No { .. } = admission {
                break;
            }
            let failed = match self.attempt(request.try_clone(), bounds).await {
                Ok(fetched) => return Ok(fetched),
                Err(failed) => failed,
            };
            last = failed.error;
            let wait = retry::wait(attempt, self.random.unit());
            let worth_it = failed.may_be_retried() && attempt < self.retries && admission == Admission::Yes;
            if !worth_it || Instant::now() + wait >= bounds.deadline || !self.budget.take() {
                break;
            }
            self.metrics.call_retried();
            sleep(wait).await;
        }
        Err(last)
    }

    /// One request and its answer, and what it tells the breaker.
    async fn attempt(&self, request: Option<reqwest::Request>, bounds: &Bounds<'_>) -> Result<Fetched, Failed> {
        let started = Instant::now();
        let until = bounds.deadline.min(started + self.timeout);
        let is_patient = until.duration_since(started) >= self.timeout.min(PATIENCE);
        let late =
            |stage| Failed { error: FetchError::Timeout, stage: if is_patient { stage } else { Stage::Impatient } };
        // A GET without a body can always be cloned.
        let request = request.ok_or(Failed { error: FetchError::Broken, stage: Stage::Answered })?;
        let result = match timeout_at(until, self.client.execute(request)).await {
            Err(_) => Err(late(Stage::BeforeHeaders)),
            Ok(Err(error)) => Err(Failed { error: answer::transport_error(&error), stage: Stage::BeforeHeaders }),
            Ok(Ok(response)) => {
                let limit = self.max_bytes.min(bounds.max_bytes);
                match timeout_at(until, answer::read(response, limit, bounds.meter)).await {
                    Ok(read) => read.map_err(|error| Failed { error, stage: Stage::Answered }),
                    Err(_) => Err(late(Stage::Answered)),
                }
            }
        };
        self.health.learn(started, result.as_ref().err().map_or(Blame::None, Failed::blame));
        result
    }
}

impl Source for HttpSource {
    fn fetch<'a>(&'a self, ask: FetchAsk<'a>) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        let span = tracing::info_span!("source_call", source = %self.name, entity = %ask.member.entity.name());
        async move {
            let call = self.metrics.call_started();
            let result = match self.requests.of(&ask) {
                Ok(request) => {
                    let FetchAsk { deadline, max_bytes, meter, .. } = ask;
                    self.call(request, &Bounds { deadline, max_bytes, meter }).await
                }
                Err(error) => Err(error),
            };
            call.finished(&result);
            result
        }
        .instrument(span)
        .boxed()
    }

    fn fetch_many<'a>(&'a self, ask: FetchManyAsk<'a>) -> BoxFuture<'a, Vec<Result<Fetched, FetchError>>> {
        let span = tracing::info_span!("source_call", source = %self.name, members = ask.members.len());
        self.fetch_listed(ask).instrument(span).boxed()
    }
}

impl Failed {
    fn may_be_retried(&self) -> bool {
        match self.error {
            FetchError::Unreachable | FetchError::Status(502..=504) => true,
            FetchError::Timeout => matches!(self.stage, Stage::BeforeHeaders),
            _ => false,
        }
    }

    fn blame(&self) -> Blame {
        match self.error {
            FetchError::Timeout if matches!(self.stage, Stage::Impatient) => Blame::Ours,
            FetchError::Timeout | FetchError::Unreachable | FetchError::Broken | FetchError::Status(500..) => {
                Blame::Source
            }
            FetchError::Shed | FetchError::NoSession | FetchError::Refused | FetchError::Ambiguous => Blame::Ours,
            FetchError::Denied | FetchError::Status(_) | FetchError::TooLarge | FetchError::Redirect => Blame::None,
        }
    }
}
