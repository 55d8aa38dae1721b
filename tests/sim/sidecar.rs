//! One sidecar as far as the store is concerned: the real `remote`, the real fills, over the simulated network.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hydrant::domain::backoff::Backoff;
use hydrant::domain::breaker;
use hydrant::domain::catalog::Catalog;
use hydrant::domain::entity::{Class, Credential, Draft, Entity, Load, Name, Scope, Writers};
use hydrant::domain::key::Key;
use hydrant::domain::outcome::Outcome;
use hydrant::domain::projection::{Projection, Spec};
use hydrant::domain::random::Random;
use hydrant::domain::removal::{Erasure, Removal};
use hydrant::domain::source::Source;
use hydrant::domain::store::{ClaimMode, Confirmed, Store};
use hydrant::domain::switch::Switch;
use hydrant::domain::template::{Ids, Params, Template};
use hydrant::domain::trace::TraceContext;
use hydrant::domain::ttl::Ttl;
use hydrant::fill::settings::Settings;
use hydrant::fill::{Filler, Job};
use hydrant::remote::store::Remote;
use hydrant::remote::{Config, Mode, build_over};
use hydrant::tasks::{Deaths, Tasks};
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use crate::net::{Net, WayOut};
use crate::source::Origin;
use crate::world::Removes;

/// The longest life of one fill's attempt.
pub const CLAIM_LIFE: Duration = Duration::from_secs(1);

pub struct Sidecar {
    pub index: usize,
    pub store: Arc<Remote>,
    filler: Filler,
    settings: Arc<Settings>,
    random: Random,
    _tasks: Tasks,
    _deaths: Deaths,
}

impl Sidecar {
    /// `dress` may put something around the store that fills use: a defect, to see that it is found.
    pub fn start(
        index: usize,
        seed: u64,
        net: &Arc<Net>,
        origin: &Arc<Origin>,
        replicas: u8,
        dress: fn(Arc<Remote>) -> Arc<dyn Store>,
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
            hydrant::fill::Config { group: "sim".to_owned(), claim_life: CLAIM_LIFE, in_flight_bytes: 1024 * 1024 };
        let filler = Filler::new(dress(store.clone()), limits, random.clone(), fills);
        Self {
            index,
            store,
            filler,
            settings: Arc::new(settings(origin.clone())),
            random,
            _tasks: tasks,
            _deaths: deaths,
        }
    }

    pub async fn fill(&self, id: &str, mode: ClaimMode) -> Outcome {
        let job = Job {
            settings: self.settings.clone(),
            member: self.settings.catalog.member("user", params(id)).expect("a good member"),
            owner: None,
            session: None,
            mode,
            trace: TraceContext::start(&self.random),
            accepted: Instant::now(),
            deadline: Instant::now() + Duration::from_millis(1_500),
        };
        self.filler.fill(job).await.outcome
    }
}

impl Sidecar {
    /// Answers whether it may be acknowledged.
    pub async fn remove(&self, key: &Key, removes: Removes) -> bool {
        match removes {
            Removes::Plainly => self.store.remove(std::slice::from_ref(key)).await.is_ok(),
            Removes::Confirmed => {
                let erasure = Erasure { key: key.clone(), has_index: false, mark: None };
                let erased = self.store.erase(&[erasure]).await;
                erased.keys.iter().all(Result::is_ok) && erased.confirmation.await == Confirmed::Yes
            }
        }
    }
}

pub fn params(id: &str) -> Params {
    [("id".to_owned(), id.to_owned())].into_iter().collect()
}

fn config(seeds: Vec<hydrant::remote::Address>, replicas: u8) -> Config {
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
        group: "sim".to_owned(),
    }
}

fn settings(origin: Arc<Origin>) -> Settings {
    let entity = Entity::new(user()).expect("a good entity");
    Settings {
        catalog: Arc::new(Catalog::new(vec![entity]).expect("templates that do not clash")),
        switch: Switch::default(),
        sources: BTreeMap::from([(name("origin"), origin as Arc<dyn Source>)]),
    }
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a good name")
}

fn user() -> Draft {
    let spec = Spec { allow: vec!["*".to_owned()], max_bytes: 4 * 1024, ..Spec::default() };
    Draft {
        name: name("user"),
        key: Template::for_key("user:{id}").expect("a good template"),
        ids: Ids::Plain,
        aliases: Vec::new(),
        scope: Scope::Shared,
        class: Class::Reference,
        bind: BTreeMap::new(),
        load: Some(Load {
            source: name("origin"),
            path: Template::parse("/users/{id}").expect("a good template"),
            credential: Credential::Service,
            lag: None,
        }),
        ttl: Ttl::new(Duration::from_secs(3), 10, 20, Some(Duration::from_secs(1))).expect("a good ttl"),
        projection: Projection::new(spec).expect("a good projection"),
        version: None,
        soft: None,
        writers: Writers::Hydrant,
        tags: Vec::new(),
        secret: false,
    }
}
