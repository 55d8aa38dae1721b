//! JWT: RFC 7515, 7519 and the advice of RFC 8725, and nothing that is optional in them.
//!
//! Why `aws-lc-rs` itself and not the `jsonwebtoken` crate: what that crate leaves to its caller (key ids, one algorithm
//! for each key, headers to refuse, duplicate claims, claim paths, keys kept parsed) is most of this file, and what it
//! would do is one call. Here a key is bound to its algorithm when the configuration is read, so no token can choose
//! how a key is used.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::ParsedPublicKey;

use crate::prehydrate::identity::json::{self, Json, Object};
use crate::prehydrate::identity::keys::{self, Live, PublicKind};
use crate::prehydrate::identity::refusal::Why;
use crate::prehydrate::identity::settings::{Algorithm, JwtKey, Problems, SharedSecret};

/// Keys brought by the token itself or fetched where it says, compression, encryption, extensions that must be
/// understood, an unencoded payload: each is a way to be told by the forger how to check the forgery.
const FORBIDDEN: [&str; 8] = ["jku", "jwk", "x5u", "x5c", "zip", "enc", "crit", "b64"];
/// Only finds an entry of the configuration; longer ones are no key's.
const MAX_ID_BYTES: usize = 256;

pub struct Decoder {
    keys: BTreeMap<Option<String>, Vec<Key>>,
    types: Vec<String>,
}

struct Key {
    algorithm: &'static str,
    verifier: Live<Verifier>,
}

enum Verifier {
    /// Over a kilobyte of prepared state.
    Hmac(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

impl Decoder {
    pub fn new(keys: Vec<JwtKey>, types: Vec<String>, problems: &mut Problems) -> Self {
        let mut by_id: BTreeMap<Option<String>, Vec<Key>> = BTreeMap::new();
        for (at, JwtKey { id, key }) in keys.into_iter().enumerate() {
            if id.as_ref().is_some_and(|id| id.is_empty() || id.len() > MAX_ID_BYTES) {
                problems.add(format!("format.keys[{at}].id"), "is empty or longer than 256 bytes");
            }
            let entry = by_id.entry(id.clone()).or_default();
            if id.is_some() && !entry.is_empty() {
                problems.add(format!("format.keys[{at}].id"), "another key has this id");
            }
            let name = id.unwrap_or_else(|| format!("keys[{at}]"));
            entry.extend(problems.keep(format!("format.keys[{at}].key"), key_of(&name, key)));
        }
        Self { keys: by_id, types }
    }

    /// The claims of a token whose signature is right.
    pub fn open(&self, token: &str) -> Result<Object, Why> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Why::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Why::Malformed)?;
        // A dot in the payload (an encrypted token has five parts) is not base64url and is refused there.
        let header = json::object(&json::base64url(header)?)?;
        let candidates = self.candidates(&header)?;
        let payload = json::base64url(payload)?;
        let signature = json::base64url(signature)?;
        if !candidates.iter().any(|key| key.verifier.get().verifies(signed.as_bytes(), &signature)) {
            return Err(Why::Signature);
        }
        json::object(&payload)
    }

    /// The keys that may have signed: all of one id and of the algorithm the header names.
    fn candidates(&self, header: &Object) -> Result<Vec<&Key>, Why> {
        if FORBIDDEN.iter().any(|name| header.contains_key(*name)) {
            return Err(Why::ForbiddenHeader);
        }
        self.check_type(header.get("typ"))?;
        let id = match header.get("kid") {
            None => None,
            Some(Json::Text(id)) => Some(id.clone()),
            Some(_) => return Err(Why::Malformed),
        };
        let keys = self.keys.get(&id).ok_or(Why::UnknownKey)?;
        let algorithm = header.get("alg").and_then(Json::text).ok_or(Why::Malformed)?;
        let fitting: Vec<&Key> = keys.iter().filter(|key| key.algorithm == algorithm).collect();
        if fitting.is_empty() { Err(Why::Algorithm) } else { Ok(fitting) }
    }

    /// `typ` keeps tokens for other purposes out that the same issuer signs with the same key.
    fn check_type(&self, typ: Option<&Json>) -> Result<(), Why> {
        let says = |typ: &str, expected: &str| {
            let short = typ.get(..12).filter(|start| start.eq_ignore_ascii_case("application/")).map(|_| &typ[12..]);
            short.unwrap_or(typ).eq_ignore_ascii_case(expected)
        };
        let accepted = match typ {
            None => self.types.is_empty(),
            Some(Json::Text(typ)) if self.types.is_empty() => says(typ, "JWT"),
            Some(Json::Text(typ)) => self.types.iter().any(|expected| says(typ, expected)),
            Some(_) => return Err(Why::Malformed),
        };
        if accepted { Ok(()) } else { Err(Why::Type) }
    }
}

impl Verifier {
    /// Both kinds compare in constant time.
    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Hmac(key) => hmac::verify(key, message, signature).is_ok(),
            Self::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

fn key_of(id: &str, key: Algorithm) -> Result<Key, keys::KeyProblem> {
    let shared = |algorithm, hash, secret| Ok(Key { algorithm, verifier: hmac_key(id, hash, &secret)? });
    let public = |kind: PublicKind, cell| {
        let parse = move |text: &str| keys::public_key(text, kind).map(Verifier::Public);
        Ok(Key { algorithm: kind.name(), verifier: Live::new(id, &cell, parse)? })
    };
    match key {
        Algorithm::Hs256(secret) => shared("HS256", hmac::HMAC_SHA256, secret),
        Algorithm::Hs384(secret) => shared("HS384", hmac::HMAC_SHA384, secret),
        Algorithm::Hs512(secret) => shared("HS512", hmac::HMAC_SHA512, secret),
        Algorithm::Rs256(cell) => public(PublicKind::Rs256, cell),
        Algorithm::Es256(cell) => public(PublicKind::Es256, cell),
        Algorithm::EdDsa(cell) => public(PublicKind::EdDsa, cell),
    }
}

/// RFC 7518, 3.2: a key no shorter than the hash.
fn hmac_key(id: &str, hash: hmac::Algorithm, secret: &SharedSecret) -> Result<Live<Verifier>, keys::KeyProblem> {
    keys::shared(id, secret, move |text, written| {
        let bytes = keys::secret_bytes(text, written, hash.digest_algorithm().output_len)?;
        Ok(Verifier::Hmac(Box::new(hmac::Key::new(hash, &bytes))))
    })
}
