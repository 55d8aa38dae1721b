//! The hands that reach Redis: one server, a Sentinel group or a cluster, over TCP or TLS.

use std::path::PathBuf;
use std::time::Duration;

use crate::domain::breaker;
use crate::domain::secret::SecretCell;

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

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    Standalone { address: Address },
    Sentinel { sentinels: Vec<Address>, master: String },
    Cluster { seeds: Vec<Address> },
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
