//! The probe port: `/livez`, `/readyz`, `/startupz`, `/metrics` and grpc.health, nothing else.
//!
//! It has a thread and a runtime of its own, so that probes answer while the main one is busy.

use std::net::SocketAddr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// All interfaces: Kubernetes' gRPC probes have no host field.
    pub probes: SocketAddr,
}
