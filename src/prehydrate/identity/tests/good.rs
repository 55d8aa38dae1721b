//! Cookies that must pass, and what is read from them.

use aws_lc_rs::hmac::{HMAC_SHA256, HMAC_SHA384, HMAC_SHA512};
use serde_json::json;

use super::forge::*;
use crate::domain::secret::Secret;
use crate::domain::subject::{Fact, Subject};
use crate::prehydrate::identity::Who;
use crate::prehydrate::identity::refusal::Why;
use crate::prehydrate::identity::settings::{Claim, Config, Expiry, Format, Presence, Session};

fn assert_is_alice(subject: &Subject) {
    assert_eq!(subject.user(), "alice");
    assert_eq!(subject.session().map(Secret::expose), Some("session-of-alice"));
    assert_eq!(subject.tenant(), Some("acme"));
    assert_eq!(subject.fact(&Fact::Attribute("role".to_owned())), Some("buyer"));
}

#[test]
fn every_algorithm_is_read() {
    let identity = jwt_identity();
    let token = |header: &str, sign: &dyn Fn(&str) -> Vec<u8>| jwt(header, claims().to_string(), sign);
    for token in [
        token(r#"{"alg":"HS256","kid":"hs","typ":"JWT"}"#, &hs256),
        token(r#"{"alg":"HS256","kid":"hs-old"}"#, &|m| mac(HMAC_SHA256, HS_OLD, m)),
        token(r#"{"alg":"HS384","kid":"hs384","typ":"jwt"}"#, &|m| mac(HMAC_SHA384, HS_LONG, m)),
        token(r#"{"alg":"HS512","kid":"hs512","typ":"application/jwt"}"#, &|m| mac(HMAC_SHA512, HS_LONG, m)),
        token(r#"{"alg":"RS256","kid":"rs","x5t":"ignored","cty":"json"}"#, &rs256),
        token(r#"{"alg":"ES256","kid":"es"}"#, &es256),
        token(r#"{"alg":"EdDSA","kid":"ed"}"#, &eddsa),
        token(r#"{"alg":"HS256"}"#, &|m| mac(HMAC_SHA256, HS_NAMELESS, m)),
        token(r#"{"alg":"EdDSA"}"#, &eddsa),
    ] {
        assert_is_alice(&identify(&identity, &token).expect("a good token"));
    }
}

#[test]
fn signed_and_encrypted_values_are_read() {
    let claims = claims().to_string();
    for (identity, cookie) in [
        (signed_identity(), signed("b", HS, &claims)),
        (signed_identity(), signed("a", HS_OLD, &claims)),
        (encrypted_identity(), encrypted("b", &AES, &claims)),
        (encrypted_identity(), encrypted("a", &AES_OLD, &claims)),
    ] {
        assert_is_alice(&identify(&identity, &cookie).expect("a good value"));
    }
}

#[test]
fn the_cookie_is_taken_from_a_browsers_header() {
    let identity = jwt_identity();
    let token = hs_jwt(claims().to_string());
    for header in [
        format!("session={token}"),
        format!("theme=dark; session={token}; lang=en"),
        format!("theme=dark; session=\"{token}\""),
        format!("session={}", token.replace('.', "%2E")),
    ] {
        assert_is_alice(&identity.identify(Who::Header(&header), now()).expect("a good header"));
    }
    let none = identity.identify(Who::Header(&format!("Session={token}")), now());
    assert_eq!(none.map_err(|refused| refused.why()), Err(Why::Missing));
}

#[test]
fn times_hold_to_the_second_with_the_leeway() {
    let identity = jwt_identity();
    for claims in [
        with("exp", NOW - LEEWAY + 1),
        with("exp", NOW as f64 + 0.5),
        with("nbf", NOW + LEEWAY),
        with("iat", NOW + LEEWAY),
        without("nbf"),
        without("iat"),
        with("aud", json!(["bank", "desk"])),
    ] {
        assert!(identify(&identity, &hs_jwt(&claims)).is_ok(), "{claims}");
    }
}

#[test]
fn a_number_is_an_id_by_its_digits() {
    let identity = jwt_identity();
    for user in ["7", "0", "-3", "12345678901234567890123456789"] {
        let claims = claims().to_string().replace(r#""alice""#, user);
        assert_eq!(identify(&identity, &hs_jwt(claims)).expect("a good token").user(), user);
    }
}

#[test]
fn an_id_is_taken_as_it_stands() {
    let identity = jwt_identity();
    for user in ["Ünïcode", "auth0|5f7c8ec7", "a:b", " spaced ", "a{b}"] {
        assert_eq!(identify(&identity, &hs_jwt(with("sub", user))).expect("a good token").user(), user);
    }
}

fn jwt_config() -> Config {
    config(Format::Jwt { keys: jwt_keys(), types: Vec::new() })
}

#[test]
fn the_session_may_be_the_cookie_itself_or_nothing() {
    let token = hs_jwt(claims().to_string());
    let mut config = jwt_config();
    config.claims.session = Session::Raw;
    let subject = identify(&identity(config.clone()), &format!("\"{}\"", token.replace('.', "%2e"))).expect("good");
    assert_eq!(subject.session().map(Secret::expose), Some(token.as_str()));
    config.claims.session = Session::Absent;
    let subject = identify(&identity(config), &token).expect("good");
    assert!(subject.session().is_none());
}

#[test]
fn optional_claims_may_be_missing_and_required_ones_may_not() {
    let mut bare = claims();
    for name in ["sid", "org", "role"] {
        bare.as_object_mut().expect("an object").remove(name);
    }
    let token = hs_jwt(bare.to_string());
    let subject = identify(&jwt_identity(), &token).expect("a good token");
    assert!(subject.session().is_none() && subject.tenant().is_none());
    assert!(identify(&jwt_identity(), &hs_jwt(with("org", json!({ "id": null })))).is_ok());

    let required = |path: &str| claim(path, Presence::Required);
    let refuses = |change: &dyn Fn(&mut Config)| {
        let mut config = jwt_config();
        change(&mut config);
        assert_eq!(identify(&identity(config), &token).map(|_| ()), Err(Why::Claim));
    };
    refuses(&|config| config.claims.session = Session::Claim(required("sid")));
    refuses(&|config| config.claims.tenant = Some(required("org.id")));
    refuses(&|config| _ = config.claims.attributes.insert("role".to_owned(), required("role")));
}

#[test]
fn a_path_may_lead_through_names_with_dots() {
    let mut config = jwt_config();
    config.claims.user = r"https://shop\.example/claims.user.id".to_owned();
    config.claims.tenant = Some(Claim { path: r"a\\b".to_owned(), presence: Presence::Required });
    let token = hs_jwt(followed_by(r#""https://shop.example/claims":{"user":{"id":42}},"a\\b":"acme""#));
    let subject = identify(&identity(config), &token).expect("a good token");
    assert_eq!((subject.user(), subject.tenant()), ("42", Some("acme")));
}

#[test]
fn rules_that_are_off_ask_for_nothing() {
    let mut config = jwt_config();
    config.rules.issuers.clear();
    config.rules.audiences.clear();
    config.rules.expiry = Expiry::Optional;
    let identity = identity(config);
    assert!(identify(&identity, &hs_jwt(r#"{"sub":"alice"}"#)).is_ok());
    assert_eq!(identify(&identity, &hs_jwt(r#"{"sub":"alice","exp":1}"#)), Err(Why::Expired));
    // It is meant for somebody, and we are nobody: RFC 7519, 4.1.3.
    assert_eq!(identify(&identity, &hs_jwt(r#"{"sub":"alice","aud":"shop"}"#)), Err(Why::Audience));
    assert_eq!(identify(&identity, &hs_jwt(r#"{"sub":"alice","iss":1}"#)), Err(Why::Issuer));
}
