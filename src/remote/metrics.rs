//! What is counted about Redis. Names, help and labels stand here and nowhere else; labels come from closed sets.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::domain::store::{Confirmed, Refusal, StoreError};
use crate::remote::request::Op;

/// A node of our own rack answers in a fraction of a millisecond; at the other end stands the longest sensible deadline.
const BUCKETS: [f64; 11] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5];

/// Handles are made once and found by index: nothing is looked up for each command.
#[derive(Debug)]
pub struct Metrics {
    commands: Vec<[Counter; Outcome::ALL.len()]>,
    seconds: Vec<Histogram>,
    connects: [Counter; 2],
    breaks: Counter,
    breakers_opened: Counter,
    nodes: [Gauge; Standing::ALL.len()],
    redirects: [Counter; RedirectKind::ALL.len()],
    refreshes: [Counter; 2],
    confirmations: [Counter; 2],
}

/// How a request ended. One of several commands is as bad as its worst reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    Timeout,
    Unreachable,
    Overloaded,
    Refused(Refusal),
}

/// How a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Connecting,
    Live,
    /// Its breaker is open.
    Away,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectKind {
    Moved,
    Ask,
    TryAgain,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OpLabel {
    op: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CommandLabels {
    op: Label,
    outcome: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConfirmedLabel {
    confirmed: Label,
}

/// A label's value: a word from one of the closed sets above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Label(&'static str);

impl Metrics {
    pub fn register(registry: &mut Registry) -> Self {
        let commands: Family<CommandLabels, Counter> = Family::default();
        registry.register("hydrant_redis_requests", "Requests to Redis by operation and outcome", commands.clone());
        let seconds: Family<OpLabel, Histogram> = Family::new_with_constructor(|| Histogram::new(BUCKETS));
        registry.register_with_unit(
            "hydrant_redis_request_duration",
            "Time from asking to the last reply",
            Unit::Seconds,
            seconds.clone(),
        );
        let connects: Family<OutcomeLabel, Counter> = Family::default();
        registry.register("hydrant_redis_connects", "Attempts to connect to a Redis node", connects.clone());
        let breaks = Counter::default();
        registry.register("hydrant_redis_connections_lost", "Connections that broke or were given up", breaks.clone());
        let breakers_opened = Counter::default();
        registry.register("hydrant_redis_breaker_opened", "Times a node's breaker opened", breakers_opened.clone());
        let nodes: Family<StateLabel, Gauge> = Family::default();
        registry.register("hydrant_redis_nodes", "Redis nodes by state; away: the breaker is open", nodes.clone());
        let redirects: Family<KindLabel, Counter> = Family::default();
        registry.register("hydrant_redis_redirects", "Replies that name another node", redirects.clone());
        let refreshes: Family<OutcomeLabel, Counter> = Family::default();
        registry.register("hydrant_redis_topology_refreshes", "Times the topology was asked for", refreshes.clone());
        let confirmations: Family<ConfirmedLabel, Counter> = Family::default();
        registry.register(
            "hydrant_redis_confirmations",
            "Writes whose replicas were asked for, one for each node; several share one request (op=\"wait\")",
            confirmations.clone(),
        );

        let two = |family: &Family<OutcomeLabel, Counter>| {
            ["ok", "failed"].map(|word| family.get_or_create_owned(&OutcomeLabel { outcome: Label(word) }))
        };
        Self {
            commands: Op::ALL
                .iter()
                .map(|op| {
                    Outcome::ALL.map(|outcome| {
                        let labels = CommandLabels { op: Label(op.as_str()), outcome: Label(outcome.as_str()) };
                        commands.get_or_create_owned(&labels)
                    })
                })
                .collect(),
            seconds: Op::ALL
                .iter()
                .map(|op| seconds.get_or_create_owned(&OpLabel { op: Label(op.as_str()) }))
                .collect(),
            connects: two(&connects),
            breaks,
            breakers_opened,
            nodes: Standing::ALL
                .map(|standing| nodes.get_or_create_owned(&StateLabel { state: Label(standing.as_str()) })),
            redirects: RedirectKind::ALL
                .map(|kind| redirects.get_or_create_owned(&KindLabel { kind: Label(kind.as_str()) })),
            refreshes: two(&refreshes),
            confirmations: ["yes", "short"]
                .map(|word| confirmations.get_or_create_owned(&ConfirmedLabel { confirmed: Label(word) })),
        }
    }

    pub fn request_ended(&self, op: Op, outcome: Outcome, elapsed: Duration) {
        self.commands[op as usize][outcome.index()].inc();
        self.seconds[op as usize].observe(elapsed.as_secs_f64());
    }

    pub fn connected(&self) {
        self.connects[0].inc();
    }

    pub fn connect_failed(&self) {
        self.connects[1].inc();
    }

    pub fn connection_lost(&self) {
        self.breaks.inc();
    }

    pub fn breaker_opened(&self) {
        self.breakers_opened.inc();
    }

    pub fn node_came(&self, standing: Standing) {
        self.nodes[standing as usize].inc();
    }

    pub fn node_went(&self, standing: Standing) {
        self.nodes[standing as usize].dec();
    }

    pub fn redirected(&self, kind: RedirectKind) {
        self.redirects[kind as usize].inc();
    }

    pub fn confirmed(&self, confirmed: Confirmed) {
        match confirmed {
            Confirmed::Yes => self.confirmations[0].inc(),
            Confirmed::Short => self.confirmations[1].inc(),
        };
    }

    pub fn topology_refreshed(&self) {
        self.refreshes[0].inc();
    }

    pub fn topology_refresh_failed(&self) {
        self.refreshes[1].inc();
    }
}

impl Outcome {
    const ALL: [Self; 12] = [
        Self::Ok,
        Self::Timeout,
        Self::Unreachable,
        Self::Overloaded,
        Self::Refused(Refusal::Moved),
        Self::Refused(Refusal::NotServing),
        Self::Refused(Refusal::OutOfMemory),
        Self::Refused(Refusal::NotAllowed),
        Self::Refused(Refusal::BadCredentials),
        Self::Refused(Refusal::NoFunctions),
        Self::Refused(Refusal::WrongType),
        Self::Refused(Refusal::Other),
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Overloaded => "overloaded",
            Self::Refused(refusal) => refusal.as_str(),
        }
    }

    /// Its place in `ALL`.
    const fn index(self) -> usize {
        match self {
            Self::Ok => 0,
            Self::Timeout => 1,
            Self::Unreachable => 2,
            Self::Overloaded => 3,
            Self::Refused(refusal) => 4 + refusal as usize,
        }
    }
}

impl From<StoreError> for Outcome {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unreachable => Self::Unreachable,
            StoreError::Timeout => Self::Timeout,
            StoreError::Overloaded => Self::Overloaded,
            StoreError::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

impl Standing {
    pub const ALL: [Self; 3] = [Self::Connecting, Self::Live, Self::Away];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Live => "live",
            Self::Away => "away",
        }
    }
}

impl RedirectKind {
    const ALL: [Self; 3] = [Self::Moved, Self::Ask, Self::TryAgain];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Moved => "moved",
            Self::Ask => "ask",
            Self::TryAgain => "try_again",
        }
    }
}

impl EncodeLabelValue for Label {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.0.encode(encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_is_found_at_its_index() {
        for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome.index(), index, "{}", outcome.as_str());
        }
        for (index, op) in Op::ALL.into_iter().enumerate() {
            assert_eq!(op as usize, index);
        }
    }

    #[test]
    fn what_is_counted_can_be_read() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.request_ended(Op::Claim, Outcome::Refused(Refusal::Moved), Duration::from_millis(2));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
        assert!(text.contains(r#"hydrant_redis_requests_total{op="claim",outcome="moved"} 1"#), "{text}");
    }
}
