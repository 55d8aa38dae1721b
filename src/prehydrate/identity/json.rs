//! JSON and base64url, read strictly: what two readers could read in two ways is refused.
//!
//! An object with one name twice is refused at any depth, since parsers differ on which one counts. Integers keep their
//! exact value (64 bits); everything else with a number's look is a float and never an id. Depth is bounded by the
//! parser (128). base64url has no padding, no blanks and no stray bits: one text for one sequence of bytes.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::prehydrate::identity::refusal::Why;

pub type Object = BTreeMap<String, Json>;

/// A JSON value. It may hold a token or an id, so it does not print itself.
#[derive(Clone, PartialEq)]
pub enum Json {
    Null,
    Bool,
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Json>),
    Object(Object),
}

/// The object that `bytes` are, to their last byte.
pub fn object(bytes: &[u8]) -> Result<Object, Why> {
    match serde_json::from_slice(bytes) {
        Ok(Json::Object(object)) => Ok(object),
        Ok(_) | Err(_) => Err(Why::Malformed),
    }
}

/// The bytes that `text` stands for.
pub fn base64url(text: &str) -> Result<Vec<u8>, Why> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Why::Malformed)
}

impl Json {
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Bool | Self::Integer(_) | Self::Float(_) | Self::List(_) | Self::Object(_) => None,
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Bool)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Integer(number.into()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Integer(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Json, E> {
        Ok(Json::Float(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Json, E> {
        Ok(Json::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Object::new();
        while let Some((name, value)) = members.next_entry()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a name stands twice"));
            }
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_stands_twice_is_refused_at_any_depth() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":{"b":1,"\u0062":2}}"#, r#"{"a":[{"b":1,"b":2}]}"#] {
            assert!(object(text.as_bytes()).is_err(), "{text}");
        }
        assert!(object(br#"{"a":{"a":1},"b":{"a":1}}"#).is_ok());
    }

    #[test]
    fn integers_are_exact_and_everything_else_is_a_float() {
        let parsed =
            object(br#"{"a":18446744073709551615,"b":-9007199254740993,"c":1.0,"d":1e3,"e":18446744073709551616}"#);
        let parsed = parsed.expect("parses");
        assert!(parsed["a"] == Json::Integer(18_446_744_073_709_551_615));
        assert!(parsed["b"] == Json::Integer(-9_007_199_254_740_993));
        assert!(["c", "d", "e"].iter().all(|name| matches!(parsed[*name], Json::Float(_))));
    }

    #[test]
    fn only_a_whole_object_is_one() {
        for text in ["", "[]", "1", "null", "{}x", "{} {}", "{", "{\"a\":NaN}", "{\"a\":01}", "{'a':1}", "\u{feff}{}"] {
            assert!(object(text.as_bytes()).is_err(), "{text}");
        }
        assert!(object(b"{\"a\":\"\xff\"}").is_err());
        assert!(object(br#"{"a":"\ud800"}"#).is_err());
        assert!(object(format!("{{\"a\":{}{}}}", "[".repeat(4_000), "]".repeat(4_000)).as_bytes()).is_err());
    }

    #[test]
    fn base64url_has_one_text_for_one_sequence_of_bytes() {
        assert_eq!(base64url("_-8").as_deref(), Ok(&[0xff, 0xef][..]));
        for text in ["_-8=", "_-9", "/+8", "_-8 ", "_-8\n", "A", "_ -8", "_-8."] {
            assert_eq!(base64url(text), Err(Why::Malformed), "{text:?}");
        }
    }
}
