//! Claim, fetch, commit: the one way a value gets into a store.
//!
//! The claim is taken before the source is asked, and the write is refused unless that claim still stands. Nothing that
//! was obtained before a claim is ever written. A fill that has begun runs to its end, whoever hangs up.
//!
//! The parts in the order of a fill: `claim` the key, register it under its `tags`, `fetch`, then claim its `aliases`,
//! `commit` the member and after it the aliases. Each of them leaves behind what leads an invalidation to it.

mod aliases;
mod claim;
mod commit;
mod ending;
pub mod epochs;
mod fetch;
mod flight;
pub mod gate;
pub mod metrics;
pub mod settings;
mod tags;
mod together;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::Instrument;

use crate::domain::budget::Budget;
use crate::domain::entity::{Credential, Entity, Load, Member};
use crate::domain::key::Key;
use crate::domain::outcome::{Outcome, Resource};
use crate::domain::pseudonym::Pseudonym;
use crate::domain::random::Random;
use crate::domain::secret::Secret;
use crate::domain::source::Source;
use crate::domain::store::{ClaimMode, Store, StoreError};
use crate::domain::subject::Subject;
use crate::domain::trace::TraceContext;
use crate::fill::ending::Filled;
use crate::fill::epochs::Epochs;
use crate::fill::flight::{Flight, Flights, Place, follow};
use crate::fill::gate::Gate;
use crate::fill::metrics::Metrics;
use crate::fill::settings::Settings;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Part of the names under which subjects are registered.
    pub group: String,
    /// The longest life of one attempt: a claim stands this long if nothing more is heard of its fill.
    pub claim_life: Duration,
    /// Values' bytes in flight at once, over all fills.
    pub in_flight_bytes: usize,
}

/// Fills members; cloning shares it.
#[derive(Clone)]
pub struct Filler {
    store: Arc<dyn Store>,
    config: Config,
    budget: Budget,
    flights: Flights,
    epochs: Epochs,
    gate: Gate,
    random: Random,
    metrics: Metrics,
}

/// One member to fill, and on whose behalf.
pub struct Job {
    pub settings: Arc<Settings>,
    pub member: Member,
    /// Who it is for, where somebody in particular asked. A subject's own member belongs to the subject of its key if
    /// nobody is named here.
    pub owner: Option<Owner>,
    /// The subject's session, for sources that ask for it.
    pub session: Option<Secret>,
    pub mode: ClaimMode,
    /// The value is written as if nobody had touched it for so long, where the store can do that.
    pub untouched_for: Option<Duration>,
    /// Up to how much shorter than its entity's life the value may live: what is filled together should not end together.
    pub stagger_percent: u8,
    pub trace: TraceContext,
    /// When the call came that this fill is for. Once the subject has logged out, what was asked for before is not
    /// written any more.
    pub accepted: Instant,
    /// The fetch ends by then, and so does waiting for another process's fill.
    pub deadline: Instant,
}

/// The subject a fill is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub subject: Pseudonym,
    pub tenant: Option<String>,
}

impl Filler {
    pub fn new(store: Arc<dyn Store>, config: Config, random: Random, metrics: Metrics) -> Self {
        let [seed, other] = [0; 2].map(|_| u64::from_le_bytes(random.bytes()));
        let epochs = Epochs::new(other);
        Self {
            store,
            budget: Budget::new(config.in_flight_bytes),
            config,
            flights: Flights::new(seed, epochs.clone()),
            epochs,
            gate: Gate::open(),
            random,
            metrics,
        }
    }

    /// Lets nobody join a fill or a plan of these keys any more that began before now. To be called after the keys are
    /// removed and before anybody is told so: what begins in between is fenced as well.
    pub fn forget(&self, keys: &[Key]) {
        self.epochs.end(keys);
    }

    /// The same for every key.
    pub fn forget_all(&self) {
        self.epochs.end_all();
    }

    /// What `forget` ends: for flows that join work of their own.
    pub fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// Where no fill may begin for the time being.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// A subject as the owner of what is filled for it.
    pub fn owner(&self, subject: &Subject) -> Owner {
        let tenant = subject.tenant().map(str::to_owned);
        Owner { subject: Pseudonym::of(&self.config.group, subject), tenant }
    }

    /// What stands at a key, for a flow that has just seen to it.
    pub async fn value(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        let held = self.store.read(std::slice::from_ref(key)).await?;
        Ok(held.into_iter().next().flatten().map(|held| held.value))
    }

    pub async fn fill(&self, job: Job) -> Resource {
        let (filled, elapsed) = self.fill_one(&job, None).await;
        filled.about(job.member, elapsed)
    }

    /// Fetches from the source that the settings name, or from one that stands for it.
    async fn fill_one(&self, job: &Job, instead: Option<&dyn Source>) -> (Filled, Duration) {
        let timer = self.metrics.fill_started();
        let span = tracing::debug_span!("fill", entity = %job.member.entity.name(), outcome = tracing::field::Empty);
        let filled = self.fill_or_follow(job, instead).instrument(span.clone()).await;
        span.record("outcome", filled.outcome.as_str());
        let elapsed = timer.finish(&job.member.entity, filled.outcome);
        (filled, elapsed)
    }

    async fn fill_or_follow(&self, job: &Job, instead: Option<&dyn Source>) -> Filled {
        let entity = &job.member.entity;
        if !job.settings.switch.fills(entity) {
            return Filled::because(Outcome::Disabled, "fills of this entity are switched off");
        }
        if Instant::now() >= job.deadline {
            return Filled::because(Outcome::Shed, "its plan's time was over before its turn came");
        }
        let Some((load, source)) = load_of(&job.settings, entity) else {
            return Filled::because(Outcome::Failed, "the entity has no source to load from");
        };
        let source = instead.unwrap_or(&**source);
        let flight = Flight {
            key: job.member.key.clone(),
            session: forwarded(job, load).cloned(),
            refresh: job.mode == ClaimMode::Refresh,
        };
        loop {
            match self.flights.enter(flight.clone()) {
                Place::Leader(leader) => {
                    let filled = self.lead(job, load, source).await;
                    leader.land(&filled);
                    return filled;
                }
                // A leader that vanished leaves its place to us.
                Place::Follower(end) => {
                    if let Some(filled) = follow(end).await {
                        return filled;
                    }
                }
            }
        }
    }

    async fn lead(&self, job: &Job, load: &Load, source: &dyn Source) -> Filled {
        match self.claim_until_settled(job).await {
            Ok(claim) => self.fetch_and_commit(job, load, source, claim).await,
            Err(settled) => settled,
        }
    }
}

/// The session, only where the load asks for it.
fn forwarded<'a>(job: &'a Job, load: &Load) -> Option<&'a Secret> {
    match load.credential {
        Credential::Session => job.session.as_ref(),
        Credential::Service => None,
    }
}

fn load_of<'a>(settings: &'a Settings, entity: &'a Entity) -> Option<(&'a Load, &'a Arc<dyn Source>)> {
    let load = entity.load()?;
    Some((load, settings.sources.get(&load.source)?))
}
