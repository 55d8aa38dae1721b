//! What one invalidation has to do, as bytes: everything that is needed to repeat it, and nothing that it would not need.
//!
//! It names keys, tags and sweeps, worked out once from the request, so that a sidecar with another configuration repeats
//! what was meant. It holds no values: a replacement is written down as the removal below its version. Keys of secret
//! entities stand in it as they stand in Redis, since it is these that have to go.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::domain::key::Key;
use crate::domain::member_version::Version;
use crate::domain::pseudonym::Pseudonym;
use crate::domain::random::Nonce;
use crate::domain::removal::Mark;
use crate::domain::tag::Tag;
use crate::invalidate::request::Mode;
use crate::invalidate::sweep;

/// One intent, as the journal takes it: a call with a thousand members fits.
pub const MAX_BYTES: usize = 256 * 1024;

/// Changes when a reader of the old form would misunderstand the new one.
const FORMAT: u8 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    format: u8,
    /// Stands in every mark that it leaves.
    #[serde(with = "hex")]
    nonce: [u8; 16],
    pub mode: Mode,
    /// Of the call, as 32 hexadecimal digits.
    pub trace: String,
    pub reason: String,
    /// The tenants that it stays within; empty where nobody knows. Who may see no others may ask what became of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub within: Vec<String>,
    /// When it was asked for, in milliseconds since 1970 by the clock of who took it.
    pub requested: u64,
    /// How many targets the call had; everything below says which of them it belongs to.
    pub targets: usize,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<Item>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tagged>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<Sweep>,
}

/// A key with what belongs to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    pub target: usize,
    pub key: String,
    /// The member has aliases, and so an index.
    #[serde(default, skip_serializing_if = "is_false")]
    pub has_index: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Left>,
    /// Apps write it as well: what they bring back is weeded out.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_shared: bool,
    /// For the mode SOFT: how long the old value may live on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<u64>,
    /// Alias keys that the caller named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
}

/// A mark to leave, without its nonce, which is the intent's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// In milliseconds.
    pub life: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tagged {
    pub target: usize,
    pub tag: TagName,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TagName {
    Declared(String),
    /// A logout: the subject is buried first, then its tag is read.
    Subject(#[serde(with = "hex")] [u8; 16]),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sweep {
    /// The first target that asked for one; a sweep's keys are not told apart by target.
    pub target: usize,
    pub spec: sweep::Spec,
}

#[derive(Debug, thiserror::Error)]
pub enum IntentError {
    #[error("an intent of another version of hydrant's")]
    OtherFormat,
    #[error("an intent that cannot be read: {0}")]
    Broken(#[from] serde_json::Error),
}

impl Intent {
    pub fn new(mode: Mode, nonce: Nonce, trace: String, reason: String, requested: Duration) -> Self {
        Self {
            format: FORMAT,
            nonce: *nonce.as_bytes(),
            mode,
            trace,
            reason,
            within: Vec::new(),
            requested: u64::try_from(requested.as_millis()).unwrap_or(u64::MAX),
            targets: 1,
            items: Vec::new(),
            tags: Vec::new(),
            sweep: None,
        }
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IntentError> {
        #[derive(Deserialize)]
        struct Form {
            format: u8,
        }
        let Form { format } = serde_json::from_slice(bytes)?;
        if format != FORMAT {
            return Err(IntentError::OtherFormat);
        }
        Ok(serde_json::from_slice(bytes)?)
    }

    pub fn to_bytes(&self) -> Result<Bytes, IntentError> {
        Ok(Bytes::from(serde_json::to_vec(self)?))
    }

    pub fn nonce(&self) -> Nonce {
        Nonce::from_bytes(self.nonce)
    }

    /// Whether something has to be done for a while after everything is gone.
    pub fn has_weeds(&self) -> bool {
        self.items.iter().any(|item| item.is_shared) || !self.tags.is_empty()
    }

    /// The slots in which it empties what can be named; none where its tags name more. An alias that only the index
    /// knows goes with its member. A sweep does not count: it runs beside fills at any time.
    pub fn slots(&self) -> Option<Vec<u16>> {
        if !self.tags.is_empty() {
            return None;
        }
        let names = self.items.iter().flat_map(|item| std::iter::once(&item.key).chain(&item.aliases));
        Some(names.filter_map(|name| Some(Key::new(name.clone()).ok()?.slot())).collect())
    }
}

impl Left {
    pub fn mark(self, nonce: Nonce) -> Mark {
        Mark { nonce, life: Duration::from_millis(self.life), floor: self.floor.and_then(Version::new) }
    }
}

impl From<&Mark> for Left {
    fn from(mark: &Mark) -> Self {
        Self { life: mark.life.as_millis() as u64, floor: mark.floor.map(Version::number) }
    }
}

impl TagName {
    pub fn of(tag: &Tag) -> Self {
        match tag {
            Tag::Declared(_) => Self::Declared(tag.to_string()),
            Tag::Subject(subject) => Self::Subject(*subject.as_bytes()),
        }
    }

    /// None for one that no version of ours has written.
    pub fn tag(&self) -> Option<Tag> {
        match self {
            Self::Declared(text) => Tag::declared(text.clone()).ok(),
            Self::Subject(bytes) => Some(Tag::Subject(Pseudonym::from_bytes(*bytes))),
        }
    }
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// Sixteen bytes as text.
mod hex {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8; 16], to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{:032x}", u128::from_be_bytes(*bytes)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 16], D::Error> {
        let text = String::deserialize(from)?;
        let number = u128::from_str_radix(&text, 16).map_err(D::Error::custom)?;
        Ok(number.to_be_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::random::Random;

    fn intent() -> Intent {
        let nonce = Random::from_seed(1).nonce();
        Intent::new(Mode::Remove, nonce, "0".repeat(32), "password changed".into(), Duration::from_millis(7))
    }

    #[test]
    fn an_intent_reads_back_with_everything_in_it() {
        let mut full = intent();
        full.items.push(Item {
            key: "user:id:7".into(),
            has_index: true,
            mark: Some(Left { life: 10_000, floor: Some(3) }),
            is_shared: true,
            aliases: vec!["user:email:a@b.c".into()],
            ..Item::default()
        });
        full.tags.push(Tagged { target: 1, tag: TagName::Declared("tenant:42".into()) });
        full.tags.push(Tagged { target: 2, tag: TagName::Subject([7; 16]) });
        let spec = sweep::Spec { patterns: vec!["user:*".into()], ..sweep::Spec::default() };
        full.sweep = Some(Sweep { target: 3, spec });
        let bytes = full.to_bytes().expect("it can be written");
        let read = Intent::from_bytes(&bytes).expect("it can be read");
        assert_eq!(read, full);
        assert_eq!(read.nonce(), full.nonce());
    }

    #[test]
    fn another_format_is_told_from_a_broken_intent() {
        let other = br#"{"format":2,"nonce":"x"}"#;
        assert!(matches!(Intent::from_bytes(other), Err(IntentError::OtherFormat)));
        assert!(matches!(Intent::from_bytes(b"{"), Err(IntentError::Broken(_))));
    }

    #[test]
    fn the_slots_are_known_unless_a_tag_names_more() {
        let mut intent = intent();
        let aliases = vec!["123456789".into()];
        intent.items.push(Item { key: "foo".into(), aliases, ..Item::default() });
        assert_eq!(intent.slots(), Some(vec![12_182, 12_739]));
        intent.tags.push(Tagged { target: 0, tag: TagName::Declared("x".into()) });
        assert_eq!(intent.slots(), None);
    }
}
