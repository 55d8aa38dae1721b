//! From an alias to its member: what stands at the alias's key says whose it is.
//!
//! Where nothing stands there, or not what names a member, the answer is a refusal and never done: the member may be
//! cached all the same. A source is asked by a member's own parameters, so it cannot say.

use std::sync::Arc;

use bytes::Bytes;

use crate::domain::entity::{Alias, Entity, Member};
use crate::domain::error::{Error, FieldError, Kind};
use crate::domain::key::Key;
use crate::domain::member_version::Version;
use crate::domain::store::Store;
use crate::domain::template::Params;
use crate::fill::settings::Settings;
use crate::invalidate::resolve::{Aim, NewValue};

/// A member that is known by an alias only.
pub struct Lookup {
    pub target: usize,
    pub path: String,
    pub entity: Arc<Entity>,
    pub alias: Alias,
    pub params: Params,
    pub key: Key,
    pub named: Vec<Key>,
    pub floor: Option<Version>,
    pub value: Option<NewValue>,
}

/// Finds all of them, or says which could not be found.
pub async fn find(store: &dyn Store, settings: &Settings, lookups: Vec<Lookup>) -> Result<Vec<Aim>, Error> {
    if lookups.is_empty() {
        return Ok(Vec::new());
    }
    let keys: Vec<Key> = lookups.iter().map(|lookup| lookup.key.clone()).collect();
    let held = store.read(&keys).await.map_err(|error| Error::new(Kind::StoreUnavailable, error.to_string()))?;
    let mut aims = Vec::new();
    let mut unknown = Vec::new();
    for (lookup, held) in lookups.into_iter().zip(held) {
        match held.and_then(|held| member(settings, &lookup, &held.value)) {
            Some(member) => {
                let Lookup { target, key, mut named, floor, value, .. } = lookup;
                // Whatever the index says of it.
                named.push(key);
                aims.push(Aim { target, member, named, floor, value });
            }
            None => unknown.push(FieldError::new(
                lookup.path,
                "is known by an alias alone, and nothing cached says whose that is: give the member's own parameters",
            )),
        }
    }
    match unknown.is_empty() {
        true => Ok(aims),
        false => Err(Error { fields: unknown, ..Error::new(Kind::MemberUnresolved, "an alias leads to no member") }),
    }
}

fn member(settings: &Settings, lookup: &Lookup, value: &Bytes) -> Option<Member> {
    let Lookup { entity, alias, params: own, .. } = lookup;
    let params = alias.leads_to(entity.key(), own, value)?;
    settings.catalog.member(entity.name().as_str(), params).ok()
}
