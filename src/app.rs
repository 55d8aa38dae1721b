//! From a checked configuration to a running process: the only file that knows every concrete type.
//!
//! Start-up tells its story in order: telemetry, store, sources, flows, doors, reload. Shutting down goes the other way:
//! say that nothing new should come, let what is under way end, flush.

mod changes;
mod purge;
mod warm;
mod withdraw;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::field;

use crate::admin::metrics::Page;
use crate::admin::{self, Admin, Probes};
use crate::app::changes::{Flows, Sources, follow_changes, identity, told};
use crate::app::purge::Purges;
use crate::app::warm::Lists;
use crate::config::{self, Config, Loaded, reload};
use crate::domain::clock::Clock;
use crate::domain::habits::Habits;
use crate::domain::journal::Journal;
use crate::domain::lease::Leases;
use crate::domain::phase::{self, Phase};
use crate::domain::random::Random;
use crate::domain::removal::Removal;
use crate::domain::shards::Shards;
use crate::domain::store::Store;
use crate::domain::version::VERSION;
use crate::fill::settings::{Live, Settings};
use crate::fill::{self, Filler};
use crate::grpc::caller::{self, Callers};
use crate::grpc::listen::Listeners;
use crate::grpc::server::{self, Door, Drained, Outside};
use crate::grpc::service::Services;
use crate::grpc::{self, health};
use crate::invalidate::{self, Forget, Hands, Invalidate, Means, Report};
use crate::local::habits::MemoryHabits;
use crate::local::journal::MemoryJournal;
use crate::local::lease::MemoryLeases;
use crate::local::memory::MemoryStore;
use crate::prehydrate::cookies::Cookies;
use crate::prehydrate::refused::Withdraw;
use crate::prehydrate::{self, Prehydrate};
use crate::remote;
use crate::remote::journal::RemoteJournal;
use crate::source;
use crate::tasks::{Deaths, Ended, Tasks};
use crate::telemetry::metrics::Registry;
use crate::telemetry::{self, Telemetry};
use crate::verify::look::Looker;
use crate::verify::{self, Verify};
use crate::warm::{self as warm_up, Warm};

/// A process that serves.
pub struct App {
    api: SocketAddr,
    remote: Option<SocketAddr>,
    store: Arc<dyn Store>,
    live: Live,
    tasks: Tasks,
    deaths: Deaths,
    door: JoinHandle<Drained>,
    admin: Admin,
    telemetry: Option<Telemetry>,
    drain: Duration,
}

/// Where the process gets what it does not make itself.
pub struct Surroundings<'a> {
    /// The configuration's file, which is followed while the process runs; none where it came from elsewhere.
    pub file: Option<&'a Path>,
    pub env: &'a BTreeMap<String, String>,
    /// None where logging is somebody else's: a test's, the demo's.
    pub telemetry: Option<Telemetry>,
    pub clock: Clock,
    pub random: Random,
}

/// Traces that were not sent by then are given up: nobody waits longer for a process that ends.
const FLUSH: Duration = Duration::from_secs(2);

impl App {
    pub async fn start(loaded: Loaded, around: Surroundings<'_>) -> anyhow::Result<Self> {
        let Surroundings { file, env, telemetry, clock, random } = around;
        let Config { group, store, live, fill, invalidate, listen, admin, telemetry: _, workers: _ } =
            loaded.config.clone();
        let (tasks, deaths) = Tasks::new();
        let (phase, serving) = phase::channel();
        let mut registry = telemetry::metrics::registry(clock);
        tracing::info!(version = VERSION, group = %group, "starting");
        loaded.warnings.iter().for_each(|warning| tracing::warn!(path = %warning.path, "{}", warning.problem));

        let Stores { store, removal, journal, habits, leases, shards } = stores(store, &tasks, &random, &mut registry)?;
        let calls = source::metrics::Metrics::register(&mut registry);
        let mut sources = Sources::new(calls, random.clone(), tasks.clone());
        let settings = Live::new(sources.settings(&live)?);
        let filler = Filler::new(store.clone(), fill, random.clone(), fill::metrics::Metrics::register(&mut registry));
        let lists = Lists { removal: removal.clone(), live: settings.clone() };
        let hands = Hands { store: store.clone(), removal, journal, filler: filler.clone() };
        let metrics = invalidate::metrics::Metrics::register(&mut registry);
        let means = Means { live: settings.clone(), tasks: tasks.clone(), clock, random: random.clone(), metrics };
        let config = invalidate::Config { pod: pod(env), ..invalidate };
        let adopt = telemetry.as_ref().map_or_else(|| telemetry::traces::plain(random.clone()), Telemetry::adopt);
        let looker = Looker::new(store.clone(), settings.clone(), random.clone());
        let (verify, forget, report) = verifying(live.verify, looker, clock, &tasks, &mut registry);
        let invalidate = Invalidate::new(config, hands, means.clone(), forget).reporting(report);
        // Before the first fill: what was promised earlier comes first.
        invalidate.start().await.context("`invalidate.spool.directory` cannot be used")?;
        let tools = warm::tools((leases, shards), &filler, &means, &adopt, &mut registry);
        let config = warm_up::Config { group: group.clone(), pod: pod(env) };
        let warm = Warm::start(config, lists.plans(live.warmup, &sources.built())?, tools);
        let cookies = Cookies::new(identity(live.identity)?, clock);
        let withdraw = withdraw::through(invalidate.clone());
        let tools = prehydrating(cookies, (filler, habits, withdraw), group, means, &mut registry);
        let prehydrate = Prehydrate::start(live.prehydrate, tools);

        let (callers, calls) = callers(live.callers, clock, &mut registry)?;
        let metrics = config::metrics::Metrics::register(&mut registry);
        if let Some(path) = file {
            let pace = reload::Pace::default();
            let follow = reload::Settings { path: path.into(), env: env.clone(), metrics, clock, pace };
            let purges = Purges::start(&tasks, invalidate.clone());
            let (prehydrate, warm, callers) = (prehydrate.clone(), warm.clone(), callers.clone());
            let flows = Flows { prehydrate, verify, purges, callers, warm, lists };
            let changes = reload::watch(&tasks, follow, &loaded);
            tasks.live("reload", follow_changes(changes, sources, settings.clone(), flows));
        }

        let listeners = Listeners::bind(&listen).await.context("the api cannot be bound")?;
        let (api, remote) = addresses(&listeners).context("the api has no address")?;
        let live = settings.clone();
        let outside = listen.remote.map(Outside::new).transpose().context("listen.remote.tls")?;
        let door = Door {
            services: Services { prehydrate, invalidate, warm: warm.clone(), live, stopping: tasks.stopping() },
            callers,
            outside,
            limits: listen.limits,
            drain: listen.drain,
            metrics: calls,
            adopt,
            phase: phase.clone(),
            tasks: tasks.clone(),
        };
        let admin = probes(admin, serving, &store, registry)?;
        let door = tasks.finish(server::serve(listeners, door));
        tasks.until_stop(serve_when_ready(warm, phase));
        tracing::info!(%api, remote = remote.map(field::display), probes = %admin.address(), "serving");
        Ok(Self { api, remote, store, live: settings, tasks, deaths, door, admin, telemetry, drain: listen.drain })
    }

    /// Where the api answers, with the port that was found free where the configuration says 0.
    pub fn api(&self) -> SocketAddr {
        self.api
    }

    /// The same for callers from outside the pod, where they may come.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    pub fn probes(&self) -> SocketAddr {
        self.admin.address()
    }

    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    pub fn settings(&self) -> Arc<Settings> {
        self.live.get()
    }

    /// Waits for a task that should have lived to end: the process cannot go on without it.
    pub async fn died(&mut self) -> Ended {
        match self.deaths.recv().await {
            Some(ended) => ended,
            // The tasks hold the other end, and they are ours: nothing dies any more.
            None => std::future::pending().await,
        }
    }

    /// Ends what is under way, then the process's own tasks, then the probes, and flushes.
    pub async fn drain(self) -> Drained {
        let Self { api: _, remote: _, store: _, live: _, tasks, deaths: _, door, admin, telemetry, drain } = self;
        // The door hears of it by the same signal, and has the same time.
        let ended = tasks.drain(drain + Duration::from_millis(500)).await;
        let drained = if ended { door.await.unwrap_or(Drained::Cut) } else { Drained::Cut };
        admin.stop().await;
        tracing::info!(whole = drained == Drained::Whole, "stopped");
        if let Some(telemetry) = telemetry {
            telemetry.shutdown(FLUSH).await;
        }
        drained
    }
}

/// Says that the process serves, once the first warm-ups that this waits for have ended.
async fn serve_when_ready(warm: Warm, phase: watch::Sender<Phase>) {
    warm.wait_until_ready().await;
    phase.send_if_modified(|phase| {
        let is_waiting = *phase == Phase::Starting;
        if is_waiting {
            *phase = Phase::Serving;
        }
        is_waiting
    });
}

/// The one store there is, by each of the contracts that the flows know it by.
struct Stores {
    store: Arc<dyn Store>,
    removal: Arc<dyn Removal>,
    journal: Arc<dyn Journal>,
    habits: Arc<dyn Habits>,
    leases: Arc<dyn Leases>,
    shards: Option<Arc<dyn Shards>>,
}

fn stores(store: config::Store, tasks: &Tasks, random: &Random, registry: &mut Registry) -> anyhow::Result<Stores> {
    Ok(match store {
        config::Store::Redis(config) => {
            let metrics = remote::metrics::Metrics::register(registry);
            let store = remote::build(*config, tasks, random.clone(), metrics);
            let journal = Arc::new(RemoteJournal::new(store.clone(), random.clone())?);
            Stores {
                removal: store.clone(),
                habits: store.clone(),
                leases: store.clone(),
                shards: Some(store.clone()),
                store,
                journal,
            }
        }
        config::Store::Memory(bounds) => {
            let store = Arc::new(MemoryStore::new(bounds, random.clone()));
            let (journal, habits) = (Arc::new(MemoryJournal::default()), Arc::new(MemoryHabits::default()));
            Stores {
                removal: store.clone(),
                store,
                journal,
                habits,
                leases: Arc::new(MemoryLeases::default()),
                shards: None,
            }
        }
    })
}

fn addresses(listeners: &Listeners) -> std::io::Result<(SocketAddr, Option<SocketAddr>)> {
    Ok((listeners.api()?, listeners.remote()?))
}

fn probes(
    config: admin::Config,
    serving: watch::Receiver<Phase>,
    store: &Arc<dyn Store>,
    registry: Registry,
) -> anyhow::Result<Admin> {
    let probes = Probes { phase: serving.clone(), store: store.clone() };
    admin::start(config, probes, Page::new(registry, store.clone()), health::routes(serving))
        .with_context(|| format!("the probe port {} cannot be bound", config.probes))
}

/// Who may call, and what their calls are counted by.
fn callers(
    config: caller::Config,
    clock: Clock,
    registry: &mut Registry,
) -> anyhow::Result<(Callers, grpc::metrics::Metrics)> {
    let metrics = grpc::metrics::Metrics::register(registry);
    let callers = Callers::new(config, clock, metrics.clone());
    Ok((callers.map_err(|problems| told("listen.remote", &problems))?, metrics))
}

/// What logins are served with: the means are those of the flow beside it.
fn prehydrating(
    cookies: Cookies,
    (filler, habits, withdraw): (Filler, Arc<dyn Habits>, Withdraw),
    group: String,
    means: Means,
    registry: &mut Registry,
) -> prehydrate::Tools {
    let Means { live, tasks, clock, random, metrics: _ } = means;
    let metrics = prehydrate::metrics::Metrics::register(registry);
    prehydrate::Tools { cookies, live, filler, habits, withdraw, group, clock, random, tasks, metrics }
}

/// Who looks whether invalidations hold, and how the invalidation tells it of them.
fn verifying(
    config: verify::Config,
    looker: Looker,
    clock: Clock,
    tasks: &Tasks,
    registry: &mut Registry,
) -> (Verify, Forget, Report) {
    let metrics = verify::metrics::Metrics::register(registry);
    let verify = Verify::start(config, verify::Tools { looker, clock, metrics }, tasks);
    let (void, offer) = (verify.clone(), verify.clone());
    (verify, Arc::new(move |keys| void.void(keys)), Arc::new(move |cleared| offer.offer(cleared)))
}

/// Sources and entities as the configuration has them, for a command that serves nobody.
pub fn settings(live: &config::Live, random: Random, tasks: &Tasks) -> anyhow::Result<Settings> {
    let metrics = source::metrics::Metrics::register(&mut Registry::default());
    Sources::new(metrics, random, tasks.clone()).settings(live)
}

/// What this pod is called, as Kubernetes tells every container.
fn pod(env: &BTreeMap<String, String>) -> String {
    let named = |name: &str| env.get(name).filter(|text| !text.is_empty());
    named("POD_NAME").or_else(|| named("HOSTNAME")).cloned().unwrap_or_default()
}
