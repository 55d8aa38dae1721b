//! One plan under way: its resources as they settle, and the map of plans that a second call of the same kind joins.
//!
//! A plan that is predicted grows once after it was joined: when the subject's history has been read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use xxhash_rust::xxh3::Xxh3Builder;

use crate::domain::entity::Member;
use crate::domain::key::Key;
use crate::domain::outcome::Outcome;
use crate::domain::pseudonym::Pseudonym;
use crate::domain::secret::Secret;
use crate::fill::epochs::{Epochs, Stamp};
use crate::prehydrate::ending::Ending;
use crate::prehydrate::plan::Plan;
use crate::prehydrate::request::{Freshness, Line, Planned, Why};
use crate::prehydrate::wanted::{Identity, Wanted};

/// Two calls are the same plan if they fill the same keys, in the same way, with the same session, and what is predicted
/// beside them is predicted of the same subject.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PlanId {
    /// What it fills; of one that is predicted, whatever it may turn out to fill of the subject's own.
    keys: Vec<Key>,
    /// What it fills besides, as far as that is known.
    dependents: Vec<Identity>,
    session: Option<Secret>,
    refresh: bool,
    predicted: Option<Pseudonym>,
}

/// The plans under way in this process; bounded by the queue and its turns.
#[derive(Clone)]
pub struct Runs {
    /// Held for one look-up, never across an await.
    map: Arc<Mutex<HashMap<PlanId, Arc<Run>, Xxh3Builder>>>,
    epochs: Epochs,
}

pub struct Run {
    /// From before it began: once one of its keys is invalidated it is not joined any more.
    stamp: Stamp,
    /// Held for one step.
    lines: Mutex<Lines>,
    progress: watch::Sender<Progress>,
    started: Instant,
}

/// What is planned, and for each item what became of it.
#[derive(Default)]
struct Lines {
    planned: Vec<Planned>,
    settled: Vec<Option<Ending>>,
}

#[derive(Clone, Copy, Default)]
struct Progress {
    /// Items that are not settled yet.
    open: usize,
    /// The plan will not grow any more.
    is_whole: bool,
}

/// Whether a plan is whole when it is joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// The subject's history will add to it.
    Ahead,
    Over,
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

/// Whose habits a plan follows, and what of the subject's own it may fill.
pub struct Predicted {
    pub subject: Pseudonym,
    pub own: Vec<Key>,
}

impl PlanId {
    pub fn new(plan: &Plan, session: Option<&Secret>, freshness: Freshness, predicted: Option<Predicted>) -> Self {
        let (mut keys, mut dependents) = (Vec::new(), Vec::new());
        for planned in &plan.fills {
            match &planned.wanted {
                Wanted::Member(member) => keys.push(member.key.clone()),
                Wanted::Dependent(_) => dependents.push(planned.wanted.identity()),
            }
        }
        let predicted = predicted.map(|Predicted { subject, own }| {
            keys.extend(own);
            subject
        });
        keys.sort();
        dependents.sort();
        Self { keys, dependents, session: session.cloned(), refresh: freshness == Freshness::Refresh, predicted }
    }
}

impl Runs {
    pub fn new(seed: u64, epochs: Epochs) -> Self {
        let map = HashMap::with_hasher(Xxh3Builder::new().with_seed(seed));
        Self { map: Arc::new(Mutex::new(map)), epochs }
    }

    /// Joins the same plan if it is under way. Else this is the first, provided that `admit` finds it a place: that is
    /// asked under the same lock, so that nobody can join a plan which is then refused.
    pub fn join<T, E>(
        &self,
        id: PlanId,
        planned: &[Planned],
        growth: Growth,
        admit: impl FnOnce() -> Result<T, E>,
    ) -> Result<Joined<T>, E> {
        let mut map = self.lock();
        let stamp = self.epochs.stamp(&id.keys);
        match map.get(&id) {
            Some(run) if run.stamp == stamp => return Ok(Joined::Another(run.clone())),
            Some(_) | None => {}
        }
        let place = admit()?;
        let run = Arc::new(Run::new(planned.to_vec(), growth, stamp));
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
    fn new(planned: Vec<Planned>, growth: Growth, stamp: Stamp) -> Self {
        let progress = Progress { open: planned.len(), is_whole: growth == Growth::Over };
        let settled = vec![None; planned.len()];
        let lines = Mutex::new(Lines { planned, settled });
        Self { stamp, lines, progress: watch::Sender::new(progress), started: Instant::now() }
    }

    /// Adds what was predicted, and answers where its first item stands. The plan is whole then.
    pub fn grow(&self, planned: &[Planned]) -> usize {
        let mut lines = self.lock();
        let first = lines.planned.len();
        lines.planned.extend_from_slice(planned);
        lines.settled.resize(first + planned.len(), None);
        drop(lines);
        self.progress
            .send_modify(|progress| *progress = Progress { open: progress.open + planned.len(), is_whole: true });
        first
    }

    /// Ends a plan whose time was over before its turn came.
    pub fn shed(&self) {
        let first_predicted = self.grow(&[]);
        for at in 0..first_predicted {
            self.settle(at, Ending::not_filled(Outcome::Shed, "its plan waited for its turn until its time was over"));
        }
    }

    /// Says which member a dependent is.
    pub fn name(&self, at: usize, member: Member) {
        self.lock().planned[at].wanted = Wanted::Member(member);
    }

    /// Why an item is planned.
    pub fn why(&self, at: usize) -> Why {
        self.lock().planned[at].why
    }

    /// The key of an item, if it is known by now.
    pub fn key(&self, at: usize) -> Option<Key> {
        self.lock().planned[at].wanted.key().cloned()
    }

    /// Says what became of an item; a later word replaces an earlier one.
    pub fn settle(&self, at: usize, ending: Ending) {
        let is_news = self.lock().settled[at].replace(ending).is_none();
        if is_news {
            self.progress.send_modify(|progress| progress.open -= 1);
        }
    }

    /// What is still to come or was written, among what is asked for and known.
    pub fn unsettled_or_filled(&self, is_asked_for: impl Fn(&Member) -> bool) -> Vec<(usize, Member)> {
        let lines = self.lock();
        let known = lines.planned.iter().zip(&lines.settled).enumerate().filter_map(|(at, (planned, settled))| {
            let Wanted::Member(member) = &planned.wanted else { return None };
            let is_done = settled.as_ref().is_some_and(|ending| ending.outcome != Outcome::Filled);
            (!is_done && is_asked_for(member)).then(|| (at, member.clone()))
        });
        known.collect()
    }

    /// Waits until all is settled, at most until then; answers what is settled by then, and for the rest that it is not.
    pub async fn report(&self, until: Instant) -> Vec<Line> {
        let mut progress = self.progress.subscribe();
        // Both ends of this wait are fine: all settled, or no more time.
        let _ = timeout_at(until, progress.wait_for(|progress| progress.open == 0 && progress.is_whole)).await;
        let lines = self.lock();
        let line = |(planned, ending): (&Planned, &Option<Ending>)| Line {
            planned: planned.clone(),
            ending: ending.clone().unwrap_or_else(|| self.running()),
        };
        lines.planned.iter().zip(&lines.settled).map(line).collect()
    }

    fn running(&self) -> Ending {
        let running = Ending::not_filled(Outcome::InFlight, "this fill is still running");
        Ending { elapsed: self.started.elapsed(), ..running }
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn join(runs: &Runs, keys: &[&str]) -> Joined<()> {
        let keys = keys.iter().map(|key| Key::new((*key).to_owned()).expect("a good key")).collect();
        let id = PlanId { keys, dependents: Vec::new(), session: None, refresh: false, predicted: None };
        runs.join(id, &[], Growth::Over, || Ok::<(), Infallible>(())).unwrap_or_else(|never| match never {})
    }

    #[tokio::test(start_paused = true)]
    async fn a_plan_that_is_shed_ends_for_whoever_waits_for_it() {
        let run = Run::new(Vec::new(), Growth::Ahead, Epochs::new(1).stamp(&[]));
        run.shed();
        assert!(run.report(Instant::now() + std::time::Duration::from_secs(9)).await.is_empty());
        assert!(run.started.elapsed().is_zero(), "nobody waited");
    }

    #[test]
    fn a_plan_from_before_an_invalidation_is_not_joined_after_it() {
        let epochs = Epochs::new(1);
        let runs = Runs::new(1, epochs.clone());
        let Joined::First { entry: before, .. } = join(&runs, &["a", "b"]) else { panic!("nobody is at it") };
        let Joined::First { entry: other, .. } = join(&runs, &["c"]) else { panic!("nobody is at it") };
        assert!(matches!(join(&runs, &["a", "b"]), Joined::Another(_)));
        epochs.end(&[Key::new("b").expect("a good key")]);
        let Joined::First { entry: after, .. } = join(&runs, &["a", "b"]) else { panic!("it is from before") };
        assert!(matches!(join(&runs, &["c"]), Joined::Another(_)), "another plan is as it was");
        drop(before);
        assert!(matches!(join(&runs, &["a", "b"]), Joined::Another(_)), "the old one takes its own entry only");
        drop((after, other));
        assert!(matches!(join(&runs, &["a", "b"]), Joined::First { .. }));
        assert!(runs.lock().is_empty());
    }
}
