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

impl Metrics {
    pub fn register(registry: &mut Registry) -> Self {
        // From 1 ms, an answer from next door, to 8 s, twice the longest plan.
        let seconds = Family::<EntityLabels, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.001, 2.0, 14))
        });
        let metrics = Self { fills: Family::default(), seconds, bytes: Family::default(), in_flight: Gauge::default() };
        let registry = registry.sub_registry_with_prefix("hydrant_fill");
        registry.register("outcomes", "Fills that ended, by outcome", metrics.fills.clone());
        registry.register_with_unit("duration", "Time from claim to outcome", Unit::Seconds, metrics.seconds.clone());
        registry.register_with_unit("written", "Bytes of values written", Unit::Bytes, metrics.bytes.clone());
        registry.register("in_flight", "Fills under way", metrics.in_flight.clone());
        metrics
    }

    pub fn fill_started(&self) -> Timer<'_> {
        self.in_flight.inc();
        Timer { metrics: self, started: Instant::now() }
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
