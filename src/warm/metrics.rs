//! What warm-ups are counted by. Three names are those that dashboards of cache warmers have always had; the rest is under
//! `hydrant_warm`. Labels come from the configuration (plans) and from closed sets.

use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::domain::entity::Name;
use crate::warm::request::{Counts, Ended, PlanEnd, Skipped, Trigger};

type Number = Gauge<f64, AtomicU64>;

#[derive(Clone, Debug)]
pub struct Metrics {
    seconds: Family<PlanLabels, Histogram>,
    status: Family<PlanLabels, Number>,
    keys_warmed: Family<PlanLabels, Gauge>,
    runs: Family<RunLabels, Counter>,
    skipped: Family<SkipLabels, Counter>,
    keys: Family<KeyLabels, Counter>,
    leases_lost: Counter,
    running: Gauge,
    last_success: Family<PlanLabels, Number>,
    next: Family<PlanLabels, Number>,
    parallel: Family<PlanLabels, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PlanLabels {
    plan: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunLabels {
    plan: String,
    trigger: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SkipLabels {
    plan: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KeyLabels {
    plan: String,
    result: &'static str,
}

impl Metrics {
    pub fn register(registry: &mut Registry) -> Self {
        // From 10 ms, a plan whose keys are fresh, to 2 h 54 min.
        let seconds = Family::<PlanLabels, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.01, 4.0, 11))
        });
        let metrics = Self {
            seconds,
            status: Family::default(),
            keys_warmed: Family::default(),
            runs: Family::default(),
            skipped: Family::default(),
            keys: Family::default(),
            leases_lost: Counter::default(),
            running: Gauge::default(),
            last_success: Family::default(),
            next: Family::default(),
            parallel: Family::default(),
        };
        metrics.name(registry);
        metrics
    }

    fn name(&self, registry: &mut Registry) {
        let seed = registry.sub_registry_with_prefix("cache");
        seed.register_with_unit(
            "warmup_duration",
            "Time that runs of a plan took",
            Unit::Seconds,
            self.seconds.clone(),
        );
        let help = "How the last run of a plan on this sidecar ended: 1 well, 0.5 in part, 0 not at all";
        seed.register("warmup_status", help, self.status.clone());
        let help = "Keys that the last run of a plan on this sidecar wrote";
        seed.register("keys_warmed", help, self.keys_warmed.clone());
        let registry = registry.sub_registry_with_prefix("hydrant_warm");
        registry.register("runs", "Runs of a plan that ended, by cause and by how", self.runs.clone());
        registry.register("skipped", "Runs of a plan that were not begun, and why", self.skipped.clone());
        registry.register("keys", "Keys that runs have looked at, by what became of them", self.keys.clone());
        let help = "Runs that were cut off because their lease was lost, or could have been";
        registry.register("leases_lost", help, self.leases_lost.clone());
        registry.register("running", "Runs under way", self.running.clone());
        let help = "When a run of the plan on this sidecar last ended well, since 1970";
        registry.register_with_unit("last_success_timestamp", help, Unit::Seconds, self.last_success.clone());
        let help = "When the plan is due next by its schedule, since 1970";
        registry.register_with_unit("next_timestamp", help, Unit::Seconds, self.next.clone());
        let help = "Fills of the plan's present step that may be under way at once";
        registry.register("parallel", help, self.parallel.clone());
    }

    pub fn run_started(&self) -> Running {
        self.running.inc();
        Running(self.running.clone())
    }

    pub fn run_ended(&self, plan: &Name, trigger: Trigger, end: &PlanEnd, now: SystemTime) {
        let labels = of(plan);
        self.seconds.get_or_create(&labels).observe(end.elapsed.as_secs_f64());
        let status = match end.ended {
            Ended::Success => 1.0,
            Ended::Partial => 0.5,
            Ended::Failed => 0.0,
        };
        self.status.get_or_create(&labels).set(status);
        self.keys_warmed.get_or_create(&labels).set(i64::try_from(end.counts.warmed).unwrap_or(i64::MAX));
        let result = end.ended.as_str();
        let run = RunLabels { plan: plan.as_str().to_owned(), trigger: trigger.as_str(), result };
        self.runs.get_or_create(&run).inc();
        self.leases_lost.inc_by(u64::from(end.lease_lost));
        if end.ended == Ended::Success {
            self.last_success.get_or_create(&labels).set(unix(now).as_secs_f64());
        }
    }

    pub fn run_skipped(&self, plan: &Name, why: &Skipped) {
        let labels = SkipLabels { plan: plan.as_str().to_owned(), reason: why.as_str() };
        self.skipped.get_or_create(&labels).inc();
    }

    /// Of a step that has ended.
    pub fn keys_done(&self, plan: &Name, counts: &Counts) {
        let Counts { done, total: _, warmed, fresh, failed } = *counts;
        let other = done.saturating_sub(warmed + fresh + failed);
        for (result, keys) in [("warmed", warmed), ("fresh", fresh), ("failed", failed), ("other", other)] {
            self.keys.get_or_create(&KeyLabels { plan: plan.as_str().to_owned(), result }).inc_by(keys);
        }
    }

    pub fn plan_due(&self, plan: &Name, next: SystemTime) {
        self.next.get_or_create(&of(plan)).set(unix(next).as_secs_f64());
    }

    pub fn pace_is(&self, plan: &Name, limit: usize) {
        self.parallel.get_or_create(&of(plan)).set(i64::try_from(limit).unwrap_or(i64::MAX));
    }
}

/// A run that counts as under way until it is dropped, however it ends.
pub struct Running(Gauge);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn of(plan: &Name) -> PlanLabels {
    PlanLabels { plan: plan.as_str().to_owned() }
}

fn unix(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}
