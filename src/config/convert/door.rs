//! `listen` and `log`: where callers and probes reach the sidecar, and what it tells.

use std::net::SocketAddr;

use super::Context;
use crate::config::file::{Limits, Listen, Log};
use crate::config::form::{Formed, Level, SocketPath};
use crate::{admin, grpc, telemetry};

impl Context<'_> {
    pub fn listen(&mut self) -> Option<(grpc::Config, admin::Config, grpc::caller::Config)> {
        let Listen { api, socket, probes, pod, remote, drain, limits } = self.take(&["listen"])?;
        let (Formed(api), Formed(probes)) = (api, probes);
        let socket = socket.map(|Formed(SocketPath(path))| path);
        if !api.ip().is_loopback() {
            let problem = format!("the API listens on {api}: whoever reaches the pod may call it");
            self.warning("listen.api", problem, "use a loopback address: 127.0.0.1:4770");
        }
        if meet(api, probes) {
            let problem = format!("{probes} is the address of `listen.api` as well");
            self.problem("listen.probes", problem, "give probes a port of their own");
        }
        let limits = self.limits(limits);
        let (callers, remote) = self.callers(pod, remote)?;
        if let Some(remote) = remote.as_ref().filter(|remote| meet(remote.address, api) || meet(remote.address, probes))
        {
            let problem = format!("{} is the address of `listen.api` or `listen.probes` as well", remote.address);
            self.problem("listen.remote.address", problem, "give callers from outside a port of their own");
        }
        Some((grpc::Config { api, socket, remote, limits, drain: drain.0 }, admin::Config { probes }, callers))
    }

    fn limits(&mut self, limits: Limits) -> grpc::Limits {
        let Limits {
            message,
            value_message,
            in_flight_bytes,
            connections,
            streams_per_connection,
            in_flight,
            queue,
            header_bytes,
            handshake,
            body,
            pending_resets,
            deadline,
        } = limits;
        for (key, one) in [("message", message), ("value_message", value_message)] {
            if one > in_flight_bytes {
                let problem = format!("one request may have {one}, all together only {in_flight_bytes}");
                self.problem(&format!("listen.limits.{key}"), problem, "raise `listen.limits.in_flight_bytes`");
            }
        }
        if message > value_message {
            let problem = format!("larger than `value_message` ({value_message})");
            self.problem("listen.limits.message", problem, "a request with a value is the larger one");
        }
        grpc::Limits {
            message: message.usize(),
            value_message: value_message.usize(),
            in_flight_bytes: in_flight_bytes.usize(),
            connections,
            streams_per_connection,
            in_flight,
            queue: queue.0,
            header_bytes: u32::try_from(header_bytes.0).unwrap_or(u32::MAX),
            handshake: handshake.0,
            body: body.0,
            pending_resets,
            deadline: deadline.0,
        }
    }

    pub fn telemetry(&mut self) -> Option<telemetry::Config> {
        let Log { format, level: Formed(Level(level)) } = self.take(&["log"])?;
        Some(telemetry::Config { format, level })
    }
}

/// Whether two listeners would fight for a port. Port 0 is any free one.
fn meet(one: SocketAddr, other: SocketAddr) -> bool {
    let same_ip = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && same_ip
}
