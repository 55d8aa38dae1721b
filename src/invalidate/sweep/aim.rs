//! What a sweep is after: which names make the server tell of a key, and which of them really mean one of ours.
//!
//! The server is asked for more than is wanted, because a key may be gone while Hydrant's keys beside it stand: a memory
//! that the member is absent, a claim that would bring it back, an index that leads to aliases. Their names contain the
//! key's, so the pattern is opened at both ends, and what comes back is read here.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bytes::Bytes;

use crate::domain::catalog::Catalog;
use crate::domain::entity::check::OWN_PREFIX;
use crate::domain::glob;
use crate::domain::key::{Key, Sibling};
use crate::domain::removal::Erasure;
use crate::domain::template::{Ids, Template};
use crate::invalidate::rules;
use crate::invalidate::sweep::{Keys, Spec};

/// What of a key was met: its value, or only something beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    Value,
    Beside,
}

/// What a sweep is after, in a form that can be asked of every key.
pub struct Aim<'a> {
    spec: &'a Spec,
    /// Of the entities as they were declared when the sweep was asked for.
    templates: Vec<Template>,
}

impl<'a> Aim<'a> {
    pub fn new(spec: &'a Spec) -> Self {
        // What cannot be parsed was written by a newer version, which will find its sweep in the journal.
        let templates = spec.templates.iter().filter_map(|text| Template::for_key(text).ok()).collect();
        Self { spec, templates }
    }

    /// For the server: passes every name that could be of interest. One scan with a pattern that is too wide costs less
    /// than one for each prefix.
    pub fn pattern(&self, catalog: &Catalog) -> String {
        if let ([pattern], []) = (&self.spec.patterns[..], &self.spec.entities[..]) {
            return format!("*{pattern}*");
        }
        let of_patterns = self.spec.patterns.iter().map(|pattern| literal(pattern));
        let entities = self.spec.entities.iter().filter_map(|name| catalog.entity(name.as_str()));
        let templates = entities.flat_map(|entity| entity.templates()).chain(&self.templates);
        match of_patterns.chain(templates.map(Template::prefix)).reduce(glob::common) {
            None | Some("") => "*".to_owned(),
            Some(prefix) => format!("*{}*", glob::escape(prefix)),
        }
    }

    /// The keys that are wanted among what a scan met, and what of each.
    pub fn wanted(&self, catalog: &Catalog, names: Vec<Bytes>) -> BTreeMap<Key, Met> {
        let mut wanted = BTreeMap::new();
        for (key, met) in names.into_iter().filter_map(read).filter(|(key, _)| self.wants(catalog, key)) {
            match wanted.entry(key) {
                Entry::Vacant(place) => drop(place.insert(met)),
                Entry::Occupied(mut place) if met == Met::Value => drop(place.insert(met)),
                Entry::Occupied(_) => {}
            }
        }
        wanted
    }

    /// Whether one of its patterns can mean aliases, and not their members.
    pub fn may_be_aliases(&self, catalog: &Catalog) -> bool {
        let prefixes = || catalog.entities().flat_map(|entity| entity.aliases()).map(|alias| alias.key.prefix());
        let mut literals = self.spec.patterns.iter().map(|pattern| literal(pattern));
        literals.any(|own| prefixes().any(|prefix| own.starts_with(prefix) || prefix.starts_with(own)))
    }

    /// By its pattern, by its entity as it is declared here, or as it was where the sweep was asked for; unless another
    /// entity has the key here, where that counts.
    fn wants(&self, catalog: &Catalog, key: &Key) -> bool {
        if self.spec.patterns.iter().any(|pattern| glob::matches(pattern.as_bytes(), key.as_bytes())) {
            return true;
        }
        let Some(text) = text(key).filter(|_| !self.spec.entities.is_empty()) else { return false };
        match (catalog.find(text), self.spec.keys) {
            (Some(found), Keys::OfNow) => self.spec.entities.contains(found.entity.name()),
            (Some(_), Keys::OfThen) | (None, _) => {
                self.templates.iter().any(|template| template.match_key(text, Ids::Plain).is_some())
            }
        }
    }
}

/// How a key is removed, as its entity says. Of what no template makes any more, everything that may be there. A sweep does
/// not weed: it comes by again.
pub fn erasure(catalog: &Catalog, key: Key) -> Erasure {
    let found = text(&key).and_then(|text| catalog.find(text));
    match found {
        None => Erasure { key, has_index: true, mark: None },
        Some(found) => {
            let (entity, is_alias) = (found.entity, found.alias.is_some());
            // A floor and a lag are a matter of the member's own key; what apps write concerns its aliases too.
            let is_marked = !is_alias || rules::is_shared(entity);
            let mark = rules::mark(entity, None, None).filter(|_| is_marked);
            Erasure { key, has_index: !is_alias, mark }
        }
    }
}

fn read(name: Bytes) -> Option<(Key, Met)> {
    if name.starts_with(OWN_PREFIX.as_bytes()) {
        return None;
    }
    match Key::of_sibling(&name) {
        Some((key, Sibling::Guard | Sibling::Index)) => Some((key, Met::Beside)),
        // They bring nothing back, and end by themselves.
        Some((_, Sibling::Tombstone | Sibling::Provenance)) => None,
        // Those of a lock are no member's.
        Some((_, Sibling::Lease | Sibling::Progress | Sibling::Shards | Sibling::Results)) => None,
        None => Key::new(name).ok().map(|key| (key, Met::Value)),
    }
}

fn text(key: &Key) -> Option<&str> {
    std::str::from_utf8(key.as_bytes()).ok()
}

/// A pattern up to the first character that is not only itself.
fn literal(pattern: &str) -> &str {
    pattern.split(['*', '?', '[', '\\']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::entity::sample::{self, shared};
    use crate::domain::entity::{Draft, Entity, Name};

    fn catalog() -> Catalog {
        let user = Draft { aliases: vec![sample::alias("user:email:{email}")], ..shared("user", "user:id:{id}") };
        let drafts = [user, shared("menu", "user:menu:{id}"), shared("price", "price[{id}")];
        Catalog::new(drafts.map(|draft| Entity::new(draft).expect("a good entity")).into()).expect("no clash")
    }

    fn entities(names: &[&str]) -> Spec {
        let entities = names.iter().map(|name| Name::new(name).expect("a good name")).collect();
        Spec { entities, ..Spec::default() }
    }

    fn patterns(patterns: &[&str]) -> Spec {
        Spec { patterns: patterns.iter().map(|pattern| (*pattern).to_owned()).collect(), ..Spec::default() }
    }

    #[test]
    fn the_server_is_asked_for_what_all_of_them_have_in_common() {
        let asked = |spec: &Spec| Aim::new(spec).pattern(&catalog());
        assert_eq!(asked(&patterns(&["user:id:*7"])), "*user:id:*7*");
        assert_eq!(asked(&patterns(&["user:id:*", "user:email:[ab]*"])), "*user:*");
        assert_eq!(asked(&entities(&["user"])), "*user:*");
        assert_eq!(asked(&entities(&["menu"])), "*user:menu:*");
        assert_eq!(asked(&entities(&["price"])), "*price\\[*");
        assert_eq!(asked(&entities(&["user", "price"])), "*");
    }

    #[test]
    fn a_pattern_can_mean_aliases_where_it_meets_an_alias_template() {
        let may_be = |pattern: &str| Aim::new(&patterns(&[pattern])).may_be_aliases(&catalog());
        assert!(may_be("user:email:*@b.c") && may_be("user:*") && may_be("user:e*"));
        assert!(!may_be("user:id:*") && !may_be("user:menu:*"));
        assert!(!Aim::new(&entities(&["user"])).may_be_aliases(&catalog()), "their members are swept too");
    }

    #[test]
    fn a_key_is_known_by_itself_and_by_what_stands_beside_it() {
        let names = ["user:id:1", "{user:id:2}:g", "{user:email:a}:x", "{user:id:3}:t", "other:1", "{user:menu:1}:g"];
        let names = |more: &[&'static str]| names.iter().chain(more).map(|name| Bytes::from(*name)).collect();
        let found =
            Aim::new(&entities(&["user"])).wanted(&catalog(), names(&["{user:id:1}:g", "hydrant:{g:1}:user:id:9"]));
        let found: Vec<(String, Met)> = found.into_iter().map(|(key, met)| (key.to_string(), met)).collect();
        let expected = [("user:email:a", Met::Beside), ("user:id:1", Met::Value), ("user:id:2", Met::Beside)];
        assert_eq!(found, expected.map(|(key, met)| (key.to_owned(), met)));
        let found = Aim::new(&patterns(&["user:menu:*", "other:*"])).wanted(&catalog(), names(&[]));
        let found: Vec<String> = found.into_keys().map(|key| key.to_string()).collect();
        assert_eq!(found, ["other:1", "user:menu:1"]);
    }

    #[test]
    fn a_sidecar_that_declares_it_otherwise_knows_what_was_meant() {
        let asked_for = Spec::of([catalog().entity("user").expect("declared").as_ref()]);
        let elsewhere = [shared("user", "u:{id}"), shared("menu", "user:menu:{id}")];
        let elsewhere = elsewhere.map(|draft| Entity::new(draft).expect("a good entity"));
        let elsewhere = Catalog::new(elsewhere.into()).expect("no clash");
        let aim = Aim::new(&asked_for);
        assert_eq!(aim.pattern(&elsewhere), "*u*");
        let names = ["user:id:1", "user:email:a", "u:7", "user:menu:1", "other:1"].map(Bytes::from);
        let found: Vec<String> = aim.wanted(&elsewhere, names.into()).into_keys().map(|key| key.to_string()).collect();
        assert_eq!(found, ["u:7", "user:email:a", "user:id:1"]);
    }

    #[test]
    fn what_was_filled_by_a_declaration_is_known_by_it_whoever_has_the_keys_now() {
        let then = Spec { keys: Keys::OfThen, ..Spec::of([catalog().entity("menu").expect("declared").as_ref()]) };
        let renamed = [shared("dish", "user:menu:{id}"), shared("menu", "menu:{id}")];
        let renamed = Catalog::new(renamed.map(|draft| Entity::new(draft).expect("a good entity")).into());
        let names = ["user:menu:1", "menu:1", "other:1"].map(Bytes::from);
        let found = Aim::new(&then).wanted(&renamed.expect("no clash"), names.into());
        assert_eq!(found.into_keys().map(|key| key.to_string()).collect::<Vec<_>>(), ["user:menu:1"]);
    }

    #[test]
    fn a_member_goes_with_its_index_and_an_alias_alone() {
        let has_index = |key: &'static str| {
            let key = Key::new(key).expect("a good key");
            erasure(&catalog(), key).has_index
        };
        assert!(has_index("user:id:1"));
        assert!(!has_index("user:email:a"));
        assert!(has_index("user:menu:1"), "others may declare aliases of it");
        assert!(has_index("user:of:an:older:version"));
    }

    proptest! {
        #[test]
        fn the_server_lets_everything_pass_that_is_wanted(
            name in "[a-z{}:\\[\\]*?\\\\-]{1,12}", pattern_text in "user:[a-z{}:*?]{0,8}", other in "us[a-z*]{1,6}",
        ) {
            let key = Key::new(format!("user:{name}"));
            if let Ok(key) = key {
                for spec in [patterns(&[&pattern_text]), patterns(&[&pattern_text, &other]), entities(&["user", "menu"])] {
                    let aim = Aim::new(&spec);
                    let asked = aim.pattern(&catalog());
                    if aim.wants(&catalog(), &key) {
                        prop_assert!(glob::matches(asked.as_bytes(), key.as_bytes()), "{asked} {key}");
                        for kind in [Sibling::Guard, Sibling::Index] {
                            prop_assert!(glob::matches(asked.as_bytes(), &key.sibling(kind)), "{asked} {key}");
                        }
                    }
                }
            }
        }
    }
}
