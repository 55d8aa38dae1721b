//! What prehydrations are counted by.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::domain::entity::Name;
use crate::prehydrate::identity::refusal::Why;
use crate::prehydrate::request::Found;
use crate::prehydrate::request::Status;

#[derive(Clone, Debug)]
pub struct Metrics {
    calls: Family<CallLabels, Counter>,
    cookies: Family<CookieLabels, Counter>,
    plan_seconds: Histogram,
    in_flight: Gauge,
    waiting: Gauge,
    histories: Family<HistoryLabels, Counter>,
    foreign_fields: Counter,
    reads: Family<ReadLabels, Counter>,
    accesses: Family<AccessLabels, Counter>,
    precision: Family<EntityLabels, Gauge<f64, AtomicU64>>,
    samples: Family<EntityLabels, Counter>,
    wasted_fills: Family<EntityLabels, Counter>,
    wasted_bytes: Family<EntityLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CookieLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HistoryLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AccessLabels {
    entity: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EntityLabels {
    entity: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReadLabels {
    fate: &'static str,
}

const HISTORY_RESULTS: [&str; 3] = ["known", "cold", "failed"];
const READ_FATES: [&str; 2] = ["taken", "dropped"];

/// Beside the causes for which a cookie is not accepted.
const ACCEPTED: &str = "accepted";

impl Metrics {
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            calls: Family::default(),
            cookies: Family::default(),
            // From 1 ms to 8 s, twice the longest plan.
            plan_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            in_flight: Gauge::default(),
            waiting: Gauge::default(),
            histories: Family::default(),
            foreign_fields: Counter::default(),
            reads: Family::default(),
            accesses: Family::default(),
            precision: Family::default(),
            samples: Family::default(),
            wasted_fills: Family::default(),
            wasted_bytes: Family::default(),
        };
        // A status that never came is a zero, not a hole.
        for status in Status::ALL {
            let _ = metrics.calls.get_or_create(&CallLabels { status: status.as_str() });
        }
        for result in Why::ALL.map(Why::as_str).into_iter().chain([ACCEPTED]) {
            let _ = metrics.cookies.get_or_create(&CookieLabels { result });
        }
        for result in HISTORY_RESULTS {
            let _ = metrics.histories.get_or_create(&HistoryLabels { result });
        }
        for fate in READ_FATES {
            let _ = metrics.reads.get_or_create(&ReadLabels { fate });
        }
        let registry = registry.sub_registry_with_prefix("hydrant_prehydrate");
        let help = "Histories asked for at a login: of a known subject, of one without a history, or not to be had";
        registry.register("histories", help, metrics.histories.clone());
        let help = "Fields of histories that could not be understood, and were taken out";
        registry.register("history_foreign_fields", help, metrics.foreign_fields.clone());
        let help = "Reads that applications told of: taken, or dropped because too many waited";
        registry.register("reads", help, metrics.reads.clone());
        let help = "Reads that applications told of, by entity and by whether the key was there";
        registry.register("accesses", help, metrics.accesses.clone());
        let help = "Share of the marked values that were read before they ended, of late, by entity";
        registry.register("precision", help, metrics.precision.clone());
        let help = "Marked values whose end was seen, by entity";
        registry.register("samples", help, metrics.samples.clone());
        let help =
            "Marked values that nobody had read, by entity: times the share that is marked, what was loaded in vain";
        registry.register("wasted_fills", help, metrics.wasted_fills.clone());
        let help = "Bytes of marked values that nobody had read, by entity";
        registry.register("wasted_bytes", help, metrics.wasted_bytes.clone());
        registry.register("calls", "Prehydrate calls that were served, by status", metrics.calls.clone());
        let help = "Cookies that were shown: accepted, or the cause for which they were not";
        registry.register("cookies", help, metrics.cookies.clone());
        let help = "Time from the start of a plan until its last resource is settled";
        registry.register_with_unit("plan_duration", help, Unit::Seconds, metrics.plan_seconds.clone());
        registry.register("plans_in_flight", "Plans under way", metrics.in_flight.clone());
        registry.register("plans_waiting", "Plans that wait for their turn", metrics.waiting.clone());
        metrics
    }

    pub fn history_read(&self, is_cold: bool, foreign: usize) {
        let result = if is_cold { HISTORY_RESULTS[1] } else { HISTORY_RESULTS[0] };
        self.histories.get_or_create(&HistoryLabels { result }).inc();
        self.foreign_fields.inc_by(foreign as u64);
    }

    pub fn history_failed(&self) {
        self.histories.get_or_create(&HistoryLabels { result: HISTORY_RESULTS[2] }).inc();
    }

    /// Told of as hit, miss or error; what was not told is no part of a hit rate.
    pub fn access(&self, entity: &Name, found: Found, count: u32) {
        if found != Found::Untold {
            let labels = AccessLabels { entity: entity.to_string(), result: found.as_str() };
            self.accesses.get_or_create(&labels).inc_by(u64::from(count));
        }
    }

    pub fn sample_ended(&self, entity: &Name, precision: f64, bytes: usize, was_read: bool) {
        let labels = EntityLabels { entity: entity.to_string() };
        self.precision.get_or_create(&labels).set(precision);
        self.samples.get_or_create(&labels).inc();
        if !was_read {
            self.wasted_fills.get_or_create(&labels).inc();
            self.wasted_bytes.get_or_create(&labels).inc_by(bytes as u64);
        }
    }

    pub fn read_told(&self, is_taken: bool) {
        let fate = if is_taken { READ_FATES[0] } else { READ_FATES[1] };
        self.reads.get_or_create(&ReadLabels { fate }).inc();
    }

    pub fn call_answered(&self, status: Status) {
        self.calls.get_or_create(&CallLabels { status: status.as_str() }).inc();
    }

    pub fn cookie_accepted(&self) {
        self.cookies.get_or_create(&CookieLabels { result: ACCEPTED }).inc();
    }

    pub fn cookie_refused(&self, why: Why) {
        self.cookies.get_or_create(&CookieLabels { result: why.as_str() }).inc();
    }

    pub fn plan_queued(&self) -> Counted {
        Counted::by(&self.waiting)
    }

    pub fn plan_started(&self) -> Counted {
        Counted::by(&self.in_flight)
    }

    pub fn plan_finished(&self, elapsed: Duration) {
        self.plan_seconds.observe(elapsed.as_secs_f64());
    }
}

/// Something that counts as under way until it is dropped, however it ends.
pub struct Counted(Gauge);

impl Counted {
    fn by(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
