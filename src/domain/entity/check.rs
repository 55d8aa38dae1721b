//! Whether the parts of an entity go together: what would leak, lie or never be found again is refused.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::domain::entity::load::{Ask, Bulk, BulkAsk, IDS};
use crate::domain::entity::{AliasValue, Credential, Draft, Load, Name, Scope};
use crate::domain::projection::paths::Place;
use crate::domain::subject::Fact;
use crate::domain::template::Template;

/// A fill claims and writes this many keys at once besides the member's own; a member with more names is a table.
pub const MAX_ALIASES: usize = 16;
/// Every fill writes into all of its tags.
pub const MAX_TAGS: usize = 8;
/// What Hydrant's own keys begin with, besides those that stand beside an app's key.
pub const OWN_PREFIX: &str = "hydrant:";

/// Why parts that are each fine do not make an entity. The first word of `field` is the part to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntityError {
    #[error("`{0}` is bound, but the key has no such parameter")]
    BoundNowhere(String),
    #[error("a subject-scoped key must hold the subject: bind one of its parameters to the subject's user or session")]
    SubjectNotInKey,
    #[error("a tenant-scoped key must hold the tenant: bind one of its parameters to it")]
    TenantNotInKey,
    #[error("`{0}` is to follow from another entity, but the key has no such parameter")]
    ToldNowhere(String),
    #[error("`{0}` is bound to the subject, and is to follow from another entity as well")]
    ToldTwice(String),
    #[error("it follows from another entity, but no parameter does")]
    NothingTold,
    #[error("the source forwards the subject's session, which may fill subject-scoped entities only; this one is {0}")]
    SessionBeyondSubject(&'static str),
    #[error("`{{{param}}}` is not a parameter of the key")]
    UnknownInLoad { param: String, field: &'static str },
    #[error("members that are loaded together cannot each have their session")]
    BulkWithSession,
    #[error("a list of ids can stand for keys of one parameter only, and this one has several")]
    BulkOfPairs,
    #[error("the path holds no `{{{IDS}}}`, or something else besides")]
    BulkWithoutIds,
    #[error("{given} columns tell whose a row is, but the key has {wanted} parameters")]
    BulkColumns { given: usize, wanted: usize },
    #[error("the key's parameters are what the query takes, each as an array, and `{{{0}}}` is in one of them only")]
    BulkParam(String),
    #[error(
        "the tag uses `{{{0}}}`, which is neither a parameter of the key nor `tenant` or `subject`; a tag must be known before the fetch"
    )]
    UnknownInTag(String),
    #[error(
        "`{{{param}}}` in a tag of a {scope}-scoped entity: the key would be found under the tag of whoever asked first only"
    )]
    TagBeyondScope { param: &'static str, scope: &'static str },
    #[error("more than {MAX_TAGS} tags")]
    TooManyTags,
    #[error("the alias name stands twice")]
    AliasTwice(Name),
    #[error("more than {MAX_ALIASES} aliases")]
    TooManyAliases,
    #[error("the alias key holds an id, but which of the key's parameters that is cannot be told")]
    AliasWithoutId(Name),
    #[error("`from` names one field, but not exactly one parameter of the alias is to be found there")]
    AliasFrom(Name),
    #[error("the alias is named by `{text}`, which is not among the fields kept")]
    AliasNotKept { alias: Name, text: String },
    #[error("keys beginning `{OWN_PREFIX}` are hydrant's own")]
    OwnPrefix,
    #[error("keys beginning `{OWN_PREFIX}` are hydrant's own")]
    AliasOwnPrefix(Name),
    #[error("the answer can name its owner only where it is one subject's own; this entity is {0}-scoped")]
    OwnerBeyondSubject(&'static str),
    #[error("the grace must be between 1s and the life of a value")]
    Grace,
}

impl Draft {
    pub(super) fn problems(&self) -> Vec<EntityError> {
        let params: BTreeSet<&str> = self.key.params().collect();
        let mut problems = self.problems_of_scope(&params);
        problems.extend(self.problems_of_follows(&params));
        if let Some(load) = &self.load {
            if load.credential == Credential::Session && self.scope != Scope::Subject {
                problems.push(EntityError::SessionBeyondSubject(self.scope.as_str()));
            }
            for param in load.ask.params().into_iter().filter(|p| !params.contains(p)) {
                let field = match load.ask {
                    Ask::Get(_) => "load.get",
                    Ask::Query { .. } => "load.query",
                };
                problems.push(EntityError::UnknownInLoad { param: param.to_owned(), field });
            }
            problems.extend(load.bulk.as_ref().and_then(|bulk| self.problem_of_bulk(load, bulk, &params)));
        }
        if is_own(&self.key) {
            problems.push(EntityError::OwnPrefix);
        }
        if self.owner.is_some() && self.scope != Scope::Subject {
            problems.push(EntityError::OwnerBeyondSubject(self.scope.as_str()));
        }
        let lives = Duration::from_secs(1)..=self.ttl.base();
        if self.soft.is_some_and(|grace| !lives.contains(&grace)) {
            problems.push(EntityError::Grace);
        }
        problems.extend(self.problems_of_tags(&params));
        problems.extend(self.problems_of_aliases(&params));
        problems
    }

    /// Members that are loaded together have nobody's session, and are told apart by their ids.
    fn problem_of_bulk(&self, load: &Load, bulk: &Bulk, params: &BTreeSet<&str>) -> Option<EntityError> {
        if load.credential == Credential::Session {
            return Some(EntityError::BulkWithSession);
        }
        match &bulk.ask {
            BulkAsk::Get { .. } if params.len() > 1 => Some(EntityError::BulkOfPairs),
            BulkAsk::Get { path, items: _, id: _ } if path.params().ne([IDS]) => Some(EntityError::BulkWithoutIds),
            BulkAsk::Get { .. } => None,
            BulkAsk::Query { columns, .. } if columns.len() != params.len() => {
                Some(EntityError::BulkColumns { given: columns.len(), wanted: params.len() })
            }
            BulkAsk::Query { query, columns: _ } => {
                let used: BTreeSet<&str> = query.params().collect();
                used.symmetric_difference(params).next().map(|param| EntityError::BulkParam((*param).to_owned()))
            }
        }
    }

    fn problems_of_scope(&self, params: &BTreeSet<&str>) -> Vec<EntityError> {
        let bound = |fact: fn(&Fact) -> bool| self.bind.iter().any(|(p, f)| params.contains(p.as_str()) && fact(f));
        let unknown = self.bind.keys().filter(|p| !params.contains(p.as_str()));
        let mut problems: Vec<_> = unknown.map(|param| EntityError::BoundNowhere(param.clone())).collect();
        match self.scope {
            Scope::Subject if !bound(|f| matches!(f, Fact::User | Fact::Session)) => {
                problems.push(EntityError::SubjectNotInKey);
            }
            Scope::Tenant if !bound(|f| *f == Fact::Tenant) => problems.push(EntityError::TenantNotInKey),
            Scope::Subject | Scope::Tenant | Scope::Shared => {}
        }
        problems
    }

    fn problems_of_follows(&self, params: &BTreeSet<&str>) -> Vec<EntityError> {
        let Some(follows) = &self.follows else { return Vec::new() };
        let unknown = follows.by.keys().filter(|param| !params.contains(param.as_str()));
        let bound = follows.by.keys().filter(|param| self.bind.contains_key(*param));
        let nothing = follows.by.is_empty().then_some(EntityError::NothingTold);
        let unknown = unknown.map(|param| EntityError::ToldNowhere(param.clone()));
        unknown.chain(bound.map(|param| EntityError::ToldTwice(param.clone()))).chain(nothing).collect()
    }

    /// A tag may say whose the member is only as far as that is the same whoever asks for it.
    fn problems_of_tags(&self, params: &BTreeSet<&str>) -> Vec<EntityError> {
        let mut problems = Vec::new();
        for param in self.tags.iter().flat_map(Template::params).filter(|p| !params.contains(p)) {
            let beyond = |param| EntityError::TagBeyondScope { param, scope: self.scope.as_str() };
            match (param, self.scope) {
                ("subject" | "tenant", Scope::Subject) | ("tenant", Scope::Tenant) => {}
                ("subject", Scope::Tenant | Scope::Shared) => problems.push(beyond("subject")),
                ("tenant", Scope::Shared) => problems.push(beyond("tenant")),
                (other, _) => problems.push(EntityError::UnknownInTag(other.to_owned())),
            }
        }
        if self.tags.len() > MAX_TAGS {
            problems.push(EntityError::TooManyTags);
        }
        problems
    }

    fn problems_of_aliases(&self, params: &BTreeSet<&str>) -> Vec<EntityError> {
        let mut problems = Vec::new();
        let mut seen = BTreeSet::new();
        for alias in &self.aliases {
            let name = || alias.name.clone();
            if !seen.insert(&alias.name) {
                problems.push(EntityError::AliasTwice(name()));
            }
            if is_own(&alias.key) {
                problems.push(EntityError::AliasOwnPrefix(name()));
            }
            if alias.value == AliasValue::Id && alias.id_param(&self.key).is_none() {
                problems.push(EntityError::AliasWithoutId(name()));
            }
            let own: Vec<Place> = alias.key.params().filter(|p| !params.contains(p)).map(|p| alias.place(p)).collect();
            if alias.from.is_some() && own.len() != 1 {
                problems.push(EntityError::AliasFrom(name()));
            }
            for place in own.into_iter().filter(|place| !self.projection.keeps(place)) {
                problems.push(EntityError::AliasNotKept { alias: name(), text: place.text });
            }
        }
        if self.aliases.len() > MAX_ALIASES {
            problems.push(EntityError::TooManyAliases);
        }
        problems
    }
}

fn is_own(key: &Template) -> bool {
    key.prefix().starts_with(OWN_PREFIX)
}

impl EntityError {
    /// The part of the entity's configuration to look at.
    pub fn field(&self) -> String {
        let part = match self {
            Self::BoundNowhere(_) | Self::SubjectNotInKey | Self::TenantNotInKey => "bind",
            Self::ToldNowhere(_) | Self::ToldTwice(_) | Self::NothingTold => "follows.by",
            Self::SessionBeyondSubject(_) => "scope",
            Self::UnknownInLoad { param: _, field } => field,
            Self::BulkWithSession | Self::BulkOfPairs => "load.bulk",
            Self::BulkWithoutIds => "load.bulk.get",
            Self::BulkColumns { .. } => "load.bulk.key",
            Self::BulkParam(_) => "load.bulk.query",
            Self::UnknownInTag(_) | Self::TagBeyondScope { .. } | Self::TooManyTags => "tags",
            Self::AliasTwice(_) | Self::TooManyAliases => "aliases",
            Self::AliasWithoutId(alias) => return format!("aliases.{alias}.value"),
            Self::AliasFrom(alias) => return format!("aliases.{alias}.from"),
            Self::AliasNotKept { alias, .. } => return format!("aliases.{alias}"),
            Self::AliasOwnPrefix(alias) => return format!("aliases.{alias}.key"),
            Self::OwnPrefix => "key",
            Self::OwnerBeyondSubject(_) => "owner",
            Self::Grace => "soft.grace",
        };
        part.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entity::sample::{alias, shared};
    use crate::domain::entity::{Alias, Entity};
    use crate::domain::projection::{Projection, Spec};

    fn refusals(draft: Draft) -> Vec<EntityError> {
        Entity::new(draft).expect_err("refused")
    }

    fn tags(texts: &[&str]) -> Vec<Template> {
        texts.iter().map(|text| Template::parse(text).expect("a good template")).collect()
    }

    #[test]
    fn a_tag_is_the_same_whoever_asks() {
        let beyond = |param, scope| EntityError::TagBeyondScope { param, scope };
        let draft = Draft { tags: tags(&["by:{subject}", "of:{tenant}", "id:{id}"]), ..shared("x", "x:{id}") };
        assert_eq!(refusals(draft), [beyond("subject", "shared"), beyond("tenant", "shared")]);
        let own = Draft { tags: tags(&["t:{tenant}"]), ..shared("x", "x:{tenant}:{id}") };
        assert!(Entity::new(own).is_ok(), "a parameter of the key");
        let subject = Draft { scope: Scope::Subject, tags: tags(&["{subject}", "{tenant}"]), ..shared("x", "x:{id}") };
        assert!(Entity::new(subject).is_ok());
        let many = Draft { tags: tags(&["t"; MAX_TAGS + 1]), ..shared("x", "x:{id}") };
        assert_eq!(refusals(many), [EntityError::TooManyTags]);
    }

    #[test]
    fn an_alias_that_holds_an_id_can_tell_which() {
        let two = |value| Draft { aliases: vec![Alias { value, ..alias("mail:{email}") }], ..shared("x", "x:{a}:{b}") };
        assert!(matches!(refusals(two(AliasValue::Id))[..], [EntityError::AliasWithoutId(_)]));
        assert!(Entity::new(two(AliasValue::Full)).is_ok());
        let of_tenant = Draft { aliases: vec![alias("mail:{a}:{email}")], ..shared("x", "x:{a}:{b}") };
        assert!(Entity::new(of_tenant).is_ok(), "the other parameter is the id");
    }

    #[test]
    fn what_is_found_at_from_is_one_parameter() {
        let from = Some(Place::parse("$.contact.email").expect("a good place"));
        let with = |key| Draft { aliases: vec![Alias { from: from.clone(), ..alias(key) }], ..shared("x", "x:{id}") };
        assert!(Entity::new(with("mail:{email}")).is_ok());
        assert!(matches!(refusals(with("mail:{email}:{kind}"))[..], [EntityError::AliasFrom(_)]));
        let id = Draft {
            aliases: vec![Alias { value: AliasValue::Full, from: from.clone(), ..alias("also:{id}") }],
            ..shared("x", "x:{id}")
        };
        assert!(matches!(refusals(id)[..], [EntityError::AliasFrom(_)]));
    }

    #[test]
    fn what_names_an_alias_is_kept() {
        let allow = ["id", "contact.email", "isActive"].map(str::to_owned).to_vec();
        let projection =
            || Projection::new(Spec { allow: allow.clone(), max_bytes: 9, ..Spec::default() }).expect("good");
        let with = |from: Option<&str>| {
            let from = from.map(|text| Place::parse(text).expect("a good place"));
            let aliases = vec![Alias { from, ..alias("mail:{email}") }];
            Entity::new(Draft { aliases, projection: projection(), ..shared("x", "x:{id}") })
        };
        assert!(with(Some("$.contact.email")).is_ok());
        for from in [None, Some("$.contact"), Some("$.name"), Some("$")] {
            assert!(matches!(with(from).expect_err("refused")[..], [EntityError::AliasNotKept { .. }]), "{from:?}");
        }
    }

    #[test]
    fn keys_of_hydrants_own_are_refused() {
        let draft = Draft { aliases: vec![alias("hydrant:{email}")], ..shared("x", "hydrant:x:{id}") };
        assert!(matches!(refusals(draft)[..], [EntityError::OwnPrefix, EntityError::AliasOwnPrefix(_)]));
    }

    #[test]
    fn only_what_is_one_subjects_own_has_an_owner() {
        let owner = Some(Place::parse("$.user.id").expect("a good place"));
        assert!(Entity::new(Draft { owner: owner.clone(), scope: Scope::Subject, ..shared("x", "x:{id}") }).is_ok());
        assert_eq!(refusals(Draft { owner, ..shared("x", "x:{id}") }), [EntityError::OwnerBeyondSubject("shared")]);
    }

    #[test]
    fn a_grace_ends_before_the_value_would() {
        let soft = |grace| Draft { soft: Some(Duration::from_secs(grace)), ..shared("x", "x:{id}") };
        assert!(Entity::new(soft(60)).is_ok());
        assert_eq!(refusals(soft(61)), [EntityError::Grace]);
        assert_eq!(refusals(soft(0)), [EntityError::Grace]);
    }
}
