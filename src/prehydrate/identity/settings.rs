//! What the configuration says of the cookie, and everything that can be wrong with it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::secret::SecretCell;

#[derive(Clone, Debug)]
pub struct Config {
    /// The cookie's name, as it stands in the header.
    pub cookie: String,
    /// A longer value is refused unread; at most [`MAX_VALUE_BYTES`].
    pub max_value_bytes: usize,
    pub format: Format,
    pub rules: Rules,
    pub claims: Claims,
}

/// Browsers keep 4 KiB; twice that leaves room for values that arrive percent-encoded or by another way.
pub const MAX_VALUE_BYTES: usize = 8 * 1024;
/// Rotation needs two; many issuers behind one name a handful. Also bounds how many keys one token is tried against.
pub const MAX_KEYS: usize = 16;
/// More leeway than this hides a broken clock.
pub const MAX_LEEWAY: Duration = Duration::from_secs(300);

#[derive(Clone, Debug)]
pub enum Format {
    Jwt {
        keys: Vec<JwtKey>,
        /// Accepted `typ` values; the token must have one of them. Empty: it must say `JWT` or nothing.
        types: Vec<String>,
    },
    /// `<base64url JSON>.<key id>.<base64url HMAC-SHA256>`
    Signed { keys: Vec<SignedKey> },
    /// `h1.<key id>.<base64url of nonce, AES-256-GCM ciphertext and tag>`
    Encrypted { keys: Vec<EncryptedKey> },
}

#[derive(Clone, Debug)]
pub struct JwtKey {
    /// The token's `kid`. A token without one is tried against all keys without one.
    pub id: Option<String>,
    pub key: Algorithm,
}

/// An algorithm with the key it is pinned to. What a token says of its algorithm is only compared with this.
#[derive(Clone, Debug)]
pub enum Algorithm {
    Hs256(SharedSecret),
    Hs384(SharedSecret),
    Hs512(SharedSecret),
    /// A public key: PEM (`BEGIN PUBLIC KEY`) or a JWK, here and below.
    Rs256(SecretCell),
    Es256(SecretCell),
    EdDsa(SecretCell),
}

#[derive(Clone, Debug)]
pub struct SignedKey {
    pub id: String,
    /// At least 32 bytes.
    pub secret: SharedSecret,
}

#[derive(Clone, Debug)]
pub struct EncryptedKey {
    pub id: String,
    /// Exactly 32 bytes.
    pub secret: SharedSecret,
}

#[derive(Clone, Debug)]
pub struct SharedSecret {
    pub text: SecretCell,
    pub written: Written,
}

/// How a key's bytes are written down. Blanks around `Base64` and `Hex` are dropped, `Text` is taken as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    Text,
    /// Either alphabet, with or without padding.
    Base64,
    Hex,
}

/// What must hold of the claims, in every format.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Accepted `iss`; the claim must be one of them. Empty: it is not looked at.
    pub issuers: Vec<String>,
    /// Who we are: `aud` must name one of these. Empty: a cookie that is meant for somebody (`aud`) is not for us.
    pub audiences: Vec<String>,
    /// How far clocks may differ.
    pub leeway: Duration,
    pub expiry: Expiry,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    Required,
    /// A cookie without `exp` lives until its key is retired.
    Optional,
}

/// Where the subject's facts stand: dotted paths (`user.id`); a dot or backslash in a name is written after a backslash.
#[derive(Clone, Debug)]
pub struct Claims {
    pub user: String,
    pub session: Session,
    pub tenant: Option<Claim>,
    pub attributes: BTreeMap<String, Claim>,
}

#[derive(Clone, Debug)]
pub struct Claim {
    pub path: String,
    pub presence: Presence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Required,
    Optional,
}

/// What backends are given as the session token.
#[derive(Clone, Debug)]
pub enum Session {
    /// Nothing: sources that want one are not called.
    Absent,
    /// The cookie's own value, for backends that read the same cookie.
    Raw,
    Claim(Claim),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct ConfigProblem {
    /// Below `Config`: `format.keys[1].id`.
    pub field: String,
    pub problem: String,
}

/// All problems of one configuration.
#[derive(Default)]
pub struct Problems(Vec<ConfigProblem>);

impl Problems {
    pub fn add(&mut self, field: impl Into<String>, problem: impl ToString) {
        self.0.push(ConfigProblem { field: field.into(), problem: problem.to_string() });
    }

    /// The value of a result, or nothing and one problem more.
    pub fn keep<T>(&mut self, field: impl Into<String>, result: Result<T, impl ToString>) -> Option<T> {
        result.map_err(|problem| self.add(field, problem)).ok()
    }

    pub fn into_result(self) -> Result<(), Vec<ConfigProblem>> {
        if self.0.is_empty() { Ok(()) } else { Err(self.0) }
    }
}
