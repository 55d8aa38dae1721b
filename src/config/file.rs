//! The shape of `hydrant.yaml` for serde and schemars, private to `config`.
//!
//! The doc comments of these fields are the reference documentation, their defaults are the defaults, and `x-hint` is
//! what a person is told who left a required key out. What the parts mean together is decided in `convert`.
//! Keys that are reserved, or that people try, are in `known`.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::form::{Formed, Level, SocketPath};
use super::value::{Percent, Size, Span};
use crate::domain::entity::Name;
use crate::grpc;
use crate::telemetry::LogFormat;

pub mod caller;
pub mod entity;
pub mod identity;
pub mod invalidate;
pub mod prehydrate;
pub mod redis;
pub mod source;
pub mod warmup;

use caller::{Pod, Remote};
use entity::Entity;
use identity::Identity;
use invalidate::Invalidate;
use prehydrate::Prehydrate;
use redis::Redis;
use source::Source;
use warmup::{InOrder, Plan};

/// One file configures one sidecar, and all sidecars of one group alike. Keys that are not listed are refused.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "only its shape is used: `convert` takes each section by itself, so that one bad section does not hide another"
)]
pub struct File {
    /// Names the sidecars that share this configuration. It is part of Hydrant's own keys in Redis, so several groups
    /// can share one server. Letters, digits, `_` and `-`.
    #[schemars(extend("x-hint" = "name the sidecars that share this configuration: `group: shop`"))]
    group: Formed<Name>,
    /// `memory` keeps everything in this process: for a demonstration, or an application's own tests. Leave it out and
    /// describe `redis` otherwise.
    store: Option<StoreWord>,
    /// The Redis that applications read. Exactly one of `redis` and `store: memory` must be there.
    redis: Option<Redis>,
    /// The hot switch. Off means that nothing is filled; invalidation always runs.
    #[serde(default)]
    enabled: Enabled,
    /// How a subject is read from the user's cookie. Left out: callers name the subject themselves.
    identity: Option<Identity>,
    /// Where entities are loaded from, by name.
    #[serde(default)]
    sources: BTreeMap<String, Source>,
    /// The kinds of things that are cached, by name.
    #[serde(default)]
    entities: BTreeMap<String, Entity>,
    /// What is filled for a subject, and how much at once.
    #[serde(default)]
    prehydrate: Prehydrate,
    /// What is filled without being asked for: plans, by name.
    #[serde(default)]
    warmup: InOrder<Plan>,
    /// This process's memory, as far as it holds values: both bounds hold at once.
    #[serde(default)]
    local: Local,
    /// Where callers and probes reach this sidecar.
    #[serde(default)]
    listen: Listen,
    #[serde(default)]
    log: Log,
    /// How a value gets into the store: claim, fetch, commit.
    #[serde(default)]
    fill: Fill,
    /// How what has changed is removed, and where it waits while Redis is away.
    #[serde(default)]
    invalidate: Invalidate,
    /// Looking again at some of the members that were invalidated, and comparing them with their sources.
    #[serde(default)]
    verify: Verify,
    /// Threads that serve calls. The probe port has one of its own.
    #[serde(default = "default_workers")]
    #[schemars(range(min = 1, max = 64))]
    workers: usize,
}

/// A sidecar shares its pod's processors with the app: one thread, and more only where that one is seen to be busy.
fn default_workers() -> usize {
    1
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StoreWord {
    Memory,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Enabled {
    /// Whether anything is filled at all.
    pub all: bool,
    /// The share of subjects that are served. A subject stays in or out as long as the share does, on every pod.
    pub percent: Percent,
    /// Single entities on or off, by name. An entity that is not named is on.
    #[schemars(extend("x-declared" = "entities"))]
    pub entities: BTreeMap<String, bool>,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Local {
    /// Bytes of keys and values.
    #[schemars(extend("x-least" = "64KiB", "x-most" = "64GiB"))]
    pub bytes: Size,
    #[schemars(range(min = 1, max = 100_000_000))]
    /// Number of values.
    pub items: usize,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// Address and port of the gRPC API. Loopback: whoever shares the pod's network may call.
    pub api: Formed<SocketAddr>,
    /// A Unix socket that serves the same API.
    pub socket: Option<Formed<SocketPath>>,
    /// Address and port of probes and metrics. All interfaces: Kubernetes' gRPC probes have no host field.
    pub probes: Formed<SocketAddr>,
    /// What callers in the pod may do. Left out: everything, for all tenants, without limits.
    #[serde(skip_serializing)]
    pub pod: Option<Pod>,
    /// A second listener, for callers from outside the pod: TLS, and everybody shows who they are. Left out: there is
    /// none.
    #[serde(skip_serializing)]
    pub remote: Option<Remote>,
    /// The longest a drain may take at shutdown before what is left is dropped.
    #[schemars(extend("x-least" = "0s", "x-most" = "10m"))]
    pub drain: Span,
    /// What callers may ask for at most.
    pub limits: Limits,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// One request.
    #[schemars(extend("x-least" = "4KiB", "x-most" = "64MiB"))]
    pub message: Size,
    /// One request in which a value may travel.
    #[schemars(extend("x-least" = "68KiB", "x-most" = "64MiB"))]
    pub value_message: Size,
    /// All requests at once.
    #[schemars(extend("x-least" = "64KiB", "x-most" = "4GiB"))]
    pub in_flight_bytes: Size,
    /// Open connections.
    #[schemars(range(min = 1, max = 65536))]
    pub connections: usize,
    /// Calls under way at once on one connection.
    #[schemars(range(min = 1, max = 65536))]
    pub streams_per_connection: u32,
    /// Calls under way at once on all of them.
    #[schemars(range(min = 1, max = 65536))]
    pub in_flight: usize,
    /// The longest a call may wait for its turn before it is shed.
    #[schemars(extend("x-least" = "1ms", "x-most" = "10s"))]
    pub queue: Span,
    /// Headers of one request.
    #[schemars(extend("x-least" = "1KiB", "x-most" = "1MiB"))]
    pub header_bytes: Size,
    /// From accepting a connection to its first request.
    #[schemars(extend("x-least" = "10ms", "x-most" = "1m"))]
    pub handshake: Span,
    /// From a request's headers to the end of its body.
    #[schemars(extend("x-least" = "10ms", "x-most" = "1m"))]
    pub body: Span,
    /// Streams that a client may reset before its connection is closed.
    #[schemars(range(min = 1, max = 4096))]
    pub pending_resets: usize,
    /// Deadline of a call that names none.
    #[schemars(extend("x-least" = "10ms", "x-most" = "1m"))]
    pub deadline: Span,
}

/// What is logged, and how.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// JSON is for machines, the other for people.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace` or `off`; single modules after a comma: `info,hydrant::remote=debug`.
    pub level: Formed<Level>,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Fill {
    /// How long a claim stands if nothing more is heard of its fill. Longer than any source's `timeout`.
    #[schemars(extend("x-least" = "1s", "x-most" = "5m"))]
    pub claim_life: Span,
    /// Bytes of values in flight at once, over all fills.
    #[schemars(extend("x-least" = "64KiB", "x-most" = "4GiB"))]
    pub in_flight_bytes: Size,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Verify {
    /// Whether this sidecar checks at all. `hydrant verify` checks on demand, whatever stands here.
    pub enabled: bool,
    /// Looks a minute, at most. Each reads a member's keys in Redis and, where something stands there, asks its source
    /// once; a member is looked at four times.
    #[schemars(range(min = 1, max = 60000))]
    pub per_minute: u32,
    /// Bytes a second, at most: what is read from Redis and from the sources for it.
    #[schemars(extend("x-least" = "1KiB", "x-most" = "1GiB"))]
    pub bytes: Size,
}

impl Default for Enabled {
    fn default() -> Self {
        Self { all: true, percent: Percent(100), entities: BTreeMap::new() }
    }
}

impl Default for Local {
    fn default() -> Self {
        Self { bytes: Size(16 << 20), items: 1000 }
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            api: Formed(SocketAddr::from(([127, 0, 0, 1], 4770))),
            socket: None,
            probes: Formed(SocketAddr::from(([0, 0, 0, 0], 4771))),
            pod: None,
            remote: None,
            // Below the 30 s that Kubernetes grants a pod.
            drain: Span::secs(20),
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let limits = grpc::Limits::default();
        let size = |bytes: usize| Size(u64::try_from(bytes).unwrap_or(u64::MAX));
        Self {
            message: size(limits.message),
            value_message: size(limits.value_message),
            in_flight_bytes: size(limits.in_flight_bytes),
            connections: limits.connections,
            streams_per_connection: limits.streams_per_connection,
            in_flight: limits.in_flight,
            queue: Span(limits.queue),
            header_bytes: Size(u64::from(limits.header_bytes)),
            handshake: Span(limits.handshake),
            body: Span(limits.body),
            pending_resets: limits.pending_resets,
            deadline: Span(limits.deadline),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Json, level: Formed(Level("info".to_owned())) }
    }
}

impl Default for Verify {
    fn default() -> Self {
        // A member every four seconds: within an hour enough to see what happens once in three hundred times.
        Self { enabled: false, per_minute: 60, bytes: Size(1 << 20) }
    }
}

impl Default for Fill {
    fn default() -> Self {
        // A process of a few dozen megabytes can hold this much twice.
        Self { claim_life: Span::secs(10), in_flight_bytes: Size(16 << 20) }
    }
}
