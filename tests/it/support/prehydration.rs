//! The login flow over whatever store and source a test has.

use std::sync::Arc;
use std::time::Duration;

use hydrant::domain::clock::Clock;
use hydrant::domain::entity::Name;
use hydrant::domain::habits::Habits;
use hydrant::domain::random::Random;
use hydrant::fill::Filler;
use hydrant::fill::settings::Live;
use hydrant::prehydrate::cookies::Cookies;
use hydrant::prehydrate::metrics::Metrics;
use hydrant::prehydrate::usefulness::Sampling;
use hydrant::prehydrate::{Config, Prehydrate, Tools, history, predict};
use hydrant::tasks::Tasks;
use prometheus_client::registry::Registry;

/// The group of the sidecars under test.
pub const GROUP: &str = "shop";

/// A configuration like the default one, without samples, which depend on time.
pub fn config(always: Vec<Name>, in_flight: usize) -> Config {
    Config {
        always,
        deadline: Duration::from_secs(4),
        in_flight,
        queue: Duration::from_millis(20),
        items: 16,
        plan: predict::Config {
            items: 16,
            floor: 0.3,
            bytes: 1 << 20,
            per_source: 8,
            never: Vec::new(),
            cohort: Vec::new(),
            precision: 0.1,
            explore: 0.0,
        },
        history: Some(history::Config {
            half_life: Duration::from_secs(7 * 86_400),
            keep: 64,
            life: Duration::from_secs(86_400),
            floor: 0.3,
        }),
        sampling: Sampling { share: 0.0, marked: 0.0, per_second: 10 },
    }
}

/// What a flow is made of beside its configuration.
pub struct Parts {
    pub cookies: Cookies,
    pub live: Live,
    pub filler: Filler,
    pub habits: Arc<dyn Habits>,
}

pub fn start(config: Config, parts: Parts, tasks: &Tasks, random: &Random, registry: &mut Registry) -> Prehydrate {
    let Parts { cookies, live, filler, habits } = parts;
    let tools = Tools {
        cookies,
        live,
        filler,
        habits,
        // What is taken back is removed by the invalidation, which is not part of these tests.
        withdraw: Arc::new(|_, _| Box::pin(async {})),
        group: GROUP.to_owned(),
        clock: Clock::System,
        random: random.clone(),
        tasks: tasks.clone(),
        metrics: Metrics::register(registry),
    };
    Prehydrate::start(config, tools)
}
