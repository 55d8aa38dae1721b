//! What a login service does: cookies of each format. The crate itself only reads them.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// After every test has run, and on this side of a clock that is wrong by years.
pub const END: u64 = 4_000_000_000;

/// Claims of a user whose session token is `session-of-<user>`.
pub fn claims(user: &str) -> Value {
    json!({ "sub": user, "sid": format!("session-of-{user}"), "exp": END })
}

/// A token by HS256, with the id of its key.
pub fn jwt(id: &str, secret: &str, claims: &Value) -> String {
    signed(&json!({ "alg": "HS256", "typ": "JWT", "kid": id }), secret, claims)
}

/// The same, whatever its header says of it.
pub fn signed(header: &Value, secret: &str, claims: &Value) -> String {
    let signed = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), signed.as_bytes());
    format!("{signed}.{}", b64(mac))
}

/// A value sealed with a key of 32 letters.
pub fn encrypted(id: &str, key: &str, claims: &Value) -> String {
    let (head, nonce) = (format!("h1.{id}"), [7; 12]);
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_bytes()).expect("32 bytes"));
    let mut sealed = claims.to_string().into_bytes();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(head.as_bytes()), &mut sealed)
        .expect("seals");
    format!("{head}.{}", b64([&nonce[..], &sealed].concat()))
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
