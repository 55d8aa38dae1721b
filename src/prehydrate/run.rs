//! One plan under way: its resources as they settle, and the map of plans that a second call of the same kind joins.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use xxhash_rust::xxh3::Xxh3Builder;

use crate::domain::key::Key;
use crate::domain::outcome::{Outcome, Resource};
use crate::domain::secret::Secret;
use crate::fill::tally::{Stamp, Tally};
use crate::prehydrate::plan::Plan;
use crate::prehydrate::request::{Freshness, Planned, Reason};

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
    tally: Tally,
}

pub struct Run {
    planned: Vec<Planned>,
    /// From before it began: once one of its keys is invalidated it is not joined any more.
    stamp: Stamp,
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
    stamp: Stamp,
}

impl PlanId {
    pub fn new(plan: &Plan, session: Option<&Secret>, freshness: Freshness) -> Self {
        let mut keys: Vec<Key> = plan.fills.iter().map(|planned| planned.member.key.clone()).collect();
        keys.sort();
        Self { keys, session: session.cloned(), refresh: freshness == Freshness::Refresh }
    }
}

impl Runs {
    pub fn new(seed: u64, tally: Tally) -> Self {
        let map = HashMap::with_hasher(Xxh3Builder::new().with_seed(seed));
        Self { map: Arc::new(Mutex::new(map)), tally }
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
        let stamp = self.tally.stamp(&id.keys);
        match map.get(&id) {
            Some(run) if run.stamp == stamp => return Ok(Joined::Another(run.clone())),
            Some(_) | None => {}
        }
        let place = admit()?;
        let run = Arc::new(Run::new(planned.to_vec(), stamp));
        map.insert(id.clone(), run.clone());
        Ok(Joined::First { run, entry: Entry { runs: self.clone(), id, stamp }, place })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PlanId, Arc<Run>, Xxh3Builder>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut map = self.runs.lock();
        // Since an invalidation another plan may stand under this name.
        if map.get(&self.id).is_some_and(|run| run.stamp == self.stamp) {
            map.remove(&self.id);
        }
    }
}

impl Run {
    fn new(planned: Vec<Planned>, stamp: Stamp) -> Self {
        let settled = Mutex::new(vec![None; planned.len()]);
        Self { planned, stamp, settled, count: watch::Sender::new(0), started: Instant::now() }
    }

    pub fn settle(&self, at: usize, resource: Resource) {
        self.lock()[at] = Some(resource);
        self.count.send_modify(|count| *count += 1);
    }

    /// Waits until all is settled, at most until then; answers what is settled by then, and for the rest that it is not.
    pub async fn report(&self, until: Instant) -> Vec<(Reason, Resource)> {
        let mut count = self.count.subscribe();
        // Both ends of this wait are fine: all settled, or no more time.
        let _ = timeout_at(until, count.wait_for(|count| *count == self.planned.len())).await;
        let settled = self.lock();
        let lines = self.planned.iter().zip(settled.iter());
        lines
            .map(|(planned, resource)| (planned.reason, resource.clone().unwrap_or_else(|| self.running(planned))))
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn join(runs: &Runs, keys: &[&str]) -> Joined<()> {
        let keys = keys.iter().map(|key| Key::new((*key).to_owned()).expect("a good key")).collect();
        let id = PlanId { keys, session: None, refresh: false };
        runs.join(id, &[], || Ok::<(), Infallible>(())).unwrap_or_else(|never| match never {})
    }

    #[test]
    fn a_plan_from_before_an_invalidation_is_not_joined_after_it() {
        let tally = Tally::new(1);
        let runs = Runs::new(1, tally.clone());
        let Joined::First { entry: before, .. } = join(&runs, &["a", "b"]) else { panic!("nobody is at it") };
        let Joined::First { entry: other, .. } = join(&runs, &["c"]) else { panic!("nobody is at it") };
        assert!(matches!(join(&runs, &["a", "b"]), Joined::Another(_)));
        tally.count(&[Key::new("b").expect("a good key")]);
        let Joined::First { entry: after, .. } = join(&runs, &["a", "b"]) else { panic!("it is from before") };
        assert!(matches!(join(&runs, &["c"]), Joined::Another(_)), "another plan is as it was");
        drop(before);
        assert!(matches!(join(&runs, &["a", "b"]), Joined::Another(_)), "the old one takes its own entry only");
        drop((after, other));
        assert!(matches!(join(&runs, &["a", "b"]), Joined::First { .. }));
        assert!(runs.lock().is_empty());
    }
}
