//! Removing what only a scan can find: keys by pattern, and all keys of some entities.
//!
//! A scan passes by a key that is absent, a fill commits it, and the scan never sees it. So a sweep is done when a second
//! pass has ended that began at least one claim's life after the request: every fill that the first pass could have
//! missed has then ended, one way or the other.
//!
//! Whatever changes the place of keys while the second pass goes on (a failover, slots that move, a primary that restarts)
//! makes it one more: a key may have stood on the side that was looked at already.

mod aim;
pub mod pace;
mod pass;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::time::{Instant, sleep, sleep_until};

use crate::domain::entity::{Entity, Name};
use crate::domain::key::Key;
use crate::domain::mutant::{self, Mutant};
use crate::domain::random::{Nonce, Random};
use crate::domain::removal::{Erasure, Removal, Upheaval};
use crate::domain::store::StoreError;
use crate::fill::settings::Live;
use crate::invalidate::recent::Recent;
use crate::invalidate::request::{Counts, Mode};
use crate::invalidate::sweep::aim::Aim;
use crate::invalidate::sweep::pace::Rates;

/// The store looks around when a primary has been gone through; what it finds has arrived after this.
const NEWS: Duration = Duration::from_secs(1);
/// While nothing happens: well within what those who look after the journal call silence.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// Keys that are loaded again after a sweep: as many as may wait for that. What is over it is loaded when it is asked for.
const RELOADED: usize = 4_096;
/// What "of late" means for the rate.
const RATE_OVER: Duration = Duration::from_secs(1);

/// What to sweep. It stands in the intent, so that any sidecar can go on with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Globs, each checked to begin with the literal prefix of a declared template.
    pub patterns: Vec<String>,
    /// All keys of these entities, aliases too.
    #[serde(with = "names")]
    pub entities: Vec<Name>,
    /// The templates of those keys when it was asked for: by them a sidecar with another configuration knows what was
    /// meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<String>,
    pub mode: Mode,
    /// When it was asked for, in milliseconds since 1970: the second pass begins a claim's life after it at the earliest.
    pub requested: u64,
}

impl Spec {
    /// All keys of these entities.
    pub fn of<'a>(entities: impl IntoIterator<Item = &'a Entity>) -> Self {
        let mut spec = Self::default();
        entities.into_iter().for_each(|entity| spec.add(entity));
        spec
    }

    pub fn add(&mut self, entity: &Entity) {
        if !self.entities.contains(entity.name()) {
            self.entities.push(entity.name().clone());
            self.templates.extend(entity.templates().map(|template| template.as_str().to_owned()));
        }
    }
}

/// How far a sweep is. It is noted beside the intent, and whoever takes over goes on from there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Counted from 1; 0 before the first.
    pub pass: u32,
    pub scanned: u64,
    pub nodes_done: u32,
    pub nodes_total: u32,
    /// Keys a second, of late.
    pub rate: f64,
    pub counts: Counts,
    /// At most as many as an answer shows, as people may read them.
    pub sample: Vec<String>,
}

/// What a sweep works with.
#[derive(Clone)]
pub struct Tools {
    pub removal: Arc<dyn Removal>,
    /// Which entities there are, and so which keys are declared.
    pub live: Live,
    /// The longest life of a claim in the whole fleet.
    pub claim_life: Duration,
    pub rates: Rates,
    pub random: Random,
    /// For what is removed from slots that are on their way.
    pub recent: Recent,
    /// Told of every key that was removed, for what this process remembers of it.
    pub forget: crate::invalidate::Forget,
    pub reload: Reload,
}

/// Loads again what was cached, under the flow's budget.
pub type Reload = Arc<dyn Fn(Vec<Key>) + Send + Sync>;

/// Carries a sweep to its end, from where `resume` says that it was. Answers how it ended; an error leaves it to be
/// taken up again from what was reported last.
pub async fn run(
    tools: &Tools,
    spec: &Spec,
    resume: Option<Progress>,
    report: impl Fn(Progress),
) -> Result<Progress, StoreError> {
    let progress = resume.unwrap_or_default();
    // It was asked for before now, whatever anybody's clock says. A second pass that somebody has begun was begun in time.
    let second = if progress.pass > 1 { Instant::now() } else { Instant::now() + tools.claim_life };
    let aim = Aim::new(spec);
    let pattern = aim.pattern(&tools.live.get().catalog);
    let upheavals = Mutex::new(tools.removal.upheavals());
    let (moving, nonce) = (Mutex::default(), tools.random.nonce());
    let shared = Mutex::new(Shared { progress, since: Instant::now(), looked_at: 0, cached: Vec::new() });
    let sweep = Sweep { tools, spec, aim, nonce, pattern, upheavals, moving, shared, report };
    if sweep.progress().pass == 0 {
        sweep.begin_pass();
        sweep.pass().await?;
    }
    if mutant::on(Mutant::M19OnePass) {
        return Ok(sweep.progress());
    }
    sweep.wait_until(second).await;
    loop {
        sweep.begin_pass();
        sweep.hear();
        sweep.pass().await?;
        // What moved while the pass went on may have been missed on either side.
        sleep(NEWS).await;
        if sweep.hear() == Heard::Quiet {
            // Not sooner: the next pass would remove it again.
            (tools.reload)(std::mem::take(&mut lock(&sweep.shared).cached));
            return Ok(sweep.progress());
        }
        tracing::info!("redis has changed under a sweep, which passes once more");
    }
}

/// A sweep under way.
struct Sweep<'a, R: Fn(Progress)> {
    tools: &'a Tools,
    spec: &'a Spec,
    aim: Aim<'a>,
    /// Told apart from every other invalidation by those who look at its marks.
    nonce: Nonce,
    pattern: String,
    /// Behind locks for one look each, never across an await.
    upheavals: Mutex<broadcast::Receiver<Upheaval>>,
    moving: Mutex<BTreeSet<u16>>,
    shared: Mutex<Shared>,
    report: R,
}

struct Shared {
    progress: Progress,
    /// Since when so many were looked at, for the rate.
    since: Instant,
    looked_at: u64,
    /// What had a value, where that is to be loaded again.
    cached: Vec<Key>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Quiet,
    /// Keys may stand where they did not stand before.
    Upheaval,
}

impl<R: Fn(Progress)> Sweep<'_, R> {
    fn progress(&self) -> Progress {
        lock(&self.shared).progress.clone()
    }

    fn tell(&self, change: impl FnOnce(&mut Progress)) {
        let progress = {
            let mut shared = lock(&self.shared);
            change(&mut shared.progress);
            shared.progress.clone()
        };
        (self.report)(progress);
    }

    fn begin_pass(&self) {
        self.tell(|progress| {
            progress.pass += 1;
            progress.nodes_done = 0;
        });
    }

    fn looked_at(&self, keys: u32) {
        let rate = {
            let mut shared = lock(&self.shared);
            shared.looked_at += u64::from(keys);
            let elapsed = shared.since.elapsed();
            let rate = (elapsed >= RATE_OVER).then(|| shared.looked_at as f64 / elapsed.as_secs_f64());
            if rate.is_some() {
                (shared.since, shared.looked_at) = (Instant::now(), 0);
            }
            rate
        };
        self.tell(|progress| {
            progress.scanned += u64::from(keys);
            progress.rate = rate.unwrap_or(progress.rate);
        });
    }

    /// It had a value, and is gone or shortened.
    fn removed(&self, key: &Key) {
        self.tell(|progress| progress.counts.removed += 1);
        let mut shared = lock(&self.shared);
        if matches!(self.spec.mode, Mode::Refresh | Mode::Soft) && shared.cached.len() < RELOADED {
            shared.cached.push(key.clone());
        }
    }

    /// Waits, and shows meanwhile that somebody is at it.
    async fn wait_until(&self, end: Instant) {
        while Instant::now() < end {
            sleep_until(end.min(Instant::now() + SIGN_OF_LIFE)).await;
            self.tell(|_| {});
        }
    }

    /// Everything that was told since the last time. Slots on their way are kept in mind.
    fn hear(&self) -> Heard {
        let mut heard = Heard::Quiet;
        loop {
            match lock(&self.upheavals).try_recv() {
                Ok(Upheaval::Moving { slot }) => drop(lock(&self.moving).insert(slot)),
                Ok(Upheaval::Moved { .. } | Upheaval::Restarted { .. }) | Err(TryRecvError::Lagged(_)) => {
                    heard = Heard::Upheaval;
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => return heard,
            }
        }
    }

    /// A copy that was torn off on the way comes to light when its slot has moved, maybe after this sweep has ended: then
    /// what was removed there is removed again. Of all other slots a sweep is not remembered, because it would crowd out
    /// everything else.
    fn remember(&self, erasures: &[Erasure]) {
        let moving = lock(&self.moving);
        if moving.is_empty() {
            return;
        }
        let concerned = erasures.iter().filter(|erasure| moving.contains(&erasure.key.slot()));
        let concerned: Vec<Erasure> = concerned.cloned().collect();
        drop(moving);
        self.tools.recent.remember(&concerned);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Counts and sets: sound even after a panic elsewhere.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Names as text.
mod names {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::domain::entity::Name;

    pub fn serialize<S: Serializer>(names: &[Name], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(names.iter().map(Name::as_str))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Name>, D::Error> {
        let names = Vec::<String>::deserialize(from)?;
        names.iter().map(|name| Name::new(name).ok_or_else(|| D::Error::custom("not a name"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_reads_back() {
        let entities = vec![Name::new("user").expect("a good name")];
        let templates = vec!["user:{id}".to_owned()];
        let spec = Spec { patterns: vec!["user:*".to_owned()], entities, templates, mode: Mode::Refresh, requested: 7 };
        let text = serde_json::to_string(&spec).expect("it can be written");
        assert_eq!(serde_json::from_str::<Spec>(&text).expect("it can be read"), spec);
    }
}
