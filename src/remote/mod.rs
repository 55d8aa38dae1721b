//! The hands that reach Redis: one server, a Sentinel group or a cluster, over TCP or TLS.
//!
//! In the order a command meets them: `store` (what is asked, key by key), `claim` (the two halves of a fill), `removal`,
//! `erase` and `mark` (what an invalidation does), `library` (the scripts behind them), `route` (to the owners and after
//! redirects), `topology` and `discover` (who owns the slot), `node` (limit, deadline, breaker, metric), `lane` (whether
//! the replicas have it), `link` (one connection, everybody's commands in one write), `connect` (socket, TLS, greeting).
//!
//! A router of our own, because a claim has to know its connection: see docs/adr/0003.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::domain::breaker;
use crate::domain::key;
use crate::domain::random::Random;
use crate::domain::secret::SecretCell;
use crate::remote::connect::{Dial, Network};
use crate::remote::metrics::Metrics;
use crate::remote::node::Shared;
use crate::remote::store::Remote;
use crate::remote::upheaval::Upheavals;
use crate::tasks::Tasks;

pub mod claim;
pub mod connect;
pub mod discover;
pub mod erase;
pub mod error;
pub mod habits;
pub mod install;
pub mod journal;
pub mod lane;
pub mod lease;
pub mod library;
pub mod link;
pub mod mark;
pub mod metrics;
pub mod node;
pub mod register;
pub mod removal;
pub mod request;
pub mod rights;
pub mod route;
pub mod scan;
pub mod shards;
pub mod soften;
pub mod store;
pub mod topology;
pub mod upheaval;

#[derive(Clone, Debug)]
pub struct Config {
    pub mode: Mode,
    pub auth: Option<Auth>,
    pub tls: Option<Tls>,
    /// Replicas that an acknowledged removal must have reached; configured, never observed.
    pub replicas: u8,
    /// How long one command may take before it counts as a failure of its node.
    pub deadline: Duration,
    pub connect_timeout: Duration,
    pub breaker: breaker::Config,
    /// How often the topology is asked for when nothing is wrong.
    pub refresh: Duration,
    /// The sidecars that share one configuration; part of Hydrant's own global keys.
    pub group: String,
}

#[derive(Clone, Debug)]
pub enum Mode {
    Standalone {
        address: Address,
    },
    Sentinel {
        sentinels: Vec<Address>,
        master: String,
        /// The sentinels' own credentials: they know nothing of the servers'.
        auth: Option<Auth>,
    },
    Cluster {
        seeds: Vec<Address>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

#[derive(Clone, Debug)]
pub struct Auth {
    /// None for a server with only `requirepass`.
    pub username: Option<String>,
    /// Read again at every connect, so that a rotated file is followed.
    pub password: SecretCell,
}

/// TLS to every node. Files are read again at every connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The CA to trust; the system's if not given.
    pub ca: Option<PathBuf>,
    /// The client's own certificate and key, where the server asks for one.
    pub client: Option<ClientCertificate>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Builds the store and begins to connect. It never fails: a Redis that is away is a state, not an error.
pub fn build(config: Config, tasks: &Tasks, random: Random, metrics: Metrics) -> Arc<Remote> {
    let network = Network { tls: config.tls.clone() };
    build_over(Arc::new(network), config, tasks, random, metrics)
}

/// The same over any way to reach an address.
pub fn build_over(dial: Arc<dyn Dial>, config: Config, tasks: &Tasks, random: Random, metrics: Metrics) -> Arc<Remote> {
    // TLS is the dialler's.
    let Config { mode, auth, tls: _, replicas, deadline, connect_timeout, breaker, refresh, group } = config;
    // Its table takes a few milliseconds to make: now, rather than while somebody waits for it.
    key::slot_tag(0);
    let shared = Arc::new(Shared {
        dial,
        auth,
        deadline,
        connect_timeout,
        breaker,
        primary_only: !matches!(mode, Mode::Cluster { .. }),
        replicas,
        group,
        tasks: tasks.clone(),
        random: random.clone(),
        metrics,
        nudge: Notify::new(),
        upheavals: Upheavals::new(),
    });
    let remote = Arc::new(Remote::new(mode, shared, random));
    let kept = remote.clone();
    tasks.live("redis topology", async move { kept.keep_topology(refresh).await });
    remote
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}
