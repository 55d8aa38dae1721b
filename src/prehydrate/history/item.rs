//! What a history is about: an entity, and the parameters that do not follow from the subject.
//!
//! `profile`, or `product?sku=A-1&currency=EUR` with names in order and values percent-encoded. An application writes
//! the same text, so there is one text for one item: what parses and would be written otherwise is refused.

use std::fmt;

use crate::domain::catalog::Catalog;
use crate::domain::entity::{Entity, Member, Name};
use crate::domain::subject::Fact;
use crate::domain::template::Params;

/// An item's text. Longer ones would let one subject's history grow to where nobody wants to read it at a login.
pub const MAX_ITEM_BYTES: usize = 256;

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Item {
    entity: Name,
    params: Params,
}

impl Item {
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_ITEM_BYTES {
            return None;
        }
        let (entity, query) = match text.split_once('?') {
            Some((entity, query)) => (entity, Some(query)),
            None => (text, None),
        };
        let pairs = query.into_iter().flat_map(|query| query.split('&'));
        let params = pairs.map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((name.to_owned(), decode(value)?))
        });
        let item = Self { entity: Name::new(entity)?, params: params.collect::<Option<Params>>()? };
        (item.to_string() == text).then_some(item)
    }

    /// Of an entity whose members follow from the subject.
    pub fn whole(entity: Name) -> Self {
        Self { entity, params: Params::default() }
    }

    /// What has to be asked for to have these parameters: those that do not follow from the subject.
    pub fn asked(entity: &Entity, params: &Params) -> Self {
        let own = params.iter().filter(|(name, _)| !follows(entity, name));
        Self { entity: entity.name().clone(), params: own.collect() }
    }

    /// What a read of this member says about its subject; none where the history must not hold it: an id that is secret,
    /// one too long to be worth remembering, or what could not be loaded anyway.
    pub fn of(member: &Member) -> Option<Self> {
        let entity = &member.entity;
        entity.load()?;
        let item = Self::asked(entity, &member.params);
        let is_fit = (item.params.is_empty() || !entity.is_secret()) && item.to_string().len() <= MAX_ITEM_BYTES;
        is_fit.then_some(item)
    }

    /// Whether this configuration could load it, and would write it so.
    pub fn is_of(&self, catalog: &Catalog) -> bool {
        let Some(entity) = catalog.entity(self.entity.as_str()) else { return false };
        let free = || entity.key().params().filter(|param| !follows(entity, param));
        let is_free = |(name, _): (&str, &str)| free().any(|param| param == name);
        let is_secret = entity.is_secret() && !self.params.is_empty();
        entity.load().is_some() && !is_secret && self.params.len() == free().count() && self.params.iter().all(is_free)
    }

    pub fn entity(&self) -> &Name {
        &self.entity
    }

    pub fn params(&self) -> &Params {
        &self.params
    }
}

fn follows(entity: &Entity, param: &str) -> bool {
    match entity.fact_of(param) {
        _ if entity.is_told(param) => true,
        Some(Fact::User | Fact::Session | Fact::Tenant | Fact::Attribute(_)) => true,
        None => false,
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.entity)?;
        for (at, (name, value)) in self.params.iter().enumerate() {
            f.write_str(if at == 0 { "?" } else { "&" })?;
            write!(f, "{name}=")?;
            for byte in value.bytes() {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                        write!(f, "{}", char::from(byte))?
                    }
                    _ => write!(f, "%{byte:02X}")?,
                }
            }
        }
        Ok(())
    }
}

/// Names only: values are ids.
impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Item({} {:?})", self.entity, self.params)
    }
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let (digits, after) = after.split_at_checked(2)?;
            let digits = std::str::from_utf8(digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_item_has_one_text() {
        for text in ["profile", "product?currency=EUR&sku=A-1", "note?title=%C3%BC%20%26%3D"] {
            assert_eq!(Item::parse(text).expect(text).to_string(), text);
        }
        for text in [
            "",
            "a b",
            "product?sku",
            "product?b=1&a=2",
            "product?sku=%c3",
            "product?sku=a b",
            "product?sku=%zz",
            "product?",
            "product?sku=1&sku=1",
            "product?sku=%41",
            "product?sku=%+1",
        ] {
            assert_eq!(Item::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_item_that_is_too_long_is_none() {
        assert_eq!(Item::parse(&format!("product?sku={}", "x".repeat(MAX_ITEM_BYTES))), None);
    }

    proptest! {
        #[test]
        fn whatever_the_values_are_the_text_reads_back(value in ".{1,40}") {
            let params: Params = [("sku", value)].into_iter().collect();
            let item = Item { entity: Name::new("product").expect("a name"), params };
            let text = item.to_string();
            if text.len() <= MAX_ITEM_BYTES {
                prop_assert_eq!(Item::parse(&text), Some(item));
            }
        }
    }
}
