//! What a source says of a member, and whether what stands at one of its keys agrees with that. Pure.
//!
//! Both sides go through the entity's projection, so that only what may be cached is compared, and by meaning rather than
//! by bytes: an application that writes the same keys orders its fields otherwise. A key that speaks of another member
//! (an e-mail that has been given to somebody else) says nothing about this one.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use crate::domain::catalog::Catalog;
use crate::domain::entity::{AliasValue, Entity, Member};
use crate::domain::key::Key;
use crate::domain::store::Held;

/// A value without its bytes: enough to know it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    raw: u64,
    /// Of what may be kept of it, its fields in order.
    meaning: u64,
}

/// A source's answer, as far as it can stand in a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    /// None where there is no such member.
    form: Option<Form>,
    /// The aliases the member has by this answer.
    pub aliases: BTreeSet<Key>,
}

/// What stands at one of a member's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub key: Key,
    /// For how long it will be read if nobody removes it; none for ever.
    pub left: Option<Duration>,
    form: Form,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Own,
    Alias(AliasValue),
}

impl Truth {
    /// `value` is projected; none where the source knows no such member.
    pub fn new(catalog: &Catalog, member: &Member, value: Option<&Bytes>) -> Self {
        let form = value.map(|value| Form::of(value, value));
        let aliases = value.map(|value| aliases(catalog, member, value)).unwrap_or_default();
        Self { form, aliases }
    }

    /// Whether a reader who meets this is told what the source says.
    pub fn agrees(&self, seen: &Seen) -> bool {
        let is_value = || self.form.is_some_and(|form| form.is_like(seen.form));
        match seen.place {
            Place::Own => is_value(),
            Place::Alias(AliasValue::Id) => self.aliases.contains(&seen.key),
            Place::Alias(AliasValue::Full) => self.aliases.contains(&seen.key) && is_value(),
        }
    }
}

impl Seen {
    /// None where what stands there does not speak of this member.
    pub fn new(catalog: &Catalog, member: &Member, key: &Key, held: &Held) -> Option<Self> {
        let entity = &member.entity;
        let place = if *key == member.key {
            Place::Own
        } else {
            let found = catalog.find(std::str::from_utf8(key.as_bytes()).ok()?)?;
            let alias = entity.aliases().iter().find(|alias| Some(&alias.name) == found.alias)?;
            let leads_here = alias.leads_to(entity.key(), &found.params, &held.value)? == member.params;
            (found.entity.name() == entity.name() && leads_here).then_some(Place::Alias(alias.value))?
        };
        let form = Form::of(&held.value, &kept(entity, &held.value));
        Some(Self { key: key.clone(), left: held.ttl, form, place })
    }

    /// The same bytes at the same key.
    pub fn is_still(&self, before: &Self) -> bool {
        self.key == before.key && self.form.raw == before.form.raw
    }
}

impl Form {
    fn of(raw: &[u8], kept: &[u8]) -> Self {
        let meaning = match serde_json::from_slice::<Value>(kept) {
            Ok(mut value) => {
                value.sort_all_objects();
                xxh3_64(value.to_string().as_bytes())
            }
            // An id, or what no source of ours has said.
            Err(_) => xxh3_64(kept),
        };
        Self { raw: xxh3_64(raw), meaning }
    }

    fn is_like(self, other: Self) -> bool {
        self.raw == other.raw || self.meaning == other.meaning
    }
}

/// The alias keys that a member has by this value.
pub fn aliases(catalog: &Catalog, member: &Member, value: &[u8]) -> BTreeSet<Key> {
    let entity = &member.entity;
    let key = |alias| catalog.alias_key(entity, alias, &alias.params(member, value)?).ok();
    entity.aliases().iter().filter_map(key).collect()
}

/// An application may have written more fields than are kept here.
fn kept(entity: &Entity, held: &Bytes) -> Bytes {
    entity.projection().again(held).unwrap_or_else(|_| held.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entity::sample::{alias, shared};
    use crate::domain::entity::{Alias, Draft};

    fn catalog(value: AliasValue) -> Catalog {
        let aliases = vec![Alias { value, ..alias("mail:{email}") }];
        let user = Draft { aliases, ..shared("user", "user:{id}") };
        Catalog::new(vec![Entity::new(user).expect("a good entity")]).expect("no clash")
    }

    fn member(catalog: &Catalog) -> Member {
        catalog.member("user", [("id", "7")].into_iter().collect()).expect("a good member")
    }

    fn agrees(value: AliasValue, truth: Option<&'static str>, key: &'static str, held: &'static str) -> Option<bool> {
        let catalog = catalog(value);
        let member = member(&catalog);
        let truth = Truth::new(&catalog, &member, truth.map(Bytes::from).as_ref());
        let held = Held { value: held.into(), ttl: None };
        let seen = Seen::new(&catalog, &member, &Key::new(key).expect("a good key"), &held)?;
        Some(truth.agrees(&seen))
    }

    const ADA: &str = r#"{"id":"7","email":"a@x","name":"Ada"}"#;
    const OLD: &str = r#"{"id":"7","email":"a@x","name":"Byron"}"#;

    #[test]
    fn values_are_compared_by_what_they_say() {
        let own = |truth, held| agrees(AliasValue::Id, truth, "user:7", held);
        assert_eq!(own(Some(ADA), ADA), Some(true));
        assert_eq!(own(Some(ADA), r#"{ "name": "Ada", "email": "a@x", "id": "7" }"#), Some(true));
        assert_eq!(own(Some(ADA), r#"{"name":"Ada","email":"a@x","id":"7","password":"x"}"#), Some(true), "not ours");
        assert_eq!(own(Some(ADA), OLD), Some(false));
        assert_eq!(own(None, ADA), Some(false), "gone at the source");
    }

    #[test]
    fn an_alias_has_to_be_the_members_still() {
        let id = |key, held| agrees(AliasValue::Id, Some(ADA), key, held);
        assert_eq!(id("mail:a@x", "7"), Some(true));
        assert_eq!(id("mail:old@x", "7"), Some(false));
        assert_eq!(id("mail:old@x", "8"), None, "somebody else's by now");
        let full = |key, held| agrees(AliasValue::Full, Some(ADA), key, held);
        assert_eq!(full("mail:a@x", ADA), Some(true));
        assert_eq!(full("mail:a@x", OLD), Some(false));
        assert_eq!(full("mail:old@x", ADA), Some(false));
        assert_eq!(full("mail:a@x", r#"{"id":"8"}"#), None);
    }
}
