//! A store over real servers, with settings that make tests quick.

use std::sync::Arc;
use std::time::Duration;

use hydrant::domain::backoff::Backoff;
use hydrant::domain::breaker;
use hydrant::domain::key::Key;
use hydrant::domain::random::Random;
use hydrant::domain::store::{Claim, ClaimAsk, ClaimMode, Claimed, Committed, Store, StoreError, StoreState, Write};
use hydrant::remote::metrics::Metrics;
use hydrant::remote::store::Remote;
use hydrant::remote::{Config, Mode, build};
use hydrant::tasks::{Deaths, Tasks};
use prometheus_client::registry::Registry;

use crate::support::wait::until;

pub const LIFE: Duration = Duration::from_secs(10);
pub const TTL: Duration = Duration::from_secs(60);

/// A store and what keeps it alive.
pub struct Rig {
    pub store: Arc<Remote>,
    pub registry: Registry,
    _tasks: Tasks,
    _deaths: Deaths,
}

impl Rig {
    pub fn new(config: Config) -> Self {
        let (tasks, deaths) = Tasks::new();
        let mut registry = Registry::default();
        let store = build(config, &tasks, Random::from_seed(7), Metrics::register(&mut registry));
        Self { store, registry, _tasks: tasks, _deaths: deaths }
    }

    /// Waits until every node answers.
    pub async fn up(config: Config) -> Self {
        let rig = Self::new(config);
        rig.wait_until_up().await;
        rig
    }

    pub async fn wait_until_up(&self) {
        until("a store that is up", async || self.store.state() == StoreState::Up).await;
    }

    /// One sample as `/metrics` shows it.
    pub fn metric(&self, sample: &str) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("encodes");
        let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {sample} in\n{text}")).parse().expect("a number")
    }
}

pub fn config(mode: Mode) -> Config {
    Config {
        mode,
        auth: None,
        tls: None,
        replicas: 0,
        deadline: Duration::from_millis(250),
        connect_timeout: Duration::from_millis(500),
        breaker: breaker::Config {
            failures: 3,
            waits: Backoff::new(Duration::from_millis(200), Duration::from_secs(1)).expect("a good backoff"),
        },
        refresh: Duration::from_secs(1),
        group: "test".to_owned(),
    }
}

pub fn key(text: impl Into<String>) -> Key {
    Key::new(text.into()).expect("a good key")
}

pub fn miss(key: &Key) -> ClaimAsk<'_> {
    ClaimAsk { key, life: LIFE, mode: ClaimMode::Miss { renew_below: Duration::ZERO } }
}

pub fn refresh(key: &Key) -> ClaimAsk<'_> {
    ClaimAsk { key, life: LIFE, mode: ClaimMode::Refresh }
}

/// The claim, or what came instead of it.
pub async fn claim(store: &dyn Store, ask: ClaimAsk<'_>) -> Box<dyn Claim> {
    match store.claim(ask).await {
        Ok(Claimed::Held(claim)) => claim,
        Ok(Claimed::Fresh) => panic!("fresh"),
        Ok(Claimed::Absent) => panic!("absent"),
        Ok(Claimed::InFlight { age }) => panic!("in flight for {age:?}"),
        Err(error) => panic!("no claim: {error}"),
    }
}

/// Why there is no claim.
pub async fn claim_error(store: &dyn Store, ask: ClaimAsk<'_>) -> Option<StoreError> {
    store.claim(ask).await.err()
}

/// A whole fill from an instant source.
pub async fn fill(store: &dyn Store, key: &Key, value: &str) -> Result<Committed, StoreError> {
    match store.claim(miss(key)).await? {
        Claimed::Held(claim) => commit(claim, value.to_owned(), TTL).await,
        Claimed::Fresh | Claimed::Absent | Claimed::InFlight { .. } => Ok(Committed::Kept),
    }
}

/// The value alone.
pub async fn value(store: &dyn Store, key: &Key) -> Option<String> {
    let held = store.read(std::slice::from_ref(key)).await.expect("a read").pop().flatten()?;
    Some(String::from_utf8_lossy(&held.value).into_owned())
}

/// Commits as a fill of an entity without aliases and rules does.
pub async fn commit(
    claim: Box<dyn Claim>,
    value: impl Into<bytes::Bytes>,
    ttl: Duration,
) -> Result<Committed, StoreError> {
    claim.commit(Write::plain(value.into(), ttl)).await.map(|landing| landing.committed)
}
