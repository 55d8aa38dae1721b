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
use crate::domain::template::Params;
use crate::fill::settings::Settings;
use crate::invalidate::resolve::{Aim, NewValue};
use crate::invalidate::tools::{Tools, VALUES_AT_ONCE};

/// Of one call: more are several calls.
pub const MOST: usize = 1_024;

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

/// Finds all of them, or says which could not be found. A few values at a time, of which only whose they are is kept: an
/// alias may hold its member's whole value.
pub async fn find(tools: &Tools, settings: &Settings, lookups: Vec<Lookup>) -> Result<Vec<Aim>, Error> {
    let mut members: Vec<Option<Member>> = Vec::with_capacity(lookups.len());
    for some in lookups.chunks(VALUES_AT_ONCE) {
        let keys: Vec<Key> = some.iter().map(|lookup| lookup.key.clone()).collect();
        let _room = tools.lookups.acquire_many(keys.len() as u32).await;
        let held = tools.hands.store.read(&keys).await;
        let held = held.map_err(|error| Error::new(Kind::StoreUnavailable, error.to_string()))?;
        let found = some.iter().zip(held).map(|(lookup, held)| member(settings, lookup, &held?.value));
        members.extend(found);
    }
    let mut aims = Vec::new();
    let mut unknown = Vec::new();
    for (lookup, member) in lookups.into_iter().zip(members) {
        match member {
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
