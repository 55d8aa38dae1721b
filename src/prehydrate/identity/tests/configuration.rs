//! What cannot be configured, all of it said at once.

use std::time::Duration;

use aws_lc_rs::signature::KeyPair;

use super::forge::*;
use crate::prehydrate::identity::Identity;
use crate::prehydrate::identity::settings::{
    Algorithm, Config, Format, JwtKey, Presence, Session, SharedSecret, Written,
};

fn problems(config: Config) -> Vec<String> {
    let problems = Identity::new(config).err().unwrap_or_default();
    problems.iter().map(ToString::to_string).collect()
}

fn problem_of(key: Algorithm) -> Vec<String> {
    problems(config(Format::Jwt { keys: vec![jwt_key("k", key)], types: Vec::new() }))
}

#[test]
fn all_problems_are_reported_at_once() {
    let keys = vec![
        signed_key("a.b", HS),
        signed_key("c", "short"),
        signed_key("d", HS),
        signed_key("d", HS),
        signed_key("", HS),
    ];
    let mut config = config(Format::Signed { keys });
    config.cookie = "a b".to_owned();
    config.max_value_bytes = 8_193;
    config.rules.leeway = Duration::from_secs(301);
    config.rules.audiences.push(String::new());
    config.claims.user = "user..id".to_owned();
    config.claims.tenant = Some(claim(r"a\n", Presence::Optional));
    config.claims.session = Session::Claim(claim("a.b.c.d.e.f.g.h.i", Presence::Optional));
    config.claims.attributes.insert("a-b".to_owned(), claim("x", Presence::Optional));
    assert_eq!(
        problems(config),
        [
            "cookie: is not a cookie's name",
            "max_value_bytes: is not between 1 and 8192",
            "format.keys[0].id: may hold letters, digits, `-` and `_`",
            "format.keys[1].secret: is shorter than 32 bytes",
            "format.keys[3].id: another key has this id",
            "format.keys[4].id: is empty or longer than 64 bytes",
            "rules.leeway: more than 5 minutes hides a broken clock",
            "rules.audiences: an entry is empty",
            "claims.user: an empty name: write a path such as `sub` or `user.id`",
            "claims.session: is deeper than 8 names",
            "claims.tenant: a backslash stands before a dot or a backslash only",
            "claims.attributes.a-b: is not a name: letters, digits and `_`, starting with a letter",
        ]
    );
}

#[test]
fn there_must_be_keys_and_not_too_many() {
    let count = |n: usize| {
        let keys = (0..n).map(|_| JwtKey { id: None, key: Algorithm::Hs256(text(HS)) }).collect();
        problems(config(Format::Jwt { keys, types: Vec::new() }))
    };
    assert_eq!(count(0), ["format.keys: needs 1 to 16 keys"]);
    assert_eq!(count(17), ["format.keys: needs 1 to 16 keys"]);
    assert!(count(16).is_empty());
}

#[test]
fn a_key_of_the_wrong_kind_is_refused() {
    let one = |problem: &str| [format!("format.keys[0].key: {problem}")];
    let public = "is a public key: whoever knows it could sign";
    assert_eq!(problem_of(Algorithm::Hs256(text(&rsa_pem()))), one(public));
    assert_eq!(problem_of(Algorithm::Hs384(text(HS))), one("is shorter than 48 bytes"));
    assert_eq!(problem_of(Algorithm::Hs512(text(HS))), one("is shorter than 64 bytes"));
    assert_eq!(problem_of(Algorithm::Rs256(cell(&ec_pem()))), one("is not an RSA key of 2048 to 8192 bits"));
    assert_eq!(problem_of(Algorithm::Es256(cell(&ed_pem()))), one("is not a key for ES256"));
    assert_eq!(problem_of(Algorithm::EdDsa(cell(&rsa_pem()))), one("is not a key for EdDSA"));
    let neither = "is neither PEM (`BEGIN PUBLIC KEY`) nor a JWK";
    for text in ["", "hunter2", "{}x", "-----BEGIN PUBLIC KEY-----\n", &rsa_pem().replace("PUBLIC", "FANCY")] {
        assert_eq!(problem_of(Algorithm::Rs256(cell(text))), one(neither), "{text}");
    }
    let private = "is a private key: only the issuer may have it; give the public one";
    assert_eq!(problem_of(Algorithm::EdDsa(cell(&ed_pem().replace("PUBLIC", "PRIVATE")))), one(private));
    assert_eq!(problem_of(Algorithm::EdDsa(cell(r#"{"kty":"OKP","crv":"Ed25519","x":"","d":""}"#))), one(private));
}

#[test]
fn secrets_are_read_as_they_are_written() {
    let wrong = |text: &str, written: Written| problem_of(Algorithm::Hs256(SharedSecret { text: cell(text), written }));
    assert!(wrong(&format!("{}\n", "0f".repeat(32)), Written::Hex).is_empty());
    assert_eq!(wrong("0f0", Written::Hex), ["format.keys[0].key: is not hexadecimal"]);
    assert_eq!(wrong("xyz", Written::Base64), ["format.keys[0].key: is not base64"]);
    for text in ["+/+/".repeat(11), "-_-_".repeat(11), format!("{}AA==\n", "AAAA".repeat(11))] {
        assert!(wrong(&text, Written::Base64).is_empty(), "{text}");
    }
    let keys = vec![encrypted_key("a", &[1; 31]), encrypted_key("b", &[1; 33])];
    assert_eq!(
        problems(config(Format::Encrypted { keys })),
        ["format.keys[0].secret: is shorter than 32 bytes", "format.keys[1].secret: is not exactly 32 bytes long"]
    );
}

#[test]
fn public_keys_may_be_jwks() {
    let (x, y) = ec_point();
    let ec = |more: &str| {
        let text = format!(r#"{{"kty":"EC","crv":"P-256","x":"{}","y":"{}"{more}}}"#, b64(&x), b64(&y));
        Algorithm::Es256(cell(&text))
    };
    let config = config(Format::Jwt { keys: vec![jwt_key("k", ec(r#","use":"sig","alg":"ES256""#))], types: vec![] });
    let token = jwt(r#"{"alg":"ES256","kid":"k"}"#, claims().to_string(), es256);
    assert!(identify(&identity(config), &token).is_ok());
    let other = ["format.keys[0].key: is not a key for ES256"];
    assert_eq!(problem_of(ec(r#","use":"enc""#)), other);
    assert_eq!(problem_of(ec(r#","alg":"RS256""#)), other);
    let off_curve = format!(r#"{{"kty":"EC","crv":"P-256","x":"{}","y":"{}"}}"#, b64(&x), b64(&x));
    assert_eq!(problem_of(Algorithm::Es256(cell(&off_curve))), other);
    let ed = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, b64(ED.public_key()));
    assert!(problem_of(Algorithm::EdDsa(cell(&ed))).is_empty());
    for bytes in [128, 1_025] {
        let rsa = format!(r#"{{"kty":"RSA","n":"{}","e":"AQAB"}}"#, b64(vec![0xff; bytes]));
        let problem = problem_of(Algorithm::Rs256(cell(&rsa)));
        assert_eq!(problem, ["format.keys[0].key: is not an RSA key of 2048 to 8192 bits"], "{bytes}");
    }
}

#[test]
fn a_configuration_does_not_print_its_secrets() {
    let config = config(Format::Signed { keys: vec![signed_key("a", HS)] });
    assert!(!format!("{config:?}").contains(HS));
}
