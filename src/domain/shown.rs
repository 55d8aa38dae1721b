//! How members and keys appear to people: in answers, logs and dashboards.
//!
//! The ids of an entity marked secret (a session's token) are shown as a short hash that begins with `#`. It is enough to
//! see that two lines speak of the same member and too little to find the token, which is long and random.

use aws_lc_rs::digest::{SHA256, digest};

use crate::domain::catalog::Catalog;
use crate::domain::entity::{Entity, Member};
use crate::domain::key::Key;
use crate::domain::template::Params;

/// Hex digits of a shown hash: 64 bits, so that two of a million members hardly ever look alike.
const DIGITS: usize = 16;

/// The member's parameters, hashed where they are secret.
pub fn params(member: &Member) -> Params {
    params_of(&member.entity, &member.params)
}

/// The same of parameters that may not be all there yet.
pub fn params_of(entity: &Entity, params: &Params) -> Params {
    if !entity.is_secret() {
        return params.clone();
    }
    params.iter().map(|(name, value)| (name, hash(value))).collect()
}

/// The member's key, with hashes in it where its ids are secret, and `\xHH` for bytes that are not text.
pub fn key(member: &Member) -> String {
    if member.entity.is_secret() {
        return member.entity.key().show(&params(member));
    }
    text(member.key.as_bytes())
}

/// Any key, whosever it is. One that no template makes any more may have held a secret, so it is shown as a hash.
pub fn any_key(catalog: &Catalog, key: &Key) -> String {
    let written = text(key.as_bytes());
    let Some(found) = catalog.find(&written) else { return hash(&written) };
    if !found.entity.is_secret() {
        return written;
    }
    let alias = found.alias.and_then(|name| found.entity.aliases().iter().find(|alias| alias.name == *name));
    let template = alias.map_or(found.entity.key(), |alias| &alias.key);
    template.show(&found.params.iter().map(|(name, value)| (name, hash(value))).collect())
}

pub fn hash(value: &str) -> String {
    let sum = digest(&SHA256, value.as_bytes());
    let digits = sum.as_ref().iter().take(DIGITS / 2).map(|byte| format!("{byte:02x}"));
    std::iter::once("#".to_owned()).chain(digits).collect()
}

fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_short_and_stable() {
        // The first 64 bits of SHA-256("abc"), from FIPS 180-2.
        assert_eq!(hash("abc"), "#ba7816bf8f01cfea");
    }

    #[test]
    fn bytes_that_are_no_text_are_escaped() {
        assert_eq!(text(b"user:\xff\xc3\xa9:\xc3"), "user:\\xFFé:\\xC3");
    }
}
