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

/// One version of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub id: String,
    pub version: u64,
    pub is_gone: bool,
    pub email: String,
    pub name: String,
}

/// E-mails and names that a member takes turns with: some come back.
const TURNS: u32 = 3;

impl Origin {
    pub fn new(seed: u64, slow: u64, failing: u32) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self(Mutex::new(State { rng, members: BTreeMap::new(), failing, slow }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A change, committed.
    pub fn change(&self, id: &str) -> Row {
        let mut state = self.state();
        let State { rng, members, .. } = &mut *state;
        let first = || Row {
            version: 0,
            is_gone: false,
            id: id.to_owned(),
            email: format!("{id}-0@a.test"),
            name: format!("n{id}-0"),
        };
        let row = members.entry(id.to_owned()).or_insert_with(first);
        row.version += 1;
        row.is_gone = rng.random_ratio(1, 12);
        if rng.random_ratio(1, 3) {
            row.email = format!("{id}-{}@a.test", rng.random_range(0..TURNS));
        }
        if rng.random_ratio(1, 3) {
            row.name = format!("n{id}-{}", rng.random_range(0..TURNS));
        }
        row.clone()
    }

    pub fn row(&self, id: &str) -> Option<Row> {
        self.state().members.get(id).cloned()
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
        let Some(row) = state.members.get(id).filter(|row| !row.is_gone) else { return Ok(Fetched::Absent) };
        let Row { id, version, is_gone: _, email, name } = row;
        let body = format!(r#"{{"id":"{id}","version":{version},"email":"{email}","name":"{name}"}}"#);
        Ok(Fetched::Found(Bytes::from(body)))
    }
}

impl Source for Origin {
    fn fetch<'a>(&'a self, ask: FetchAsk<'a>) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        async move {
            let load = ask.member.entity.load().expect("a loaded entity");
            let path = load.ask.path(&ask.member.params).expect("renders");
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
