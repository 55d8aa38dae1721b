//! Detectors of values that look like secrets: tokens, private keys, cloud keys, password hashes, card numbers.
//!
//! A detector looks for the shape of a secret anywhere in a text, so that it is found in a URL or a log line too. Every
//! shape is one that its issuer made to be told apart, or one with a check digit; randomness alone accuses nobody. Most
//! values have nothing of interest, so one table decides for each pair of bytes whether a shape could start there.

mod card;
mod shapes;

use crate::domain::detect::shapes::INDEX;
use crate::domain::mutant::{self, Mutant};

/// Nothing shorter is a secret that can be told by its looks (`://u:p@h`).
const SHORTEST: usize = 8;

/// What secret the text looks like; none for ordinary text.
pub fn in_text(text: &str) -> Option<&'static str> {
    let bytes = text.as_bytes();
    if bytes.len() < SHORTEST || mutant::on(Mutant::M17DetectorsOff) {
        return None;
    }
    shaped(bytes).or_else(|| aws_secret(bytes)).or_else(|| card::in_text(bytes))
}

/// The same for a number as JSON writes it.
pub fn in_number(number: &str) -> Option<&'static str> {
    if mutant::on(Mutant::M17DetectorsOff) { None } else { card::in_number(number) }
}

fn shaped(bytes: &[u8]) -> Option<&'static str> {
    let starts = bytes.array_windows::<2>().enumerate().filter(|(_, pair)| INDEX.has(**pair));
    starts.map(|(at, pair)| INDEX.of_first(pair[0]).iter().find(|s| s.stands_at(bytes, at))).find_map(|s| Some(s?.what))
}

/// The secret half of an AWS key has no mark of its own: exactly 40 letters, digits, `/` and `+`, as mixed as chance
/// makes them. Paths, names and hex digests of that length change their kind of letter far less often.
fn aws_secret(bytes: &[u8]) -> Option<&'static str> {
    const LENGTH: usize = 40;
    // What touches `_`, `-` or `.` is part of a longer word.
    let inside = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'+' | b'_' | b'-' | b'.');
    // A run so long covers one of these places, whatever stands between them.
    let mut places = (LENGTH - 1..bytes.len()).step_by(LENGTH);
    let found = places.any(|place| {
        let before = bytes[..place].iter().rev().take(LENGTH).take_while(|b| inside(b)).count();
        let after = bytes[place..].iter().take(LENGTH + 1).take_while(|b| inside(b)).count();
        before + after == LENGTH && is_aws_secret(&bytes[place - before..place + after])
    });
    found.then_some("an AWS secret key")
}

fn is_aws_secret(run: &[u8]) -> bool {
    /// Chance makes 25 on average, and less than this in one of a few thousand.
    const CHANGES: usize = 15;
    /// Chance makes more in one of a few hundred; a path has more.
    const SLASHES: usize = 3;
    let count = |kind: fn(&u8) -> bool| run.iter().filter(|b| kind(b)).count();
    let kind = |b: u8| (b.is_ascii_uppercase(), b.is_ascii_lowercase(), b.is_ascii_digit());
    let changes = run.windows(2).filter(|pair| kind(pair[0]) != kind(pair[1])).count();
    count(|b| matches!(b, b'_' | b'-' | b'.')) == 0
        && count(|b| *b == b'/') <= SLASHES
        && count(u8::is_ascii_uppercase) >= 3
        && count(u8::is_ascii_lowercase) >= 3
        && count(u8::is_ascii_digit) >= 1
        && changes >= CHANGES
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Made up for this test, each in pieces, so that no scanner of repositories takes the file for a leak.
    fn secrets() -> Vec<(&'static str, String)> {
        let hex = "0123456789abcdef".repeat(4);
        let b64 = "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1eF3hI5kL7n".to_owned();
        vec![
            ("a JSON web token", format!("eyJhbGciOiJIUzI1NiJ9.{}.{b64}", "eyJzdWIiOiIxIn0")),
            ("a JSON web token", format!("x=session_eyJhbGciOiJIUzI1NiJ9.{}.", "eyJzdWIiOiIxIn0")),
            ("a JSON web token", format!("ewogICJhbGciOiAiSFMyNTYiCn0.{}.{b64}", "eyJzdWIiOiIxIn0")),
            ("a private key", format!("-----BEGIN {} KEY-----\nMIIE", "RSA PRIVATE")),
            ("a private key", format!("-----BEGIN {} KEY-----\\nMIIE", "OPENSSH PRIVATE")),
            ("a private key", format!("-----BEGIN PGP {} KEY BLOCK-----", "PRIVATE")),
            ("a private key", format!("MIIEvQ{}BgkqhkiG9w0BAQEFAASCBKcwggSj", "IBADAN")),
            ("an AWS key", format!("AKIA{}", "IOSFODNN7EXAMPLE")),
            ("an AWS key", format!("id%3DASIA{}&x", "IOSFODNN7EXAMPLE")),
            ("an AWS secret key", format!("wJalrXUtnFEMI/K7MDENG/{}", "bPxRfiCYEXAMPLEKEY")),
            ("a Google key", format!("AIza{}", &b64[..35])),
            ("a GitHub token", format!("ghp_{}", &b64[..36])),
            ("a GitHub token", format!("github_pat_{}", &b64[..30])),
            ("a GitLab token", format!("glpat-{}", &b64[..20])),
            ("a Slack token", format!("xoxb-{}", "1234567890-abcdefghij")),
            ("a Stripe key", format!("sk_live_{}", &b64[..24])),
            ("an Azure key", format!("EndpointSuffix=x;AccountKey={b64}{b64}==")),
            ("a password hash", format!("$2b$12${}", &hex[..53])),
            ("a password hash", format!("$argon2id$v=19$m=65536,t=3,p=4${b64}${b64}")),
            ("a password hash", format!("pbkdf2_sha256$600000${b64}")),
            ("a password hash", format!("$6$rounds=5000${b64}")),
            ("a bearer token", format!("Authorization: Bearer {b64}")),
            ("a name and password", format!("Basic {}", "YWxhZGRpbjpvcGVuc2VzYW1l")),
            ("a name and password", format!("postgres://app:{}@db:5432/x", "hunter2")),
            ("a name and password", format!("redis://:{}@cache", "hunter2")),
            ("a card number", "4111111111111111".to_owned()),
            ("a card number", "paid with 4111 1111-1111 1111 12/27".to_owned()),
        ]
    }

    #[test]
    fn secrets_are_told_by_their_shape() {
        for (what, secret) in secrets() {
            assert_eq!(in_text(&secret), Some(what), "{secret}");
            assert_eq!(in_text(&format!("see ({secret}) ...")), Some(what), "{secret}");
        }
    }

    #[test]
    fn ordinary_values_pass() {
        for text in [
            "Ada Lovelace",
            "ada@example.com",
            "https://example.com/@ada/posts?id=7&page=2",
            "http://example.com:8080/a:b@c",
            "2026-11-21T03:50:00.123Z",
            "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "123e4567-e89b-12d3-a456-426614174000",
            "41111111-1111-1111-1111-111111111111",
            "+49 151 23456789",
            "+4915123456789",
            "1.2.3-beta.4+build.5",
            "the bearer of this letter, a basic need",
            "-----BEGIN CERTIFICATE-----",
            "-----BEGIN PUBLIC KEY-----",
            "/images/Products/2024/Summer/Item0001ab",
            "someVeryLongCamelCaseIdentifierName12345",
            "desk-lamp-of-the-very-finest-kind-there-is-1",
            "ask_live_on_air",
            "data:image/png;base64,iVBORw0KGgo=",
            "en-GB,en;q=0.9",
            "$2 off, $100 or more",
            "module.exports.default.value",
            "0",
            "",
        ] {
            assert_eq!(in_text(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn detecting_is_total(text in ".{0,80}", noise in "[ey.AKIAghpsk_live$2b:/@ 0-9-]{0,60}") {
            in_text(&text);
            in_text(&noise);
            in_number(&text);
        }
    }
}
