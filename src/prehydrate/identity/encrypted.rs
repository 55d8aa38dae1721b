//! The encrypted value: `h1.<key id>.<sealed>`.
//!
//! `sealed` is base64url of a 12-byte nonce, then AES-256-GCM ciphertext of a JSON object, then the 16-byte tag. The
//! associated data is everything left of the last dot as it stands, so version and key id cannot be exchanged. With
//! random nonces one key is good for 2^32 cookies (NIST SP 800-38D): rotate before that.

use std::collections::BTreeMap;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::prehydrate::identity::json::{self, Object};
use crate::prehydrate::identity::keys::{self, KeyProblem, Live};
use crate::prehydrate::identity::refusal::Why;
use crate::prehydrate::identity::settings::{EncryptedKey, Problems, Written};
use crate::prehydrate::identity::signed::check_id;

const VERSION: &str = "h1";
const KEY_BYTES: usize = 32;

pub struct Decoder {
    keys: BTreeMap<String, Live<LessSafeKey>>,
}

impl Decoder {
    pub fn new(keys: Vec<EncryptedKey>, problems: &mut Problems) -> Self {
        let mut by_id = BTreeMap::new();
        for (at, EncryptedKey { id, secret }) in keys.into_iter().enumerate() {
            check_id(&id, by_id.contains_key(&id), at, problems);
            let key = keys::shared(&id, &secret, aes_key);
            if let Some(key) = problems.keep(format!("format.keys[{at}].secret"), key) {
                by_id.insert(id, key);
            }
        }
        Self { keys: by_id }
    }

    /// The plaintext, if it was sealed with a key of ours.
    pub fn open(&self, value: &str) -> Result<Object, Why> {
        let (head, sealed) = value.rsplit_once('.').ok_or(Why::Malformed)?;
        let (version, id) = head.split_once('.').ok_or(Why::Malformed)?;
        if version != VERSION {
            return Err(Why::Malformed);
        }
        let key = self.keys.get(id).ok_or(Why::UnknownKey)?.get();
        let mut sealed = json::base64url(sealed)?;
        let (nonce, ciphertext) = sealed.split_at_mut_checked(NONCE_LEN).ok_or(Why::Malformed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Why::Malformed)?;
        let plain = key.open_in_place(nonce, Aad::from(head.as_bytes()), ciphertext).map_err(|_| Why::Signature)?;
        json::object(plain)
    }
}

fn aes_key(text: &str, written: Written) -> Result<LessSafeKey, KeyProblem> {
    let bytes = keys::secret_bytes(text, written, KEY_BYTES)?;
    let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| KeyProblem::NotExactly(KEY_BYTES))?;
    Ok(LessSafeKey::new(key))
}
