//! A source behind HTTP: one fixed origin, templated paths, GET only.

use std::path::PathBuf;
use std::time::Duration;

use crate::domain::secret::SecretCell;

#[derive(Clone, Debug)]
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

#[derive(Clone, Debug)]
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
