//! One read of one member, as an application tells of it: checked against the configuration, counted, and handed to the
//! recorder where it says something of a subject's habits.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::domain::catalog::{Catalog, MemberError};
use crate::domain::entity::{Entity, Member, Name};
use crate::domain::error::Kind;
use crate::domain::pseudonym::Pseudonym;
use crate::domain::subject::Fact;
use crate::fill::settings::Live;
use crate::prehydrate::Config;
use crate::prehydrate::history::item::Item;
use crate::prehydrate::learn::Learner;
use crate::prehydrate::metrics::Metrics;
use crate::prehydrate::record::{Read, Recorder};
use crate::prehydrate::request::{Found, MemberRef};

/// A read that is older, or in the future, is taken to have been now.
const OLDEST: u64 = 3_600;

#[derive(Clone)]
pub struct Access {
    /// For whom; none for reads without a user.
    pub subject: Option<Pseudonym>,
    /// The subject's, where it was said.
    pub tenant: Option<String>,
    pub what: What,
    pub found: Found,
    /// Unix seconds; none for now.
    pub at: Option<u64>,
    /// How many alike it stands for.
    pub count: u32,
}

#[derive(Clone)]
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
        let is_own = |member: &Member| self.may_be_own(&access, member);
        let (entity, item) = look_up(&settings.catalog, &access.what, is_own)?;
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

    /// Whether the member is the reader's as far as that can be told: an agent who looks at a customer's profile does not
    /// therefore read their own.
    fn may_be_own(&self, access: &Access, member: &Member) -> bool {
        let param = |fact| member.entity.param_of(fact).and_then(|param| member.params.get(param));
        let bound = param(&Fact::Tenant);
        let is_tenants = bound.is_none() || access.tenant.is_none() || bound == access.tenant.as_deref();
        let tenant = access.tenant.as_deref().or(bound);
        let is_users = match (param(&Fact::User), access.subject) {
            (Some(user), Some(subject)) => self.subject(tenant, user) == subject,
            (None, _) | (_, None) => true,
        };
        is_tenants && is_users
    }
}

/// The entity that was read, and what that says of whoever read it.
fn look_up(catalog: &Catalog, what: &What, is_own: impl Fn(&Member) -> bool) -> Result<(Name, Option<Item>), Refused> {
    let item_of = |member: &Member| if is_own(member) { Item::of(member) } else { None };
    match what {
        What::Member(MemberRef { entity, params }) => {
            let declared = entity_of(catalog, entity)?;
            // A history is of what the subject itself reads, so what follows from the subject need not be told.
            let item = match catalog.member(entity, params.clone()) {
                Ok(member) => item_of(&member),
                Err(_) if declared.follows_from_login() && params.is_empty() => {
                    declared.load().map(|_| Item::whole(declared.name().clone()))
                }
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
            Ok((found.entity.name().clone(), member.as_ref().and_then(item_of)))
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
