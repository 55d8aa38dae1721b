//! Where a source's answer says how new the member is: a row version, or the time of its last change.
//!
//! A time becomes microseconds since 1970, so that two changes within one second can be told apart. What cannot be read
//! is no version: the value can still be cached, but not while a floor stands.

use crate::domain::field;
use crate::domain::member_version::Version;
use crate::domain::projection::paths::Place;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeclaredVersion {
    /// A whole number that grows with every change.
    Number(Place),
    /// A time as RFC 3339 writes it.
    Time(Place),
}

impl DeclaredVersion {
    /// The version in an answer as the source sent it.
    pub fn read(&self, body: &[u8]) -> Option<Version> {
        match self {
            Self::Number(place) => number(&field::at(body, place)?),
            Self::Time(place) => time(&field::at(body, place)?),
        }
    }
}

fn number(text: &str) -> Option<Version> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten().and_then(Version::new)
}

/// Microseconds since 1970 of a time such as `2026-11-21T09:26:00.123456+01:00`. Anything before 1970 has none.
pub fn time(text: &str) -> Option<Version> {
    let bytes = text.as_bytes();
    let fixed = bytes.get(..19)?;
    let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    let in_shape = separators.iter().all(|(at, byte)| fixed[*at] == *byte) && matches!(fixed[10], b'T' | b't' | b' ');
    let [year, month, day] = [digits(&fixed[..4])?, digits(&fixed[5..7])?, digits(&fixed[8..10])?];
    let [hour, minute, second] = [digits(&fixed[11..13])?, digits(&fixed[14..16])?, digits(&fixed[17..19])?];
    // 60 is a leap second.
    let in_range = (1..=days_of(year, month)?).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    if !in_shape || !in_range {
        return None;
    }
    let (micros, zone) = fraction(&bytes[19..])?;
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset(zone)?;
    Version::new(u64::try_from(seconds).ok()?.checked_mul(1_000_000)?.checked_add(micros)?)
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |number, b| b.is_ascii_digit().then(|| number * 10 + i64::from(b - b'0')))
}

/// The fraction of a second in microseconds, finer parts cut off, and what follows it.
fn fraction(text: &[u8]) -> Option<(u64, &[u8])> {
    let Some(rest) = text.strip_prefix(b".") else { return Some((0, text)) };
    let count = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let (fraction, zone) = rest.split_at(count);
    let micros = (0..6).fold(0, |micros, at| micros * 10 + fraction.get(at).map_or(0, |b| u64::from(b - b'0')));
    (count > 0).then_some((micros, zone))
}

/// Seconds that the zone is ahead.
fn offset(zone: &[u8]) -> Option<i64> {
    match zone {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
            let ahead = hours * 3_600 + minutes * 60;
            (hours < 24 && minutes < 60).then_some(if *sign == b'-' { -ahead } else { ahead })
        }
        _ => None,
    }
}

fn days_of(year: i64, month: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 => Some(if is_leap { 29 } else { 28 }),
        _ => None,
    }
}

/// Days of the Gregorian calendar; years begin in March here, so that the leap day is their last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str) -> Option<u64> {
        time(text).map(Version::number)
    }

    #[test]
    fn times_become_microseconds() {
        assert_eq!(micros("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(micros("2000-03-01T00:00:00Z"), Some(951_868_800_000_000));
        assert_eq!(micros("2026-11-21T09:26:00.123456+01:00"), Some(1_795_249_560_123_456));
        assert_eq!(micros("2026-11-21t08:26:00.1234569z"), Some(1_795_249_560_123_456));
        assert_eq!(micros("2024-02-29 23:59:60-00:30"), Some(1_709_253_000_000_000));
    }

    #[test]
    fn what_is_no_time_has_no_version() {
        for text in [
            "",
            "2026-11-21",
            "2026-11-21T09:26:00",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-11-21T24:00:00Z",
            "2026-11-21T09:26:00.Z",
            "2026-11-21T09:26:00+0100",
            "2026-11-21T09:26:00+25:00",
            "2026/11/21T09:26:00Z",
            "1969-12-31T23:59:59Z",
            "2026-11-21T09:26:00é",
            "２０26-11-21T09:26:00Z",
        ] {
            assert_eq!(micros(text), None, "{text}");
        }
    }

    #[test]
    fn a_number_is_read_as_a_number_or_as_text() {
        let at = |place| DeclaredVersion::Number(Place::parse(place).expect("a good place"));
        let body = br#"{"rev":17,"text":"18","half":1.5,"less":-1,"huge":9007199254740993,"word":"x"}"#;
        assert_eq!(at("$.rev").read(body), Version::new(17));
        assert_eq!(at("$.text").read(body), Version::new(18));
        for place in ["$.half", "$.less", "$.huge", "$.word", "$.none"] {
            assert_eq!(at(place).read(body), None, "{place}");
        }
        let at = DeclaredVersion::Time(Place::parse("$.at").expect("a good place"));
        assert_eq!(at.read(br#"{"at":"1970-01-01T00:00:01Z"}"#), Version::new(1_000_000));
        assert_eq!(at.read(br#"{"at":1}"#), None);
    }
}
