//! The signed value: `<payload>.<key id>.<mac>`.
//!
//! `payload` is base64url of a JSON object, `mac` is base64url of HMAC-SHA256, under that key, over everything left of
//! the last dot as it stands. It hides nothing and cannot be changed.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;

use crate::prehydrate::identity::json::{self, Object};
use crate::prehydrate::identity::keys::{self, Live};
use crate::prehydrate::identity::refusal::Why;
use crate::prehydrate::identity::settings::{Problems, SignedKey};

/// RFC 2104: a key shorter than the hash weakens it.
const KEY_BYTES: usize = 32;
const MAX_ID_BYTES: usize = 64;

pub struct Decoder {
    keys: BTreeMap<String, Live<hmac::Key>>,
}

impl Decoder {
    pub fn new(keys: Vec<SignedKey>, problems: &mut Problems) -> Self {
        let mut by_id = BTreeMap::new();
        for (at, SignedKey { id, secret }) in keys.into_iter().enumerate() {
            check_id(&id, by_id.contains_key(&id), at, problems);
            let key = keys::shared(&id, &secret, |text, written| {
                let bytes = keys::secret_bytes(text, written, KEY_BYTES)?;
                Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
            });
            if let Some(key) = problems.keep(format!("format.keys[{at}].secret"), key) {
                by_id.insert(id, key);
            }
        }
        Self { keys: by_id }
    }

    /// The payload, if it was signed by a key of ours.
    pub fn open(&self, value: &str) -> Result<Object, Why> {
        let (signed, mac) = value.rsplit_once('.').ok_or(Why::Malformed)?;
        let (payload, id) = signed.split_once('.').ok_or(Why::Malformed)?;
        let key = self.keys.get(id).ok_or(Why::UnknownKey)?;
        let payload = json::base64url(payload)?;
        // Compares in constant time.
        hmac::verify(&key.get(), signed.as_bytes(), &json::base64url(mac)?).map_err(|_| Why::Signature)?;
        json::object(&payload)
    }
}

/// An id stands between dots in a cookie: letters, digits, `-` and `_`.
pub fn check_id(id: &str, taken: bool, at: usize, problems: &mut Problems) {
    let field = format!("format.keys[{at}].id");
    if id.is_empty() || id.len() > MAX_ID_BYTES {
        problems.add(&field, "is empty or longer than 64 bytes");
    }
    if !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_') {
        problems.add(&field, "may hold letters, digits, `-` and `_`");
    }
    if taken {
        problems.add(&field, "another key has this id");
    }
}
