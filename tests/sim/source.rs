//! The system of record: members with versions, shared by all sidecars, slow and sometimes away.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hydrant::domain::source::{FetchAsk, FetchError, Fetched, Source};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use crate::time::pause;

pub struct Origin(Mutex<State>);

struct State {
    rng: StdRng,
    members: BTreeMap<String, Row>,
    /// In a thousand.
    failing: u32,
    /// The longest time before and after the row is read, in milliseconds.
    slow: u64,
}

#[derive(Clone, Debug, Default)]
struct Row {
    version: u64,
}

impl Origin {
    pub fn new(seed: u64, slow: u64, failing: u32) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self(Mutex::new(State { rng, members: BTreeMap::new(), failing, slow }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A change, committed. Answers the new version.
    pub fn change(&self, id: &str) -> u64 {
        let mut state = self.state();
        let row = state.members.entry(id.to_owned()).or_default();
        row.version += 1;
        row.version
    }

    pub fn version(&self, id: &str) -> u64 {
        self.state().members.get(id).map_or(0, |row| row.version)
    }

    pub fn calm_down(&self) {
        let mut state = self.state();
        (state.failing, state.slow) = (0, 3);
    }

    fn delay(&self) -> Duration {
        let mut state = self.state();
        let slow = state.slow;
        Duration::from_millis(state.rng.random_range(0..=slow))
    }

    fn body(&self, id: &str) -> Result<Fetched, FetchError> {
        let mut state = self.state();
        let failing = state.failing;
        if state.rng.random_range(0..1_000) < failing {
            return Err(FetchError::Status(503));
        }
        let row = state.members.get(id).cloned().unwrap_or_default();
        Ok(Fetched::Found(Bytes::from(format!(r#"{{"id":"{id}","version":{}}}"#, row.version))))
    }
}

impl Source for Origin {
    fn fetch<'a>(&'a self, ask: FetchAsk<'a>) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        async move {
            let load = ask.member.entity.load().expect("a loaded entity");
            let path = load.path.path(&ask.member.params).expect("renders");
            let id = path.rsplit('/').next().expect("an id").to_owned();
            let work = async {
                pause(self.delay()).await;
                // The row as it is at this moment; the answer is on its way for a while.
                let body = self.body(&id);
                pause(self.delay()).await;
                body
            };
            tokio::time::timeout(ask.deadline.saturating_duration_since(Instant::now()), work)
                .await
                .unwrap_or(Err(FetchError::Timeout))
        }
        .boxed()
    }
}
