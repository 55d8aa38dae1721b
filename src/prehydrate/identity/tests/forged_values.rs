//! Signed and encrypted values that must not pass, each named by the attack or the fault.

use super::forge::*;
use super::refuse_all;
use crate::prehydrate::identity::Who;
use crate::prehydrate::identity::refusal::Why;

type Table = Vec<(&'static str, String, Why)>;

#[test]
fn signed_values_that_were_forged_or_broken_are_refused() {
    let claims = claims().to_string();
    let good = signed("b", HS, &claims);
    let (left, mac) = good.rsplit_once('.').expect("a mac");
    let (payload, _) = left.split_once('.').expect("a payload");
    let table: Table = vec![
        ("another user under the same mac", format!("{}.b.{mac}", b64(with("sub", "admin"))), Why::Signature),
        ("another key id under the same mac", format!("{payload}.a.{mac}"), Why::Signature),
        ("signed with another key", signed("b", HS_OLD, &claims), Why::Signature),
        ("signed with an empty key", signed("b", "", &claims), Why::Signature),
        ("an unknown key id", signed("c", HS, &claims), Why::UnknownKey),
        ("a key id that is a path", signed("../b", HS, &claims), Why::UnknownKey),
        ("an empty key id", signed("", HS, &claims), Why::UnknownKey),
        ("the mac cut off", format!("{left}."), Why::Signature),
        ("the mac cut short", format!("{left}.{}", &mac[..40]), Why::Signature),
        ("the mac padded", format!("{good}="), Why::Malformed),
        ("the mac in hexadecimal", format!("{left}.{}", "ab".repeat(32)), Why::Signature),
        ("the payload padded", signed("b", HS, &claims).replacen('.', "=.", 1), Why::Malformed),
        ("a part more", format!("{payload}.b.b.{mac}"), Why::UnknownKey),
        ("a part less", format!("{payload}.{mac}"), Why::Malformed),
        ("no parts", payload.to_owned(), Why::Malformed),
        ("a token of another format", hs_jwt(&claims), Why::UnknownKey),
        ("an encrypted value", encrypted("b", &AES, &claims), Why::Malformed),
        ("expired within", signed("b", HS, with("exp", NOW - 600)), Why::Expired),
        ("no expiry within", signed("b", HS, without("exp")), Why::Time),
        ("another audience within", signed("b", HS, with("aud", "bank")), Why::Audience),
        ("a user twice", signed("b", HS, followed_by(r#""sub":"admin""#)), Why::Malformed),
        ("not JSON", signed("b", HS, "alice"), Why::Malformed),
        ("a list", signed("b", HS, "[]"), Why::Malformed),
        ("a depth bomb", signed("b", HS, "[".repeat(4_000)), Why::Malformed),
        ("a control character in the user", signed("b", HS, with("sub", "al\u{1}ice")), Why::Claim),
    ];
    refuse_all(&signed_identity(), &table);
    assert!(identify(&signed_identity(), &good).is_ok());
}

#[test]
fn encrypted_values_that_were_forged_or_broken_are_refused() {
    let claims = claims().to_string();
    let good = encrypted("b", &AES, &claims);
    let sealed = seal(&AES, [3; 12], "h1.b", &claims);
    let value = |sealed: &[u8]| format!("h1.b.{}", b64(sealed));
    let flipped = |at: usize| {
        let mut sealed = sealed.clone();
        sealed[at] ^= 1;
        value(&sealed)
    };
    let table: Table = vec![
        ("the nonce changed", flipped(0), Why::Signature),
        ("the ciphertext changed", flipped(20), Why::Signature),
        ("the tag changed", flipped(sealed.len() - 1), Why::Signature),
        ("the key id changed", good.replacen("h1.b.", "h1.a.", 1), Why::Signature),
        ("sealed without associated data", value(&seal(&AES, [3; 12], "", &claims)), Why::Signature),
        ("sealed for another key id", value(&seal(&AES, [3; 12], "h1.a", &claims)), Why::Signature),
        ("sealed with another key", encrypted("b", &AES_OLD, &claims), Why::Signature),
        ("the tag cut off", value(&sealed[..sealed.len() - 16]), Why::Signature),
        ("the tag cut short", value(&sealed[..sealed.len() - 4]), Why::Signature),
        ("a byte more", value(&[&sealed[..], &[0]].concat()), Why::Signature),
        ("only a nonce", value(&sealed[..12]), Why::Signature),
        ("half a nonce", value(&sealed[..6]), Why::Malformed),
        ("nothing sealed", "h1.b.".to_owned(), Why::Malformed),
        ("another version", good.replacen("h1", "h2", 1), Why::Malformed),
        ("no version", good.replacen("h1.", "", 1), Why::Malformed),
        ("an unknown key id", encrypted("c", &AES, &claims), Why::UnknownKey),
        ("an empty key id", encrypted("", &AES, &claims), Why::UnknownKey),
        ("a part more", format!("h1.b.b.{}", b64(&sealed)), Why::UnknownKey),
        ("padded", format!("{good}="), Why::Malformed),
        ("the claims in the open", format!("h1.b.{}", b64(&claims)), Why::Signature),
        ("expired within", encrypted("b", &AES, with("exp", NOW - 600)), Why::Expired),
        ("no expiry within", encrypted("b", &AES, without("exp")), Why::Time),
        ("not JSON", encrypted("b", &AES, "alice"), Why::Malformed),
        ("nothing within", encrypted("b", &AES, ""), Why::Malformed),
        ("a signed value", signed("b", HS, &claims), Why::Malformed),
    ];
    refuse_all(&encrypted_identity(), &table);
    assert!(identify(&encrypted_identity(), &good).is_ok());
}

#[test]
fn a_planted_second_cookie_is_refused() {
    let identity = jwt_identity();
    let (alice, mallory) = (hs_jwt(claims().to_string()), hs_jwt(with("sub", "mallory")));
    let whole = |header: String| identity.identify(Who::Header(&header), now()).map_err(|refused| refused.why());
    assert!(whole(format!("session={alice}; session={alice}")).is_ok());
    for header in [
        format!("session={mallory}; session={alice}"),
        format!("session={alice}; session={mallory}"),
        format!("session={alice}; session=x"),
        // A nameless cookie is sent as its value alone.
        format!("session={alice};session={mallory}; theme=dark"),
    ] {
        assert_eq!(whole(header), Err(Why::Conflicting));
    }
}
