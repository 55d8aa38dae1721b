//! What invalidations are counted by.

use prometheus_client::registry::Registry;

#[derive(Clone, Debug)]
pub struct Metrics {}

impl Metrics {
    pub fn register(registry: &mut Registry) -> Self {
        let _registry = registry.sub_registry_with_prefix("hydrant_invalidate");
        Self {}
    }
}
