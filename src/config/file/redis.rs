//! `redis:` the server, Sentinel group or cluster that applications read.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::form::{Formed, RedisAddress};
use crate::config::value::{SecretText, Span};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// What the addresses lead to.
    #[schemars(extend("x-hint" = "say what the addresses lead to: `mode: cluster`, `sentinel` or `standalone`"))]
    pub mode: Mode,
    /// Addresses: `host:port`, `redis://host:port` or `rediss://host:port` (TLS). One for `standalone`; the sentinels
    /// for `sentinel`; for `cluster` two or three, the others are asked for. The port may be left out.
    #[schemars(extend("x-hint" = "name at least one address: `nodes: [\"redis://10.0.0.1:6379\"]`"))]
    pub nodes: Vec<Formed<RedisAddress>>,
    /// The name of the master that the sentinels watch; for `sentinel` only.
    pub master: Option<String>,
    /// The sentinels' own credentials: they know nothing of the servers'. For `sentinel` only; left out where they ask
    /// for none.
    pub sentinel: Option<Login>,
    /// Replicas that an acknowledged removal must have reached. As many as each primary is meant to have: a lost
    /// replica does not lower it.
    #[serde(default)]
    #[schemars(range(min = 0, max = 5))]
    pub replicas: u8,
    /// The ACL user; left out where the server has only `requirepass`.
    pub username: Option<String>,
    /// The password, best as `${file:/run/secrets/redis}`: the file is read again when it changes.
    pub password: Option<SecretText>,
    /// Speaks TLS to every node, even if nothing more is said: `tls: {}`.
    pub tls: Option<Tls>,
    /// How long one command may take before it counts as a failure of its node.
    #[serde(default = "deadline")]
    #[schemars(extend("x-least" = "5ms", "x-most" = "10s"))]
    pub deadline: Span,
    /// How long a connection may take, its TLS handshake and AUTH included.
    #[serde(default = "connect_timeout")]
    #[schemars(extend("x-least" = "10ms", "x-most" = "1m"))]
    pub connect_timeout: Span,
    /// How often the topology is asked for when nothing is wrong.
    #[serde(default = "refresh")]
    #[schemars(extend("x-least" = "1s", "x-most" = "1h"))]
    pub refresh: Span,
    /// When a node is left alone for a while.
    #[serde(default)]
    pub breaker: Breaker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Standalone,
    Sentinel,
    Cluster,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The ACL user; left out where there is only a password.
    pub username: Option<String>,
    /// The password, best as `${file:…}`.
    pub password: SecretText,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file of the authority to trust; the system's authorities if left out. Read again at every connect.
    pub ca: Option<PathBuf>,
    /// PEM file of the client's certificate, where the server asks for one.
    pub certificate: Option<PathBuf>,
    /// PEM file of that certificate's key.
    pub key: Option<PathBuf>,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Breaker {
    /// Failures in a row after which a node is left alone.
    #[schemars(range(min = 1, max = 100))]
    pub failures: u32,
    /// The first wait before it is tried again; each further one is twice as long.
    #[schemars(extend("x-least" = "10ms", "x-most" = "10m"))]
    pub first_wait: Span,
    /// The longest wait.
    #[schemars(extend("x-least" = "10ms", "x-most" = "1h"))]
    pub longest_wait: Span,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { failures: 3, first_wait: Span::secs(2), longest_wait: Span::secs(60) }
    }
}

/// A healthy node answers in a millisecond; one that needs longer than this harms the login that waits for it.
fn deadline() -> Span {
    Span::millis(250)
}

fn connect_timeout() -> Span {
    Span::millis(500)
}

/// Changes are noticed at once by their redirects; this is for a topology that grew.
fn refresh() -> Span {
    Span::secs(30)
}
