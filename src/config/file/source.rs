//! `sources:` the systems of record from which entities are loaded.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::form::{CookieName, CredentialHeader, Formed, Origin};
use crate::config::value::{SecretText, Size, Span};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// A source behind HTTP: one fixed origin, GET only, redirects are not followed.
    pub http: Option<Http>,
    /// A source behind Postgres: queries in read-only sessions, every value a parameter.
    pub postgres: Option<Postgres>,
    /// For how long after a change this source may still answer what was before it, as one that reads from replicas or
    /// caches by itself. For that long after an invalidation a value lives no longer than what remains of it.
    #[schemars(extend("x-least" = "10ms", "x-most" = "1h"))]
    pub lag: Option<Span>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// `postgres://user@host:5432/name`, best as `${DATABASE_URL}` where a password is in it. TLS is used, and the server
    /// verified, unless it says `sslmode=disable` or the server is on this machine.
    #[schemars(extend("x-hint" = "say where it is: `url: \"postgres://hydrant@db.internal:5432/shop\"`"))]
    pub url: SecretText,
    /// The password, best as `${file:/run/secrets/db}`: the file is read again when it changes. It stands before one in
    /// the URL.
    pub password: Option<SecretText>,
    /// Connections, and so queries under way at once; what is beyond waits, then is shed.
    #[serde(default = "pool")]
    #[schemars(range(min = 1, max = 256))]
    pub pool: usize,
    /// How long the server works on one query before it gives it up. Shorter than `fill.claim_life`.
    #[serde(default = "timeout")]
    #[schemars(extend("x-least" = "10ms", "x-most" = "1m"))]
    pub statement_timeout: Span,
    /// How long a connection may take, TLS and login included.
    #[serde(default = "connect_timeout")]
    #[schemars(extend("x-least" = "10ms", "x-most" = "1m"))]
    pub connect_timeout: Span,
    /// The largest answer about one member that is read.
    #[serde(default = "max_bytes")]
    #[schemars(extend("x-least" = "1KiB", "x-most" = "64MiB"))]
    pub max_bytes: Size,
    /// TLS whatever the URL says, even if nothing more is said: `tls: {}`. The files are read at every connect.
    pub tls: Option<Tls>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Scheme, host and port, without a path: `https://accounts.internal:8443`. Nothing else is ever called.
    #[schemars(extend("x-hint" = "name scheme and host: `origin: \"https://accounts.internal\"`"))]
    pub origin: Formed<Origin>,
    /// How long one call may take, from its start to the end of the body. Shorter than `fill.claim_life`.
    #[serde(default = "timeout")]
    #[schemars(extend("x-least" = "10ms", "x-most" = "1m"))]
    pub timeout: Span,
    /// How long a connection may take, within `timeout`.
    #[serde(default = "connect_timeout")]
    #[schemars(extend("x-least" = "10ms", "x-most" = "1m"))]
    pub connect_timeout: Span,
    /// Which credentials go with a call.
    #[serde(default)]
    pub auth: Auth,
    /// Calls under way at once; what is beyond waits, then is shed.
    #[serde(default = "concurrency")]
    #[schemars(range(min = 1, max = 4096))]
    pub concurrency: usize,
    /// Extra tries of one call. All of them together stay under a tenth of the calls.
    #[serde(default = "retries")]
    #[schemars(range(min = 0, max = 10))]
    pub retries: u32,
    /// The largest answer that is read.
    #[serde(default = "max_bytes")]
    #[schemars(extend("x-least" = "1KiB", "x-most" = "64MiB"))]
    pub max_bytes: Size,
    /// Whom to trust, and the client's own certificate.
    #[serde(default)]
    pub tls: Tls,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// How the subject's own session is forwarded, to this origin only, to fill what is the subject's own. Left out:
    /// this source takes no session.
    pub session: Option<Session>,
    /// The sidecar's own credential, for what is not one subject's.
    pub service: Option<Service>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Session {
    /// `Authorization: Bearer <session>`
    Bearer,
    /// `Cookie: <name>=<session>`
    Cookie(Formed<CookieName>),
    /// `<name>: <session>`
    Header(Formed<CredentialHeader>),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Service {
    /// `Authorization: Bearer <token>`
    Bearer(SecretText),
    /// A header of any name.
    Header(ServiceHeader),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceHeader {
    /// The header's name: `X-Api-Key`.
    pub name: Formed<CredentialHeader>,
    /// Its value, best as `${file:…}`.
    pub value: SecretText,
}

#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// PEM file of the authority to trust; the system's authorities if left out.
    pub ca: Option<PathBuf>,
    /// PEM file of the client's certificate, where the source asks for one.
    pub certificate: Option<PathBuf>,
    /// PEM file of that certificate's key; left out where `certificate` holds both.
    pub key: Option<PathBuf>,
}

fn timeout() -> Span {
    Span::secs(3)
}

fn connect_timeout() -> Span {
    Span::secs(1)
}

fn concurrency() -> usize {
    64
}

/// A database has a hundred connections or so for everybody, and a pod is one of many.
fn pool() -> usize {
    8
}

fn retries() -> u32 {
    2
}

fn max_bytes() -> Size {
    Size(1 << 20)
}
