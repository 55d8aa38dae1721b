//! Entities that are known only from another's answer: which organisation a user is in stands in the user's profile, and
//! whose hierarchy a login needs follows from that.
//!
//! A dependent has one entity that it follows from, so a login's dependents make a tree: nothing waits for two answers,
//! and a circle shows by walking up. What is read is the value as it is kept, not the source's answer: it is then the
//! same whether it was fetched now or earlier, and what must not be cached names nothing either.

use std::collections::BTreeMap;

use crate::domain::entity::{Entity, Name};
use crate::domain::projection::paths::Place;

/// Answers that one item may have to wait for. Each costs a login a source's whole time.
pub const MAX_STEPS: usize = 3;

/// What a dependent takes from which entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follows {
    pub from: Name,
    /// For each parameter the place in the other's value.
    pub by: BTreeMap<String, Place>,
}

/// Why entities that are each fine do not follow from each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FollowsError {
    #[error("it follows from itself in the end")]
    Circle,
    #[error("more than {MAX_STEPS} answers would have to be waited for, one after the other")]
    TooFar,
    #[error("`{0}` has no `load`: its answer never comes")]
    NoLoad(Name),
    #[error("which `{0}` is meant does not follow from a login")]
    NotOfLogin(Name),
    #[error("`{text}` is not among the fields that `{from}` keeps")]
    NotKept { from: Name, param: String, text: String },
}

impl FollowsError {
    /// The part of the dependent's configuration to look at.
    pub fn field(&self) -> String {
        match self {
            Self::Circle | Self::TooFar | Self::NoLoad(_) | Self::NotOfLogin(_) => "follows.from".to_owned(),
            Self::NotKept { param, .. } => format!("follows.by.{param}"),
        }
    }
}

/// Every problem of every dependent. One that follows from an entity that is not there is left to whoever looks names up.
pub fn problems(entities: &BTreeMap<Name, Entity>) -> Vec<(Name, FollowsError)> {
    let dependents = entities.iter().filter_map(|(name, entity)| Some((name, entity.follows()?)));
    dependents
        .flat_map(|(name, follows)| of(entities, name, follows).into_iter().map(|problem| (name.clone(), problem)))
        .collect()
}

fn of(entities: &BTreeMap<Name, Entity>, name: &Name, follows: &Follows) -> Vec<FollowsError> {
    let Some(parent) = entities.get(&follows.from) else { return Vec::new() };
    let mut problems = Vec::new();
    let mut steps = 1;
    let mut above = parent;
    while let Some(next) = above.follows().filter(|_| above.name() != name && steps <= MAX_STEPS) {
        let Some(entity) = entities.get(&next.from) else { break };
        (above, steps) = (entity, steps + 1);
    }
    if above.name() == name {
        problems.push(FollowsError::Circle);
    } else if steps > MAX_STEPS {
        problems.push(FollowsError::TooFar);
    }
    if parent.load().is_none() {
        problems.push(FollowsError::NoLoad(follows.from.clone()));
    }
    if !parent.follows_from_login() {
        problems.push(FollowsError::NotOfLogin(follows.from.clone()));
    }
    let lost = follows.by.iter().filter(|(_, place)| !parent.projection().keeps(place));
    problems.extend(lost.map(|(param, place)| FollowsError::NotKept {
        from: follows.from.clone(),
        param: param.clone(),
        text: place.text.clone(),
    }));
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entity::check::EntityError;
    use crate::domain::entity::load::Ask;
    use crate::domain::entity::sample::shared;
    use crate::domain::entity::{Draft, Load, Scope};
    use crate::domain::projection::{Projection, Spec};
    use crate::domain::template::Template;

    fn name(text: &str) -> Name {
        Name::new(text).expect("a good name")
    }

    fn follows(from: &str, param: &str, place: &str) -> Option<Follows> {
        let place = Place::parse(place).expect("a good place");
        Some(Follows { from: name(from), by: BTreeMap::from([(param.to_owned(), place)]) })
    }

    fn load() -> Option<Load> {
        let path = Template::parse("/x").expect("a good template");
        Some(Load::plain(name("api"), Ask::Get(path)))
    }

    fn profile() -> Draft {
        Draft { scope: Scope::Subject, load: load(), ..shared("profile", "profile:{id}") }
    }

    fn dependent(text: &str, from: &str) -> Draft {
        Draft { follows: follows(from, "org", "$.org"), load: load(), ..shared(text, &format!("{text}:{{org}}")) }
    }

    fn found(drafts: Vec<Draft>) -> Vec<(String, FollowsError)> {
        let entity = |draft: Draft| (draft.name.clone(), Entity::new(draft).expect("a good entity"));
        let found = problems(&drafts.into_iter().map(entity).collect());
        found.into_iter().map(|(name, problem)| (name.to_string(), problem)).collect()
    }

    #[test]
    fn what_follows_from_what_follows_from_the_subject_is_fine() {
        assert_eq!(found(vec![profile(), dependent("b", "profile"), dependent("c", "b"), dependent("d", "c")]), []);
    }

    #[test]
    fn circles_and_long_waits_are_refused() {
        let circle = |name: &str| (name.to_owned(), FollowsError::Circle);
        assert_eq!(found(vec![dependent("a", "b"), dependent("b", "a")]), [circle("a"), circle("b")]);
        assert_eq!(found(vec![dependent("a", "a")]), [circle("a")]);
        let far =
            vec![profile(), dependent("b", "profile"), dependent("c", "b"), dependent("d", "c"), dependent("e", "d")];
        assert_eq!(found(far), [("e".to_owned(), FollowsError::TooFar)]);
        let outside = found(vec![dependent("a", "b"), dependent("b", "a"), dependent("c", "a")]);
        assert_eq!(outside.last(), Some(&("c".to_owned(), FollowsError::TooFar)), "it leads into a circle");
    }

    #[test]
    fn the_other_entity_is_loaded_at_a_login_and_keeps_the_field() {
        let spec = Spec { allow: vec!["name".to_owned()], max_bytes: 9, ..Spec::default() };
        let narrow = Draft { projection: Projection::new(spec).expect("good"), ..profile() };
        assert!(matches!(found(vec![narrow, dependent("b", "profile")])[..], [(_, FollowsError::NotKept { .. })]));
        let foreign = Draft { load: None, ..shared("profile", "profile:{sku}") };
        let [(_, FollowsError::NoLoad(_)), (_, FollowsError::NotOfLogin(_))] =
            &found(vec![foreign, dependent("b", "profile")])[..]
        else {
            panic!("both are told")
        };
        assert_eq!(found(vec![dependent("b", "gone")]), []);
    }

    #[test]
    fn a_dependent_keeps_to_its_scope() {
        let told = |param| follows("profile", param, "$.org");
        let refusals = |draft| Entity::new(draft).expect_err("refused");
        let own = Draft { scope: Scope::Subject, follows: told("org"), ..shared("x", "x:{org}") };
        assert_eq!(refusals(own), [EntityError::SubjectNotInKey], "the subject cannot come from an answer");
        let tenant = Draft { scope: Scope::Tenant, follows: told("tenant"), ..shared("x", "x:{tenant}") };
        assert_eq!(refusals(tenant), [EntityError::TenantNotInKey]);
        let both = Draft { scope: Scope::Subject, follows: told("org"), ..shared("x", "x:{org}:{id}") };
        assert!(Entity::new(both).expect("a good entity").follows_from_login());
        assert_eq!(
            refusals(Draft { follows: told("no"), ..shared("x", "x:{org}") }),
            [EntityError::ToldNowhere("no".into())]
        );
        let twice = Draft {
            bind: BTreeMap::from([("org".to_owned(), crate::domain::subject::Fact::User)]),
            follows: told("org"),
            ..shared("x", "x:{org}")
        };
        assert_eq!(refusals(twice), [EntityError::ToldTwice("org".into())]);
    }
}
