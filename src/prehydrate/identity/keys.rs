//! Key material: parsed once, and again whenever the text of its cell is replaced.
//!
//! A replaced text that cannot be used is logged once and the old key stays, as with a bad configuration file: a
//! half-written file must not refuse logins. To withdraw a key, take it out of the configuration.
//!
//! Public keys are PEM (`BEGIN PUBLIC KEY`) or JWK. A private key is refused where a public one is wanted, and a public
//! key where a secret is wanted: with it anybody could sign.

use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{self, ParsedPublicKey, RsaPublicKeyComponents, VerificationAlgorithm};
use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;

use crate::domain::secret::{Secret, SecretCell};
use crate::prehydrate::identity::json::{self, Object};
use crate::prehydrate::identity::settings::{SharedSecret, Written};

const ED25519_BYTES: usize = 32;
const P256_COORDINATE_BYTES: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    #[error("is not base64")]
    NotBase64,
    #[error("is not hexadecimal")]
    NotHex,
    #[error("is shorter than {0} bytes")]
    TooShort(usize),
    #[error("is not exactly {0} bytes long")]
    NotExactly(usize),
    #[error("is a public key: whoever knows it could sign")]
    Public,
    #[error("is a private key: only the issuer may have it; give the public one")]
    Private,
    #[error("is neither PEM (`BEGIN PUBLIC KEY`) nor a JWK")]
    NotPublic,
    #[error("is not a key for {0}")]
    OtherAlgorithm(&'static str),
    #[error("is not an RSA key of 2048 to 8192 bits")]
    NotRsa,
}

/// A key from its text.
type Parse<K> = dyn Fn(&str) -> Result<K, KeyProblem> + Send + Sync;

/// A key in use.
pub struct Live<K> {
    id: String,
    cell: SecretCell,
    parse: Box<Parse<K>>,
    ready: ArcSwap<Ready<K>>,
}

struct Ready<K> {
    /// The newest text seen, whether or not `key` could be made from it.
    text: Secret,
    key: Arc<K>,
}

/// The kinds of public key, by their name in JOSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicKind {
    Rs256,
    Es256,
    EdDsa,
}

impl<K> Live<K> {
    pub fn new(
        id: &str,
        cell: &SecretCell,
        parse: impl Fn(&str) -> Result<K, KeyProblem> + Send + Sync + 'static,
    ) -> Result<Self, KeyProblem> {
        let text = cell.get();
        let key = Arc::new(parse(text.expose())?);
        let ready = ArcSwap::from_pointee(Ready { text, key });
        Ok(Self { id: id.to_owned(), cell: cell.clone(), parse: Box::new(parse), ready })
    }

    pub fn get(&self) -> Arc<K> {
        let ready = self.ready.load();
        let text = self.cell.get();
        if text == ready.text {
            return ready.key.clone();
        }
        let key = match (self.parse)(text.expose()) {
            Ok(key) => Arc::new(key),
            Err(problem) => {
                tracing::warn!(key_id = %self.id, %problem, "the new text of a key is unusable; the old key stays");
                ready.key.clone()
            }
        };
        self.ready.store(Arc::new(Ready { text, key: key.clone() }));
        key
    }
}

impl PublicKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    fn algorithm(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
            Self::EdDsa => &signature::ED25519,
        }
    }
}

/// The bytes of a shared secret, of at least `at_least` bytes.
pub fn secret_bytes(text: &str, written: Written, at_least: usize) -> Result<Vec<u8>, KeyProblem> {
    if text.contains("BEGIN PUBLIC KEY") || text.contains("BEGIN CERTIFICATE") || text.contains("BEGIN RSA PUBLIC KEY")
    {
        return Err(KeyProblem::Public);
    }
    let bytes = match written {
        Written::Text => text.as_bytes().to_vec(),
        Written::Base64 => any_base64(text.trim())?,
        Written::Hex => hex(text.trim())?,
    };
    if bytes.len() < at_least { Err(KeyProblem::TooShort(at_least)) } else { Ok(bytes) }
}

/// A live key from a shared secret.
pub fn shared<K>(
    id: &str,
    secret: &SharedSecret,
    parse: impl Fn(&str, Written) -> Result<K, KeyProblem> + Send + Sync + 'static,
) -> Result<Live<K>, KeyProblem> {
    let written = secret.written;
    Live::new(id, &secret.text, move |text| parse(text, written))
}

pub fn public_key(text: &str, kind: PublicKind) -> Result<ParsedPublicKey, KeyProblem> {
    let text = text.trim();
    let bytes = if text.starts_with('{') { from_jwk(text, kind)? } else { from_pem(text)? };
    // RFC 7518 asks for 2,048 bits; over 8,192 a verification takes too long. `PublicEncryptingKey` checks both, which
    // `ParsedPublicKey` puts off until there is a signature.
    if kind == PublicKind::Rs256 && PublicEncryptingKey::from_der(&bytes).is_err() {
        return Err(KeyProblem::NotRsa);
    }
    ParsedPublicKey::new(kind.algorithm(), bytes).map_err(|_| KeyProblem::OtherAlgorithm(kind.name()))
}

fn from_pem(text: &str) -> Result<Vec<u8>, KeyProblem> {
    if text.contains("PRIVATE KEY-----") {
        return Err(KeyProblem::Private);
    }
    let der = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes()).map_err(|_| KeyProblem::NotPublic)?;
    Ok(der.as_ref().to_vec())
}

/// RFC 7517: what the key says of its own use must agree with ours.
fn from_jwk(text: &str, kind: PublicKind) -> Result<Vec<u8>, KeyProblem> {
    let jwk = json::object(text.as_bytes()).map_err(|_| KeyProblem::NotPublic)?;
    if jwk.contains_key("d") {
        return Err(KeyProblem::Private);
    }
    let other = KeyProblem::OtherAlgorithm(kind.name());
    let says = |name: &str, expected: &str| jwk.get(name).and_then(|value| value.text()) == Some(expected);
    let agrees = |name: &str, expected: &str| !jwk.contains_key(name) || says(name, expected);
    if !agrees("use", "sig") || !agrees("alg", kind.name()) {
        return Err(other);
    }
    match kind {
        PublicKind::Rs256 if says("kty", "RSA") => {
            let components = RsaPublicKeyComponents { n: member(&jwk, "n")?, e: member(&jwk, "e")? };
            Ok(components.as_der().map_err(|_| other)?.as_ref().to_vec())
        }
        PublicKind::Es256 if says("kty", "EC") && says("crv", "P-256") => {
            let (x, y) = (member(&jwk, "x")?, member(&jwk, "y")?);
            if x.len() != P256_COORDINATE_BYTES || y.len() != P256_COORDINATE_BYTES {
                return Err(other);
            }
            // SEC 1: an uncompressed point.
            Ok([&[4][..], &x, &y].concat())
        }
        PublicKind::EdDsa if says("kty", "OKP") && says("crv", "Ed25519") => {
            let x = member(&jwk, "x")?;
            if x.len() == ED25519_BYTES { Ok(x) } else { Err(other) }
        }
        PublicKind::Rs256 | PublicKind::Es256 | PublicKind::EdDsa => Err(other),
    }
}

fn member(jwk: &Object, name: &str) -> Result<Vec<u8>, KeyProblem> {
    let text = jwk.get(name).and_then(|value| value.text()).ok_or(KeyProblem::NotPublic)?;
    json::base64url(text).map_err(|_| KeyProblem::NotPublic)
}

/// A key is typed in by people, so both alphabets will do; a cookie is not, see `json::base64url`.
fn any_base64(text: &str) -> Result<Vec<u8>, KeyProblem> {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    GeneralPurpose::new(alphabet, lenient).decode(text).map_err(|_| KeyProblem::NotBase64)
}

fn hex(text: &str) -> Result<Vec<u8>, KeyProblem> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    match digits {
        Some(digits) if digits.len().is_multiple_of(2) => {
            Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
        }
        Some(_) | None => Err(KeyProblem::NotHex),
    }
}
