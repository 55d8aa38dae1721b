//! Whose is what: the parts of an answer in bulk, told apart by the ids in them.
//!
//! A part that nobody asked for is dropped and counted, never guessed at. Where there are such parts and members that
//! have none, the source did not answer what it was asked (it pages, ignores the ids, or writes them otherwise), so those
//! members are not absent: nobody knows.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

use crate::domain::entity::Member;
use crate::domain::entity::load::Rows;
use crate::domain::projection::paths::{Place, Step};
use crate::domain::source::{FetchError, Fetched};

pub struct Sorted<'a> {
    /// By the values of the key's parameters, in the order of the key.
    places: BTreeMap<Vec<&'a str>, usize>,
    found: Vec<Found>,
    strays: u64,
}

#[derive(Clone, Debug)]
enum Found {
    Parts(Vec<Bytes>),
    Failed(FetchError),
}

/// What came of it, and how many parts nobody had asked for.
pub struct Told {
    pub results: Vec<Result<Fetched, FetchError>>,
    pub strays: u64,
}

impl<'a> Sorted<'a> {
    pub fn new(members: &[&'a Member]) -> Self {
        let places = members.iter().enumerate().map(|(place, member)| (ids_of(member).collect(), place));
        Self { places: places.collect(), found: vec![Found::Parts(Vec::new()); members.len()], strays: 0 }
    }

    /// A part that says that it is of the member with these ids.
    pub fn put(&mut self, ids: &[&str], part: Bytes) {
        match self.places.get(ids).map(|place| &mut self.found[*place]) {
            Some(Found::Parts(parts)) => parts.push(part),
            Some(Found::Failed(_)) => {}
            None => self.strays += 1,
        }
    }

    /// A part of this member that cannot be taken.
    pub fn fail(&mut self, ids: &[&str], error: FetchError) {
        match self.places.get(ids) {
            Some(place) => self.found[*place] = Found::Failed(error),
            None => self.strays += 1,
        }
    }

    /// A part that says of nobody that it is theirs.
    pub fn stray(&mut self) {
        self.strays += 1;
    }

    /// One result for each member, in their order.
    pub fn tell(self, rows: Rows) -> Told {
        let lacking = if self.strays == 0 { Ok(Fetched::Absent) } else { Err(FetchError::Ambiguous) };
        let results = self.found.into_iter().map(|found| match (found, rows) {
            (Found::Failed(error), _) => Err(error),
            (Found::Parts(parts), _) if parts.is_empty() && lacking.is_err() => lacking.clone(),
            (Found::Parts(parts), Rows::List) => Ok(Fetched::Found(list(&parts))),
            (Found::Parts(parts), Rows::One) => one(parts).unwrap_or_else(|| lacking.clone()),
        });
        Told { results: results.collect(), strays: self.strays }
    }
}

/// The one part there is; none where there is none.
pub fn one(mut parts: Vec<Bytes>) -> Option<Result<Fetched, FetchError>> {
    match (parts.pop(), parts.is_empty()) {
        (None, _) => None,
        (Some(part), true) => Some(Ok(Fetched::Found(part))),
        (Some(_), false) => Some(Err(FetchError::Ambiguous)),
    }
}

/// The parts as one JSON array.
pub fn list(parts: &[Bytes]) -> Bytes {
    let mut text = BytesMut::with_capacity(parts.iter().map(|part| part.len() + 1).sum::<usize>() + 2);
    text.put_u8(b'[');
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            text.put_u8(b',');
        }
        text.put_slice(part);
    }
    text.put_u8(b']');
    text.freeze()
}

/// The values of the key's parameters, in the order of the key.
pub fn ids_of(member: &Member) -> impl Iterator<Item = &str> {
    member.entity.key().params().map(|param| member.params.get(param).unwrap_or_default())
}

/// An item of a list as the answer for it alone would have held it: at the place where an entity's values stand.
pub fn enveloped(place: &Place, item: &str) -> Bytes {
    let mut text = item.to_owned();
    for step in place.steps.iter().rev() {
        text = match step {
            Step::Name(name) => format!("{{{}:{text}}}", serde_json::Value::from(name.as_str())),
            Step::Index(index) => format!("[{}{text}]", "null,".repeat(*index)),
        };
    }
    Bytes::from(text)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::entity::Entity;
    use crate::domain::entity::sample::shared;
    use crate::domain::field;

    fn member(pairs: &[(&str, &str)]) -> Member {
        let key = if pairs.len() == 1 { "x:{id}" } else { "x:{b}:{a}" };
        let entity = Arc::new(Entity::new(shared("x", key)).expect("a good entity"));
        let params = pairs.iter().copied().collect();
        let key = entity.key().key(&params, entity.ids()).expect("a good key");
        Member { entity, params, key }
    }

    fn found(text: &'static str) -> Result<Fetched, FetchError> {
        Ok(Fetched::Found(Bytes::from_static(text.as_bytes())))
    }

    #[test]
    fn each_member_gets_its_own_in_whatever_order() {
        let members = [member(&[("id", "1")]), member(&[("id", "2")]), member(&[("id", "3")])];
        let mut sorted = Sorted::new(&members.iter().collect::<Vec<_>>());
        sorted.put(&["3"], "c".into());
        sorted.put(&["1"], "a".into());
        let told = sorted.tell(Rows::One);
        assert_eq!(told.results, [found("a"), Ok(Fetched::Absent), found("c")]);
        assert_eq!(told.strays, 0);
    }

    #[test]
    fn what_nobody_asked_for_leaves_nobody_absent() {
        let members = [member(&[("id", "1")]), member(&[("id", "02")])];
        let mut sorted = Sorted::new(&members.iter().collect::<Vec<_>>());
        sorted.put(&["1"], "a".into());
        sorted.put(&["2"], "b".into());
        let told = sorted.tell(Rows::One);
        assert_eq!(told.results, [found("a"), Err(FetchError::Ambiguous)]);
        assert_eq!(told.strays, 1);
    }

    #[test]
    fn two_parts_of_one_member_are_a_list_or_an_error() {
        let members = [member(&[("id", "1")]), member(&[("id", "2")])];
        let sorted = || {
            let mut sorted = Sorted::new(&members.iter().collect::<Vec<_>>());
            sorted.put(&["1"], "1".into());
            sorted.put(&["1"], "2".into());
            sorted
        };
        assert_eq!(sorted().tell(Rows::One).results, [Err(FetchError::Ambiguous), Ok(Fetched::Absent)]);
        assert_eq!(sorted().tell(Rows::List).results, [found("[1,2]"), found("[]")]);
    }

    #[test]
    fn pairs_are_told_apart_in_the_order_of_the_key() {
        let members = [member(&[("a", "1"), ("b", "2")]), member(&[("a", "2"), ("b", "1")])];
        let mut sorted = Sorted::new(&members.iter().collect::<Vec<_>>());
        sorted.put(&["2", "1"], "first".into());
        sorted.fail(&["1", "2"], FetchError::TooLarge);
        assert_eq!(sorted.tell(Rows::One).results, [found("first"), Err(FetchError::TooLarge)]);
    }

    #[test]
    fn an_item_stands_where_its_own_answer_would_have_held_it() {
        for place in ["$", "$.data", "$.data.items[2].a\"b"] {
            let place = Place::parse(place).unwrap_or_else(|_| Place::field("a\"b"));
            assert_eq!(field::at(&enveloped(&place, "\"x\""), &place).as_deref(), Some("x"), "{}", place.text);
        }
    }
}
