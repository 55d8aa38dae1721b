//! Cookies that another language made (`tests/vectors/make_cookies.py`): the formats are what `docs/cookies.md` says.

use std::time::Duration;

use serde::Deserialize;

use super::forge::{cell, claim, config, identity};
use crate::domain::secret::Secret;
use crate::prehydrate::identity::Who;
use crate::prehydrate::identity::settings::{
    Algorithm, EncryptedKey, Format, JwtKey, Presence, Session, SharedSecret, SignedKey, Written,
};

const VECTORS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/cookies.json"));

#[derive(Deserialize)]
struct Vectors {
    now: u64,
    cookies: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    /// `jwt`, `signed` or `encrypted`.
    format: String,
    algorithm: String,
    key_id: Option<String>,
    /// Base64 of a secret, or a public key as PEM or JWK.
    key: String,
    cookie: String,
    accepted: bool,
    user: String,
    session: String,
    tenant: Option<String>,
}

fn format_of(vector: &Vector) -> Format {
    let secret = || SharedSecret { text: cell(&vector.key), written: Written::Base64 };
    let id = || vector.key_id.clone().expect("a key id");
    match vector.format.as_str() {
        "signed" => Format::Signed { keys: vec![SignedKey { id: id(), secret: secret() }] },
        "encrypted" => Format::Encrypted { keys: vec![EncryptedKey { id: id(), secret: secret() }] },
        "jwt" => {
            let key = match vector.algorithm.as_str() {
                "HS256" => Algorithm::Hs256(secret()),
                "HS384" => Algorithm::Hs384(secret()),
                "HS512" => Algorithm::Hs512(secret()),
                "RS256" => Algorithm::Rs256(cell(&vector.key)),
                "ES256" => Algorithm::Es256(cell(&vector.key)),
                "EdDSA" => Algorithm::EdDsa(cell(&vector.key)),
                other => panic!("{}: {other}", vector.name),
            };
            Format::Jwt { keys: vec![JwtKey { id: vector.key_id.clone(), key }], types: Vec::new() }
        }
        other => panic!("{}: {other}", vector.name),
    }
}

#[test]
fn cookies_made_by_another_language_are_read() {
    let vectors: Vectors = serde_json::from_str(VECTORS).expect("the vectors parse");
    let algorithms = ["HS256", "HS384", "HS512", "RS256", "ES256", "EdDSA", "HMAC-SHA256", "AES-256-GCM"];
    for algorithm in algorithms {
        let proved = |accepted| vectors.cookies.iter().any(|v| v.algorithm == algorithm && v.accepted == accepted);
        assert!(proved(true) && proved(false), "{algorithm}");
    }
    for vector in &vectors.cookies {
        let mut config = config(format_of(vector));
        config.claims.session = Session::Claim(claim("sid", Presence::Required));
        let now = Duration::from_secs(vectors.now);
        let result = identity(config).identify(Who::Value(&vector.cookie), now);
        assert_eq!(result.is_ok(), vector.accepted, "{}", vector.name);
        if let Ok(subject) = result {
            assert_eq!(subject.user(), vector.user, "{}", vector.name);
            assert_eq!(subject.session().map(Secret::expose), Some(vector.session.as_str()), "{}", vector.name);
            assert_eq!(subject.tenant(), vector.tenant.as_deref(), "{}", vector.name);
        }
    }
}
