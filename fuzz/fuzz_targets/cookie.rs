//! The cookie decoder. No bytes may make it panic, and none may pass that the key did not sign.
//!
//! A fuzzer cannot guess a signature, so the same bytes also go in as claims that are rightly signed: what reads claims
//! is reached too, and whoever is named then must be a usable subject.

#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hydrant::domain::secret::{Secret, SecretCell};
use hydrant::prehydrate::identity::settings::{
    Algorithm, Claim, Claims, Config, EncryptedKey, Expiry, Format, JwtKey, MAX_VALUE_BYTES, Presence, Rules, Session,
    SharedSecret, SignedKey, Written,
};
use hydrant::prehydrate::identity::{Identity, Who};
use libfuzzer_sys::fuzz_target;

const SECRET: &str = "a secret of thirty-two bytes: yes";
const AES: &str = "another secret of 32 bytes: yes!";
const NOW: Duration = Duration::from_secs(1_800_000_000);

static IDENTITIES: LazyLock<[Identity; 3]> = LazyLock::new(|| {
    let secret = |text: &str| SharedSecret { text: SecretCell::new(Secret::new(text)), written: Written::Text };
    let jwt_key = JwtKey { id: Some("k".to_owned()), key: Algorithm::Hs256(secret(SECRET)) };
    [
        identity(Format::Jwt { keys: vec![jwt_key], types: Vec::new() }),
        identity(Format::Signed { keys: vec![SignedKey { id: "k".to_owned(), secret: secret(SECRET) }] }),
        identity(Format::Encrypted { keys: vec![EncryptedKey { id: "k".to_owned(), secret: secret(AES) }] }),
    ]
});

fn identity(format: Format) -> Identity {
    let optional = |path: &str| Claim { path: path.to_owned(), presence: Presence::Optional };
    let config = Config {
        cookie: "session".to_owned(),
        max_value_bytes: MAX_VALUE_BYTES,
        format,
        rules: Rules {
            issuers: Vec::new(),
            audiences: Vec::new(),
            leeway: Duration::from_secs(30),
            expiry: Expiry::Optional,
        },
        claims: Claims {
            user: "sub".to_owned(),
            session: Session::Claim(optional("sid")),
            tenant: Some(optional("org.id")),
            attributes: BTreeMap::from([("role".to_owned(), optional("role"))]),
        },
    };
    Identity::new(config).expect("a good configuration")
}

fn signed(left: String) -> String {
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), left.as_bytes());
    format!("{left}.{}", URL_SAFE_NO_PAD.encode(mac))
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        for identity in IDENTITIES.iter() {
            assert!(identity.identify(Who::Value(text), NOW).is_err());
            assert!(identity.identify(Who::Header(text), NOW).is_err());
        }
    }
    let payload = URL_SAFE_NO_PAD.encode(bytes);
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","kid":"k"}"#);
    let (jwt, value) = (signed(format!("{header}.{payload}")), signed(format!("{payload}.k")));
    let named = IDENTITIES[0].identify(Who::Value(&jwt), NOW).ok();
    assert!(named == IDENTITIES[1].identify(Who::Value(&value), NOW).ok(), "the formats read claims alike");
    if let Some(subject) = named {
        let facts = [Some(subject.user()), subject.tenant(), subject.session().map(Secret::expose)];
        assert!(facts.iter().flatten().all(|fact| !fact.is_empty() && !fact.chars().any(char::is_control)));
    }
    // As a header of a token, with a signature that fits.
    let forged = signed(format!("{payload}.{}", URL_SAFE_NO_PAD.encode(r#"{"sub":"mallory"}"#)));
    let _ = IDENTITIES[0].identify(Who::Value(&forged), NOW);
});
