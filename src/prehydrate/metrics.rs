//! What prehydrations are counted by.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::prehydrate::identity::refusal::Why;
use crate::prehydrate::request::Status;

#[derive(Clone, Debug)]
pub struct Metrics {
    calls: Family<CallLabels, Counter>,
    cookies: Family<CookieLabels, Counter>,
    plan_seconds: Histogram,
    in_flight: Gauge,
    waiting: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CookieLabels {
    result: &'static str,
}

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
        };
        // A status that never came is a zero, not a hole.
        for status in Status::ALL {
            let _ = metrics.calls.get_or_create(&CallLabels { status: status.as_str() });
        }
        for result in Why::ALL.map(Why::as_str).into_iter().chain([ACCEPTED]) {
            let _ = metrics.cookies.get_or_create(&CookieLabels { result });
        }
        let registry = registry.sub_registry_with_prefix("hydrant_prehydrate");
        registry.register("calls", "Prehydrate calls that were served, by status", metrics.calls.clone());
        let help = "Cookies that were shown: accepted, or the cause for which they were not";
        registry.register("cookies", help, metrics.cookies.clone());
        let help = "Time from the start of a plan until its last resource is settled";
        registry.register_with_unit("plan_duration", help, Unit::Seconds, metrics.plan_seconds.clone());
        registry.register("plans_in_flight", "Plans under way", metrics.in_flight.clone());
        registry.register("plans_waiting", "Plans that wait for their turn", metrics.waiting.clone());
        metrics
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
