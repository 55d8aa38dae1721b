//! One read of one member, as an application tells of it: checked against the configuration, counted, and handed to the
//! recorder where it says something of a subject's habits.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::domain::catalog::{Catalog, MemberError};
use crate::domain::entity::{Entity, Name};
use crate::domain::error::Kind;
use crate::domain::pseudonym::Pseudonym;
use crate::fill::settings::Live;
use crate::prehydrate::Config;
use crate::prehydrate::history::item::Item;
use crate::prehydrate::learn::Learner;
use crate::prehydrate::metrics::Metrics;
use crate::prehydrate::record::{Read, Recorder};
use crate::prehydrate::request::{Found, MemberRef};

/// A read that is older, or in the future, is taken to have been now.
const OLDEST: u64 = 3_600;

#[derive(Clone, Debug)]
pub struct Access {
    /// For whom; none for reads without a user.
    pub subject: Option<Pseudonym>,
    pub what: What,
    pub found: Found,
    /// Unix seconds; none for now.
    pub at: Option<u64>,
    /// How many alike it stands for.
    pub count: u32,
}

#[derive(Clone, Debug)]
pub enum What {
    Member(MemberRef),
    /// By one of its aliases, which says which entity was read and not which member.
    Alias {
        member: MemberRef,
        alias: String,
    },
    /// As it is in Redis.
    Key(String),
}

/// Why a report is refused: the part of it to blame, a kind, and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub path: &'static str,
    pub kind: Kind,
    pub problem: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Taken,
    /// Too many wait already.
    Dropped,
}

/// Takes reports; cloning shares it.
#[derive(Clone)]
pub struct Accesses {
    live: Live,
    learner: Learner,
    recorder: Recorder,
    config: Arc<ArcSwap<Config>>,
    metrics: Metrics,
}

impl Accesses {
    pub const fn new(
        live: Live,
        learner: Learner,
        recorder: Recorder,
        config: Arc<ArcSwap<Config>>,
        metrics: Metrics,
    ) -> Self {
        Self { live, learner, recorder, config, metrics }
    }

    /// The hash under which a user's history stands.
    pub fn subject(&self, tenant: Option<&str>, user: &str) -> Pseudonym {
        Pseudonym::new(self.learner.group(), tenant, user)
    }

    pub fn tell(&self, access: Access) -> Result<Fate, Refused> {
        let settings = self.live.get();
        let (entity, item) = look_up(&settings.catalog, &access.what)?;
        self.metrics.access(&entity, access.found, access.count);
        let (Some(subject), Some(item)) = (access.subject, item) else { return Ok(Fate::Taken) };
        // Where no history is kept reads are counted all the same.
        if self.config.load().history.is_none() {
            return Ok(Fate::Taken);
        }
        let now = self.learner.now().as_secs();
        let at = access.at.filter(|at| (now.saturating_sub(OLDEST)..=now).contains(at)).unwrap_or(now);
        Ok(if self.recorder.offer(Read { subject, item, at }) { Fate::Taken } else { Fate::Dropped })
    }
}

fn look_up(catalog: &Catalog, what: &What) -> Result<(Name, Option<Item>), Refused> {
    match what {
        What::Member(MemberRef { entity, params }) => {
            let declared = entity_of(catalog, entity)?;
            // A history is of what the subject itself reads, so what follows from the subject need not be told.
            let item = match catalog.member(entity, params.clone()) {
                Ok(member) => Item::of(&member),
                Err(_) if declared.follows_from_login() && params.is_empty() => Item::parse(entity),
                Err(error) => return Err(refuse("member.params", Kind::InvalidField, &error)),
            };
            Ok((declared.name().clone(), item))
        }
        What::Alias { member, alias } => {
            let declared = entity_of(catalog, &member.entity)?;
            if declared.aliases().iter().all(|known| known.name.as_str() != alias) {
                let problem = format!("the entity `{}` declares no such alias", declared.name());
                return Err(refuse("member.alias", Kind::UnknownAlias, &problem));
            }
            Ok((declared.name().clone(), None))
        }
        What::Key(key) => {
            let found = catalog.find(key);
            let found = found.ok_or_else(|| refuse("key", Kind::ForeignKey, &"it belongs to no declared entity"))?;
            let member = match found.alias {
                None => catalog.member(found.entity.name().as_str(), found.params).ok(),
                Some(_) => None,
            };
            Ok((found.entity.name().clone(), member.as_ref().and_then(Item::of)))
        }
    }
}

fn entity_of<'a>(catalog: &'a Catalog, name: &str) -> Result<&'a Arc<Entity>, Refused> {
    catalog
        .entity(name)
        .ok_or_else(|| refuse("member.entity", Kind::UnknownEntity, &MemberError::UnknownEntity(name.to_owned())))
}

fn refuse(path: &'static str, kind: Kind, problem: &impl ToString) -> Refused {
    Refused { path, kind, problem: problem.to_string() }
}
