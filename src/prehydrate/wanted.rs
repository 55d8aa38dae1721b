//! What a plan is to fill: a member, or a dependent, which becomes one when another's answer is there. Pure.
//!
//! What an answer says is treated like what a caller says: the catalog makes the member or refuses it, and a member that
//! is not the subject's stays denied. No id stands in a reason.

use std::sync::Arc;

use crate::domain::catalog::{Catalog, MemberError};
use crate::domain::entity::{Entity, Member, Name};
use crate::domain::field::{self, Found};
use crate::domain::key::Key;
use crate::domain::outcome::Outcome;
use crate::domain::subject::Subject;
use crate::domain::template::{Params, RenderError};
use crate::prehydrate::ending::{Ending, Reason};

#[derive(Clone, Debug)]
pub enum Wanted {
    Member(Member),
    Dependent(Dependent),
}

/// An entity's member of which some parameters are not known yet.
#[derive(Clone, Debug)]
pub struct Dependent {
    pub entity: Arc<Entity>,
    /// Those that are.
    pub params: Params,
}

/// By what two items of a plan are the same.
pub type Identity = (Name, Params);

impl Wanted {
    /// What these parameters mean, with those that the subject gives and without those that an answer will.
    pub fn look_up(catalog: &Catalog, subject: &Subject, entity: &str, params: &Params) -> Result<Self, MemberError> {
        let declared = catalog.entity(entity).ok_or_else(|| MemberError::UnknownEntity(entity.to_owned()))?;
        let params = declared.complete(subject, params);
        let missing: Vec<&str> = declared.key().params().filter(|param| params.get(param).is_none()).collect();
        if missing.is_empty() || declared.follows().is_none() {
            return member(catalog, entity, params).map(Self::Member);
        }
        if let Some(param) = missing.into_iter().find(|param| !declared.is_told(param)) {
            return Err(RenderError::Missing(param.to_owned()).into());
        }
        if let Some((unknown, _)) = params.iter().find(|(name, _)| declared.key().params().all(|param| param != *name))
        {
            return Err(RenderError::Unknown(unknown.to_owned()).into());
        }
        Ok(Self::Dependent(Dependent { entity: declared.clone(), params }))
    }

    pub fn entity(&self) -> &Arc<Entity> {
        match self {
            Self::Member(member) => &member.entity,
            Self::Dependent(dependent) => &dependent.entity,
        }
    }

    pub fn params(&self) -> &Params {
        match self {
            Self::Member(member) => &member.params,
            Self::Dependent(dependent) => &dependent.params,
        }
    }

    /// None while it is not known.
    pub fn key(&self) -> Option<&Key> {
        match self {
            Self::Member(member) => Some(&member.key),
            Self::Dependent(_) => None,
        }
    }

    pub fn identity(&self) -> Identity {
        (self.entity().name().clone(), self.params().clone())
    }

    /// Why it is in a plan, where something else would be there for `reason`.
    pub const fn reason(&self, reason: Reason) -> Reason {
        match self {
            Self::Member(_) => reason,
            Self::Dependent(_) => Reason::Dependent,
        }
    }

    /// What it waits for, the nearest first. Nothing for a member.
    pub fn above(&self, catalog: &Catalog, subject: &Subject) -> Result<Vec<Self>, MemberError> {
        let mut above = Vec::new();
        let mut next = self.parent(catalog, subject)?;
        // The configuration was checked for circles.
        while let Some(wanted) = next {
            next = wanted.parent(catalog, subject)?;
            above.push(wanted);
        }
        Ok(above)
    }

    fn parent(&self, catalog: &Catalog, subject: &Subject) -> Result<Option<Self>, MemberError> {
        match (self, self.entity().follows()) {
            (Self::Dependent(_), Some(follows)) => {
                Self::look_up(catalog, subject, follows.from.as_str(), &Params::default()).map(Some)
            }
            (Self::Dependent(_) | Self::Member(_), _) => Ok(None),
        }
    }
}

impl Dependent {
    /// The member that follows from the value of what it waits for.
    pub fn told(&self, catalog: &Catalog, subject: &Subject, value: &[u8]) -> Result<Member, Ending> {
        let Some(follows) = self.entity.follows() else { return Err(changed()) };
        let mut params = self.params.clone();
        for (param, place) in follows.by.iter().filter(|(param, _)| self.params.get(param).is_none()) {
            let at = || format!("at `{}` of `{}`", place.text, follows.from);
            match field::look(value, place) {
                Found::Text(text) => params.insert(param, text),
                Found::Nothing => return Err(Ending::not_filled(Outcome::Absent, format!("nothing stands {}", at()))),
                Found::Unfit => {
                    let why = format!("neither a text nor a whole number stands {}", at());
                    return Err(Ending::not_filled(Outcome::Failed, why));
                }
            }
        }
        let member = member(catalog, self.entity.name().as_str(), params).map_err(|error| {
            let why = format!("what `{}` tells cannot be its id: {error}", follows.from);
            Ending::not_filled(Outcome::Failed, why)
        })?;
        match member.entity.belongs_to(subject, &member.params) {
            true => Ok(member),
            false => Err(Ending::not_filled(Outcome::Denied, "it belongs to another subject or tenant")),
        }
    }
}

/// Of what the configuration does not have any more.
pub fn changed() -> Ending {
    Ending::not_filled(Outcome::Disabled, "the configuration has changed, and no longer has it")
}

fn member(catalog: &Catalog, entity: &str, params: Params) -> Result<Member, MemberError> {
    let member = catalog.member(entity, params)?;
    // What the source's path cannot hold (`..`) is a mistake of whoever named it, not a source that cannot be reached.
    if let Some(load) = member.entity.load() {
        load.can_ask(&member.params)?;
    }
    Ok(member)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::entity::follows::Follows;
    use crate::domain::entity::sample::shared;
    use crate::domain::entity::{Draft, Scope};
    use crate::domain::projection::paths::Place;

    fn catalog() -> Catalog {
        let name = |text| Name::new(text).expect("a good name");
        let by = |param: &str, place| (param.to_owned(), Place::parse(place).expect("a good place"));
        let profile = Draft { scope: Scope::Subject, ..shared("profile", "profile:{id}") };
        let follows = Some(Follows { from: name("profile"), by: BTreeMap::from([by("org", "$.org.id")]) });
        let hierarchy = Draft { follows: follows.clone(), ..shared("hierarchy", "hierarchy:{org}") };
        let desk = Draft { scope: Scope::Subject, follows, ..shared("desk", "desk:{org}:{id}") };
        let by = BTreeMap::from([by("top", "$.top")]);
        let follows = Some(Follows { from: name("hierarchy"), by });
        let board = Draft { follows, ..shared("board", "board:{top}:{kind}") };
        let drafts = [profile, hierarchy, desk, board];
        Catalog::new(drafts.map(|draft| Entity::new(draft).expect("good")).to_vec()).expect("no clash")
    }

    fn subject() -> Subject {
        Subject::new("7".into(), None, None, Params::default()).expect("a good subject")
    }

    fn look_up(entity: &str, params: &[(&str, &str)]) -> Result<Wanted, MemberError> {
        Wanted::look_up(&catalog(), &subject(), entity, &params.iter().copied().collect())
    }

    fn told(entity: &str, value: &str) -> Result<String, (Outcome, String)> {
        let Ok(Wanted::Dependent(dependent)) = look_up(entity, &[]) else { panic!("it waits") };
        let told = dependent.told(&catalog(), &subject(), value.as_bytes());
        told.map(|member| member.key.to_string()).map_err(|ending| (ending.outcome, ending.reason))
    }

    #[test]
    fn what_an_answer_gives_need_not_be_named_and_may_be() {
        assert!(matches!(look_up("hierarchy", &[]), Ok(Wanted::Dependent(_))));
        assert!(matches!(look_up("hierarchy", &[("org", "5")]), Ok(Wanted::Member(_))));
        let missing = |error: MemberError| error == RenderError::Missing("kind".into()).into();
        assert!(look_up("board", &[]).is_err_and(missing), "nothing gives the other parameter");
        assert!(look_up("board", &[("kind", "a"), ("colour", "red")]).is_err());
        let board = look_up("board", &[("kind", "a")]).expect("good");
        let above = board.above(&catalog(), &subject()).expect("good");
        let names: Vec<_> = above.iter().map(|wanted| wanted.identity().0.to_string()).collect();
        assert_eq!(names, ["hierarchy", "profile"]);
    }

    #[test]
    fn an_answer_names_the_member() {
        assert_eq!(told("hierarchy", r#"{"org":{"id":5}}"#), Ok("hierarchy:5".to_owned()));
        assert_eq!(told("desk", r#"{"org":{"id":"acme"}}"#), Ok("desk:acme:7".to_owned()), "the subject is its own");
    }

    #[test]
    fn an_answer_that_cannot_name_a_member_says_so_without_repeating_it() {
        let outcome = |value| told("hierarchy", value).expect_err("no member").0;
        assert_eq!([outcome("{}"), outcome(r#"{"org":{"id":null}}"#)], [Outcome::Absent; 2], "in no organisation");
        for value in [r#"{"org":{"id":[5]}}"#, r#"{"org":{"id":1.5}}"#, r#"{"org":{"id":""}}"#, "<html>"] {
            assert_eq!(outcome(value), Outcome::Failed, "{value}");
        }
        for id in ["{x}", "a\\nb"] {
            let (outcome, why) = told("hierarchy", &format!(r#"{{"org":{{"id":"{id}"}}}}"#)).expect_err("no id");
            assert!(outcome == Outcome::Failed && !why.contains(id), "{why}");
        }
    }
}
