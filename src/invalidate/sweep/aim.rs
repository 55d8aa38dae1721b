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
use crate::domain::random::Nonce;
use crate::domain::removal::Erasure;
use crate::invalidate::rules;
use crate::invalidate::sweep::Spec;

/// What of a key was met: its value, or only something beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    Value,
    Beside,
}

/// For the server: passes every name that could be of interest. One scan with a pattern that is too wide costs less than
/// one for each prefix.
pub fn pattern(spec: &Spec, catalog: &Catalog) -> String {
    if let ([pattern], []) = (&spec.patterns[..], &spec.entities[..]) {
        return format!("*{pattern}*");
    }
    let of_patterns = spec.patterns.iter().map(|pattern| literal(pattern));
    let entities = spec.entities.iter().filter_map(|name| catalog.entity(name.as_str()));
    let templates = entities.flat_map(|e| std::iter::once(e.key()).chain(e.aliases().iter().map(|alias| &alias.key)));
    let of_entities = templates.map(|template| template.prefix());
    match of_patterns.chain(of_entities).reduce(common) {
        None | Some("") => "*".to_owned(),
        Some(prefix) => format!("*{}*", escape(prefix)),
    }
}

/// The keys that are wanted among what a scan met, and what of each.
pub fn wanted(spec: &Spec, catalog: &Catalog, names: Vec<Bytes>) -> BTreeMap<Key, Met> {
    let mut wanted = BTreeMap::new();
    for (key, met) in names.into_iter().filter_map(read).filter(|(key, _)| is_wanted(spec, catalog, key)) {
        match wanted.entry(key) {
            Entry::Vacant(place) => drop(place.insert(met)),
            Entry::Occupied(mut place) if met == Met::Value => drop(place.insert(met)),
            Entry::Occupied(_) => {}
        }
    }
    wanted
}

/// How a key is removed, as its entity says. Of what no template makes any more, everything that may be there.
pub fn erasure(catalog: &Catalog, key: Key, nonce: Nonce) -> Erasure {
    let found = text(&key).and_then(|text| catalog.find(text));
    match found {
        None => Erasure { key, has_index: true, mark: None },
        Some(found) => {
            let (entity, is_alias) = (found.entity, found.alias.is_some());
            // A floor and a lag are a matter of the member's own key; what apps write concerns its aliases too.
            let is_marked = !is_alias || rules::is_shared(entity);
            let mark = rules::mark(entity, nonce, None).filter(|_| is_marked);
            Erasure { key, has_index: !is_alias && !entity.aliases().is_empty(), mark }
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

fn is_wanted(spec: &Spec, catalog: &Catalog, key: &Key) -> bool {
    if spec.patterns.iter().any(|pattern| glob::matches(pattern.as_bytes(), key.as_bytes())) {
        return true;
    }
    if spec.entities.is_empty() {
        return false;
    }
    let found = text(key).and_then(|text| catalog.find(text));
    found.is_some_and(|found| spec.entities.contains(found.entity.name()))
}

fn text(key: &Key) -> Option<&str> {
    std::str::from_utf8(key.as_bytes()).ok()
}

/// A pattern up to the first character that is not only itself.
fn literal(pattern: &str) -> &str {
    pattern.split(['*', '?', '[', '\\']).next().unwrap_or_default()
}

fn common<'a>(one: &'a str, other: &str) -> &'a str {
    let same = one.char_indices().zip(other.chars()).find(|((_, a), b)| a != b);
    match same {
        Some(((at, _), _)) => &one[..at],
        None => &one[..one.len().min(other.len())],
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 4);
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
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
        let asked = |spec: &Spec| pattern(spec, &catalog());
        assert_eq!(asked(&patterns(&["user:id:*7"])), "*user:id:*7*");
        assert_eq!(asked(&patterns(&["user:id:*", "user:email:[ab]*"])), "*user:*");
        assert_eq!(asked(&entities(&["user"])), "*user:*");
        assert_eq!(asked(&entities(&["menu"])), "*user:menu:*");
        assert_eq!(asked(&entities(&["price"])), "*price\\[*");
        assert_eq!(asked(&entities(&["user", "price"])), "*");
    }

    #[test]
    fn a_key_is_known_by_itself_and_by_what_stands_beside_it() {
        let names = ["user:id:1", "{user:id:2}:g", "{user:email:a}:x", "{user:id:3}:t", "other:1", "{user:menu:1}:g"];
        let names = |more: &[&'static str]| names.iter().chain(more).map(|name| Bytes::from(*name)).collect();
        let found = wanted(&entities(&["user"]), &catalog(), names(&["{user:id:1}:g", "hydrant:{g:1}:user:id:9"]));
        let found: Vec<(String, Met)> = found.into_iter().map(|(key, met)| (key.to_string(), met)).collect();
        let expected = [("user:email:a", Met::Beside), ("user:id:1", Met::Value), ("user:id:2", Met::Beside)];
        assert_eq!(found, expected.map(|(key, met)| (key.to_owned(), met)));
        let found = wanted(&patterns(&["user:menu:*", "other:*"]), &catalog(), names(&[]));
        let found: Vec<String> = found.into_keys().map(|key| key.to_string()).collect();
        assert_eq!(found, ["other:1", "user:menu:1"]);
    }

    #[test]
    fn a_member_goes_with_its_index_and_an_alias_alone() {
        let nonce = crate::domain::random::Random::from_seed(1).nonce();
        let has_index = |key: &'static str| {
            let key = Key::new(key).expect("a good key");
            erasure(&catalog(), key, nonce).has_index
        };
        assert!(has_index("user:id:1"));
        assert!(!has_index("user:email:a"));
        assert!(!has_index("user:menu:1"));
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
                    let asked = pattern(&spec, &catalog());
                    if is_wanted(&spec, &catalog(), &key) {
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
