//! JSON and base64url, read strictly: what two readers could read in two ways is refused.
//!
//! An object with one name twice is refused at any depth, since parsers differ on which one counts. Numbers are kept as
//! they are written, so an id loses no digit. Depth is bounded by the reader (64), size by the cookie's cap. base64url
//! has no padding, no blanks and no stray bits: one text for one sequence of bytes.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::domain::json::{Fault, Kind, Reader};
use crate::prehydrate::identity::refusal::Why;

pub type Object = BTreeMap<String, Json>;

/// A JSON value. It may hold a token or an id, so it does not print itself.
#[derive(Clone, PartialEq)]
pub enum Json {
    Null,
    Bool,
    /// As written.
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Object),
}

/// The object that `bytes` are, to their last byte.
pub fn object(bytes: &[u8]) -> Result<Object, Why> {
    let mut reader = Reader::new(bytes)?;
    match value(&mut reader)? {
        Json::Object(object) => reader.finish().map(|()| object).map_err(Why::from),
        Json::Null | Json::Bool | Json::Number(_) | Json::Text(_) | Json::List(_) => Err(Why::Malformed),
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
            Self::Null | Self::Bool | Self::Number(_) | Self::List(_) | Self::Object(_) => None,
        }
    }

    /// The digits of an integer, as written. `-0` is none: it has two texts.
    pub fn integer(&self) -> Option<&str> {
        match self {
            Self::Number(text) if text != "-0" && !text.contains(['.', 'e', 'E']) => Some(text),
            Self::Number(_) | Self::Null | Self::Bool | Self::Text(_) | Self::List(_) | Self::Object(_) => None,
        }
    }
}

impl From<Fault> for Why {
    fn from(_: Fault) -> Self {
        Self::Malformed
    }
}

fn value(reader: &mut Reader<'_>) -> Result<Json, Why> {
    let value = match reader.peek()? {
        Kind::Null => reader.word().map(|_| Json::Null)?,
        Kind::Bool => reader.word().map(|_| Json::Bool)?,
        Kind::Number => Json::Number(reader.number()?.to_owned()),
        Kind::Text => Json::Text(reader.text()?.decoded().into_owned()),
        Kind::Array => {
            let mut list = Vec::new();
            reader.open()?;
            while reader.element()? {
                list.push(value(reader)?);
            }
            Json::List(list)
        }
        Kind::Object => {
            let mut object = Object::new();
            reader.open()?;
            while let Some(name) = reader.member()? {
                if object.insert(name.decoded().into_owned(), value(reader)?).is_some() {
                    return Err(Why::Malformed);
                }
            }
            Json::Object(object)
        }
    };
    Ok(value)
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
    fn integers_keep_every_digit_and_nothing_else_is_one() {
        let integer = |text: &str| Json::Number(text.to_owned()).integer().map(str::to_owned);
        for text in ["0", "-9007199254740993", "18446744073709551616", &"9".repeat(80)] {
            assert_eq!(integer(text).as_deref(), Some(text));
            assert!(object(format!("{{\"a\":{text}}}").as_bytes()).is_ok_and(|o| o["a"].integer() == Some(text)));
        }
        for text in ["1.0", "1e3", "1E3", "-0"] {
            assert_eq!(integer(text), None, "{text}");
        }
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
