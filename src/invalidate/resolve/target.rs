//! Reading one target: what it names, and everything that is wrong with it. Pure.

use std::borrow::Cow;

use crate::domain::catalog::MemberError;
use crate::domain::declared_version::DeclaredVersion;
use crate::domain::entity::{Alias, Entity, Member, Scope};
use crate::domain::error::Kind;
use crate::domain::field;
use crate::domain::habits;
use crate::domain::key::{Key, KeyError};
use crate::domain::member_version::Version;
use crate::domain::pseudonym::Pseudonym;
use crate::domain::subject::Subject;
use crate::domain::tag::Tag;
use crate::domain::template::{Params, RenderError};
use crate::fill::settings::Settings;
use crate::invalidate::intent::TagName;
use crate::invalidate::request::{
    History, KnownAlias, MAX_KEYS, MAX_KNOWN_ALIASES, MAX_PATTERN_BYTES, MemberTarget, Mode, NewValue as Offered,
    Stated, Target,
};
use crate::invalidate::resolve::lookup::Lookup;
use crate::invalidate::resolve::{Aim, Aims, NewValue, entity, is_glob, pattern, unmet};

pub struct Reader<'a> {
    pub settings: &'a Settings,
    pub group: &'a str,
    pub mode: Mode,
}

impl Reader<'_> {
    pub fn read(&self, at: usize, target: &Target, aims: &mut Aims) {
        let path = format!("targets[{at}]");
        if self.mode == Mode::Replace && !matches!(target, Target::Member(_)) {
            aims.wrong(&path, "is no member: only a member can be replaced");
        }
        match target {
            Target::Member(member) => self.member(at, &format!("{path}.member"), member, aims),
            Target::Keys(keys) => self.keys(at, &format!("{path}.keys.keys"), keys, aims),
            Target::Tag(tag) => match Tag::declared(tag.as_str()) {
                Ok(tag) => aims.tag(at, TagName::of(&tag)),
                Err(error) => aims.wrong(format!("{path}.tag.tag"), error),
            },
            Target::Subject { subject, history } => {
                self.subject(at, &format!("{path}.subject"), subject, *history, aims)
            }
            Target::Pattern(pattern) => self.pattern(at, &format!("{path}.pattern.pattern"), pattern, aims),
            Target::All { entities } => self.all(at, &format!("{path}.all.entities"), entities, aims),
        }
    }

    fn member(&self, at: usize, path: &str, target: &MemberTarget, aims: &mut Aims) {
        let MemberTarget { entity: name, alias, params, known_aliases, min_version, replacement } = target;
        let Some(entity) = entity(self.settings, name, &format!("{path}.member.entity"), aims) else { return };
        if let Some(problem) = unmet(self.mode, entity) {
            aims.wrong("mode", problem);
        }
        let named = self.known_aliases(&format!("{path}.known_aliases"), entity, params, known_aliases, aims);
        let floor = min_version.and_then(|stated| version(entity, stated, &format!("{path}.min_version"), aims));
        let value = self.value(&format!("{path}.replacement"), entity, replacement.as_ref(), aims);
        let params_path = format!("{path}.member.params");
        for (param, _) in params.iter().filter(|(_, value)| is_glob(value)) {
            aims.wrong(format!("{params_path}.{param}"), "looks like a pattern; a member is named exactly");
        }
        let Some(alias_name) = alias else {
            match self.settings.catalog.member(name, params.clone()) {
                Ok(member) => aims.members.push(Aim { target: at, member, named, floor, value }),
                Err(error) => aims.wrong(path_of(&params_path, &error), error),
            }
            return;
        };
        let Some(alias) = alias_of(entity, alias_name) else {
            aims.mistake(Kind::UnknownAlias, format!("{path}.member.alias"), "is no alias of this entity");
            return;
        };
        strangers(&params_path, alias, params, aims);
        match self.settings.catalog.alias_key(entity, alias, params) {
            Ok(key) => {
                let (entity, alias, params, path) = (entity.clone(), alias.clone(), params.clone(), path.to_owned());
                aims.lookups.push(Lookup { target: at, path, entity, alias, params, key, named, floor, value });
            }
            Err(error) => aims.wrong(path_of(&params_path, &error), error),
        }
    }

    /// Their keys. What an alias shares with its member (a tenant) may be left to the member.
    fn known_aliases(
        &self,
        path: &str,
        entity: &Entity,
        own: &Params,
        known: &[KnownAlias],
        aims: &mut Aims,
    ) -> Vec<Key> {
        if known.len() > MAX_KNOWN_ALIASES {
            aims.wrong(path, format!("has more than {MAX_KNOWN_ALIASES} entries"));
            return Vec::new();
        }
        let mut keys = Vec::new();
        for (at, KnownAlias { alias: name, params }) in known.iter().enumerate() {
            let path = format!("{path}[{at}]");
            let Some(alias) = alias_of(entity, name) else {
                aims.mistake(Kind::UnknownAlias, format!("{path}.alias"), "is no alias of this entity");
                continue;
            };
            let mut complete = params.clone();
            for param in alias.key.params().filter(|param| params.get(param).is_none()) {
                own.get(param).into_iter().for_each(|value| complete.insert(param, value));
            }
            for (param, _) in params.iter().filter(|(_, value)| is_glob(value)) {
                aims.wrong(format!("{path}.params.{param}"), "looks like a pattern; an alias is named exactly");
            }
            strangers(&format!("{path}.params"), alias, params, aims);
            match self.settings.catalog.alias_key(entity, alias, &complete) {
                Ok(key) => keys.push(key),
                Err(error) => aims.wrong(path_of(&format!("{path}.params"), &error), error),
            }
        }
        keys
    }

    fn value(&self, path: &str, entity: &Entity, given: Option<&Offered>, aims: &mut Aims) -> Option<NewValue> {
        let Offered { value, version: stated } = match (given, self.mode) {
            (None, Mode::Replace) => {
                aims.wrong(path, "is missing");
                return None;
            }
            (Some(_), Mode::Remove | Mode::Refresh | Mode::Soft) => {
                aims.wrong(path, "is for the mode REPLACE alone");
                return None;
            }
            (None, Mode::Remove | Mode::Refresh | Mode::Soft) => return None,
            (Some(given), Mode::Replace) => given,
        };
        let version = stated.and_then(|stated| version(entity, stated, &format!("{path}.version"), aims));
        match entity.projection().apply(value) {
            Ok(bytes) => {
                let owner = entity.owner().and_then(|place| field::at(value, place)).map(Cow::into_owned);
                Some(NewValue { bytes, version, owner })
            }
            Err(refusal) => {
                aims.mistake(Kind::ValueRefused, format!("{path}.value"), refusal);
                None
            }
        }
    }

    fn keys(&self, at: usize, path: &str, keys: &[String], aims: &mut Aims) {
        if keys.is_empty() || keys.len() > MAX_KEYS {
            return aims.wrong(path, format!("has {} entries, and must have 1 to {MAX_KEYS}", keys.len()));
        }
        for (nth, text) in keys.iter().enumerate() {
            self.key(at, format!("{path}[{nth}]"), text, aims);
        }
    }

    /// A member's own key takes the member along; an alias's key leads to it.
    fn key(&self, at: usize, path: String, text: &str, aims: &mut Aims) {
        let foreign = "belongs to no declared entity";
        let key = match Key::new(text.to_owned()) {
            Ok(key) => key,
            Err(KeyError::LooksLikeOurs) => return aims.mistake(Kind::ForeignKey, path, foreign),
            Err(error @ (KeyError::Empty | KeyError::TooLong(_))) => return aims.wrong(path, error),
        };
        let Some(found) = self.settings.catalog.find(text) else {
            return aims.mistake(Kind::ForeignKey, path, foreign);
        };
        if found.params.iter().any(|(_, value)| is_glob(value)) {
            return aims.wrong(path, "looks like a pattern; give it as a pattern target");
        }
        if let Some(problem) = unmet(self.mode, found.entity) {
            aims.wrong("mode", problem);
        }
        let (named, floor, value) = (Vec::new(), None, None);
        match found.alias.and_then(|name| alias_of(found.entity, name.as_str())) {
            None => {
                let member = Member { entity: found.entity.clone(), params: found.params, key };
                aims.members.push(Aim { target: at, member, named, floor, value });
            }
            Some(alias) => {
                let (entity, alias, params) = (found.entity.clone(), alias.clone(), found.params);
                aims.lookups.push(Lookup { target: at, path, entity, alias, params, key, named, floor, value });
            }
        }
    }

    /// A logout: what follows from the subject by name, and through its tag whatever else was filled for it.
    fn subject(&self, at: usize, path: &str, subject: &Subject, history: History, aims: &mut Aims) {
        if self.mode == Mode::Soft {
            aims.wrong("mode", "cannot be soft for a subject: who has logged out leaves nothing to read");
        }
        for entity in self.settings.catalog.entities() {
            if entity.scope() != Scope::Subject || !entity.follows_from_subject() {
                continue;
            }
            let params = entity.complete(subject, &Params::default());
            match self.settings.catalog.member(entity.name().as_str(), params) {
                Ok(member) => {
                    aims.members.push(Aim { target: at, member, named: Vec::new(), floor: None, value: None });
                }
                // What is keyed by a fact that nobody gave (a session's token) is found through the tag.
                Err(MemberError::Params(RenderError::Missing(_))) => {}
                Err(error) => aims.wrong(path, error),
            }
        }
        let pseudonym = Pseudonym::of(self.group, subject);
        aims.tag(at, TagName::of(&Tag::Subject(pseudonym)));
        match (history, habits::key(self.group, pseudonym)) {
            (History::Keep, _) => {}
            (History::Forget, Ok(key)) => aims.own.push((at, key)),
            (History::Forget, Err(error)) => aims.wrong(path, error),
        }
    }

    fn pattern(&self, at: usize, path: &str, pattern: &str, aims: &mut Aims) {
        if pattern.len() > MAX_PATTERN_BYTES {
            return aims.wrong(path, format!("is longer than {MAX_PATTERN_BYTES} bytes"));
        }
        match pattern::owners(&self.settings.catalog, pattern) {
            Ok(owners) => {
                for problem in owners.into_iter().filter_map(|entity| unmet(self.mode, entity)) {
                    aims.wrong("mode", problem);
                }
                aims.sweep(at, |spec| spec.patterns.push(pattern.to_owned()));
            }
            Err(error @ pattern::PatternError::Foreign) => aims.mistake(Kind::ForeignKey, path, error),
            Err(error) => aims.wrong(path, error),
        }
    }

    /// All are named one by one, with their templates, so that a sidecar with another configuration sweeps the same.
    fn all(&self, at: usize, path: &str, names: &[String], aims: &mut Aims) {
        let mut entities: Vec<&Entity> = Vec::new();
        for (nth, name) in names.iter().enumerate() {
            entities.extend(entity(self.settings, name, &format!("{path}[{nth}]"), aims).map(AsRef::as_ref));
        }
        if names.is_empty() {
            entities.extend(self.settings.catalog.entities().map(AsRef::as_ref));
        }
        for problem in entities.iter().filter_map(|entity| unmet(self.mode, entity)) {
            aims.wrong("mode", problem);
        }
        aims.sweep(at, |spec| entities.into_iter().for_each(|entity| spec.add(entity)));
    }
}

/// What the alias's key does not hold could name another member than the key leads to.
fn strangers(path: &str, alias: &Alias, params: &Params, aims: &mut Aims) {
    for (param, _) in params.iter().filter(|(name, _)| alias.key.params().all(|param| param != *name)) {
        aims.wrong(format!("{path}.{param}"), "is no parameter of this alias");
    }
}

fn alias_of<'a>(entity: &'a Entity, name: &str) -> Option<&'a Alias> {
    entity.aliases().iter().find(|alias| alias.name.as_str() == name)
}

/// A version of the kind that the entity uses.
fn version(entity: &Entity, stated: Stated, path: &str, aims: &mut Aims) -> Option<Version> {
    let problem = match (entity.version(), stated) {
        (Some(DeclaredVersion::Number(_)), Stated::Number(_)) | (Some(DeclaredVersion::Time(_)), Stated::Time(_)) => {
            match stated.version() {
                Some(version) => return Some(version),
                None => "is before 1970, negative, or too large",
            }
        }
        (None, _) => "is for entities that declare a version; this one does not",
        (Some(DeclaredVersion::Number(_)), Stated::Time(_)) => "is a time; this entity's versions are numbers",
        (Some(DeclaredVersion::Time(_)), Stated::Number(_)) => "is a number; this entity's versions are times",
    };
    aims.wrong(path, problem);
    None
}

fn path_of(params: &str, error: &MemberError) -> String {
    match error {
        MemberError::Params(render) => match render.param() {
            Some(param) => format!("{params}.{param}"),
            None => params.to_owned(),
        },
        MemberError::UnknownEntity(_) | MemberError::BelongsTo { .. } => params.to_owned(),
    }
}
