//! Tokens that must not pass, each named by the attack or the fault.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac::{HMAC_SHA256, HMAC_SHA384};
use aws_lc_rs::signature::KeyPair;
use serde_json::json;

use super::forge::*;
use super::refuse_all;
use crate::prehydrate::identity::refusal::Why;
use crate::prehydrate::identity::settings::{Format, MAX_VALUE_BYTES};

type Table = Vec<(&'static str, String, Why)>;

fn with_header(header: &str, sign: impl Fn(&str) -> Vec<u8>) -> String {
    jwt(header, claims().to_string(), sign)
}

/// The good token's parts.
fn parts() -> (String, String, String) {
    let good = hs_jwt(claims().to_string());
    let mut parts = good.split('.').map(str::to_owned);
    let mut next = || parts.next().expect("three parts");
    (next(), next(), next())
}

#[test]
fn tokens_that_choose_their_own_algorithm_are_refused() {
    let unsigned = |_: &str| Vec::new();
    let with_public_key = |message: &str| mac(HMAC_SHA256, rsa_pem(), message);
    let with_public_der = |message: &str| mac(HMAC_SHA256, RSA.public_key().as_der().expect("DER").as_ref(), message);
    let table: Table = vec![
        ("none, without a signature", with_header(r#"{"alg":"none","kid":"hs"}"#, unsigned), Why::Algorithm),
        ("none, signed nevertheless", with_header(r#"{"alg":"none","kid":"hs"}"#, hs256), Why::Algorithm),
        ("none, in capitals", with_header(r#"{"alg":"NoNe","kid":"hs"}"#, unsigned), Why::Algorithm),
        ("none, no key id", with_header(r#"{"alg":"none"}"#, unsigned), Why::Algorithm),
        (
            "an RSA public key (PEM) as secret",
            with_header(r#"{"alg":"HS256","kid":"rs"}"#, with_public_key),
            Why::Algorithm,
        ),
        (
            "an RSA public key (DER) as secret",
            with_header(r#"{"alg":"HS256","kid":"rs"}"#, with_public_der),
            Why::Algorithm,
        ),
        ("an RSA public key, no key id", with_header(r#"{"alg":"HS256"}"#, with_public_key), Why::Signature),
        (
            "an Ed25519 public key as secret, no key id",
            with_header(r#"{"alg":"HS256"}"#, |m| mac(HMAC_SHA256, ED.public_key(), m)),
            Why::Signature,
        ),
        (
            "another hash of the same secret",
            with_header(r#"{"alg":"HS384","kid":"hs"}"#, |m| mac(HMAC_SHA384, HS, m)),
            Why::Algorithm,
        ),
        ("RS256 named for a secret", with_header(r#"{"alg":"RS256","kid":"hs"}"#, rs256), Why::Algorithm),
        ("PS256 named for an RSA key", with_header(r#"{"alg":"PS256","kid":"rs"}"#, rs256), Why::Algorithm),
        ("the algorithm in small letters", with_header(r#"{"alg":"hs256","kid":"hs"}"#, hs256), Why::Algorithm),
        ("the algorithm missing", with_header(r#"{"kid":"hs"}"#, hs256), Why::Malformed),
        ("the algorithm a number", with_header(r#"{"alg":256,"kid":"hs"}"#, hs256), Why::Malformed),
        ("the algorithm twice", with_header(r#"{"alg":"HS256","kid":"hs","alg":"none"}"#, hs256), Why::Malformed),
        ("an all-zero ECDSA signature", with_header(r#"{"alg":"ES256","kid":"es"}"#, |_| vec![0; 64]), Why::Signature),
        ("an ECDSA signature in DER", with_header(r#"{"alg":"ES256","kid":"es"}"#, es256_in_der), Why::Signature),
        ("an all-zero EdDSA signature", with_header(r#"{"alg":"EdDSA","kid":"ed"}"#, |_| vec![0; 64]), Why::Signature),
        ("an all-zero RSA signature", with_header(r#"{"alg":"RS256","kid":"rs"}"#, |_| vec![0; 256]), Why::Signature),
    ];
    refuse_all(&jwt_identity(), &table);
}

#[test]
fn tokens_that_bring_or_choose_their_own_key_are_refused() {
    let (x, y) = ec_point();
    let jwk = format!(r#","jwk":{{"kty":"EC","crv":"P-256","x":"{}","y":"{}"}}"#, b64(x), b64(y));
    let header_with = |more: &str| with_header(&header(more), hs256);
    let kid = |kid: &str| with_header(&format!(r#"{{"alg":"HS256","kid":{kid}}}"#), hs256);
    let table: Table = vec![
        ("a key by URL (jku)", header_with(r#","jku":"https://evil.example/keys""#), Why::ForbiddenHeader),
        ("a key in the header (jwk)", header_with(&jwk), Why::ForbiddenHeader),
        ("a certificate by URL (x5u)", header_with(r#","x5u":"https://evil.example/c""#), Why::ForbiddenHeader),
        ("certificates in the header (x5c)", header_with(r#","x5c":["MIIB"]"#), Why::ForbiddenHeader),
        ("compression", header_with(r#","zip":"DEF""#), Why::ForbiddenHeader),
        ("an unknown critical extension", header_with(r#","crit":["exp"],"exp":1"#), Why::ForbiddenHeader),
        ("an empty list of extensions", header_with(r#","crit":[]"#), Why::ForbiddenHeader),
        ("an unencoded payload", header_with(r#","crit":["b64"],"b64":false"#), Why::ForbiddenHeader),
        ("an unencoded payload, not critical", header_with(r#","b64":false"#), Why::ForbiddenHeader),
        ("encryption named in the header", header_with(r#","enc":"A256GCM""#), Why::ForbiddenHeader),
        ("a key id that is a path", kid(r#""../../../../dev/null""#), Why::UnknownKey),
        ("a key id that is SQL", kid(r#""x' union select 'k""#), Why::UnknownKey),
        ("a key id that is a command", kid(r#""hs|whoami""#), Why::UnknownKey),
        ("a key id with a NUL", kid(r#""hs\u0000""#), Why::UnknownKey),
        ("an empty key id", kid(r#""""#), Why::UnknownKey),
        ("a huge key id", kid(&format!("\"{}\"", "k".repeat(4_000))), Why::UnknownKey),
        ("a key id that is null", kid("null"), Why::Malformed),
        ("a key id that is a number", kid("1"), Why::Malformed),
        ("a key id that is a list", kid(r#"["hs"]"#), Why::Malformed),
        ("the key id of another key", kid(r#""hs-old""#), Why::Signature),
        ("no key id, signed by a key that has one", with_header(r#"{"alg":"HS256"}"#, hs256), Why::Signature),
        ("the key id twice", with_header(r#"{"alg":"HS256","kid":"hs-old","kid":"hs"}"#, hs256), Why::Malformed),
        ("a logout token", with_header(r#"{"alg":"HS256","kid":"hs","typ":"logout+jwt"}"#, hs256), Why::Type),
        ("a type that is a number", with_header(r#"{"alg":"HS256","kid":"hs","typ":1}"#, hs256), Why::Malformed),
        (
            "a type that is not ASCII",
            with_header(r#"{"alg":"HS256","kid":"hs","typ":"applicatio\u00e9/JWT"}"#, hs256),
            Why::Type,
        ),
        ("a header that is a list", with_header(r#"["HS256"]"#, hs256), Why::Malformed),
        ("a header that is empty", with_header("", hs256), Why::Malformed),
    ];
    refuse_all(&jwt_identity(), &table);
}

#[test]
fn tokens_that_are_not_for_now_or_not_for_us_are_refused() {
    let table: Table = vec![
        ("expired", hs_jwt(with("exp", NOW - 600)), Why::Expired),
        ("expired this very second", hs_jwt(with("exp", NOW - LEEWAY)), Why::Expired),
        ("no expiry", hs_jwt(without("exp")), Why::Time),
        ("an expiry that is a string", hs_jwt(with("exp", (NOW + 600).to_string())), Why::Time),
        ("an expiry that is null", hs_jwt(with("exp", json!(null))), Why::Time),
        ("an expiry that is true", hs_jwt(with("exp", true)), Why::Time),
        ("an expiry before 1970", hs_jwt(with("exp", -1)), Why::Time),
        ("an expiry that no clock reaches", hs_jwt(with("exp", 1e300)), Why::Time),
        ("an expiry twice", hs_jwt(followed_by(r#""exp":1"#)), Why::Malformed),
        ("not valid yet", hs_jwt(with("nbf", NOW + LEEWAY + 1)), Why::NotYetValid),
        ("valid from a string on", hs_jwt(with("nbf", "now")), Why::Time),
        ("issued in the future", hs_jwt(with("iat", NOW + LEEWAY + 1)), Why::Time),
        (
            "issued after its end",
            hs_jwt(with("exp", NOW - 10).replace(&(NOW - 60).to_string(), &(NOW - 5).to_string())),
            Why::Time,
        ),
        ("issued at a list", hs_jwt(with("iat", json!([NOW]))), Why::Time),
        ("another issuer", hs_jwt(with("iss", "https://evil.example")), Why::Issuer),
        ("an issuer that only begins like ours", hs_jwt(with("iss", "https://login.example.evil")), Why::Issuer),
        ("no issuer", hs_jwt(without("iss")), Why::Issuer),
        ("a list of issuers", hs_jwt(with("iss", json!(["https://login.example"]))), Why::Issuer),
        ("another audience", hs_jwt(with("aud", "bank")), Why::Audience),
        ("an audience that only holds ours", hs_jwt(with("aud", "shop bank")), Why::Audience),
        ("other audiences", hs_jwt(with("aud", json!(["bank", "post"]))), Why::Audience),
        ("no audience", hs_jwt(without("aud")), Why::Audience),
        ("an empty list of audiences", hs_jwt(with("aud", json!([]))), Why::Audience),
        ("an audience that is a number", hs_jwt(with("aud", 1)), Why::Audience),
        ("audiences of mixed types", hs_jwt(with("aud", json!(["shop", 1]))), Why::Audience),
        ("an audience in an object", hs_jwt(with("aud", json!({"shop": true}))), Why::Audience),
    ];
    refuse_all(&jwt_identity(), &table);
}

#[test]
fn tokens_that_name_no_usable_subject_are_refused() {
    let bomb = format!(r#""x":{}{}"#, "[".repeat(2_000), "]".repeat(2_000));
    let objects = format!(r#""x":{}1{}"#, r#"{"a":"#.repeat(700), "}".repeat(700));
    let table: Table = vec![
        ("no user", hs_jwt(without("sub")), Why::Claim),
        ("a user that is empty", hs_jwt(with("sub", "")), Why::Claim),
        ("a user that is null", hs_jwt(with("sub", json!(null))), Why::Claim),
        ("a user that is an object", hs_jwt(with("sub", json!({"id": 1}))), Why::Claim),
        ("a user that is a list", hs_jwt(with("sub", json!(["alice"]))), Why::Claim),
        ("a user that is true", hs_jwt(with("sub", true)), Why::Claim),
        ("a user that is 1.0", hs_jwt(with("sub", 1.0)), Why::Claim),
        ("a user that is 1e3", hs_jwt(claims().to_string().replace(r#""alice""#, "1e3")), Why::Claim),
        ("a user that is -0", hs_jwt(claims().to_string().replace(r#""alice""#, "-0")), Why::Claim),
        ("a user of 300 digits", hs_jwt(claims().to_string().replace(r#""alice""#, &"9".repeat(300))), Why::Claim),
        ("a user of leading zeros", hs_jwt(claims().to_string().replace(r#""alice""#, "007")), Why::Malformed),
        ("a user that is too long", hs_jwt(with("sub", "a".repeat(257))), Why::Claim),
        ("a user with a line feed", hs_jwt(with("sub", "alice\nSET x y")), Why::Claim),
        ("a user with a NUL", hs_jwt(with("sub", "alice\0")), Why::Claim),
        ("a user with DEL", hs_jwt(with("sub", "alice\u{7f}")), Why::Claim),
        ("a user with a C1 control", hs_jwt(with("sub", "alice\u{85}")), Why::Claim),
        ("a user twice", hs_jwt(followed_by(r#""sub":"admin""#)), Why::Malformed),
        ("a user twice, once escaped", hs_jwt(followed_by(r#""s\u0075b":"admin""#)), Why::Malformed),
        ("half a surrogate pair", hs_jwt(followed_by(r#""x":"\ud800""#)), Why::Malformed),
        ("a session with a header in it", hs_jwt(with("sid", "x\r\nX-Admin: 1")), Why::Claim),
        ("a session with a cookie in it", hs_jwt(with("sid", "x; admin=1")), Why::Claim),
        ("a session that is empty", hs_jwt(with("sid", "")), Why::Claim),
        ("a session that is an object", hs_jwt(with("sid", json!({}))), Why::Claim),
        ("a tenant that is too long", hs_jwt(with("org", json!({"id": "a".repeat(129)}))), Why::Claim),
        ("a tenant that is not in an object", hs_jwt(with("org", "acme")), Why::Claim),
        ("an attribute that is a list", hs_jwt(with("role", json!(["buyer"]))), Why::Claim),
        ("an attribute with a control character", hs_jwt(with("role", "a\tb")), Why::Claim),
        ("claims that are a list", hs_jwt("[]"), Why::Malformed),
        ("claims that are a string", hs_jwt("\"alice\""), Why::Malformed),
        ("claims that are empty", hs_jwt(""), Why::Malformed),
        ("claims with more behind them", hs_jwt(format!("{}{{}}", claims())), Why::Malformed),
        ("claims that are not UTF-8", hs_jwt([b"{\"sub\":\"\xff\"}".as_slice()].concat()), Why::Malformed),
        ("claims with a byte order mark", hs_jwt(format!("\u{feff}{}", claims())), Why::Malformed),
        ("claims 2,000 lists deep", hs_jwt(followed_by(&bomb)), Why::Malformed),
        ("claims 700 objects deep", hs_jwt(followed_by(&objects)), Why::Malformed),
        ("another token inside", hs_jwt(hs_jwt(claims().to_string())), Why::Malformed),
    ];
    refuse_all(&jwt_identity(), &table);
}

#[test]
fn tokens_that_were_changed_or_cut_are_refused() {
    let (head, body, signature) = parts();
    let admin = b64(with("sub", "admin"));
    // 32 bytes end in a character of which two bits are unused: another one decodes alike where they are ignored.
    let last = signature.chars().last().expect("a character");
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let twin = alphabet.chars().nth(alphabet.find(last).expect("base64url") + 1).expect("unused bits");
    let stray = format!("{}{twin}", &signature[..signature.len() - 1]);
    let table: Table = vec![
        ("another user under the same signature", format!("{head}.{admin}.{signature}"), Why::Signature),
        (
            "another header under the same signature",
            format!("{}.{body}.{signature}", b64(r#"{"alg":"HS256","kid":"hs-old"}"#)),
            Why::Signature,
        ),
        ("the signature cut off", format!("{head}.{body}."), Why::Signature),
        (
            "the signature cut short",
            format!("{head}.{body}.{}", b64(&hs256(&format!("{head}.{body}"))[..16])),
            Why::Signature,
        ),
        (
            "the signature and a byte more",
            format!("{head}.{body}.{}", b64([hs256(&format!("{head}.{body}")), vec![0]].concat())),
            Why::Signature,
        ),
        ("the signature with stray bits", format!("{head}.{body}.{stray}"), Why::Malformed),
        ("the signature padded", format!("{head}.{body}.{signature}="), Why::Malformed),
        ("the claims padded", format!("{head}.{body}=.{signature}"), Why::Malformed),
        ("the standard alphabet", format!("{head}.{body}.+/{}", &signature[2..]), Why::Malformed),
        ("the token cut in its claims", format!("{head}.{}", &body[..20]), Why::Malformed),
        ("two parts", format!("{head}.{body}"), Why::Malformed),
        ("one part", head.clone(), Why::Malformed),
        ("a dot more at the end", format!("{head}.{body}.{signature}."), Why::Malformed),
        ("a dot more at the start", format!(".{head}.{body}.{signature}"), Why::Malformed),
        ("a dot more in the middle", format!("{head}..{body}.{signature}"), Why::Malformed),
        ("only dots", "..".to_owned(), Why::Malformed),
        ("a fourth part", format!("{head}.{body}.{signature}.{signature}"), Why::Malformed),
        (
            "five parts, an encrypted token",
            format!("{}.a.b.c.d", b64(r#"{"alg":"dir","enc":"A256GCM"}"#)),
            Why::ForbiddenHeader,
        ),
        ("five parts under a good header", format!("{head}.{body}.{body}.{body}.{signature}"), Why::Malformed),
        ("a blank inside", format!("{head}. {body}.{signature}"), Why::Malformed),
        ("a line feed at the end", format!("{head}.{body}.{signature}\n"), Why::Malformed),
        ("a NUL at the end", format!("{head}.{body}.{signature}\0"), Why::Malformed),
        ("an encoded NUL at the end", format!("{head}.{body}.{signature}%00"), Why::Malformed),
        ("a letter that looks like an a", format!("{head}.{body}.\u{430}{}", &signature[1..]), Why::Malformed),
        (
            "JSON instead of dots",
            format!(r#"{{"protected":"{head}","payload":"{body}","signature":"{signature}"}}"#),
            Why::Malformed,
        ),
        ("a Bearer prefix", format!("Bearer {head}.{body}.{signature}"), Why::Malformed),
        ("one byte too many", "a".repeat(MAX_VALUE_BYTES + 1), Why::TooLarge),
        ("a megabyte of braces", "{".repeat(1 << 20), Why::TooLarge),
        ("nothing", String::new(), Why::Missing),
        ("only quotes", "\"\"".to_owned(), Why::Missing),
    ];
    refuse_all(&jwt_identity(), &table);
}

#[test]
fn a_token_of_another_type_is_refused_where_a_type_is_asked_for() {
    let identity = identity(config(Format::Jwt { keys: jwt_keys(), types: vec!["session+jwt".to_owned()] }));
    let typed = |typ: &str| with_header(&format!(r#"{{"alg":"HS256","kid":"hs"{typ}}}"#), hs256);
    assert!(identify(&identity, &typed(r#","typ":"session+jwt""#)).is_ok());
    assert!(identify(&identity, &typed(r#","typ":"application/Session+JWT""#)).is_ok());
    let table: Table = vec![
        ("no type", typed(""), Why::Type),
        ("the general type", typed(r#","typ":"JWT""#), Why::Type),
        ("another type", typed(r#","typ":"at+jwt""#), Why::Type),
    ];
    refuse_all(&identity, &table);
}
