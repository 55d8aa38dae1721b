//! One sidecar without its doors: the real `remote`, fills and invalidations, over the simulated network.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hydrant::domain::backoff::Backoff;
use hydrant::domain::breaker;
use hydrant::domain::clock::Clock;
use hydrant::domain::error::Error;
use hydrant::domain::outcome::Outcome;
use hydrant::domain::random::Random;
use hydrant::domain::removal::{Erasure, Removal};
use hydrant::domain::source::Source;
use hydrant::domain::store::{ClaimMode, Confirmed, Store};
use hydrant::domain::switch::Switch;
use hydrant::domain::trace::TraceContext;
use hydrant::fill::settings::{Live, Settings};
use hydrant::fill::{Filler, Job};
use hydrant::invalidate::request::{Answer, Effect, Mode as How, Request, Target};
use hydrant::invalidate::{Hands, Invalidate, Means};
use hydrant::remote::journal::RemoteJournal;
use hydrant::remote::store::Remote;
use hydrant::remote::{Address, Config, Mode, build_over};
use hydrant::tasks::{Deaths, Tasks};
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use crate::checker::own_key;
use crate::cluster::EPOCH;
use crate::entity;
use crate::net::{Net, WayOut};
use crate::source::Origin;
use crate::world::Scenario;

/// The longest life of one fill's attempt.
pub const CLAIM_LIFE: Duration = Duration::from_secs(1);
/// How long callers of an invalidation wait.
const PATIENCE: Duration = Duration::from_millis(400);

pub struct Sidecar {
    pub index: usize,
    pub store: Arc<Remote>,
    pub invalidate: Invalidate,
    filler: Filler,
    settings: Arc<Settings>,
    random: Random,
    /// Where tasks that must live would report their death.
    pub deaths: std::sync::Mutex<Deaths>,
    _tasks: Tasks,
}

impl Sidecar {
    /// The scenario may put something around the store that fills use: a defect, to see that it is found.
    pub fn build(
        index: usize,
        seed: u64,
        net: &Arc<Net>,
        origin: &Arc<Origin>,
        replicas: u8,
        scenario: Scenario,
    ) -> Self {
        let (tasks, deaths) = Tasks::new();
        let random = Random::from_seed(seed.wrapping_mul(1_000).wrapping_add(index as u64));
        let mut registry = Registry::default();
        let metrics = hydrant::remote::metrics::Metrics::register(&mut registry);
        let way = Arc::new(WayOut { net: net.clone(), sidecar: index });
        let seeds = net.cluster().nodes.iter().map(|node| node.address.clone()).collect();
        let store = build_over(way, config(seeds, replicas), &tasks, random.clone(), metrics);
        let fills = hydrant::fill::metrics::Metrics::register(&mut registry);
        let limits =
            hydrant::fill::Config { group: GROUP.to_owned(), claim_life: CLAIM_LIFE, in_flight_bytes: 1024 * 1024 };
        let filler = Filler::new((scenario.dress)(store.clone()), limits, random.clone(), fills);
        let live = Live::new(settings(origin.clone(), scenario.life));
        let settings = live.get();
        let journal = RemoteJournal::new(store.clone(), random.clone()).expect("good keys");
        let hands =
            Hands { store: store.clone(), removal: store.clone(), journal: Arc::new(journal), filler: filler.clone() };
        let metrics = hydrant::invalidate::metrics::Metrics::register(&mut registry);
        let clock = Clock::fixed(SystemTime::UNIX_EPOCH + Duration::from_millis(EPOCH));
        let means = Means { live, tasks: tasks.clone(), clock, random: random.clone(), metrics };
        let config = hydrant::invalidate::Config {
            group: GROUP.to_owned(),
            pod: format!("pod-{index}"),
            claim_life: CLAIM_LIFE,
            spool: None,
            rates: hydrant::invalidate::sweep::pace::Rates::default(),
            refreshes: 16,
        };
        let invalidate = Invalidate::new(config, hands, means, Arc::new(|_| {}));
        Self { index, store, invalidate, filler, settings, random, deaths: deaths.into(), _tasks: tasks }
    }

    pub async fn fill(&self, id: &str, mode: ClaimMode) -> Outcome {
        let job = Job {
            settings: self.settings.clone(),
            member: self.settings.catalog.member("user", entity::params("id", id)).expect("a good member"),
            owner: None,
            session: None,
            mode,
            untouched_for: None,
            stagger_percent: 0,
            trace: TraceContext::start(&self.random),
            accepted: Instant::now(),
            deadline: Instant::now() + Duration::from_millis(1_500),
        };
        self.filler.fill(job).await.outcome
    }

    /// Removes one member's key, and answers whether that may be acknowledged: the store's own promise, without a flow.
    pub async fn remove(&self, id: &str) -> bool {
        self.store.remove(&[own_key(id)]).await.is_ok()
    }

    /// The same once the replicas have confirmed it.
    pub async fn erase(&self, id: &str) -> bool {
        let erasure = Erasure { key: own_key(id), has_index: false, mark: None };
        let erased = self.store.erase(&[erasure]).await;
        erased.keys.iter().all(Result::is_ok) && erased.confirmation.await == Confirmed::Yes
    }

    /// The whole flow.
    pub async fn invalidate(&self, target: Target, mode: How) -> Result<Answer, Error> {
        let request = Request {
            targets: vec![target],
            mode,
            effect: Effect::Real,
            reason: String::new(),
            within: Vec::new(),
            trace: TraceContext::start(&self.random),
            until: Instant::now() + PATIENCE,
        };
        self.invalidate.run(request).await
    }

    /// The names of tasks that should have lived.
    pub fn deaths(&self) -> Vec<&'static str> {
        let mut deaths = self.deaths.lock().expect("unpoisoned");
        std::iter::from_fn(|| deaths.try_recv().ok()).map(|death| death.name).collect()
    }
}

const GROUP: &str = "sim";

fn config(seeds: Vec<Address>, replicas: u8) -> Config {
    Config {
        mode: Mode::Cluster { seeds },
        auth: None,
        tls: None,
        replicas,
        deadline: Duration::from_millis(250),
        connect_timeout: Duration::from_millis(500),
        breaker: breaker::Config {
            failures: 3,
            waits: Backoff::new(Duration::from_millis(100), Duration::from_millis(500)).expect("a good backoff"),
        },
        refresh: Duration::from_secs(1),
        group: GROUP.to_owned(),
    }
}

fn settings(origin: Arc<Origin>, life: Duration) -> Settings {
    Settings {
        catalog: Arc::new(entity::catalog(life)),
        switch: Switch::default(),
        sources: BTreeMap::from([(entity::name("origin"), origin as Arc<dyn Source>)]),
    }
}
