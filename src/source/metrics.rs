//! What calls of sources are counted by. Labels come from the configuration (sources) and from closed sets (results).

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

use crate::domain::entity::Name;
use crate::domain::source::{FetchError, Fetched};

/// Cloning shares the counters.
#[derive(Clone, Debug)]
pub struct Metrics {
    calls: Family<CallLabels, Counter>,
    seconds: Family<SourceLabels, Histogram>,
    retries: Family<SourceLabels, Counter>,
    in_flight: Family<SourceLabels, Gauge>,
    open: Family<SourceLabels, Gauge>,
    strays: Family<SourceLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    source: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabels {
    source: String,
}

/// One source's instruments, found once.
#[derive(Clone, Debug)]
pub struct SourceMetrics {
    source: String,
    calls: Family<CallLabels, Counter>,
    seconds: Histogram,
    retries: Counter,
    in_flight: Gauge,
    open: Gauge,
    strays: Counter,
}

/// A call under way; it counts as such until it is dropped, however it ends.
pub struct Call<'a> {
    metrics: &'a SourceMetrics,
    started: Instant,
}

impl Metrics {
    pub fn register(registry: &mut Registry) -> Self {
        // From 1 ms, an answer from next door, to 8 s, twice the longest plan.
        let seconds = Family::<SourceLabels, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.001, 2.0, 14))
        });
        let metrics = Self {
            calls: Family::default(),
            seconds,
            retries: Family::default(),
            in_flight: Family::default(),
            open: Family::default(),
            strays: Family::default(),
        };
        let registry = registry.sub_registry_with_prefix("hydrant_source");
        registry.register("calls", "Calls of a source that ended, by result", metrics.calls.clone());
        registry.register_with_unit(
            "duration",
            "Time of a call, its wait for a turn and its retries included",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register("retries", "Further tries of calls", metrics.retries.clone());
        registry.register("in_flight", "Calls under way or waiting for their turn", metrics.in_flight.clone());
        registry.register(
            "strays",
            "Parts of answers in bulk that nobody had asked for, and that were dropped",
            metrics.strays.clone(),
        );
        registry.register("breaker_open", "1 while a source is not called because it failed", metrics.open.clone());
        metrics
    }

    pub fn of(&self, source: &Name) -> SourceMetrics {
        let labels = SourceLabels { source: source.as_str().to_owned() };
        // A source that is made anew, at a reload, begins with a closed breaker, whatever its predecessor's was.
        self.open.get_or_create(&labels).set(0);
        SourceMetrics {
            source: source.as_str().to_owned(),
            calls: self.calls.clone(),
            seconds: self.seconds.get_or_create(&labels).clone(),
            retries: self.retries.get_or_create(&labels).clone(),
            in_flight: self.in_flight.get_or_create(&labels).clone(),
            open: self.open.get_or_create(&labels).clone(),
            strays: self.strays.get_or_create(&labels).clone(),
        }
    }
}

impl SourceMetrics {
    pub fn call_started(&self) -> Call<'_> {
        self.in_flight.inc();
        Call { metrics: self, started: Instant::now() }
    }

    pub fn call_retried(&self) {
        self.retries.inc();
    }

    pub fn strays(&self, count: u64) {
        if count > 0 {
            self.strays.inc_by(count);
        }
    }

    pub fn breaker_opened(&self) {
        self.open.set(1);
    }

    pub fn breaker_closed(&self) {
        self.open.set(0);
    }
}

impl Call<'_> {
    pub fn finished(self, result: &Result<Fetched, FetchError>) {
        self.ended(match result {
            Ok(Fetched::Found(_)) => "found",
            Ok(Fetched::Absent) => "absent",
            Err(error) => error.as_str(),
        });
    }

    /// One call, however many members it was about.
    pub fn finished_many(self, result: &Result<Vec<Result<Fetched, FetchError>>, FetchError>) {
        self.ended(match result {
            Ok(_) => "bulk",
            Err(error) => error.as_str(),
        });
    }

    /// Of a page of a listing.
    pub fn finished_page(self, result: &Result<(), FetchError>) {
        self.ended(match result {
            Ok(()) => "page",
            Err(error) => error.as_str(),
        });
    }

    fn ended(self, result: &'static str) {
        let metrics = self.metrics;
        metrics.calls.get_or_create(&CallLabels { source: metrics.source.clone(), result }).inc();
        metrics.seconds.observe(self.started.elapsed().as_secs_f64());
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn a_source_that_is_made_anew_is_not_left_alone() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let name = Name::new("accounts").expect("a good name");
        metrics.of(&name).breaker_opened();
        metrics.of(&name);
        let mut text = String::new();
        encode(&mut text, &registry).expect("encodes");
        assert!(text.contains("hydrant_source_breaker_open{source=\"accounts\"} 0"), "{text}");
    }

    #[test]
    fn a_call_is_counted_by_its_result_and_no_longer_in_flight() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry).of(&Name::new("accounts").expect("a good name"));
        metrics.call_started().finished(&Err(FetchError::Status(503)));
        drop(metrics.call_started());
        let mut text = String::new();
        encode(&mut text, &registry).expect("encodes");
        assert!(text.contains("hydrant_source_calls_total{source=\"accounts\",result=\"status_5xx\"} 1"), "{text}");
        assert!(text.contains("hydrant_source_in_flight{source=\"accounts\"} 0"), "{text}");
        assert!(text.contains("hydrant_source_duration_seconds_count{source=\"accounts\"} 1"), "{text}");
    }
}
