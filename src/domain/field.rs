//! One field of a JSON text, read at a known place: what an alias is named by, or how new a member is.
//!
//! Only strings and whole numbers can stand in a key or be a version, so nothing else is found. A name that stands
//! twice is not found either: readers differ in which of the two they take.

use std::borrow::Cow;

use crate::domain::json::{Fault, Kind, Reader};
use crate::domain::projection::paths::{Place, Step};

/// The string or whole number at a place, as a person would write it; none where there is no such thing.
pub fn at<'a>(json: &'a [u8], place: &Place) -> Option<Cow<'a, str>> {
    let mut reader = Reader::new(json).ok()?;
    let mut found = Vec::new();
    descend(&mut reader, &place.steps, &mut found).ok()?;
    reader.finish().ok()?;
    match <[_; 1]>::try_from(found) {
        Ok([only]) => only,
        Err(_) => None,
    }
}

/// Reads one value to its end, whether or not the place is in it.
fn descend<'a>(reader: &mut Reader<'a>, steps: &[Step], found: &mut Vec<Option<Cow<'a, str>>>) -> Result<(), Fault> {
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

fn scalar<'a>(reader: &mut Reader<'a>) -> Result<Option<Cow<'a, str>>, Fault> {
    match reader.peek()? {
        Kind::Text => Ok(Some(reader.text()?.decoded())),
        Kind::Number => {
            let number = reader.number()?;
            let whole = number.bytes().all(|b| b.is_ascii_digit() || b == b'-');
            Ok(whole.then_some(Cow::Borrowed(number)))
        }
        Kind::Object | Kind::Array | Kind::Bool | Kind::Null => {
            reader.skip()?;
            Ok(None)
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
    fn a_name_that_stands_twice_is_neither() {
        assert_eq!(read(r#"{"a":"x","a":"y"}"#, "$.a"), None);
        assert_eq!(read(r#"{"a":{"b":1},"a":{"b":1}}"#, "$.a.b"), None);
        assert_eq!(read(r#"{"a":{"b":1},"a":{}}"#, "$.a.b").as_deref(), Some("1"));
    }
}
