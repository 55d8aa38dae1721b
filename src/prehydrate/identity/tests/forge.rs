//! What an issuer does, and what a forger does: cookies of every format with anything in them.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::domain::secret::{Secret, SecretCell};
use crate::domain::subject::Subject;
use crate::prehydrate::identity::refusal::Why;
use crate::prehydrate::identity::settings::{
    Algorithm, Claim, Claims, Config, EncryptedKey, Expiry, Format, JwtKey, MAX_VALUE_BYTES, Presence, Rules, Session,
    SharedSecret, SignedKey, Written,
};
use crate::prehydrate::identity::{Identity, Who};

pub const NOW: u64 = 1_800_000_000;
pub const LEEWAY: u64 = 30;

pub const HS: &str = "hs-256-secret-of-the-login-service-0001";
pub const HS_OLD: &str = "hs-256-secret-of-the-login-service-0000";
pub const HS_NAMELESS: &str = "hs-256-secret-of-an-issuer-without-kid";
pub const HS_LONG: &str = "a secret that is long enough for every hash there is: sixty-four bytes!";
pub const AES: [u8; 32] = [7; 32];
pub const AES_OLD: [u8; 32] = [8; 32];

/// Made anew in each run: what is tested does not depend on which keys they are.
pub static RSA: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key"));
pub static ED: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::generate().expect("an Ed25519 key"));
static EC: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a P-256 key");
    pair.to_pkcs8v1().expect("PKCS#8").as_ref().to_vec()
});

pub fn now() -> Duration {
    Duration::from_secs(NOW)
}

pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn cell(text: &str) -> SecretCell {
    SecretCell::new(Secret::new(text))
}

pub fn text(secret: &str) -> SharedSecret {
    SharedSecret { text: cell(secret), written: Written::Text }
}

pub fn base64(bytes: &[u8]) -> SharedSecret {
    SharedSecret { text: cell(&STANDARD.encode(bytes)), written: Written::Base64 }
}

pub fn pem(der: &[u8]) -> String {
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
}

pub fn rsa_pem() -> String {
    pem(RSA.public_key().as_der().expect("DER").as_ref())
}

pub fn ec_pem() -> String {
    pem(ec(&ECDSA_P256_SHA256_FIXED_SIGNING).public_key().as_der().expect("DER").as_ref())
}

pub fn ed_pem() -> String {
    pem(ED.public_key().as_der().expect("DER").as_ref())
}

fn ec(encoding: &'static EcdsaSigningAlgorithm) -> EcdsaKeyPair {
    EcdsaKeyPair::from_pkcs8(encoding, &EC).expect("the key")
}

/// The x and y of the P-256 key.
pub fn ec_point() -> (Vec<u8>, Vec<u8>) {
    let point = ec(&ECDSA_P256_SHA256_FIXED_SIGNING).public_key().as_ref().to_vec();
    (point[1..33].to_vec(), point[33..].to_vec())
}

pub fn jwt_key(id: &str, key: Algorithm) -> JwtKey {
    JwtKey { id: Some(id.to_owned()), key }
}

pub fn jwt_keys() -> Vec<JwtKey> {
    vec![
        jwt_key("hs", Algorithm::Hs256(text(HS))),
        jwt_key("hs-old", Algorithm::Hs256(text(HS_OLD))),
        jwt_key("hs384", Algorithm::Hs384(text(HS_LONG))),
        jwt_key("hs512", Algorithm::Hs512(text(HS_LONG))),
        jwt_key("rs", Algorithm::Rs256(cell(&rsa_pem()))),
        jwt_key("es", Algorithm::Es256(cell(&ec_pem()))),
        jwt_key("ed", Algorithm::EdDsa(cell(&ed_pem()))),
        JwtKey { id: None, key: Algorithm::Hs256(text(HS_NAMELESS)) },
        JwtKey { id: None, key: Algorithm::EdDsa(cell(&ed_pem())) },
    ]
}

pub fn signed_key(id: &str, secret: &str) -> SignedKey {
    SignedKey { id: id.to_owned(), secret: text(secret) }
}

pub fn encrypted_key(id: &str, key: &[u8]) -> EncryptedKey {
    EncryptedKey { id: id.to_owned(), secret: base64(key) }
}

pub fn claim(path: &str, presence: Presence) -> Claim {
    Claim { path: path.to_owned(), presence }
}

pub fn config(format: Format) -> Config {
    Config {
        cookie: "session".to_owned(),
        max_value_bytes: MAX_VALUE_BYTES,
        format,
        rules: Rules {
            issuers: vec!["https://login.example".to_owned()],
            audiences: vec!["shop".to_owned(), "desk".to_owned()],
            leeway: Duration::from_secs(LEEWAY),
            expiry: Expiry::Required,
        },
        claims: Claims {
            user: "sub".to_owned(),
            session: Session::Claim(claim("sid", Presence::Optional)),
            tenant: Some(claim("org.id", Presence::Optional)),
            attributes: BTreeMap::from([("role".to_owned(), claim("role", Presence::Optional))]),
        },
    }
}

pub fn identity(config: Config) -> Identity {
    Identity::new(config).unwrap_or_else(|problems| panic!("{problems:?}"))
}

pub fn jwt_identity() -> Identity {
    identity(config(Format::Jwt { keys: jwt_keys(), types: Vec::new() }))
}

pub fn signed_identity() -> Identity {
    identity(config(Format::Signed { keys: vec![signed_key("b", HS), signed_key("a", HS_OLD)] }))
}

pub fn encrypted_identity() -> Identity {
    identity(config(Format::Encrypted { keys: vec![encrypted_key("b", &AES), encrypted_key("a", &AES_OLD)] }))
}

pub fn identify(identity: &Identity, cookie: &str) -> Result<Subject, Why> {
    identity.identify(Who::Value(cookie), now()).map_err(|refused| refused.why())
}

/// Good claims of a user called alice.
pub fn claims() -> Value {
    json!({
        "sub": "alice", "sid": "session-of-alice", "org": { "id": "acme", "plan": "gold" }, "role": "buyer",
        "iss": "https://login.example", "aud": "shop", "iat": NOW - 60, "nbf": NOW - 60, "exp": NOW + 600,
    })
}

/// Good claims, with one of them changed.
pub fn with(name: &str, value: impl Into<Value>) -> String {
    let mut claims = claims();
    claims[name] = value.into();
    claims.to_string()
}

pub fn without(name: &str) -> String {
    let mut claims = claims();
    claims.as_object_mut().expect("an object").remove(name);
    claims.to_string()
}

/// Good claims with further text before the closing brace.
pub fn followed_by(more: &str) -> String {
    let claims = claims().to_string();
    format!("{},{more}}}", &claims[..claims.len() - 1])
}

pub fn mac(hash: hmac::Algorithm, secret: impl AsRef<[u8]>, message: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hash, secret.as_ref()), message.as_bytes()).as_ref().to_vec()
}

pub fn jwt(header: &str, claims: impl AsRef<[u8]>, sign: impl Fn(&str) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", b64(header), b64(claims));
    let signature = sign(&signed);
    format!("{signed}.{}", b64(signature))
}

pub fn hs256(message: &str) -> Vec<u8> {
    mac(hmac::HMAC_SHA256, HS, message)
}

pub fn rs256(message: &str) -> Vec<u8> {
    let mut signature = vec![0; RSA.public_modulus_len()];
    RSA.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).expect("signs");
    signature
}

pub fn es256(message: &str) -> Vec<u8> {
    let pair = ec(&ECDSA_P256_SHA256_FIXED_SIGNING);
    pair.sign(&SystemRandom::new(), message.as_bytes()).expect("signs").as_ref().to_vec()
}

pub fn es256_in_der(message: &str) -> Vec<u8> {
    let pair = ec(&ECDSA_P256_SHA256_ASN1_SIGNING);
    pair.sign(&SystemRandom::new(), message.as_bytes()).expect("signs").as_ref().to_vec()
}

pub fn eddsa(message: &str) -> Vec<u8> {
    ED.sign(message.as_bytes()).as_ref().to_vec()
}

/// A header of the key `hs`, with further members.
pub fn header(more: &str) -> String {
    format!(r#"{{"alg":"HS256","kid":"hs","typ":"JWT"{more}}}"#)
}

/// A rightly signed token with these claims.
pub fn hs_jwt(claims: impl AsRef<[u8]>) -> String {
    jwt(&header(""), claims, hs256)
}

pub fn signed(id: &str, secret: &str, claims: impl AsRef<[u8]>) -> String {
    let signed = format!("{}.{id}", b64(claims));
    format!("{signed}.{}", b64(mac(hmac::HMAC_SHA256, secret, &signed)))
}

/// The sealed bytes of an encrypted value: nonce, ciphertext, tag.
pub fn seal(key: &[u8], nonce: [u8; 12], associated: &str, plain: impl AsRef<[u8]>) -> Vec<u8> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("32 bytes"));
    let mut sealed = plain.as_ref().to_vec();
    let nonce_used = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(nonce_used, Aad::from(associated.as_bytes()), &mut sealed).expect("seals");
    [&nonce[..], &sealed].concat()
}

pub fn encrypted(id: &str, key: &[u8], claims: impl AsRef<[u8]>) -> String {
    format!("h1.{id}.{}", b64(seal(key, [3; 12], &format!("h1.{id}"), claims)))
}
