//! How reloads went.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug)]
pub struct Metrics {
    reloads: Family<ReloadLabels, Counter>,
    last_success: Gauge,
    stale: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    result: &'static str,
}

impl Metrics {
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self { reloads: Family::default(), last_success: Gauge::default(), stale: Gauge::default() };
        let registry = registry.sub_registry_with_prefix("hydrant_config");
        registry.register("reloads", "Times the configuration changed on disk, by result", metrics.reloads.clone());
        registry.register_with_unit(
            "last_reload_success_timestamp",
            "When the configuration in force was read",
            Unit::Seconds,
            metrics.last_success.clone(),
        );
        registry.register(
            "stale",
            "1 while the file on disk is refused and an older one is in force",
            metrics.stale.clone(),
        );
        // Both stand at zero from the start, so that a rate over them is never without data.
        for result in ["success", "failure"] {
            let _ = metrics.reloads.get_or_create(&ReloadLabels { result });
        }
        metrics
    }

    pub fn started(&self, unix: Duration) {
        self.last_success.set(unix.as_secs().cast_signed());
    }

    pub fn accepted(&self, unix: Duration) {
        self.reloads.get_or_create(&ReloadLabels { result: "success" }).inc();
        self.last_success.set(unix.as_secs().cast_signed());
        self.stale.set(0);
    }

    pub fn refused(&self) {
        self.reloads.get_or_create(&ReloadLabels { result: "failure" }).inc();
        self.stale.set(1);
    }
}

#[cfg(test)]
impl Metrics {
    /// Reloads that succeeded and failed, and whether an older file is in force.
    pub fn told(&self) -> (u64, u64, bool) {
        let count = |result| self.reloads.get_or_create(&ReloadLabels { result }).get();
        (count("success"), count("failure"), self.stale.get() == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metrics_have_their_names_from_the_start() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.started(Duration::from_secs(1_700_000_000));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
        for line in [
            "hydrant_config_reloads_total{result=\"success\"} 0",
            "hydrant_config_reloads_total{result=\"failure\"} 0",
            "hydrant_config_last_reload_success_timestamp_seconds 1700000000",
            "hydrant_config_stale 0",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
