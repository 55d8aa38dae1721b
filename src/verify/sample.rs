//! Members that are cached now, drawn evenly from as much of Redis as may be looked through.
//!
//! For the check on demand, which has not heard of any invalidation. Each primary is scanned a little at a time; of what
//! it names every key has the same chance. An alias key leads to its member, and is looked at with it: so one that was
//! left behind by an invalidation is found although no index names it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::sleep;

use crate::domain::catalog::Catalog;
use crate::domain::entity::check::OWN_PREFIX;
use crate::domain::entity::{Entity, Name};
use crate::domain::glob;
use crate::domain::key::Key;
use crate::domain::random::Random;
use crate::domain::removal::{Removal, ScanStep};
use crate::domain::store::{Store, StoreError};

/// Places of one step: a quarter of a millisecond of a primary's time.
const LOOKED_AT_ONCE: u32 = 500;
/// Between steps: a fortieth of a primary's time at most.
const PAUSE: Duration = Duration::from_millis(10);
/// Alias keys read in one request.
const READ_AT_ONCE: usize = 256;

/// How much is drawn, and from how much.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Of all, where none is named.
    pub entities: Vec<Name>,
    pub most: usize,
    /// Keys looked at, over all primaries.
    pub scanned: u64,
}

#[derive(Debug, Default)]
pub struct Sample {
    pub keys: Vec<Key>,
    pub looked_at: u64,
    /// Keys of the entities among them.
    pub matched: u64,
    /// Everything was looked at.
    pub is_whole: bool,
}

/// A member's own key, and alias keys that were met.
pub type Members = BTreeMap<Key, Vec<Key>>;

pub async fn draw(
    removal: &dyn Removal,
    catalog: &Catalog,
    spec: &Spec,
    random: &Random,
) -> Result<Sample, StoreError> {
    let pattern = pattern(catalog, spec);
    let mut sample = Sample { is_whole: true, ..Sample::default() };
    let primaries = removal.primaries();
    let each = spec.scanned.div_ceil(primaries.len().max(1) as u64);
    for primary in &primaries {
        let (mut cursor, mut looked_at) = (Some(0), 0);
        while let Some(from) = cursor {
            if looked_at >= each {
                sample.is_whole = false;
                break;
            }
            let step = ScanStep { primary, cursor: from, pattern: &pattern, count: LOOKED_AT_ONCE };
            let page = removal.scan(step).await?;
            page.keys.into_iter().filter_map(|name| wanted(catalog, spec, name)).for_each(|key| {
                sample.take(key, spec.most, random);
            });
            looked_at += u64::from(LOOKED_AT_ONCE);
            cursor = page.next;
            sleep(PAUSE).await;
        }
        sample.looked_at += looked_at;
    }
    Ok(sample)
}

/// The members that the keys belong to.
pub async fn members(store: &dyn Store, catalog: &Catalog, keys: &[Key]) -> Result<Members, StoreError> {
    let mut members = Members::new();
    let mut aliases = Vec::new();
    for key in keys {
        let found = std::str::from_utf8(key.as_bytes()).ok().and_then(|text| catalog.find(text));
        match found {
            Some(found) if found.alias.is_some() => aliases.push((key, found)),
            Some(_) => drop(members.entry(key.clone()).or_default()),
            None => {}
        }
    }
    for some in aliases.chunks(READ_AT_ONCE) {
        let keys: Vec<Key> = some.iter().map(|(key, _)| (*key).clone()).collect();
        for ((key, found), held) in some.iter().zip(store.read(&keys).await?) {
            let entity = found.entity;
            let alias = entity.aliases().iter().find(|alias| Some(&alias.name) == found.alias);
            let Some((alias, held)) = alias.zip(held) else { continue };
            let params = alias.leads_to(entity.key(), &found.params, &held.value);
            let member = params.and_then(|params| catalog.member(entity.name().as_str(), params).ok());
            if let Some(member) = member {
                members.entry(member.key).or_default().push((*key).clone());
            }
        }
    }
    Ok(members)
}

impl Sample {
    /// Keeps each of those met so far with the same chance.
    fn take(&mut self, key: Key, most: usize, random: &Random) {
        self.matched += 1;
        if self.keys.len() < most {
            return self.keys.push(key);
        }
        let place = (random.unit() * self.matched as f64) as usize;
        if let Some(kept) = self.keys.get_mut(place) {
            *kept = key;
        }
    }
}

/// One scan with a pattern that is too wide costs less than one for each prefix.
fn pattern(catalog: &Catalog, spec: &Spec) -> String {
    let templates = entities(catalog, spec)
        .flat_map(|entity| std::iter::once(entity.key()).chain(entity.aliases().iter().map(|alias| &alias.key)));
    let prefix = templates.map(|template| template.prefix()).reduce(glob::common).unwrap_or_default();
    format!("{}*", glob::escape(prefix))
}

fn entities<'a>(catalog: &'a Catalog, spec: &'a Spec) -> impl Iterator<Item = &'a Entity> {
    let is_meant = |entity: &&Entity| spec.entities.is_empty() || spec.entities.contains(entity.name());
    catalog.entities().map(AsRef::as_ref).filter(is_meant)
}

fn wanted(catalog: &Catalog, spec: &Spec, name: bytes::Bytes) -> Option<Key> {
    if name.starts_with(OWN_PREFIX.as_bytes()) {
        return None;
    }
    let key = Key::new(name).ok()?;
    let found = catalog.find(std::str::from_utf8(key.as_bytes()).ok()?)?;
    let is_meant = spec.entities.is_empty() || spec.entities.contains(found.entity.name());
    is_meant.then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entity::Draft;
    use crate::domain::entity::sample::{alias, shared};

    fn catalog() -> Catalog {
        let user = Draft { aliases: vec![alias("user:email:{email}")], ..shared("user", "user:id:{id}") };
        let drafts = [user, shared("menu", "menu[{id}")];
        Catalog::new(drafts.map(|draft| Entity::new(draft).expect("a good entity")).into()).expect("no clash")
    }

    fn spec(entities: &[&str]) -> Spec {
        let entities = entities.iter().map(|name| Name::new(name).expect("a good name")).collect();
        Spec { entities, most: 2, scanned: 1_000 }
    }

    #[test]
    fn the_server_is_asked_for_what_they_have_in_common() {
        assert_eq!(pattern(&catalog(), &spec(&["user"])), "user:*");
        assert_eq!(pattern(&catalog(), &spec(&["menu"])), "menu\\[*");
        assert_eq!(pattern(&catalog(), &spec(&[])), "*");
    }

    #[test]
    fn keys_of_hydrant_and_of_others_are_left_alone() {
        let is_wanted = |name: &'static str, entities| wanted(&catalog(), &spec(entities), name.into()).is_some();
        assert!(is_wanted("user:id:7", &["user"]) && is_wanted("user:email:a@x", &[]));
        assert!(!is_wanted("menu[7", &["user"]));
        for other in ["{user:id:7}:g", "hydrant:{shop}:x", "user:7", "other"] {
            assert!(!is_wanted(other, &[]), "{other}");
        }
    }

    #[test]
    fn every_key_has_the_same_chance() {
        let (random, key) = (Random::from_seed(7), |n: usize| Key::new(n.to_string()).expect("a good key"));
        let mut met = [0; 8];
        for _ in 0..2_000 {
            let mut sample = Sample::default();
            (0..8).for_each(|n| sample.take(key(n), 2, &random));
            assert_eq!(sample.keys.len(), 2);
            (0..8).filter(|n| sample.keys.contains(&key(*n))).for_each(|n| met[n] += 1);
        }
        assert!(met.iter().all(|count| (400..600).contains(count)), "{met:?}");
    }
}
