//! One field of a JSON text, read at a known place: what an alias is named by, or how new a member is.
//!
//! Only strings and whole numbers can stand in a key or be a version, so nothing else is found. A name that stands
//! twice is not found either: readers differ in which of the two they take.

use std::borrow::Cow;

use crate::domain::json::{Fault, Kind, Reader};
use crate::domain::projection::paths::{Place, Step};

/// What stands at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A string or a whole number, as a person would write it.
    Text(Cow<'a, str>),
    /// The place is not there, or it holds `null`.
    Nothing,
    /// Anything else, a place that is there twice, or no JSON at all.
    Unfit,
}

/// The string or whole number at a place; none where there is no such thing.
pub fn at<'a>(json: &'a [u8], place: &Place) -> Option<Cow<'a, str>> {
    match look(json, place) {
        Found::Text(text) => Some(text),
        Found::Nothing | Found::Unfit => None,
    }
}

pub fn look<'a>(json: &'a [u8], place: &Place) -> Found<'a> {
    let read = || {
        let mut reader = Reader::new(json)?;
        let mut found = Vec::new();
        descend(&mut reader, &place.steps, &mut found)?;
        reader.finish()?;
        Ok::<_, Fault>(found)
    };
    match read() {
        Ok(mut found) if found.len() == 1 => found.remove(0),
        Ok(found) if found.is_empty() => Found::Nothing,
        Ok(_) | Err(_) => Found::Unfit,
    }
}

/// Reads one value to its end, whether or not the place is in it.
fn descend<'a>(reader: &mut Reader<'a>, steps: &[Step], found: &mut Vec<Found<'a>>) -> Result<(), Fault> {
    let Some((step, rest)) = steps.split_first() else {
        found.push(scalar(reader)?);
        return Ok(());
    };
    match (step, reader.peek()?) {
        (Step::Name(wanted), Kind::Object) => {
            reader.open()?;
            while let Some(name) = reader.member()? {
                match name.decoded() == *wanted {
                    true => descend(reader, rest, found)?,
                    false => reader.skip()?,
                }
            }
        }
        (Step::Index(wanted), Kind::Array) => {
            reader.open()?;
            let mut index = 0;
            while reader.element()? {
                match index == *wanted {
                    true => descend(reader, rest, found)?,
                    false => reader.skip()?,
                }
                index += 1;
            }
        }
        _ => reader.skip()?,
    }
    Ok(())
}

fn scalar<'a>(reader: &mut Reader<'a>) -> Result<Found<'a>, Fault> {
    match reader.peek()? {
        Kind::Text => Ok(Found::Text(reader.text()?.decoded())),
        Kind::Number => {
            let number = reader.number()?;
            let whole = number.bytes().all(|b| b.is_ascii_digit() || b == b'-');
            Ok(if whole { Found::Text(Cow::Borrowed(number)) } else { Found::Unfit })
        }
        Kind::Null => {
            reader.skip()?;
            Ok(Found::Nothing)
        }
        Kind::Object | Kind::Array | Kind::Bool => {
            reader.skip()?;
            Ok(Found::Unfit)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str, place: &str) -> Option<String> {
        at(json.as_bytes(), &Place::parse(place).expect("a good place")).map(Cow::into_owned)
    }

    #[test]
    fn strings_and_whole_numbers_are_found_where_they_stand() {
        let json = r#"{"a":{"b":["x",{"c":"caf\u00e9"}]},"n":12345678901234567890,"z":-3}"#;
        assert_eq!(read(json, "$.a.b[1].c").as_deref(), Some("café"));
        assert_eq!(read(json, "$.a.b[0]").as_deref(), Some("x"));
        assert_eq!(read(json, "$.n").as_deref(), Some("12345678901234567890"));
        assert_eq!(read(json, "$.z").as_deref(), Some("-3"));
        assert_eq!(read("\"x\"", "$").as_deref(), Some("x"));
    }

    #[test]
    fn what_cannot_stand_in_a_key_is_not_found() {
        let json = r#"{"null":null,"yes":true,"half":1.5,"big":1e3,"list":[1],"object":{}}"#;
        for place in ["$.null", "$.yes", "$.half", "$.big", "$.list", "$.object", "$.none", "$.null.x", "$.list[1]"] {
            assert_eq!(read(json, place), None, "{place}");
        }
        assert_eq!(read(r#"{"a":"x""#, "$.a"), None, "cut short");
    }

    #[test]
    fn nothing_is_told_from_what_is_unfit() {
        let json = br#"{"null":null,"yes":true,"twice":1,"twice":1}"#;
        let look = |json, place: &str| look(json, &Place::parse(place).expect("a good place"));
        assert_eq!([look(json, "$.null"), look(json, "$.none")], [Found::Nothing, Found::Nothing]);
        assert_eq!([look(json, "$.yes"), look(json, "$.twice"), look(b"x", "$.a")], [const { Found::Unfit }; 3]);
    }

    #[test]
    fn a_name_that_stands_twice_is_neither() {
        assert_eq!(read(r#"{"a":"x","a":"y"}"#, "$.a"), None);
        assert_eq!(read(r#"{"a":{"b":1},"a":{"b":1}}"#, "$.a.b"), None);
        assert_eq!(read(r#"{"a":{"b":1},"a":{}}"#, "$.a.b").as_deref(), Some("1"));
    }
}
