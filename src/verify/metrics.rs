//! What the checks of the running system are counted by.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::domain::entity::Name;
use crate::verify::case::{Finding, Wrong};
use crate::verify::look::Skip;

#[derive(Clone, Debug)]
pub struct Metrics {
    checks: Family<CheckLabels, Counter>,
    violations: Family<ViolationLabels, Counter>,
    age: Histogram,
    skipped: Family<SkipLabels, Counter>,
    voided: Counter,
    followed: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabels {
    entity: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ViolationLabels {
    entity: String,
    /// In seconds: one of the looks.
    after: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SkipLabels {
    reason: &'static str,
}

impl Metrics {
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            checks: Family::default(),
            violations: Family::default(),
            // Around the looks and their confirmations.
            age: Histogram::new([2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 90.0, 300.0]),
            skipped: Family::default(),
            voided: Counter::default(),
            followed: Gauge::default(),
        };
        for reason in Skip::ALL.map(Skip::as_str) {
            let _ = metrics.skipped.get_or_create(&SkipLabels { reason });
        }
        let registry = registry.sub_registry_with_prefix("hydrant_verify");
        let help = "Looks at members that were invalidated, by what they came to";
        registry.register("checks", help, metrics.checks.clone());
        let help = "Values found older than what an invalidation had removed, by the seconds after it";
        registry.register("violations", help, metrics.violations.clone());
        let help = "How long after the invalidation such a value still stood";
        registry.register_with_unit("violation_age", help, Unit::Seconds, metrics.age.clone());
        let help = "Invalidated members that could not be checked, by why";
        registry.register("skipped", help, metrics.skipped.clone());
        let help = "Checks given up because the member was invalidated again";
        registry.register("voided", help, metrics.voided.clone());
        registry.register("followed", "Invalidated members that are being followed", metrics.followed.clone());
        metrics
    }

    pub fn checked(&self, entity: &Name, finding: &Finding) {
        let result = finding.as_str();
        self.checks.get_or_create(&CheckLabels { entity: entity.to_string(), result }).inc();
    }

    /// A look begins its row, so that no violation is a zero and not a hole.
    pub fn looked(&self, entity: &Name, after: Duration) {
        let _ = self.violations.get_or_create(&violation(entity, after));
    }

    pub fn violated(&self, entity: &Name, after: Duration, age: Duration) {
        self.violations.get_or_create(&violation(entity, after)).inc();
        self.age.observe(age.as_secs_f64());
    }

    pub fn skipped(&self, skip: Skip) {
        self.skipped.get_or_create(&SkipLabels { reason: skip.as_str() }).inc();
    }

    pub fn voided(&self) {
        self.voided.inc();
    }

    pub fn follows(&self, cases: usize) {
        self.followed.set(i64::try_from(cases).unwrap_or(i64::MAX));
    }
}

fn violation(entity: &Name, after: Duration) -> ViolationLabels {
    ViolationLabels { entity: entity.to_string(), after: after.as_secs() }
}

impl Finding {
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::True => "true",
            Self::Nothing => "not_cached",
            Self::Passed => "passed",
            Self::Blind(blind) => blind.as_str(),
            Self::Wrong { kind: Wrong::Stale, .. } => "stale",
            Self::Wrong { kind: Wrong::Unannounced, .. } => "unannounced",
        }
    }
}
