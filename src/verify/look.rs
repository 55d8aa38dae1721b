//! One look: what stands at a member's keys, read as any client reads it, and what its source says now.
//!
//! The source is asked with its own credential. Nothing is claimed and nothing is written: a look leaves no trace but its
//! requests. Keys are read before the source is asked, so that a change in between shows as a difference, which is looked
//! at again, and never hides one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::domain::budget::Budget;
use crate::domain::entity::{Credential, Entity, Load, Member, Writers};
use crate::domain::key::Key;
use crate::domain::random::Random;
use crate::domain::source::{FetchAsk, Fetched, Source};
use crate::domain::store::{Held, Store};
use crate::domain::trace::TraceContext;
use crate::fill::settings::{Live, Settings};
use crate::verify::case::{Blind, Patience, Sight};
use crate::verify::truth::{Seen, Truth, aliases};

/// A source that takes longer is asked at the next look.
const LONGEST: Duration = Duration::from_secs(5);
/// Of one answer; there is one at a time.
const MOST_BYTES: usize = 32 << 20;
/// Between a change at a source and the end of its own invalidation.
const ON_THE_WAY: Duration = Duration::from_secs(2);
/// What applications write back within 2 s of an invalidation is swept 1.5 s later at the latest, and half a second is
/// for the sweep.
const SWEPT: Duration = Duration::from_secs(4);

#[derive(Clone)]
pub struct Looker {
    store: Arc<dyn Store>,
    live: Live,
    random: Random,
    budget: Budget,
}

/// Why a member cannot be compared at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// Its key is no entity's own.
    Unknown,
    /// Its entity is loaded from nowhere.
    NoSource,
    /// Its source answers to the user's own session only.
    Session,
    /// Too much is being followed already.
    Full,
}

/// What a look has met, and what it took.
pub struct Looked {
    pub sight: Sight,
    pub bytes: usize,
    pub patience: Patience,
}

impl Looker {
    pub fn new(store: Arc<dyn Store>, live: Live, random: Random) -> Self {
        Self { store, live, random, budget: Budget::new(MOST_BYTES) }
    }

    /// The entity whose member's own key this is, if its source can be asked without anybody's session.
    pub fn entity_of(&self, key: &Key) -> Result<Arc<Entity>, Skip> {
        let settings = self.live.get();
        let member = member(&settings, key).ok_or(Skip::Unknown)?;
        source(&settings, &member.entity).map(|_| member.entity.clone())
    }

    /// What the source says, and how many bytes that took.
    pub async fn ask(&self, key: &Key) -> (Result<Truth, Blind>, usize) {
        let settings = self.live.get();
        let Some(member) = member(&settings, key) else { return (Err(Blind::Source), 0) };
        self.truth(&settings, &member).await
    }

    /// A reload may have changed what the key is, so that is found out anew each time.
    pub async fn look(&self, key: &Key, more: &[Key]) -> Looked {
        let settings = self.live.get();
        let Some(member) = member(&settings, key) else {
            return Looked { sight: Sight::Nothing, bytes: 0, patience: Patience { least: ON_THE_WAY, grace: None } };
        };
        let patience = patience(&member.entity);
        let mut bytes = 0;
        let sight = match self.see(&settings, &member, more, &mut bytes).await {
            Ok(sight) => sight,
            Err(blind) => Sight::Blind(blind),
        };
        Looked { sight, bytes, patience }
    }

    async fn see(&self, settings: &Settings, member: &Member, more: &[Key], bytes: &mut usize) -> Result<Sight, Blind> {
        let mut known: Vec<Key> = std::iter::once(&member.key).chain(more).cloned().collect();
        known.dedup();
        let held = self.read(&known, bytes).await?;
        if held.is_empty() {
            return Ok(Sight::Nothing);
        }
        let (truth, read) = self.truth(settings, member).await;
        *bytes += read;
        let truth = truth?;
        // The aliases that this value has, and those that the source's has.
        let own = held.iter().find(|(key, _)| *key == member.key);
        let named = own.map(|(_, own)| aliases(&settings.catalog, member, &own.value)).unwrap_or_default();
        let rest: BTreeSet<Key> = named.union(&truth.aliases).filter(|key| !known.contains(key)).cloned().collect();
        let rest = self.read(&Vec::from_iter(rest), bytes).await?;
        let seen = |(key, held): &(Key, Held)| Seen::new(&settings.catalog, member, key, held);
        Ok(Sight::Seen { keys: held.iter().chain(&rest).filter_map(seen).collect(), truth })
    }

    /// What stands at those of the keys at which something stands.
    async fn read(&self, keys: &[Key], bytes: &mut usize) -> Result<Vec<(Key, Held)>, Blind> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let held = self.store.read(keys).await.map_err(|_| Blind::Store)?;
        let held: Vec<(Key, Held)> =
            keys.iter().cloned().zip(held).filter_map(|(key, held)| Some((key, held?))).collect();
        *bytes += held.iter().map(|(_, held)| held.value.len()).sum::<usize>();
        Ok(held)
    }

    async fn truth(&self, settings: &Settings, member: &Member) -> (Result<Truth, Blind>, usize) {
        let Ok((_, source)) = source(settings, &member.entity) else { return (Err(Blind::Source), 0) };
        let meter = self.budget.meter();
        let ask = FetchAsk {
            member,
            session: None,
            trace: TraceContext::start(&self.random),
            deadline: Instant::now() + LONGEST,
            max_bytes: member.entity.projection().max_body_bytes(),
            meter: &meter,
        };
        let told = |value: Option<&Bytes>| Truth::new(&settings.catalog, member, value);
        match source.fetch(ask).await {
            Ok(Fetched::Absent) => (Ok(told(None)), 0),
            Ok(Fetched::Found(body)) => {
                // What could not be cached cannot be compared with what is.
                let kept = member.entity.projection().apply(&body).map_err(|_| Blind::Source);
                (kept.map(|value| told(Some(&value))), body.len())
            }
            Err(error) => {
                tracing::debug!(entity = %member.entity.name(), %error, "a source could not be asked for a comparison");
                (Err(Blind::Source), 0)
            }
        }
    }
}

impl Skip {
    pub const ALL: [Self; 4] = [Self::Unknown, Self::NoSource, Self::Session, Self::Full];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::NoSource => "no_source",
            Self::Session => "session",
            Self::Full => "full",
        }
    }
}

/// The member whose own key this is.
pub fn member(settings: &Settings, key: &Key) -> Option<Member> {
    let found = settings.catalog.find(std::str::from_utf8(key.as_bytes()).ok()?)?;
    match found.alias {
        None => Some(Member { entity: found.entity.clone(), params: found.params, key: key.clone() }),
        Some(_) => None,
    }
}

fn source<'a>(settings: &'a Settings, entity: &'a Entity) -> Result<(&'a Load, &'a Arc<dyn Source>), Skip> {
    let load = entity.load().ok_or(Skip::NoSource)?;
    match load.credential {
        Credential::Session => Err(Skip::Session),
        Credential::Service => Ok((load, settings.sources.get(&load.source).ok_or(Skip::NoSource)?)),
    }
}

fn patience(entity: &Entity) -> Patience {
    let shared = match entity.writers() {
        Writers::Shared => SWEPT,
        Writers::Hydrant => Duration::ZERO,
    };
    Patience { least: ON_THE_WAY.max(shared) + entity.lag().unwrap_or_default(), grace: entity.soft() }
}
