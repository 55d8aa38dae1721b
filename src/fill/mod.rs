//! Claim, fetch, commit: the one way a value gets into a store.
//!
//! The claim is taken before the source is asked, and the write is refused unless that claim still stands. Nothing that
//! was obtained before a claim is ever written. A fill that has begun runs to its end, whoever hangs up.

mod flight;
pub mod metrics;
pub mod settings;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};
use tracing::Instrument;

use crate::domain::backoff::Backoff;
use crate::domain::budget::Budget;
use crate::domain::entity::{Credential, Entity, Load, Member};
use crate::domain::outcome::{Outcome, Resource, Written};
use crate::domain::projection::Refusal;
use crate::domain::random::Random;
use crate::domain::secret::Secret;
use crate::domain::source::{FetchAsk, FetchError, Fetched, Source};
use crate::domain::store::{Claim, ClaimAsk, ClaimMode, Claimed, Committed, Rules, Store, StoreError, Write};
use crate::domain::trace::TraceContext;
use crate::fill::flight::{Flight, Flights, Place, follow};
use crate::fill::metrics::Metrics;
use crate::fill::settings::Settings;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The longest life of one attempt: a claim stands this long if nothing more is heard of its fill.
    pub claim_life: Duration,
    /// Values' bytes in flight at once, over all fills.
    pub in_flight_bytes: usize,
}

/// Between looks at a key that another process is filling: its fetch takes tens of milliseconds, and ten looks a second
/// cost Redis nothing.
const LOOKS: Backoff = match Backoff::new(Duration::from_millis(10), Duration::from_millis(100)) {
    Ok(backoff) => backoff,
    Err(_) => panic!("the first wait is the shorter one"),
};

/// The shortest life a store takes. An absence that is not to be remembered is committed for this long, because only a
/// commit takes away, under the claim, what stood at the key of a member that is gone.
const FORGOTTEN_AT_ONCE: Duration = Duration::from_millis(1);

/// Fills members; cloning shares it.
#[derive(Clone)]
pub struct Filler {
    store: Arc<dyn Store>,
    config: Config,
    budget: Budget,
    flights: Flights,
    random: Random,
    metrics: Metrics,
}

/// One member to fill, and on whose behalf.
pub struct Job {
    pub settings: Arc<Settings>,
    pub member: Member,
    /// The subject's session, for sources that ask for it.
    pub session: Option<Secret>,
    pub mode: ClaimMode,
    pub trace: TraceContext,
    /// The fetch ends by then, and so does waiting for another process's fill.
    pub deadline: Instant,
}

/// How a fill ended, without what it was about.
#[derive(Clone, Debug)]
pub struct Filled {
    outcome: Outcome,
    reason: String,
    written: Option<Written>,
}

impl Filler {
    pub fn new(store: Arc<dyn Store>, config: Config, random: Random, metrics: Metrics) -> Self {
        let seed = u64::from_le_bytes(random.bytes());
        Self {
            store,
            config,
            budget: Budget::new(config.in_flight_bytes),
            flights: Flights::new(seed),
            random,
            metrics,
        }
    }

    pub async fn fill(&self, job: Job) -> Resource {
        let timer = self.metrics.fill_started();
        let span = tracing::debug_span!("fill", entity = %job.member.entity.name(), outcome = tracing::field::Empty);
        let Filled { outcome, reason, written } = self.fill_or_follow(&job).instrument(span.clone()).await;
        span.record("outcome", outcome.as_str());
        let elapsed = timer.finish(&job.member.entity, outcome);
        Resource { member: job.member, outcome, reason, elapsed, written }
    }

    async fn fill_or_follow(&self, job: &Job) -> Filled {
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
        let flight = Flight {
            key: job.member.key.clone(),
            session: forwarded(job, load).cloned(),
            refresh: job.mode == ClaimMode::Refresh,
        };
        loop {
            match self.flights.enter(flight.clone()) {
                Place::Leader(leader) => {
                    let filled = self.claim_until_settled(job, load, source).await;
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

    /// Claims; while another process holds the claim, looks again until the deadline.
    async fn claim_until_settled(&self, job: &Job, load: &Load, source: &Arc<dyn Source>) -> Filled {
        for look in 0.. {
            let ask = ClaimAsk { key: &job.member.key, life: self.config.claim_life, mode: job.mode };
            match self.store.claim(ask).await {
                Ok(Claimed::Held(claim)) => return self.fetch_and_commit(job, load, source, claim).await,
                Ok(Claimed::Fresh) => return Filled::plain(Outcome::Fresh),
                Ok(Claimed::Absent) => {
                    return Filled::because(Outcome::Absent, "the source had none a moment ago");
                }
                Ok(Claimed::InFlight { .. }) => {}
                Err(error) => return Filled::from_store(error),
            }
            let next = Instant::now() + LOOKS.jittered(look, self.random.unit());
            if next >= job.deadline {
                return Filled::because(Outcome::InFlight, "another fill of this key is still running");
            }
            sleep_until(next).await;
        }
        Filled::plain(Outcome::InFlight)
    }

    async fn fetch_and_commit(
        &self,
        job: &Job,
        load: &Load,
        source: &Arc<dyn Source>,
        claim: Box<dyn Claim>,
    ) -> Filled {
        let entity = &job.member.entity;
        let meter = self.budget.meter();
        let fetched = source
            .fetch(FetchAsk {
                member: &job.member,
                session: forwarded(job, load),
                trace: job.trace,
                deadline: job.deadline.min(Instant::now() + self.config.claim_life),
                max_bytes: entity.projection().max_body_bytes(),
                meter: &meter,
            })
            .await;
        let refused = match fetched {
            Ok(Fetched::Found(body)) => match entity.projection().apply(&body) {
                Ok(value) => return self.commit(claim, entity, value).await,
                Err(refusal) => Filled::from_refusal(&refusal),
            },
            Ok(Fetched::Absent) => {
                let life = entity.ttl().absent().unwrap_or(FORGOTTEN_AT_ONCE);
                return Filled::from_absent(claim.commit_absent(life, Rules::default()).await);
            }
            Err(error) => Filled::from_fetch(error),
        };
        // A claim that cannot be given back ends by itself; the outcome is the same.
        if let Err(error) = claim.abort().await {
            tracing::debug!(%error, "a claim could not be given back");
        }
        refused
    }

    async fn commit(&self, claim: Box<dyn Claim>, entity: &Entity, value: Bytes) -> Filled {
        let written = Written { bytes: value.len(), ttl: entity.ttl().draw(&self.random) };
        match claim.commit(Write::plain(value, written.ttl)).await.map(|landing| landing.committed) {
            Ok(Committed::Written) => {
                self.metrics.value_written(entity, written.bytes);
                Filled { written: Some(written), ..Filled::plain(Outcome::Filled) }
            }
            Ok(Committed::Kept) => Filled::plain(Outcome::Fresh),
            Ok(Committed::Fenced) => Filled::because(Outcome::Fenced, "invalidated while it was being fetched"),
            Ok(Committed::Superseded) => Filled::because(Outcome::Fenced, "older than what was declared invalid"),
            Err(error) => Filled::from_store(error),
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

impl Filled {
    fn plain(outcome: Outcome) -> Self {
        Self { outcome, reason: String::new(), written: None }
    }

    fn because(outcome: Outcome, reason: impl ToString) -> Self {
        Self { reason: reason.to_string(), ..Self::plain(outcome) }
    }

    fn from_absent(committed: Result<Committed, StoreError>) -> Self {
        match committed {
            Ok(Committed::Written | Committed::Kept) => Self::because(Outcome::Absent, "the source has none"),
            Ok(Committed::Fenced) => Self::because(Outcome::Fenced, "invalidated while it was being fetched"),
            Ok(Committed::Superseded) => Self::because(Outcome::Fenced, "older than what was declared invalid"),
            Err(error) => Self::from_store(error),
        }
    }

    fn from_store(error: StoreError) -> Self {
        let outcome = match error {
            StoreError::Overloaded => Outcome::Shed,
            StoreError::Unreachable | StoreError::Timeout | StoreError::Refused(_) => Outcome::Failed,
        };
        Self::because(outcome, error)
    }

    fn from_fetch(error: FetchError) -> Self {
        let outcome = match error {
            FetchError::Timeout => Outcome::Timeout,
            FetchError::Denied | FetchError::NoSession => Outcome::Denied,
            FetchError::TooLarge => Outcome::TooLarge,
            FetchError::Shed => Outcome::Shed,
            FetchError::Unreachable | FetchError::Status(_) | FetchError::Redirect | FetchError::Broken => {
                Outcome::Failed
            }
        };
        Self::because(outcome, error)
    }

    fn from_refusal(refusal: &Refusal) -> Self {
        let outcome = match refusal {
            Refusal::TooLarge { .. } => Outcome::TooLarge,
            Refusal::Secret { .. } => Outcome::Denied,
            Refusal::Malformed(_) | Refusal::NoBody(_) => Outcome::Failed,
        };
        Self::because(outcome, refusal)
    }
}
