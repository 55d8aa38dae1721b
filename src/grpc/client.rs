//! The other end of the door, for the command line, the demo, benches and tests: so that none of them needs tonic.
//!
//! A call that fails comes back as [`Failed`], taken apart into what a person or a script wants to know.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use crate::domain::error::FieldError;
use crate::domain::trace::TraceContext;
use crate::grpc::pb::cache_control_service_client::CacheControlServiceClient;
use crate::grpc::pb::{PrehydrateRequest, PrehydrateResponse};
use crate::grpc::status::code_name;

/// Where a sidecar listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Cloning shares the connection.
#[derive(Clone, Debug)]
pub struct Client {
    control: CacheControlServiceClient<Channel>,
    health: HealthClient<Channel>,
}

/// What goes along with one call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    /// The rpc's own where there is none.
    pub deadline: Option<Duration>,
    pub trace: Option<TraceContext>,
}

/// Why a call failed, as the sidecar or the way to it told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Failed {
    pub code: &'static str,
    /// The stable reason; none where no sidecar answered.
    pub reason: Option<String>,
    pub message: String,
    pub fields: Vec<FieldError>,
    pub retry_after: Option<Duration>,
    pub trace: Option<String>,
}

impl Client {
    /// Connects, or fails within the time given.
    pub async fn connect(target: &Target, longest: Duration) -> Result<Self, Failed> {
        let endpoint = Endpoint::from_static("http://localhost").connect_timeout(longest);
        let connected = match target {
            Target::Tcp(address) => match Endpoint::from_shared(format!("http://{address}")) {
                Ok(endpoint) => endpoint.connect_timeout(longest).connect().await,
                Err(error) => Err(error),
            },
            Target::Unix(path) => {
                let path = path.clone();
                let connect = tower::service_fn(move |_| {
                    let path = path.clone();
                    async move { UnixStream::connect(path).await.map(TokioIo::new) }
                });
                endpoint.connect_with_connector(connect).await
            }
        };
        match connected {
            Ok(channel) => Ok(Self::over(channel)),
            Err(error) => Err(Failed::unreachable(target, &error)),
        }
    }

    pub async fn prehydrate(&self, request: PrehydrateRequest, terms: Terms) -> Result<PrehydrateResponse, Failed> {
        let answered = self.control.clone().prehydrate(terms.on(request)).await;
        Ok(answered.map_err(|status| Failed::from_status(&status))?.into_inner())
    }

    /// Whether the sidecar says that it serves.
    pub async fn is_serving(&self, terms: Terms) -> Result<bool, Failed> {
        let asked = terms.on(HealthCheckRequest { service: String::new() });
        let answered = self.health.clone().check(asked).await;
        let answer = answered.map_err(|status| Failed::from_status(&status))?.into_inner();
        Ok(answer.status() == ServingStatus::Serving)
    }

    fn over(channel: Channel) -> Self {
        Self { control: CacheControlServiceClient::new(channel.clone()), health: HealthClient::new(channel) }
    }
}

impl Terms {
    fn on<T>(self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(deadline) = self.deadline {
            request.set_timeout(deadline);
        }
        if let Some(trace) = self.trace
            && let Ok(header) = trace.to_string().parse()
        {
            request.metadata_mut().insert("traceparent", header);
        }
        request
    }
}

impl Failed {
    fn from_status(status: &Status) -> Self {
        let violations = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
        Self {
            code: code_name(status.code()),
            reason: status.get_details_error_info().map(|info| info.reason),
            message: status.message().to_owned(),
            fields: violations.into_iter().map(|v| FieldError::new(v.field, v.description)).collect(),
            retry_after: status.get_details_retry_info().and_then(|info| info.retry_delay),
            trace: status.metadata().get("hydrant-trace-id").and_then(|id| id.to_str().ok()).map(str::to_owned),
        }
    }

    fn unreachable(target: &Target, error: &tonic::transport::Error) -> Self {
        let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
        Self {
            code: code_name(tonic::Code::Unavailable),
            reason: None,
            message: format!("nobody answers at {target}: {cause}"),
            fields: Vec::new(),
            retry_after: None,
            trace: None,
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.as_deref().unwrap_or(self.code), self.message)?;
        self.fields.iter().try_for_each(|field| write!(f, "; {} {}", field.path, field.problem))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}
