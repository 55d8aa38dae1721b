//! Parameters out of a JSON object: strings and whole numbers stand for themselves, whatever else there is has no text
//! that a key could hold.

use std::collections::BTreeMap;

use crate::domain::field;
use crate::domain::json::{Kind, Reader};
use crate::domain::listing::Parameters;
use crate::domain::projection::paths::Place;

/// Every member of the object whose value can be a parameter. None where it is no object, or one of them is empty or is
/// no parameter: half a member names nobody.
pub fn all_of(object: &str) -> Option<Parameters> {
    let mut reader = Reader::of(object);
    let mut names = Vec::new();
    match reader.peek().ok()? {
        Kind::Object => reader.open().ok()?,
        _ => return None,
    }
    while let Some(name) = reader.member().ok()? {
        names.push(name.decoded().into_owned());
        reader.skip().ok()?;
    }
    let places: BTreeMap<String, Place> = names.into_iter().map(|name| (name.clone(), Place::field(&name))).collect();
    chosen(object, &places)
}

/// The parameters that stand at these places; none where one of them is not there.
pub fn chosen(item: &str, places: &BTreeMap<String, Place>) -> Option<Parameters> {
    let param = |(name, place): (&String, &Place)| {
        let value = field::at(item.as_bytes(), place).filter(|text| !text.is_empty())?;
        Some((name.clone(), value.into_owned()))
    };
    places.iter().map(param).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_member_only_if_it_is_whole() {
        let row = all_of(r#"{"userId": 7, "provider": "google"}"#).expect("a member");
        assert_eq!((row["userId"].as_str(), row["provider"].as_str()), ("7", "google"));
        for half in [r#"{"id": null}"#, r#"{"id": ""}"#, r#"{"id": 1.5}"#, r#"{"id": 1, "id": 2}"#, "[1]", "7", "{"] {
            assert_eq!(all_of(half), None, "{half}");
        }
        let places = BTreeMap::from([("id".to_owned(), Place::default())]);
        assert_eq!(chosen("\"a\"", &places).expect("a member")["id"], "a");
    }
}
