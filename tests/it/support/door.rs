//! A door on a free port, over the memory store and a stubbed source, built from the same parts as the process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hydrant::domain::clock::Clock;
use hydrant::domain::declared_version::DeclaredVersion;
use hydrant::domain::entity::{Alias, AliasValue, Draft};
use hydrant::domain::phase::{self, Phase};
use hydrant::domain::projection::paths::Place;
use hydrant::domain::random::Random;
use hydrant::domain::switch::Switch;
use hydrant::domain::template::Template;
use hydrant::fill::settings::{Live, Settings};
use hydrant::fill::{self, Filler};
use hydrant::grpc::caller::{self, Callers, Grant};
use hydrant::grpc::listen::Listeners;
use hydrant::grpc::metrics::Metrics;
use hydrant::grpc::pb;
use hydrant::grpc::pb::cache_control_service_client::CacheControlServiceClient;
use hydrant::grpc::server::{Door, Drained, serve};
use hydrant::grpc::service::Services;
use hydrant::grpc::{Config, Limits};
use hydrant::invalidate::sweep::pace::Rates;
use hydrant::invalidate::{self, Hands, Invalidate, Means};
use hydrant::local;
use hydrant::local::habits::MemoryHabits;
use hydrant::local::journal::MemoryJournal;
use hydrant::local::lease::MemoryLeases;
use hydrant::local::memory::MemoryStore;
use hydrant::prehydrate::Prehydrate;
use hydrant::prehydrate::cookies::Cookies;
use hydrant::tasks::{Deaths, Tasks};
use hydrant::telemetry;
use hydrant::warm::plan::Plans;
use hydrant::warm::{self, Warm};
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

use crate::support::catalog::{catalog, draft, name, subject_draft};
use crate::support::prehydration::{self, Parts};
use crate::support::stub::StubSource;

pub struct Running {
    pub address: SocketAddr,
    pub source: Arc<StubSource>,
    pub store: MemoryStore,
    pub metrics: Metrics,
    pub registry: Option<Registry>,
    pub phase: watch::Sender<Phase>,
    pub tasks: Tasks,
    served: JoinHandle<Drained>,
    _deaths: Deaths,
}

/// What a test is about; the rest is as in a sidecar.
pub struct Setup {
    pub limits: Limits,
    pub drain: Duration,
    pub socket: Option<PathBuf>,
    pub source: StubSource,
}

impl Default for Setup {
    fn default() -> Self {
        Self { limits: Limits::default(), drain: Duration::from_secs(20), socket: None, source: StubSource::open() }
    }
}

impl Setup {
    /// Serves the entities `user`, the subject's own, `role`, everybody's, and `account`, which has an alias and a version.
    pub async fn start(self) -> Running {
        let Self { limits, drain, socket, source } = self;
        let (random, source, mut registry) = (Random::from_seed(7), Arc::new(source), Registry::default());
        let (tasks, deaths) = Tasks::new();
        let store = MemoryStore::new(local::Config { bytes: 1 << 20, items: 1_000 }, random.clone());
        let (prehydrate, invalidate, warm, live) = flows(&store, source.clone(), &tasks, &random, &mut registry).await;
        let api = SocketAddr::from(([127, 0, 0, 1], 0));
        let listeners =
            Listeners::bind(&Config { api, socket, remote: None, limits, drain }).await.expect("a free port");
        let address = listeners.api().expect("bound");
        let (phase, _) = phase::channel();
        let metrics = Metrics::register(&mut registry);
        let callers = caller::Config { pod: Grant::default(), jwt: None, remote: BTreeMap::new() };
        let door = Door {
            services: Services { prehydrate, invalidate, warm, live, stopping: tasks.stopping() },
            callers: Callers::new(callers, Clock::System, metrics.clone()).expect("nobody but the pod"),
            outside: None,
            limits,
            drain,
            metrics: metrics.clone(),
            adopt: telemetry::traces::plain(random),
            phase: phase.clone(),
            tasks: tasks.clone(),
        };
        let served = tasks.finish(serve(listeners, door));
        phase.send_replace(Phase::Serving);
        let registry = Some(registry);
        Running { address, source, store, metrics, registry, phase, tasks, served, _deaths: deaths }
    }
}

async fn flows(
    store: &MemoryStore,
    source: Arc<StubSource>,
    tasks: &Tasks,
    random: &Random,
    registry: &mut Registry,
) -> (Prehydrate, Invalidate, Warm, Live) {
    let live = Live::new(Settings {
        catalog: Arc::new(catalog(vec![subject_draft("user"), draft("role"), account()])),
        switch: Switch::default(),
        sources: BTreeMap::from([(name("backend"), source as _)]),
    });
    let config =
        fill::Config { group: "test".to_owned(), claim_life: Duration::from_secs(10), in_flight_bytes: 1 << 20 };
    let metrics = fill::metrics::Metrics::register(registry);
    let filler = Filler::new(Arc::new(store.clone()), config, random.clone(), metrics);
    let invalidate = {
        let journal = Arc::new(MemoryJournal::default());
        let store = Arc::new(store.clone());
        let hands = Hands { removal: store.clone(), store, journal, filler: filler.clone() };
        let metrics = invalidate::metrics::Metrics::register(registry);
        let (live, tasks, random) = (live.clone(), tasks.clone(), random.clone());
        let means = Means { live, tasks, clock: Clock::System, random, metrics };
        let claim_life = Duration::from_secs(10);
        let config = invalidate::Config {
            group: "test".into(),
            pod: "pod-1".into(),
            claim_life,
            rates: Rates::default(),
            refreshes: 16,
            spool: None,
        };
        Invalidate::new(config, hands, means, Arc::new(|_| {}))
    };
    invalidate.start().await.expect("there is no spool");
    let warm = {
        let tools = warm::Tools {
            leases: Arc::new(MemoryLeases::default()),
            shards: None,
            filler: filler.clone(),
            live: live.clone(),
            tasks: tasks.clone(),
            clock: Clock::System,
            random: random.clone(),
            adopt: telemetry::traces::plain(random.clone()),
            metrics: warm::metrics::Metrics::register(registry),
        };
        Warm::start(warm::Config { group: "test".into(), pod: "pod-1".into() }, Plans::default(), tools)
    };
    let config = prehydration::config(vec![name("user")], 512);
    let habits = Arc::new(MemoryHabits::default());
    let parts = Parts { cookies: Cookies::new(None, Clock::System), live: live.clone(), filler, habits };
    (prehydration::start(config, parts, tasks, random, registry), invalidate, warm, live)
}

fn account() -> Draft {
    let alias = Alias {
        name: name("email"),
        key: Template::for_key("account:email:{email}").expect("a good template"),
        value: AliasValue::Id,
        from: None,
    };
    let version = DeclaredVersion::Number(Place::parse("$.rev").expect("a good place"));
    Draft { aliases: vec![alias], version: Some(version), ..draft("account") }
}

impl Running {
    pub async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.address)).expect("an address");
        endpoint.connect().await.expect("the door is open")
    }

    pub async fn client(&self) -> CacheControlServiceClient<Channel> {
        CacheControlServiceClient::new(self.channel().await)
    }

    /// Tells the process to stop; the door then drains by itself.
    pub fn stop(&self) {
        self.tasks.stopping().cancel();
    }

    pub async fn drained(self) -> Drained {
        self.served.await.expect("the door does not panic")
    }
}

/// A login of the user 7 that waits for its outcomes.
pub fn login() -> pb::PrehydrateRequest {
    let subject = pb::Subject { user_id: "7".into(), session_token: "s-7".into(), ..Default::default() };
    pb::PrehydrateRequest {
        who: Some(pb::prehydrate_request::Who::Subject(subject)),
        mode: pb::PrehydrateMode::Completed.into(),
        ..Default::default()
    }
}
