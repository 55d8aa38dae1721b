//! One plan under way: its resources as they settle, and the map of plans that a second call of the same kind joins.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use xxhash_rust::xxh3::Xxh3Builder;

use crate::domain::key::Key;
use crate::domain::outcome::{Outcome, Resource};
use crate::domain::secret::Secret;
use crate::prehydrate::plan::Plan;
use crate::prehydrate::request::{Freshness, Planned, Why};

/// Two calls are the same plan if they fill the same keys, in the same way, with the same session.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PlanId {
    keys: Vec<Key>,
    session: Option<Secret>,
    refresh: bool,
}

/// The plans under way in this process; bounded by the queue and its turns.
#[derive(Clone)]
pub struct Runs {
    /// Held for one look-up, never across an await.
    map: Arc<Mutex<HashMap<PlanId, Arc<Run>, Xxh3Builder>>>,
}

pub struct Run {
    planned: Vec<Planned>,
    /// One place for each of `planned`; written once. Held for one step.
    settled: Mutex<Vec<Option<Resource>>>,
    count: watch::Sender<usize>,
    started: Instant,
}

pub enum Joined<T> {
    /// Nobody was at it: carry it out, and hold on to the entry until it is done.
    First {
        run: Arc<Run>,
        entry: Entry,
        place: T,
    },
    Another(Arc<Run>),
}

/// Takes the plan off the map when it is dropped.
pub struct Entry {
    runs: Runs,
    id: PlanId,
}

impl PlanId {
    pub fn new(plan: &Plan, session: Option<&Secret>, freshness: Freshness) -> Self {
        let mut keys: Vec<Key> = plan.fills.iter().map(|planned| planned.member.key.clone()).collect();
        keys.sort();
        Self { keys, session: session.cloned(), refresh: freshness == Freshness::Refresh }
    }
}

impl Runs {
    pub fn new(seed: u64) -> Self {
        let map = HashMap::with_hasher(Xxh3Builder::new().with_seed(seed));
        Self { map: Arc::new(Mutex::new(map)) }
    }

    /// Joins the same plan if it is under way. Else this is the first, provided that `admit` finds it a place: that is
    /// asked under the same lock, so that nobody can join a plan which is then refused.
    pub fn join<T, E>(
        &self,
        id: PlanId,
        planned: &[Planned],
        admit: impl FnOnce() -> Result<T, E>,
    ) -> Result<Joined<T>, E> {
        let mut map = self.lock();
        if let Some(run) = map.get(&id) {
            return Ok(Joined::Another(run.clone()));
        }
        let place = admit()?;
        let run = Arc::new(Run::new(planned.to_vec()));
        map.insert(id.clone(), run.clone());
        Ok(Joined::First { run, entry: Entry { runs: self.clone(), id }, place })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PlanId, Arc<Run>, Xxh3Builder>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.runs.lock().remove(&self.id);
    }
}

impl Run {
    fn new(planned: Vec<Planned>) -> Self {
        let settled = Mutex::new(vec![None; planned.len()]);
        Self { planned, settled, count: watch::Sender::new(0), started: Instant::now() }
    }

    pub fn settle(&self, at: usize, resource: Resource) {
        self.lock()[at] = Some(resource);
        self.count.send_modify(|count| *count += 1);
    }

    /// Waits until all is settled, at most until then; answers what is settled by then, and for the rest that it is not.
    pub async fn report(&self, until: Instant) -> Vec<(Why, Resource)> {
        let mut count = self.count.subscribe();
        // Both ends of this wait are fine: all settled, or no more time.
        let _ = timeout_at(until, count.wait_for(|count| *count == self.planned.len())).await;
        let settled = self.lock();
        let lines = self.planned.iter().zip(settled.iter());
        lines
            .map(|(planned, resource)| (planned.why, resource.clone().unwrap_or_else(|| self.running(planned))))
            .collect()
    }

    fn running(&self, planned: &Planned) -> Resource {
        Resource {
            member: planned.member.clone(),
            outcome: Outcome::InFlight,
            reason: "this fill is still running".to_owned(),
            elapsed: self.started.elapsed(),
            written: None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<Resource>>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
