//! One run: sidecars that fill and invalidate, a cluster that suffers, and a calm end. Everything follows from the seed.

use std::sync::Arc;
use std::time::Duration;

use hydrant::domain::outcome::Outcome;
use hydrant::domain::store::{ClaimMode, Store};
use hydrant::remote::store::Remote;
use hydrant::tasks::Tasks;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use crate::checker::{own_key, version_of};
use crate::cluster::{Cluster, Rules, WaitsFor};
use crate::net::{Net, Weather};
use crate::sidecar::Sidecar;
use crate::source::Origin;
use crate::time::{pause, up_to};
use crate::{faults, writers};

/// How a kind of run is: what takes part and what may happen.
#[derive(Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    pub faults: &'static [faults::Kind],
    pub dress: fn(Arc<Remote>) -> Arc<dyn Store>,
    pub removes: Removes,
    /// Of values: short enough to end within a run, or long enough to be there in the end.
    pub life: Duration,
}

/// How a change is made known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removes {
    /// Removed from the primaries, and acknowledged.
    Plainly,
    /// Acknowledged once the replicas are known to have it.
    Confirmed,
    /// By the whole flow: aliases, tags, the journal, jobs that somebody else finishes.
    ByFlow,
}

/// What came of one run.
pub struct Report {
    pub seed: u64,
    /// Broken promises, and whatever else must not be.
    pub problems: Vec<String>,
    /// The promise was broken, which is more than to end badly.
    pub is_broken: bool,
    pub log: Vec<(u64, String)>,
    /// The part of the log that matters, as text.
    pub story: String,
    pub counts: Counts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub commands: u64,
    pub filled: u64,
    pub acknowledged: u64,
    pub seen: u64,
}

impl Counts {
    pub fn add(&mut self, other: Self) {
        self.commands += other.commands;
        self.filled += other.filled;
        self.acknowledged += other.acknowledged;
        self.seen += other.seen;
    }
}

/// By then a sidecar has asked for the topology again.
const RELEARNT: Duration = Duration::from_secs(2);
const SHARDS: usize = 2;
const SIDECARS: usize = 3;
pub const MEMBERS: usize = 3;
/// The life of values where it is of no interest.
pub const LIFE: Duration = Duration::from_secs(3);
/// Virtual time in which things go wrong.
const STORM: Duration = Duration::from_secs(4);
/// Virtual time in which everything must have become well again: functions that could not be loaded are tried again
/// after five seconds.
const CALM: Duration = Duration::from_secs(6);

/// Virtual time for the last intents: a dead sidecar's lease has to end, and a turn to come.
const JOURNAL_PATIENCE: Duration = Duration::from_secs(60);

pub struct World {
    pub seed: u64,
    pub net: Arc<Net>,
    pub origin: Arc<Origin>,
    pub sidecars: Vec<Sidecar>,
    pub removes: Removes,
    pub life: Duration,
    pub ends: Instant,
}

/// Runs one seed from beginning to end, on a clock that jumps.
pub fn run(seed: u64, scenario: Scenario) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async move {
        let (tasks, _deaths) = Tasks::new();
        let world = Arc::new(World::new(seed, scenario, tasks.clone()));
        for sidecar in world.sidecars.iter().filter(|_| scenario.removes == Removes::ByFlow) {
            sidecar.invalidate.start().await.expect("there is no spool");
        }
        let mut filled = Vec::new();
        for lane in 0..5 {
            let world = world.clone();
            filled.push(tasks.finish(async move { world.fill_on(lane).await }));
        }
        let writers: Vec<_> = (0..3)
            .map(|lane| {
                let world = world.clone();
                tasks.finish(async move { writers::write(&world, lane).await })
            })
            .collect();
        let storm = world.clone();
        tasks.finish(async move { faults::storm(&storm, scenario.faults).await }).await.expect("the storm ends");
        world.net.set_weather(Weather::CALM);
        world.origin.calm_down();
        let mut problems = Vec::new();
        for writer in writers {
            problems.extend(writer.await.expect("a writer ends"));
        }
        faults::relapse(&world, scenario.faults);
        let mut counts = Counts::default();
        for lane in filled {
            counts.filled += lane.await.expect("a lane of fills ends");
        }
        pause(CALM).await;
        problems.extend(world.end_well().await);
        let mut cluster = world.net.cluster();
        problems.extend(cluster.checker.violations.clone());
        let is_broken = problems.iter().any(|what| what.contains(": holds "));
        problems.extend(cluster.unknown.iter().map(|name| format!("the simulated Redis does not know: {name}")));
        counts.acknowledged = cluster.checker.acknowledged;
        counts.seen = cluster.checker.seen;
        let words: Vec<String> = problems.iter().filter_map(|what| Some(what.split_once(": ")?.0.to_owned())).collect();
        let (log, story) = cluster.log.take(&words);
        counts.commands = log.len() as u64;
        Report { seed, problems, is_broken, log, story, counts }
    })
}

/// The function library as a sidecar loads it when it fills for the first time.
pub fn loaded_library(scenario: Scenario) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async move {
        let (tasks, _deaths) = Tasks::new();
        // The first seed whose server has functions.
        for seed in 0.. {
            let world = World::new(seed, scenario, tasks.clone());
            world.net.set_weather(Weather::CALM);
            world.sidecars[0].fill("1", ClaimMode::Refresh).await;
            let cluster = world.net.cluster();
            if let Some(text) = cluster.nodes.iter().find_map(|node| node.server.libraries.values().next()) {
                return text.clone();
            }
        }
        Vec::new()
    })
}

impl World {
    fn new(seed: u64, scenario: Scenario, tasks: Tasks) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let replicas = rng.random_range(1..=2);
        let waits_for = if rng.random() { WaitsFor::AnyCommand } else { WaitsFor::OwnChange };
        let version = if rng.random_ratio(1, 8) { "6.2.14" } else { "7.4.0" };
        let cluster = Cluster::new(SHARDS, replicas, Rules { waits_for, version });
        let weather = weather(&mut rng);
        let net = Net::new(cluster, weather, rng.random(), tasks);
        let slow = if rng.random_ratio(1, 4) { 500 } else { 80 };
        let origin = Arc::new(Origin::new(rng.random(), rng.random_range(2..slow), rng.random_range(0..100)));
        let sidecars =
            (0..SIDECARS).map(|index| Sidecar::build(index, seed, &net, &origin, replicas as u8, scenario)).collect();
        Self {
            seed,
            net,
            origin,
            sidecars,
            removes: scenario.removes,
            life: scenario.life,
            ends: Instant::now() + STORM,
        }
    }

    pub fn rng(&self, lane: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed ^ (lane + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub fn sidecar(&self, rng: &mut StdRng) -> &Sidecar {
        loop {
            let sidecar = &self.sidecars[rng.random_range(0..self.sidecars.len())];
            if !self.net.is_dead(sidecar.index) {
                return sidecar;
            }
        }
    }

    /// One sidecar stops for good, if two others go on.
    pub fn crash_one(&self, rng: &mut StdRng) {
        let living = self.sidecars.iter().filter(|sidecar| !self.net.is_dead(sidecar.index)).count();
        if living > 2 {
            let index = self.sidecar(rng).index;
            self.net.cluster().note(|| format!("the death of sidecar {index}"));
            self.net.bury(index);
        }
    }

    async fn fill_on(&self, lane: u64) -> u64 {
        let mut rng = self.rng(lane);
        let mut filled = 0;
        while Instant::now() < self.ends {
            let id = id(rng.random_range(0..MEMBERS));
            let mode = match rng.random_ratio(1, 4) {
                true => ClaimMode::Refresh,
                false => ClaimMode::Miss { renew_below: Duration::from_millis(600) },
            };
            let outcome = self.sidecar(&mut rng).fill(&id, mode).await;
            self.net.cluster().note(|| format!("a fill of {} ends as {outcome:?}", own_key(&id)));
            filled += u64::from(outcome == Outcome::Filled);
            pause(up_to(&mut rng, 60)).await;
        }
        filled
    }

    /// When all is calm again, everything works, and what is cached is what the source has.
    async fn end_well(&self) -> Vec<String> {
        let mut problems = self.journal_is_empty().await;
        problems.extend(self.net.cluster().what_is_wrong());
        for sidecar in self.sidecars.iter().filter(|sidecar| !self.net.is_dead(sidecar.index)) {
            problems.extend(sidecar.deaths().iter().map(|task| format!("sidecar {}: {task} has ended", sidecar.index)));
            for id in (0..MEMBERS).map(id) {
                let Some(row) = self.origin.row(&id) else { continue };
                let key = own_key(&id);
                let works = |outcome| match row.is_gone {
                    true => outcome == Outcome::Absent,
                    false => matches!(outcome, Outcome::Filled | Outcome::Fresh),
                };
                let fill = async || sidecar.fill(&id, ClaimMode::Miss { renew_below: Duration::ZERO }).await;
                let mut outcome = fill().await;
                // The first may be the one that hears of a slot which has moved; once that is known, fills work.
                if !works(outcome) {
                    pause(RELEARNT).await;
                    outcome = fill().await;
                }
                if !works(outcome) {
                    problems.push(format!("{key}: a fill by sidecar {} ends as {outcome:?}", sidecar.index));
                }
                let held =
                    sidecar.store.read(std::slice::from_ref(&key)).await.ok().and_then(|mut held| held.pop().flatten());
                let cached = held.map(|held| version_of(&held.value));
                if cached.is_some_and(|cached| cached != row.version || row.is_gone) {
                    problems.push(format!("{key}: cached at {cached:?} in the end, not {row:?}"));
                }
            }
        }
        problems
    }

    /// Nothing that was accepted is left undone, whoever died.
    async fn journal_is_empty(&self) -> Vec<String> {
        for _ in 0..JOURNAL_PATIENCE.as_secs() {
            if self.net.cluster().intents() == 0 {
                return Vec::new();
            }
            pause(Duration::from_secs(1)).await;
        }
        vec![format!("journal: {} intents are never carried out", self.net.cluster().intents())]
    }
}

pub fn id(index: usize) -> String {
    (index + 1).to_string()
}

fn weather(rng: &mut StdRng) -> Weather {
    let mut often = |most: u32| if rng.random() { rng.random_range(0..most) } else { 0 };
    let (late, breaks_before, breaks_after, breaks_within_reply) = (often(300), often(100), often(100), often(50));
    Weather {
        delay: rng.random_range(1..8),
        late,
        late_by: rng.random_range(20..900),
        breaks_before,
        breaks_after,
        breaks_within_reply,
    }
}
