//! The cookie in the file: what is read from it, what is refused and where, and what a rotated key does.

use std::time::Duration;

use super::*;
use crate::prehydrate::identity::settings::{Claim, Expiry, Presence, Session};
use crate::prehydrate::identity::{Identity, Who, settings};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const PEM: &str = "-----BEGIN PUBLIC KEY-----\\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\\n-----END PUBLIC KEY-----";
/// `{"sub":"alice","exp":4000000000}`, signed with the key `a`: `KEY` with nines for its noughts.
const COOKIE: &str = "eyJzdWIiOiJhbGljZSIsImV4cCI6NDAwMDAwMDAwMH0.a.PjRTQu5CHr4eqATSJwM4o5Nzgr-N8geDkHmpfKeJhSs";

fn cookie(inner: &str) -> String {
    format!("{SMALL}identity: {{ cookie: {{ name: session, {inner} }} }}\n")
}

fn read(inner: &str) -> settings::Config {
    loaded(&cookie(inner), &[]).config.live.identity.expect("configured")
}

/// `path: problem` of everything that is wrong, one a line, without the part of the path that all have.
fn wrong(inner: &str) -> String {
    let problems = refused(&cookie(inner), &[]).list;
    assert!(problems.iter().all(|problem| problem.hint.is_some() && problem.place.is_some()), "{problems:?}");
    let line = |p: &Problem| format!("{}: {}", p.path.trim_start_matches("identity.cookie."), p.problem);
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_cookie_is_configured_in_a_line() {
    let config = read(&format!(
        "format: jwt, keys: {{ a: {{ algorithm: HS256, secret: {KEY} }} }}, subject: sub, session: sid, tenant: org"
    ));
    assert_eq!((config.cookie.as_str(), config.claims.user.as_str()), ("session", "sub"));
    assert_eq!((config.rules.leeway, config.rules.expiry), (Duration::from_secs(30), Expiry::Required));
    let optional = |claim: &Claim| claim.presence == Presence::Optional;
    assert!(matches!(&config.claims.session, Session::Claim(claim) if claim.path == "sid" && optional(claim)));
    assert!(config.claims.tenant.is_some_and(|claim| claim.path == "org" && optional(&claim)));
}

#[test]
fn every_format_and_kind_of_key_can_be_written() {
    for inner in [
        format!("format: signed, keys: {{ a: {KEY}, b: {{ secret: {KEY}{KEY}, encoding: hex }} }}"),
        format!("format: encrypted, keys: {{ a: {KEY} }}, session: raw"),
        format!(
            "format: jwt, keys: {{ a: {{ algorithm: EdDSA, public: \"{PEM}\" }} }}, types: [at+jwt], max_bytes: 4KiB"
        ),
        format!(
            "format: jwt, keys: {{ a: {{ algorithm: HS256, secret: {KEY}, kid: none }} }}, issuers: a, audiences: b"
        ),
        format!(
            "format: signed, keys: {{ a: {KEY} }}, attributes: {{ role: {{ claim: r, required: true }}, plan: p.q }}"
        ),
    ] {
        assert!(Identity::new(read(&inner)).is_ok(), "{inner}");
    }
    let raw = read(&format!("format: signed, keys: {{ a: {KEY} }}, session: raw"));
    assert!(matches!(raw.claims.session, Session::Raw));
}

#[test]
fn what_is_missing_or_misplaced_is_told() {
    let short = "is shorter than 32 bytes";
    for (inner, expected) in [
        ("format: jwt".to_owned(), "keys: `keys` is missing".to_owned()),
        ("format: jwt, keys: {}".to_owned(), "keys: needs 1 to 16 keys".to_owned()),
        (format!("format: jwt, keys: {{ a: {KEY} }}"), "keys.a.algorithm: `algorithm` is missing".to_owned()),
        (
            format!("format: signed, keys: {{ a: {{ algorithm: HS256, secret: {KEY} }} }}"),
            "keys.a.algorithm: only `format: jwt` has a choice of algorithms".to_owned(),
        ),
        (
            format!("format: signed, keys: {{ a: {{ secret: {KEY}, kid: none }} }}"),
            "keys.a.kid: only tokens of `format: jwt` may be without their key's id".to_owned(),
        ),
        (
            format!("format: signed, keys: {{ a: {KEY} }}, types: [JWT]"),
            "types: only `format: jwt` has types".to_owned(),
        ),
        ("format: signed, keys: { a: {} }".to_owned(), "keys.a.secret: a shared secret is missing".to_owned()),
        (
            format!("format: jwt, keys: {{ a: {{ algorithm: ES256, secret: {KEY} }} }}"),
            "keys.a.secret: this key is made from the issuer's public key".to_owned(),
        ),
        (
            format!("format: jwt, keys: {{ a: {{ algorithm: HS256, public: \"{PEM}\" }} }}"),
            "keys.a.public: this key is made from a shared secret".to_owned(),
        ),
        (
            format!("format: jwt, keys: {{ a: {{ algorithm: none, secret: {KEY} }} }}"),
            "keys.a.algorithm: `none` is none of the choices".to_owned(),
        ),
        ("format: signed, keys: { a: short }".to_owned(), format!("keys.a.secret: {short}")),
        (
            format!("format: signed, keys: {{ a.b: {KEY} }}"),
            "keys.a.b: may hold letters, digits, `-` and `_`".to_owned(),
        ),
        (
            format!("format: signed, keys: {{ a: {KEY} }}, leeway: 6m"),
            "leeway: `6m` is out of range, 0s to 5m".to_owned(),
        ),
        (format!("format: signed, keys: {{ a: {KEY} }}, issuers: [\"\"]"), "issuers: an entry is empty".to_owned()),
        (
            format!("format: signed, keys: {{ a: {KEY} }}, attributes: {{ a-b: x }}"),
            "attributes.a-b: is not a name: letters, digits and `_`, starting with a letter".to_owned(),
        ),
    ] {
        assert_eq!(wrong(&inner), expected, "{inner}");
    }
}

#[test]
fn all_that_the_reader_finds_wrong_is_told_at_once() {
    let inner = format!("format: signed, keys: {{ c: {{}}, b: short, a: {KEY} }}, subject: a..b, tenant: \"x\\\\y\"");
    let expected = "\
        keys.c.secret: a shared secret is missing\n\
        keys.b.secret: is shorter than 32 bytes\n\
        subject: an empty name: write a path such as `sub` or `user.id`\n\
        tenant: a backslash stands before a dot or a backslash only";
    assert_eq!(wrong(&inner), expected);
}

#[test]
fn what_is_risky_is_warned_of_and_no_key_is_shown() {
    let inner = format!(
        "expiry: optional, format: jwt, keys: {{ a: {{ algorithm: HS256, secret: {KEY} }}, \
         b: {{ algorithm: EdDSA, public: \"{PEM}\" }} }}"
    );
    let loaded = loaded(&cookie(&inner), &[]);
    let mut paths: Vec<&str> = loaded.warnings.iter().map(|warning| warning.path.as_str()).collect();
    paths.sort_unstable();
    // A public key may stand in the file.
    assert_eq!(paths, ["identity.cookie.expiry", "identity.cookie.keys.a.secret"]);
    assert!(!format!("{} {loaded:?}", loaded.effective).contains(KEY));
}

#[test]
fn a_key_is_judged_by_its_new_text_and_its_cell_follows_it() {
    let text = cookie("format: signed, keys: { a: \"${KEY}\" }");
    let read = |key: &str, secrets: &Secrets| parse(Path::new("t"), &text, &env(&[("KEY", key)]), secrets).result;
    let mut secrets = Secrets::default();
    let first = read(KEY, &secrets).unwrap_or_else(|problems| panic!("{problems}"));
    secrets.adopt(first.staged);
    // The cell holds a good text: what counts is the new one.
    assert!(read("short", &secrets).is_err());
    let identity = Identity::new(first.config.live.identity.expect("configured")).unwrap_or_else(|p| panic!("{p:?}"));
    let next = KEY.replace('0', "9");
    let second = read(&next, &secrets).unwrap_or_else(|problems| panic!("{problems}"));
    let accepted = || identity.identify(Who::Value(COOKIE), Duration::from_secs(1)).is_ok();
    assert!(!accepted());
    assert_eq!(secrets.adopt(second.staged), ["identity.cookie.keys.a.secret"]);
    assert!(accepted());
}

/// Between the moment at which new texts are adopted and that at which the new reader is in force, the old one reads on.
#[test]
fn a_key_that_is_added_before_another_does_not_take_its_place() {
    let read = |keys: &str, secrets: &Secrets| {
        let text = cookie(&format!("format: signed, keys: {{ {keys} }}"));
        parse(Path::new("t"), &text, &env(&[]), secrets).result.unwrap_or_else(|problems| panic!("{problems}"))
    };
    let (old, next) = (KEY.replace('0', "9"), KEY);
    let mut secrets = Secrets::default();
    let first = read(&format!("a: {old}"), &secrets);
    secrets.adopt(first.staged);
    let identity = Identity::new(first.config.live.identity.expect("configured")).unwrap_or_else(|p| panic!("{p:?}"));
    let second = read(&format!("\"0\": {next}, a: {old}"), &secrets);
    assert_eq!(secrets.adopt(second.staged), [""; 0]);
    assert!(identity.identify(Who::Value(COOKIE), Duration::from_secs(1)).is_ok());
}
