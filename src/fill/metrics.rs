//! What fills are counted by. Labels come from the configuration (entities) and from closed sets (outcomes).

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

use crate::domain::entity::Entity;
use crate::domain::outcome::Outcome;

#[derive(Clone, Debug)]
pub struct Metrics {
    fills: Family<FillLabels, Counter>,
    seconds: Family<EntityLabels, Histogram>,
    bytes: Family<EntityLabels, Counter>,
    aliases: Family<AliasLabels, Counter>,
    in_flight: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FillLabels {
    entity: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EntityLabels {
    entity: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AliasLabels {
    entity: String,
    end: &'static str,
}

/// What became of one alias of a member that was filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AliasEnd {
    Written,
    /// What the value is named by cannot be a key of this alias.
    BadKey,
    /// Another fill has its claim, or its node did not give one.
    NotClaimed,
    /// The member itself was not written.
    NotTried,
    /// The member's index is full.
    NoRoom,
    /// The replicas did not learn in time that it is the member's.
    Unconfirmed,
    /// Its claim was gone, or an app had written it meanwhile.
    Refused,
}

impl Metrics {
    pub fn register(registry: &mut Registry) -> Self {
        // From 1 ms, an answer from next door, to 8 s, twice the longest plan.
        let seconds = Family::<EntityLabels, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.001, 2.0, 14))
        });
        let metrics = Self {
            fills: Family::default(),
            seconds,
            bytes: Family::default(),
            aliases: Family::default(),
            in_flight: Gauge::default(),
        };
        let registry = registry.sub_registry_with_prefix("hydrant_fill");
        registry.register("outcomes", "Fills that ended, by outcome", metrics.fills.clone());
        registry.register_with_unit("duration", "Time from claim to outcome", Unit::Seconds, metrics.seconds.clone());
        registry.register_with_unit("written", "Bytes of values written", Unit::Bytes, metrics.bytes.clone());
        registry.register(
            "aliases",
            "Aliases of members that were filled, by what became of them",
            metrics.aliases.clone(),
        );
        registry.register("in_flight", "Fills under way", metrics.in_flight.clone());
        metrics
    }

    pub fn fill_started(&self) -> Timer<'_> {
        self.in_flight.inc();
        Timer { metrics: self, started: Instant::now() }
    }

    pub fn aliases_ended(&self, entity: &Entity, end: AliasEnd, count: usize) {
        if count > 0 {
            let labels = AliasLabels { entity: entity.name().as_str().to_owned(), end: end.as_str() };
            self.aliases.get_or_create(&labels).inc_by(count as u64);
        }
    }

    /// Once for each write, however many fills waited for it.
    pub fn value_written(&self, entity: &Entity, bytes: usize) {
        let labels = EntityLabels { entity: entity.name().as_str().to_owned() };
        self.bytes.get_or_create(&labels).inc_by(bytes as u64);
    }
}

/// A fill under way; it counts as such until it is dropped, however it ends.
pub struct Timer<'a> {
    metrics: &'a Metrics,
    started: Instant,
}

impl Timer<'_> {
    pub fn finish(self, entity: &Entity, outcome: Outcome) -> Duration {
        let (metrics, elapsed) = (self.metrics, self.started.elapsed());
        let entity = entity.name().as_str();
        metrics.fills.get_or_create(&FillLabels { entity: entity.to_owned(), outcome: outcome.as_str() }).inc();
        let labels = EntityLabels { entity: entity.to_owned() };
        metrics.seconds.get_or_create(&labels).observe(elapsed.as_secs_f64());
        elapsed
    }
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
    }
}

impl AliasEnd {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::BadKey => "bad_key",
            Self::NotClaimed => "not_claimed",
            Self::NotTried => "not_tried",
            Self::NoRoom => "no_room",
            Self::Unconfirmed => "unconfirmed",
            Self::Refused => "refused",
        }
    }
}
