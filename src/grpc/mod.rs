//! The front door: gRPC over loopback TCP and, where asked for, a Unix socket, and TLS for callers from elsewhere.
//!
//! A call passes `server` (the layers, outside in), `service` (convert, call, convert) and `convert`. `status` is the one
//! place where errors become codes. `client` is the other end, for the command line, benches and tests.

pub mod caller;
pub mod client;
pub mod codec;
mod connection;
pub mod convert;
pub mod health;
pub mod layer;
pub mod listen;
pub mod metrics;
pub mod pb;
mod redact;
pub mod rpc;
pub mod server;
pub mod service;
pub mod status;
pub mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Loopback by default: whoever shares the pod's network may call.
    pub api: SocketAddr,
    /// A socket file, opt-in.
    pub socket: Option<PathBuf>,
    /// For callers from outside the pod.
    pub remote: Option<Remote>,
    pub limits: Limits,
    /// How long a drain may take before what is left is dropped.
    pub drain: Duration,
}

/// The second listener. Its bounds are its own, so that nobody outside can take the places of those inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    pub address: SocketAddr,
    pub tls: tls::Config,
    pub connections: usize,
    /// Calls under way at once on all of them.
    pub in_flight: usize,
}

/// Every bound of the door, with its reason beside its default in [`Limits::default`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// One request's bytes.
    pub message: usize,
    /// One request's bytes where a value may travel.
    pub value_message: usize,
    /// All requests' bytes at once.
    pub in_flight_bytes: usize,
    pub connections: usize,
    /// Calls under way at once on one connection.
    pub streams_per_connection: u32,
    /// Calls under way at once on all of them.
    pub in_flight: usize,
    /// Longest a call may wait for its turn before it is shed.
    pub queue: Duration,
    pub header_bytes: u32,
    /// From accept to the end of the HTTP/2 preface.
    pub handshake: Duration,
    /// From a request's headers to the end of its body.
    pub body: Duration,
    /// Resets of streams by a client before its connection is closed (CVE-2023-44487).
    pub pending_resets: usize,
    /// Deadline of a call that names none.
    pub deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A request names members and keys: 256 of them fit well.
            message: 64 * 1024,
            // What the contract promises for calls in which values travel: a few of the largest.
            value_message: 4 * 1024 * 1024,
            in_flight_bytes: 16 * 1024 * 1024,
            // One pod's apps: a connection or a few for each process.
            connections: 256,
            streams_per_connection: 256,
            in_flight: 1024,
            // A login waits for us: what cannot start within this is refused, and the app goes on without.
            queue: Duration::from_millis(20),
            header_bytes: 16 * 1024,
            handshake: Duration::from_secs(2),
            body: Duration::from_secs(2),
            pending_resets: 32,
            deadline: Duration::from_secs(4),
        }
    }
}
