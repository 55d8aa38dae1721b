//! What calls and connections are counted by. Labels come from closed sets: the rpcs, gRPC's codes, and why
//! callers are refused.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::grpc::caller::refused::Refused;
use crate::grpc::rpc::Rpc;

#[derive(Clone, Debug)]
pub struct Metrics {
    calls: Family<CallLabels, Counter>,
    call_seconds: Family<RpcLabels, Histogram>,
    in_flight: Gauge,
    panics: Counter,
    connections: Gauge,
    connections_ended: Family<EndLabels, Counter>,
    accept_errors: Counter,
    callers_refused: Family<ReasonLabels, Counter>,
}

/// Why a connection is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionEnd {
    /// Closed in order, by either side.
    Closed,
    /// Closed at once: there were as many as allowed.
    OverLimit,
    /// No HTTP/2 preface in time, an error of protocol, too many resets, no answer to a ping.
    Broken,
    /// Still busy when the drain was over.
    Cut,
    /// No TLS, none in time, or a certificate that was not accepted.
    Handshake,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    rpc: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RpcLabels {
    rpc: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    cause: &'static str,
}

impl Metrics {
    pub fn register(registry: &mut Registry) -> Self {
        // From 0.1 ms, an answer out of memory, to 6.5 s, past every deadline of ours.
        let seconds = Family::<RpcLabels, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.0001, 2.0, 17))
        });
        let metrics = Self {
            calls: Family::default(),
            call_seconds: seconds,
            in_flight: Gauge::default(),
            panics: Counter::default(),
            connections: Gauge::default(),
            connections_ended: Family::default(),
            accept_errors: Counter::default(),
            callers_refused: Family::default(),
        };
        let registry = registry.sub_registry_with_prefix("hydrant_grpc");
        registry.register("calls", "Calls answered, by rpc and status code", metrics.calls.clone());
        let help = "Time from a request's headers to the end of its answer";
        registry.register_with_unit("call_duration", help, Unit::Seconds, metrics.call_seconds.clone());
        registry.register("calls_in_flight", "Calls under way", metrics.in_flight.clone());
        registry.register("panics", "Calls that met a defect and panicked", metrics.panics.clone());
        registry.register("connections", "Connections open", metrics.connections.clone());
        let help = "Connections that ended, by cause";
        // A cause that never was is a zero, not a hole.
        for end in ConnectionEnd::ALL {
            let _ = metrics.connections_ended.get_or_create(&EndLabels { cause: end.as_str() });
        }
        registry.register("connections_ended", help, metrics.connections_ended.clone());
        registry.register("accept_errors", "Connections that could not be accepted", metrics.accept_errors.clone());
        for refused in Refused::PLAIN {
            let _ = metrics.callers_refused.get_or_create(&ReasonLabels { reason: refused.as_str() });
        }
        let help = "Calls refused for who made them, by reason";
        registry.register("callers_refused", help, metrics.callers_refused.clone());
        metrics
    }

    pub fn call_began(&self) {
        self.in_flight.inc();
    }

    pub fn call_ended(&self, rpc: Rpc, code: &'static str, elapsed: Duration) {
        self.in_flight.dec();
        self.calls.get_or_create(&CallLabels { rpc: rpc.name(), code }).inc();
        self.call_seconds.get_or_create(&RpcLabels { rpc: rpc.name() }).observe(elapsed.as_secs_f64());
    }

    pub fn call_panicked(&self) {
        self.panics.inc();
    }

    pub fn connection_opened(&self) {
        self.connections.inc();
    }

    pub fn connection_ended(&self, end: ConnectionEnd) {
        self.connections.dec();
        self.connection_refused(end);
    }

    /// For a connection that was never counted as open.
    pub fn connection_refused(&self, end: ConnectionEnd) {
        self.connections_ended.get_or_create(&EndLabels { cause: end.as_str() }).inc();
    }

    pub fn accept_failed(&self) {
        self.accept_errors.inc();
    }

    pub fn caller_refused(&self, refused: Refused) {
        self.callers_refused.get_or_create(&ReasonLabels { reason: refused.as_str() }).inc();
    }

    pub fn callers_refused(&self, refused: Refused) -> u64 {
        self.callers_refused.get_or_create(&ReasonLabels { reason: refused.as_str() }).get()
    }

    /// How many calls of an rpc ended with a code: for tests, which should not have to read the exposition.
    pub fn calls(&self, rpc: Rpc, code: &'static str) -> u64 {
        self.calls.get_or_create(&CallLabels { rpc: rpc.name(), code }).get()
    }

    pub fn panics(&self) -> u64 {
        self.panics.get()
    }

    pub fn calls_in_flight(&self) -> i64 {
        self.in_flight.get()
    }

    pub fn open_connections(&self) -> i64 {
        self.connections.get()
    }

    pub fn connections_ended(&self, end: ConnectionEnd) -> u64 {
        self.connections_ended.get_or_create(&EndLabels { cause: end.as_str() }).get()
    }
}

impl ConnectionEnd {
    pub const ALL: [Self; 5] = [Self::Closed, Self::OverLimit, Self::Broken, Self::Cut, Self::Handshake];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::OverLimit => "over_limit",
            Self::Broken => "broken",
            Self::Cut => "cut",
            Self::Handshake => "handshake",
        }
    }
}
