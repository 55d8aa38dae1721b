//! The metrics page, and the store's state as a metric.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::domain::store::{Store, StoreState};

/// What the exposition is; a scraper that is told so also reads exemplars.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of the process, ready to be written out. Made when every module has registered its own.
#[derive(Debug)]
pub struct Page {
    registry: Registry,
}

impl Page {
    pub fn new(mut registry: Registry, store: Arc<dyn Store>) -> Self {
        registry.register_collector(Box::new(StateOf(store)));
        Self { registry }
    }

    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

pub const fn state_name(state: StoreState) -> &'static str {
    match state {
        StoreState::Up => "up",
        StoreState::Partial => "partial",
        StoreState::Down => "down",
    }
}

/// Asks the store when it is scraped: its answer is from memory.
struct StateOf(Arc<dyn Store>);

impl fmt::Debug for StateOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StateOf(store)")
    }
}

impl Collector for StateOf {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let now = self.0.state();
        let help = "1 for the state the store is in, 0 for the others";
        let mut family = encoder.encode_descriptor("hydrant_store_state", help, None, MetricType::Gauge)?;
        for state in [StoreState::Up, StoreState::Partial, StoreState::Down] {
            let labels = [("state", state_name(state))];
            ConstGauge::new(i64::from(state == now)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
