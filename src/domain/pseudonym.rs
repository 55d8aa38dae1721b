//! A subject's name in Hydrant's own keys, logs and answers.
//!
//! Raw user ids stay in the app's keys, where the app wants them; history, tags and everything people read carry this
//! hash. It is plain SHA-256 with no secret, so that an app in any language can compute it too and write the history
//! itself. That makes it a pseudonym, not anonymity: who can guess ids can recognise them.
//!
//! The text that is hashed is `hydrant:<group length>:<group>:<tenant length>:<tenant>:<user>`, lengths in bytes of
//! UTF-8 and decimal, no tenant being one of length 0; the name is the first 16 bytes in lower-case hexadecimal. The
//! lengths keep apart what plain joining would confuse: users of different tenants or groups never share a name.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};

use crate::domain::subject::Subject;

/// 128 bits: among 2^40 subjects, the odds that any two share a name are one in 2^49.
const BYTES: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pseudonym([u8; BYTES]);

impl Pseudonym {
    pub fn of(group: &str, subject: &Subject) -> Self {
        Self::new(group, subject.tenant(), subject.user())
    }

    pub fn new(group: &str, tenant: Option<&str>, user: &str) -> Self {
        let tenant = tenant.unwrap_or("");
        let text = format!("hydrant:{}:{group}:{}:{tenant}:{user}", group.len(), tenant.len());
        let digest = digest(&SHA256, text.as_bytes());
        let mut bytes = [0; BYTES];
        bytes.copy_from_slice(&digest.as_ref()[..BYTES]);
        Self(bytes)
    }

    /// As it is written in keys: 32 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0; BYTES];
        if text.len() != 2 * BYTES {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(bytes))
    }

    /// One that was worked out before and written down.
    pub const fn from_bytes(bytes: [u8; BYTES]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; BYTES] {
        &self.0
    }
}

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::template::Params;

    /// The same file proves implementations in other languages.
    const VECTORS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/subject-hash.json"));

    #[derive(serde::Deserialize)]
    struct Vector {
        group: String,
        tenant: Option<String>,
        user: String,
        name: String,
    }

    #[test]
    fn other_languages_compute_the_same_name() {
        let vectors: Vec<Vector> = serde_json::from_str(VECTORS).expect("the vectors parse");
        assert!(vectors.len() >= 8);
        for Vector { group, tenant, user, name } in vectors {
            let subject = Subject::new(user, None, tenant, Params::default()).expect("a subject");
            assert_eq!(Pseudonym::of(&group, &subject).to_string(), name, "{group}");
        }
    }

    #[test]
    fn a_name_reads_back() {
        let name = Pseudonym::new("shop", None, "7");
        assert_eq!(Pseudonym::parse(&name.to_string()), Some(name));
        let digits = name.to_string();
        for bad in ["", "7", &digits[1..], &digits.to_uppercase(), &format!("{digits}0"), &"g".repeat(32)] {
            assert_eq!(Pseudonym::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn users_of_different_tenants_and_groups_never_share_a_name() {
        let name = |group: &str, tenant: Option<&str>, user: &str| Pseudonym::new(group, tenant, user);
        assert_ne!(name("shop", None, "7"), name("shop", Some("acme"), "7"));
        assert_ne!(name("shop", None, "7"), name("desk", None, "7"));
        assert_ne!(name("a:b", None, "c"), name("a", None, "b:c"));
        assert_ne!(name("a", Some("b:c"), "d"), name("a", Some("b"), "c:d"));
        assert_ne!(name("a", Some("1:b"), "c"), name("a:1", Some("b"), "c"));
    }
}
