//! Whether what was promised holds, in the running system: some of the members that were invalidated are looked at again.
//!
//! Once a member is cleared its source is asked what is true; 1, 10 and 60 s later its keys are read as any client reads
//! them, and compared with what the source says then. A difference is looked at twice before it counts. What counts is a
//! violation of the promise that nothing older is read; what an application forgot to announce is told apart from it.
//!
//! It is a probe and no guard: nothing is repaired here, and nothing waits for it. What does not fit its pace is left out.

pub mod case;
pub mod line;
pub mod look;
pub mod metrics;
pub mod open;
pub mod pace;
pub mod sample;
pub mod truth;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::domain::cleared::Cleared;
use crate::domain::clock::Clock;
use crate::domain::entity::Name;
use crate::domain::key::Key;
use crate::domain::shown;
use crate::tasks::Tasks;
use crate::verify::case::{Case, Finding, Found, Wrong};
use crate::verify::line::{Line, Stepped, age, step};
use crate::verify::look::{Looker, Skip};
use crate::verify::metrics::Metrics;
use crate::verify::open::Open;
use crate::verify::pace::Pace;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    pub enabled: bool,
    /// Looks a minute.
    pub per_minute: u32,
    /// Bytes a second, read from Redis and from the sources together.
    pub bytes: u64,
}

/// What the flow works with, made elsewhere.
pub struct Tools {
    pub looker: Looker,
    pub clock: Clock,
    pub metrics: Metrics,
}

/// The flow's handle; cloning shares it.
#[derive(Clone)]
pub struct Verify {
    config: Arc<ArcSwap<Config>>,
    heard: mpsc::Sender<Heard>,
    open: Open,
    violations: Violations,
    metrics: Metrics,
}

/// A violation, for people: no id in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub entity: Name,
    /// A hash of the member's key, as in the log.
    pub member: String,
    /// The look that found it.
    pub after: Duration,
    pub age: Duration,
    pub at: SystemTime,
}

/// The last few of them.
#[derive(Clone, Default)]
struct Violations(Arc<Mutex<VecDeque<Violation>>>);

struct Heard {
    id: u64,
    cleared: Cleared,
    at: Instant,
}

/// After a member had to be gone.
pub const LOOKS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(60)];
/// Cleared members that may wait to be taken in; that takes microseconds, and what comes too fast is left out.
const WAITING: usize = 64;
/// Violations kept: one is an alarm, and more than this say no more.
const KEPT: usize = 32;

impl Verify {
    pub fn start(config: Config, tools: Tools, tasks: &Tasks) -> Self {
        let (heard, hears) = mpsc::channel(WAITING);
        let verify = Self {
            config: Arc::new(ArcSwap::from_pointee(config)),
            heard,
            open: Open::default(),
            violations: Violations::default(),
            metrics: tools.metrics.clone(),
        };
        tasks.live("verify", verify.clone().follow(tools, hears));
        verify
    }

    pub fn reconfigure(&self, config: Config) {
        self.config.store(Arc::new(config));
    }

    /// Members that an invalidation has just cleared. Never waits.
    pub fn offer(&self, cleared: Vec<Cleared>) {
        if !self.config.load().enabled {
            return;
        }
        let at = Instant::now();
        for cleared in cleared {
            // Before anything else, so that an invalidation which comes from now on voids it.
            let Some(id) = self.open.enter(&cleared.key) else { continue };
            if let Err(refused) = self.heard.try_send(Heard { id, cleared, at }) {
                let Heard { id, cleared, .. } = refused.into_inner();
                self.open.leave(&cleared.key, id);
            }
        }
    }

    /// An invalidation concerns these keys: what is being checked of an older one is void.
    pub fn void(&self, keys: &[Key]) {
        self.open.void(keys);
    }

    /// The last violations, the oldest first.
    pub fn violations(&self) -> Vec<Violation> {
        self.violations.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    async fn follow(self, tools: Tools, mut hears: mpsc::Receiver<Heard>) {
        let Tools { looker, clock, metrics: _ } = tools;
        let (mut line, mut room) = (Line::default(), Instant::now());
        loop {
            let due = line.next_due();
            tokio::select! {
                biased;
                heard = hears.recv() => match heard {
                    Some(heard) => self.take_in(&looker, &mut line, &mut room, heard),
                    None => return,
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    let Some(case) = line.take() else { continue };
                    let bytes = self.look(&looker, clock, &mut line, case).await;
                    if let Some(bytes) = bytes {
                        sleep(self.pace().pause(bytes)).await;
                    }
                }
            }
            self.metrics.follows(self.open.count());
        }
    }

    /// As many as can be looked at in time: each takes one question and three looks.
    fn take_in(&self, looker: &Looker, line: &mut Line, room: &mut Instant, heard: Heard) {
        let Heard { id, cleared: Cleared { key, aliases }, at } = heard;
        let now = Instant::now();
        let skip = match looker.entity_of(&key) {
            Ok(_) if now < *room => Skip::Full,
            Ok(entity) => {
                *room = now + self.pace().every * (1 + LOOKS.len() as u32);
                // A source that lags tells the truth only after that.
                let since = at + entity.lag().unwrap_or_default();
                return line.add(Case::new(id, key, entity.name().clone(), aliases, since, &LOOKS), since);
            }
            Err(skip) => skip,
        };
        self.metrics.skipped(skip);
        self.open.leave(&key, id);
    }

    /// Answers the bytes it took; none where there was nothing to do.
    async fn look(&self, looker: &Looker, clock: Clock, line: &mut Line, mut case: Case) -> Option<usize> {
        if !self.open.holds(&case.key, case.id) {
            self.metrics.voided();
            return None;
        }
        let Stepped { found, next, bytes } = step(looker, &mut case).await;
        // One that came meanwhile explains everything.
        if !self.open.holds(&case.key, case.id) {
            self.metrics.voided();
            return Some(bytes);
        }
        if let Some(found) = found {
            self.tell(&case, &found, clock);
        }
        match next {
            Some(due) => line.add(case, due),
            None => self.open.leave(&case.key, case.id),
        }
        Some(bytes)
    }

    fn tell(&self, case: &Case, Found { look, finding }: &Found, clock: Clock) {
        let (entity, after, age) = (&case.entity, case.after(*look), age(case));
        self.metrics.looked(entity, after);
        self.metrics.checked(entity, finding);
        let member = shown::hash(&case.key.to_string());
        let (seconds, elapsed) = (after.as_secs(), age.as_millis() as u64);
        match finding {
            Finding::True | Finding::Nothing | Finding::Passed | Finding::Blind(_) => {}
            Finding::Wrong { kind: Wrong::Unannounced, keys } => {
                let keys = keys.len();
                tracing::info!(%entity, member, keys, "a source has changed, and nobody has said so");
            }
            Finding::Wrong { kind: Wrong::Stale, keys } => {
                let keys = keys.len();
                tracing::error!(
                    %entity, member, keys, after = seconds, age_ms = elapsed,
                    "a value is read that is older than what an invalidation removed"
                );
                self.metrics.violated(entity, after, age);
                let at = clock.wall();
                self.violations.keep(Violation { entity: entity.clone(), member, after, age, at });
            }
        }
    }

    fn pace(&self) -> Pace {
        let config = self.config.load();
        Pace::new(config.per_minute, config.bytes)
    }
}

impl Violations {
    fn keep(&self, violation: Violation) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back(violation);
    }
}
