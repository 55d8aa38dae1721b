//! Sizes, times and shares as people write them: `16MiB`, `5m`, `10%`.
//!
//! Each has one parser, which `settle` uses to check a value and serde uses to take it, and one canonical text, which
//! is what defaults look like in the reference.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::domain::secret::Secret;

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size(pub u64);

/// A length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

/// A share, 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Percent(pub u8);

/// Text that is never printed.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "String")]
pub struct SecretText(pub Secret);

/// Text that is no secret, and may be mounted like one: a public key.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "String")]
pub struct PublicText(pub Secret);

/// The text is not what it should be; the message says how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

pub const SIZE_HINT: &str = "write a whole number and a unit: 512KiB, 16MiB, 1MB; a bare number is bytes";
pub const SPAN_HINT: &str = "write a whole number and a unit: 300ms, 5s, 15m, 2h, 7d; a bare number is seconds";
pub const PERCENT_HINT: &str = "write a whole number from 0 to 100, with or without the sign: 10%";

/// The largest first, so that a canonical text is the shortest exact one.
const SIZE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];
const SPAN_UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Size {
    pub fn usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Span {
    pub const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    pub const fn millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }
}

impl std::str::FromStr for Size {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (number, unit) = split(text.trim()).ok_or(Malformed(SIZE_HINT))?;
        let factor = match unit {
            "" => Some(1),
            unit => SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, factor)| *factor),
        };
        factor.and_then(|f| number.checked_mul(f)).map(Self).ok_or(Malformed(SIZE_HINT))
    }
}

impl std::str::FromStr for Span {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed = Malformed(SPAN_HINT);
        let (number, unit) = split(text.trim()).ok_or(malformed)?;
        let factor = match unit {
            "" => 1_000,
            unit => SPAN_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor).ok_or(malformed)?,
        };
        number.checked_mul(factor).map(|ms| Self(Duration::from_millis(ms))).ok_or(malformed)
    }
}

impl std::str::FromStr for Percent {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let text = text.trim();
        let number = text.strip_suffix('%').unwrap_or(text).trim_end().parse().map_err(|_| Malformed(PERCENT_HINT))?;
        if number > 100 { Err(Malformed(PERCENT_HINT)) } else { Ok(Self(number)) }
    }
}

/// Digits, then a unit.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    Some((digits.parse().ok()?, unit.trim_start()))
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        canonical(f, self.0, &SIZE_UNITS)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        canonical(f, u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX), &SPAN_UNITS)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

fn canonical(f: &mut fmt::Formatter<'_>, number: u64, units: &[(&str, u64)]) -> fmt::Result {
    let exact = units.iter().filter(|(_, factor)| number > 0 && number.is_multiple_of(*factor));
    // `1024000B` is 1000KiB and 1024kB: the shorter number is the one that was meant, binary where both are as short.
    let best = exact.min_by_key(|(_, factor)| (number / factor).to_string().len());
    match best.or(units.last()) {
        Some((unit, factor)) => write!(f, "{}{unit}", number / factor),
        None => write!(f, "{number}"),
    }
}

impl TryFrom<String> for Size {
    type Error = Malformed;
    fn try_from(text: String) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl TryFrom<String> for Span {
    type Error = Malformed;
    fn try_from(text: String) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl TryFrom<String> for Percent {
    type Error = Malformed;
    fn try_from(text: String) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.to_string()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl From<Percent> for String {
    fn from(percent: Percent) -> Self {
        percent.to_string()
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(Secret::new(text))
    }
}

impl From<String> for PublicText {
    fn from(text: String) -> Self {
        Self(Secret::new(text))
    }
}

/// The formats by which `shape` knows these types again.
pub const SIZE_FORMAT: &str = "hydrant-size";
pub const SPAN_FORMAT: &str = "hydrant-duration";
pub const PERCENT_FORMAT: &str = "hydrant-percent";
pub const SECRET_FORMAT: &str = "password";
pub const PUBLIC_FORMAT: &str = "hydrant-public-key";

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "format": SIZE_FORMAT,
            "pattern": r"^\s*[0-9]+\s*([kKmMgG][iI]?)?[bB]?\s*$|\$\{",
        })
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "format": SPAN_FORMAT,
            "pattern": r"^\s*[0-9]+\s*(ms|s|m|h|d)?\s*$|\$\{",
        })
    }
}

impl JsonSchema for Percent {
    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "format": PERCENT_FORMAT,
            "pattern": r"^\s*[0-9]{1,3}\s*%?\s*$|\$\{",
        })
    }
}

impl JsonSchema for SecretText {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": SECRET_FORMAT, "writeOnly": true })
    }
}

impl JsonSchema for PublicText {
    fn schema_name() -> Cow<'static, str> {
        "PublicKey".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": PUBLIC_FORMAT })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("900", 900),
            ("16MiB", 16 << 20),
            ("1MB", 1_000_000),
            ("1 mb", 1_000_000),
            ("2kib", 2048),
            ("7B", 7),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "MiB", "1.5MB", "-1", "1 MiBs", "99999999999GiB", "١"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, ms) in [("900", 900_000), ("300ms", 300), ("5m", 300_000), ("7d", 604_800_000), (" 2 h ", 7_200_000)]
        {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(ms))), "{text}");
        }
        for text in ["", "5x", "5M", "1.5s", "-5s", "1h30m", "99999999999999999d"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn shares_are_read_with_and_without_the_sign() {
        assert_eq!("10%".parse(), Ok(Percent(10)));
        assert_eq!("10".parse(), Ok(Percent(10)));
        for text in ["101", "0.1", "-1", "%", "10%%", ""] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_canonical_text_is_short() {
        assert_eq!(Size(1 << 20).to_string(), "1MiB");
        assert_eq!(Size(1_000_000).to_string(), "1MB");
        assert_eq!(Size(65_536).to_string(), "64KiB");
        assert_eq!(Size(0).to_string(), "0B");
        assert_eq!(Span(Duration::from_secs(900)).to_string(), "15m");
        assert_eq!(Span(Duration::from_millis(1_500)).to_string(), "1500ms");
        assert_eq!(Span(Duration::from_secs(90)).to_string(), "90s");
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(number in 0u64..1 << 40) {
            prop_assert_eq!(Size(number).to_string().parse(), Ok(Size(number)));
            let span = Span(Duration::from_millis(number));
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }
    }
}
