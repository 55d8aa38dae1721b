//! The probe port: `/livez`, `/readyz`, `/startupz`, `/metrics` and grpc.health, nothing else.
//!
//! It has a thread and a runtime of its own, so that probes answer while the main one is busy, and so that writing out
//! the metrics delays no call. Everything it answers is read from memory.

pub mod metrics;

mod probes;

mod server;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::admin::metrics::Page;
use crate::domain::phase::Phase;
use crate::domain::store::Store;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// All interfaces: Kubernetes' gRPC probes have no host field.
    pub probes: SocketAddr,
}

/// What the probes answer from.
#[derive(Clone)]
pub struct Probes {
    pub phase: watch::Receiver<Phase>,
    /// Its state is told and does not decide: a sidecar whose store is away still serves, and restarting it helps nobody.
    pub store: Arc<dyn Store>,
}

/// The port as it runs. Dropping it stops it.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// Binds and starts. `health` is grpc.health.v1 as the grpc module makes it.
pub fn start(config: Config, probes: Probes, page: Page, health: axum::Router) -> io::Result<Admin> {
    let listener = TcpListener::bind(config.probes)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let router = probes::router(probes, page).merge(health);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    // A thread and not a task: whatever keeps the main runtime's threads busy must not keep this one.
    let thread = std::thread::Builder::new().name("probes".to_owned()).spawn(move || {
        runtime.block_on(server::serve(listener, router, stopping));
    })?;
    Ok(Admin { address, stop, thread: Some(thread) })
}

impl Admin {
    /// The address, with the port that was found free where the configuration says 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops and waits for the thread. Last of all: probes are answered while the rest drains.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let Some(thread) = self.thread.take() else { return };
        // Ends within the server's own limit.
        if !matches!(tokio::task::spawn_blocking(move || thread.join()).await, Ok(Ok(()))) {
            tracing::error!("the probe port's thread panicked");
        }
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
