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
