//! `listen.pod` and `listen.remote`: who may call, by which way, and what.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::identity::Key;
use crate::config::form::Formed;
use crate::config::form::grant::{Limit, RightName};
use crate::config::value::{PublicText, SecretText, Span};

/// The second listener: TLS, for callers from outside the pod.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Remote {
    /// Address and port. [Remote callers](../remote-callers.md) shows how to set it up.
    #[serde(default = "address")]
    pub address: Formed<SocketAddr>,
    /// Our certificate, and the authority of theirs.
    #[schemars(extend("x-hint" = "name its files: `tls: { certificate: \"${file:…}\", key: \"${file:…}\" }`"))]
    pub tls: ServerTls,
    /// How callers' tokens are read. Left out: callers show certificates.
    pub jwt: Option<Jwt>,
    /// Who may call, by name. A call must fit exactly one.
    #[schemars(extend(
        "x-hint" = "declare who may call: `callers: { ci: { jwt: { sub: ci }, rights: [invalidate, jobs], tenants: all } }`"
    ))]
    pub callers: BTreeMap<String, Caller>,
    /// Limits of every caller that declares none of its own. They are counted per caller and pod.
    #[serde(default)]
    pub limits: RemoteLimits,
    /// Open connections, apart from those of the pod.
    #[serde(default = "connections")]
    #[schemars(range(min = 1, max = 65536))]
    pub connections: usize,
    /// Calls under way at once, apart from those of the pod.
    #[serde(default = "in_flight")]
    #[schemars(range(min = 1, max = 65536))]
    pub in_flight: usize,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerTls {
    /// The certificate chain in PEM, as `${file:/run/tls/tls.crt}`: a file that is rotated is used from the next
    /// connection on.
    #[schemars(extend("x-hint" = "mount it and write `certificate: \"${file:/run/tls/tls.crt}\"`"))]
    pub certificate: PublicText,
    /// Its key in PEM, as `${file:/run/tls/tls.key}`.
    #[schemars(extend("x-hint" = "mount it and write `key: \"${file:/run/tls/tls.key}\"`"))]
    pub key: SecretText,
    /// The authority, in PEM, that vouches for callers' certificates. Without `jwt`, nobody is let in without one.
    pub client_ca: Option<PublicText>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// The keys, by the ids that tokens name them by; 1 to 16, all accepted at once. Each is pinned to its algorithm.
    #[schemars(extend(
        "x-hint" = "name at least one key by its id: `keys: { \"2026-11\": { algorithm: ES256, public: \"${file:…}\" } }`"
    ))]
    pub keys: BTreeMap<String, Key>,
    /// Who we are (`aud`): a token must name one of these.
    #[schemars(extend("x-hint" = "say whom tokens must be meant for: `audiences: [hydrant]`"))]
    pub audiences: Vec<String>,
    /// Accepted issuers (`iss`). If there are any, a token must name one of them.
    #[serde(default)]
    pub issuers: Vec<String>,
    /// Accepted `typ`. If there are any, a token must have one of them; else it must be `JWT` or missing.
    #[serde(default)]
    pub types: Vec<String>,
    /// How far the issuer's clock and this pod's may differ. A token without `exp` is refused.
    #[serde(default = "leeway")]
    #[schemars(extend("x-least" = "0s", "x-most" = "5m"))]
    pub leeway: Span,
}

/// A caller: what it shows, and what it may do.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Caller {
    /// What claims of its token say, such as `sub: ci`: all of them must. A claim that is a list must hold the text.
    #[serde(default)]
    pub jwt: BTreeMap<String, String>,
    /// What its certificate says.
    pub certificate: Option<Certificate>,
    /// What it may do. An rpc without its right is refused.
    #[schemars(extend("x-hint" = "name what it may do: `rights: [invalidate, jobs]`"))]
    pub rights: Vec<Formed<RightName>>,
    /// The tenants whose data it may see and touch, or `all`. What does not say which tenant it is of, is for `all` only.
    #[schemars(extend("x-hint" = "name its tenants, or say `tenants: all`"))]
    pub tenants: Vec<String>,
    /// Limits of its own, in place of the common ones.
    #[serde(default)]
    pub limits: Limits,
}

/// All that is named must be in it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// A DNS name of its subject alternative name.
    pub dns: Option<String>,
    /// A URI of its subject alternative name, such as `spiffe://cluster/ns/ops/sa/ci`.
    pub uri: Option<String>,
    /// The common name of its subject, where the authority knows nothing better.
    pub cn: Option<String>,
}

/// Whoever shares the pod: one caller, with every right and without limits unless something is said here.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pod {
    /// What callers in the pod may do. Left out: everything.
    pub rights: Option<Vec<Formed<RightName>>>,
    /// The tenants whose data they may see and touch. Left out: all.
    pub tenants: Option<Vec<String>>,
    /// Left out: none.
    #[serde(default)]
    pub limits: Limits,
}

/// Calls in a time, such as `5/min`, or `none`. A bucket of so many, which fills again evenly.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub prehydrate: Option<Formed<Limit>>,
    pub invalidate: Option<Formed<Limit>>,
    /// Invalidations by a pattern, or of everything; they count as invalidations too.
    pub clear: Option<Formed<Limit>>,
    /// `GetJob` and `WatchJob`.
    pub jobs: Option<Formed<Limit>>,
    pub warm_up: Option<Formed<Limit>>,
    pub stats: Option<Formed<Limit>>,
    pub explain: Option<Formed<Limit>>,
    pub lookup: Option<Formed<Limit>>,
    pub watch: Option<Formed<Limit>>,
    pub record: Option<Formed<Limit>>,
}

/// The same, with a value for each.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RemoteLimits {
    pub prehydrate: Formed<Limit>,
    pub invalidate: Formed<Limit>,
    /// Invalidations by a pattern, or of everything; they count as invalidations too.
    pub clear: Formed<Limit>,
    /// `GetJob` and `WatchJob`.
    pub jobs: Formed<Limit>,
    pub warm_up: Formed<Limit>,
    pub stats: Formed<Limit>,
    pub explain: Formed<Limit>,
    pub lookup: Formed<Limit>,
    pub watch: Formed<Limit>,
    pub record: Formed<Limit>,
}

impl Default for RemoteLimits {
    fn default() -> Self {
        let none = || Formed(Limit(None));
        Self {
            prehydrate: none(),
            invalidate: none(),
            // What costs the whole fleet is not asked for often by anybody who means well.
            clear: Formed(Limit::per_minute(2)),
            jobs: none(),
            warm_up: Formed(Limit::per_minute(2)),
            stats: Formed(Limit::per_minute(5)),
            explain: none(),
            lookup: none(),
            watch: none(),
            record: none(),
        }
    }
}

fn address() -> Formed<SocketAddr> {
    Formed(SocketAddr::from(([0, 0, 0, 0], 4772)))
}

fn leeway() -> Span {
    Span::secs(30)
}

/// People and pipelines, not a fleet's apps.
fn connections() -> usize {
    64
}

fn in_flight() -> usize {
    128
}
