//! Keys change while people are logged in; nobody is refused for it.

use arc_swap::ArcSwap;

use super::forge::*;
use crate::domain::secret::Secret;
use crate::prehydrate::identity::Identity;
use crate::prehydrate::identity::refusal::Why;
use crate::prehydrate::identity::settings::{Algorithm, Format, JwtKey, SignedKey};

fn with_keys(keys: Vec<SignedKey>) -> Identity {
    identity(config(Format::Signed { keys }))
}

#[test]
fn a_rotation_by_reload_refuses_no_login() {
    let claims = claims().to_string();
    let (old, new) = (signed("2026-10", HS_OLD, &claims), signed("2026-11", HS, &claims));
    let (old_key, new_key) = (signed_key("2026-10", HS_OLD), signed_key("2026-11", HS));
    let current = ArcSwap::from_pointee(with_keys(vec![old_key.clone()]));
    let accepted = |cookie: &str| identify(&current.load(), cookie).is_ok();
    assert!(accepted(&old));

    // First everybody learns the new key, while the issuer still signs with the old one.
    current.store(with_keys(vec![old_key.clone(), new_key.clone()]).into());
    assert!(accepted(&old) && accepted(&new));

    // The issuer has switched; the old cookies have run out; the old key goes.
    current.store(with_keys(vec![new_key]).into());
    assert!(accepted(&new));
    assert_eq!(identify(&current.load(), &old), Err(Why::UnknownKey));
}

#[test]
fn tokens_without_a_key_id_rotate_too() {
    let nameless = |secret: &str| JwtKey { id: None, key: Algorithm::Hs256(text(secret)) };
    let identity = identity(config(Format::Jwt { keys: vec![nameless(HS_OLD), nameless(HS)], types: Vec::new() }));
    for secret in [HS_OLD, HS] {
        let sign = |message: &str| mac(aws_lc_rs::hmac::HMAC_SHA256, secret, message);
        assert!(identify(&identity, &jwt(r#"{"alg":"HS256"}"#, claims().to_string(), sign)).is_ok());
    }
}

#[test]
fn a_replaced_text_counts_at_once_and_an_unusable_one_does_not() {
    let key = signed_key("b", HS_OLD);
    let cell = key.secret.text.clone();
    let identity = with_keys(vec![key]);
    let claims = claims().to_string();
    let (old, new) = (signed("b", HS_OLD, &claims), signed("b", HS, &claims));
    assert!(identify(&identity, &old).is_ok());

    cell.set(Secret::new("too short"));
    assert!(identify(&identity, &old).is_ok() && identify(&identity, &old).is_ok());

    cell.set(Secret::new(HS));
    assert!(identify(&identity, &new).is_ok());
    assert_eq!(identify(&identity, &old), Err(Why::Signature));
}

#[test]
fn a_public_key_is_replaced_by_its_text() {
    let public = cell(&rsa_pem());
    let key = jwt_key("k", Algorithm::EdDsa(public.clone()));
    assert!(Identity::new(config(Format::Jwt { keys: vec![key], types: vec![] })).is_err());

    public.set(Secret::new(ed_pem()));
    let key = jwt_key("k", Algorithm::EdDsa(public.clone()));
    let identity = identity(config(Format::Jwt { keys: vec![key], types: vec![] }));
    let token = jwt(r#"{"alg":"EdDSA","kid":"k"}"#, claims().to_string(), eddsa);
    assert!(identify(&identity, &token).is_ok());
    // A key of another kind is no key here: the old one stays.
    public.set(Secret::new(rsa_pem()));
    assert!(identify(&identity, &token).is_ok());
}
