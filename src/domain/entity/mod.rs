//! A declared kind of cached thing: its keys, where it is loaded from, how long it lives and what of it may be kept.
//!
//! An `Entity` can only be made by [`Entity::new`], which refuses what would leak or lie: a subject's data under a key
//! without the subject in it, a forwarded session filling what others read, a value without an end.

pub mod check;
pub mod follows;
pub mod load;
#[cfg(test)]
pub mod sample;
pub mod upkeep;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::declared_version::DeclaredVersion;
use crate::domain::entity::check::EntityError;
use crate::domain::entity::follows::Follows;
use crate::domain::entity::load::{Ask, Bulk};
use crate::domain::key::Key;
use crate::domain::projection::Projection;
use crate::domain::projection::paths::Place;
use crate::domain::subject::{Fact, Subject};
use crate::domain::template::{Ids, Params, Template};
use crate::domain::ttl::Ttl;

/// The name of an entity, a source or an alias, as the configuration declares it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

#[derive(Clone, Debug)]
pub struct Entity {
    name: Name,
    key: Template,
    ids: Ids,
    aliases: Vec<Alias>,
    scope: Scope,
    class: Class,
    bind: BTreeMap<String, Fact>,
    follows: Option<Follows>,
    load: Option<Load>,
    ttl: Ttl,
    projection: Projection,
    owner: Option<Place>,
    version: Option<DeclaredVersion>,
    soft: Option<Duration>,
    writers: Writers,
    tags: Vec<Template>,
    secret: bool,
}

/// What the configuration says of an entity, each part already of its type; [`Entity::new`] checks them together.
#[derive(Clone, Debug)]
pub struct Draft {
    pub name: Name,
    pub key: Template,
    pub ids: Ids,
    pub aliases: Vec<Alias>,
    pub scope: Scope,
    pub class: Class,
    /// Which fact of the subject each parameter takes when a caller names none.
    pub bind: BTreeMap<String, Fact>,
    /// Which parameters are known only from another entity's answer.
    pub follows: Option<Follows>,
    pub load: Option<Load>,
    pub ttl: Ttl,
    pub projection: Projection,
    /// Where the source's answer says whose it is.
    pub owner: Option<Place>,
    /// Where the source's answer says how new it is.
    pub version: Option<DeclaredVersion>,
    /// For how long a value may still be read after a soft invalidation. None: there is none of this entity.
    pub soft: Option<Duration>,
    pub writers: Writers,
    /// Known before the fetch, and the same whoever asks: else a key would stand in the tags of whoever came first.
    pub tags: Vec<Template>,
    /// The ids are secret (session tokens): they appear hashed everywhere but in the key itself.
    pub secret: bool,
}

/// A further key of the same member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    pub name: Name,
    pub key: Template,
    pub value: AliasValue,
    /// Where the value holds what the alias is named by, if not in a field of the parameter's name.
    pub from: Option<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AliasValue {
    /// The alias key holds the member's id; a reader makes a second read.
    Id,
    /// The alias key holds the whole value again.
    Full,
}

/// Whose data it is, and so whose credentials may fill it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One subject's own: a forwarded session may fill it, for that subject only.
    Subject,
    /// Everybody's of one tenant: service credentials only.
    Tenant,
    /// Everybody's: service credentials only.
    Shared,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Always in local memory, updated at once.
    Critical,
    /// Kept by TTL, dropped by messages, fetched again on demand.
    Reference,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writers {
    /// Only Hydrant writes these keys.
    Hydrant,
    /// Apps write them as well.
    Shared,
}

/// Where a member is loaded from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    pub source: Name,
    pub ask: Ask,
    /// How many members are loaded with one call, where the source can.
    pub bulk: Option<Bulk>,
    /// Whether the source asks for the subject's own session rather than a service credential.
    pub credential: Credential,
    /// For how long after a change the source may still answer what was before it.
    pub lag: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// The subject's session token, forwarded.
    Session,
    /// The source's own, or none.
    Service,
}

/// One of an entity's members: its parameters and the key that follows from them.
#[derive(Clone, Debug)]
pub struct Member {
    pub entity: Arc<Entity>,
    pub params: Params,
    pub key: Key,
}

impl Name {
    /// Letters, digits, `_` and `-`, at most 64: names become metric labels.
    pub fn new(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= 64;
        let clean = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        (fits && clean).then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Entity {
    /// Checks the parts against each other; gives every problem there is, not the first.
    pub fn new(mut draft: Draft) -> Result<Self, Vec<EntityError>> {
        draft.bind_by_default();
        // Whoever has a session's token is the user; nobody should have to remember to say so.
        draft.secret |= draft.bind.values().any(|fact| *fact == Fact::Session);
        let problems = draft.problems();
        if !problems.is_empty() {
            return Err(problems);
        }
        let Draft {
            name,
            key,
            ids,
            aliases,
            scope,
            class,
            bind,
            follows,
            load,
            ttl,
            projection,
            owner,
            version,
            soft,
            writers,
            tags,
            secret,
        } = draft;
        let entity = Self {
            name,
            key,
            ids,
            aliases,
            scope,
            class,
            bind,
            follows,
            load,
            ttl,
            projection,
            owner,
            version,
            soft,
            writers,
            tags,
            secret,
        };
        Ok(entity)
    }

    pub fn name(&self) -> &Name {
        &self.name
    }

    pub fn key(&self) -> &Template {
        &self.key
    }

    pub fn ids(&self) -> Ids {
        self.ids
    }

    pub fn aliases(&self) -> &[Alias] {
        &self.aliases
    }

    pub fn scope(&self) -> Scope {
        self.scope
    }

    pub fn class(&self) -> Class {
        self.class
    }

    /// Which parameters another entity's answer gives.
    pub fn follows(&self) -> Option<&Follows> {
        self.follows.as_ref()
    }

    pub fn load(&self) -> Option<&Load> {
        self.load.as_ref()
    }

    pub fn ttl(&self) -> &Ttl {
        &self.ttl
    }

    pub fn projection(&self) -> &Projection {
        &self.projection
    }

    /// Where an answer names the user whose it is; one that names another is not kept.
    pub fn owner(&self) -> Option<&Place> {
        self.owner.as_ref()
    }

    pub fn version(&self) -> Option<&DeclaredVersion> {
        self.version.as_ref()
    }

    /// The grace of a soft invalidation, where the entity allows one.
    pub fn soft(&self) -> Option<Duration> {
        self.soft
    }

    pub fn writers(&self) -> Writers {
        self.writers
    }

    pub fn tags(&self) -> &[Template] {
        &self.tags
    }

    pub fn is_secret(&self) -> bool {
        self.secret
    }

    /// Whether every parameter of the key can be taken from a subject.
    pub fn follows_from_subject(&self) -> bool {
        self.key.params().all(|param| self.bind.contains_key(param))
    }

    /// Whether nobody has to name a parameter: the subject gives it, or another entity's answer does.
    pub fn follows_from_login(&self) -> bool {
        self.key.params().all(|param| self.bind.contains_key(param) || self.is_told(param))
    }

    /// Whether another entity's answer gives the parameter.
    pub fn is_told(&self, param: &str) -> bool {
        self.follows.as_ref().is_some_and(|follows| follows.by.contains_key(param))
    }

    /// Fills in what a caller left out from the subject's facts.
    pub fn complete(&self, subject: &Subject, params: &Params) -> Params {
        let mut complete = params.clone();
        for (param, fact) in &self.bind {
            if complete.get(param).is_none()
                && let Some(value) = subject.fact(fact)
            {
                complete.insert(param.clone(), value);
            }
        }
        complete
    }

    /// The parameter that is bound to a fact.
    pub fn param_of(&self, fact: &Fact) -> Option<&str> {
        self.bind.iter().find(|(_, bound)| *bound == fact).map(|(param, _)| param.as_str())
    }

    /// The fact of the subject that a parameter takes when a caller names none.
    pub fn fact_of(&self, param: &str) -> Option<&Fact> {
        self.bind.get(param)
    }

    /// A subject may only touch what is its own: every parameter bound to a fact of it must hold that fact.
    pub fn belongs_to(&self, subject: &Subject, params: &Params) -> bool {
        let mine = |(param, fact): (&String, &Fact)| subject.fact(fact) == params.get(param);
        match self.scope {
            Scope::Subject => self.bind.iter().all(mine),
            Scope::Tenant => self.bind.iter().filter(|(_, fact)| **fact == Fact::Tenant).all(mine),
            Scope::Shared => true,
        }
    }
}

impl Draft {
    /// A subject-scoped entity with one parameter and nothing said of it is keyed by the subject's user id; a parameter
    /// called `tenant` takes the tenant.
    fn bind_by_default(&mut self) {
        let params: Vec<String> = self.key.params().map(str::to_owned).collect();
        let told = |param: &str| self.follows.as_ref().is_some_and(|follows| follows.by.contains_key(param));
        if params.iter().any(|p| p == "tenant") && !told("tenant") {
            self.bind.entry("tenant".to_owned()).or_insert(Fact::Tenant);
        }
        let unbound: Vec<&String> = params.iter().filter(|p| !self.bind.contains_key(*p) && !told(p)).collect();
        let has_subject = self.bind.values().any(|fact| matches!(fact, Fact::User | Fact::Session));
        if let ([only], Scope::Subject, false) = (&unbound[..], self.scope, has_subject) {
            self.bind.insert((*only).clone(), Fact::User);
        }
    }
}

impl Scope {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Tenant => "tenant",
            Self::Shared => "shared",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::sample::shared;
    use super::*;

    fn load(credential: Credential, path: &str) -> Option<Load> {
        let path = Template::parse(path).expect("a good template");
        Some(Load { credential, ..Load::plain(Name::new("api").expect("a good name"), Ask::Get(path)) })
    }

    fn subject(user: &str, tenant: Option<&str>) -> Subject {
        Subject::new(user.into(), None, tenant.map(str::to_owned), Params::default()).expect("a good subject")
    }

    #[test]
    fn a_subjects_data_needs_the_subject_in_its_key() {
        let two = Draft { scope: Scope::Subject, ..shared("user", "user:{id}:{part}") };
        assert_eq!(Entity::new(two.clone()).expect_err("refused"), [EntityError::SubjectNotInKey]);
        let bound = Draft { bind: BTreeMap::from([("id".into(), Fact::User)]), ..two };
        assert!(Entity::new(bound).is_ok());
        let tenant = Draft { scope: Scope::Tenant, ..shared("role", "role:{id}") };
        assert_eq!(Entity::new(tenant).expect_err("refused"), [EntityError::TenantNotInKey]);
    }

    #[test]
    fn a_key_with_a_sessions_token_is_secret_though_nobody_says_so() {
        let bound = |fact| Draft {
            scope: Scope::Subject,
            bind: BTreeMap::from([("id".into(), fact)]),
            ..shared("basket", "basket:{id}")
        };
        assert!(Entity::new(bound(Fact::Session)).expect("an entity").is_secret());
        assert!(!Entity::new(bound(Fact::User)).expect("an entity").is_secret());
    }

    #[test]
    fn a_forwarded_session_fills_only_what_is_the_subjects_own() {
        for (scope, key) in [(Scope::Shared, "x:{id}"), (Scope::Tenant, "x:{tenant}:{id}")] {
            let draft = Draft { scope, load: load(Credential::Session, "/x/{id}"), ..shared("x", key) };
            let problems = Entity::new(draft).expect_err("refused");
            assert!(matches!(problems[..], [EntityError::SessionBeyondSubject(_)]), "{problems:?}");
        }
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let draft = Draft {
            scope: Scope::Tenant,
            bind: BTreeMap::from([("nope".into(), Fact::User)]),
            load: load(Credential::Service, "/x/{other}"),
            tags: vec![Template::parse("colour:{colour}").expect("a good template")],
            ..shared("x", "x:{id}")
        };
        assert_eq!(Entity::new(draft).expect_err("refused").len(), 4);
    }

    #[test]
    fn what_a_caller_leaves_out_comes_from_the_subject() {
        let draft = Draft { scope: Scope::Subject, ..shared("user", "user:{tenant}:{id}") };
        let entity = Entity::new(draft).expect("a good entity");
        assert!(entity.follows_from_subject());
        let complete = entity.complete(&subject("7", Some("acme")), &Params::default());
        assert_eq!((complete.get("id"), complete.get("tenant")), (Some("7"), Some("acme")));
    }

    #[test]
    fn a_member_of_another_subject_or_tenant_does_not_belong() {
        let draft = Draft { scope: Scope::Subject, ..shared("user", "user:{tenant}:{id}") };
        let entity = Entity::new(draft).expect("a good entity");
        let member = |tenant, id| [("tenant", tenant), ("id", id)].into_iter().collect::<Params>();
        let me = subject("7", Some("acme"));
        assert!(entity.belongs_to(&me, &member("acme", "7")));
        assert!(!entity.belongs_to(&me, &member("acme", "8")));
        assert!(!entity.belongs_to(&me, &member("other", "7")));
        assert!(!entity.belongs_to(&subject("7", None), &member("acme", "7")));
    }
}
