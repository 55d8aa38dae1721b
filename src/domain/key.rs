//! A key as it stands in Redis, its slot, and Hydrant's own keys beside it.
//!
//! A *sibling* is a key of Hydrant's that lives in the same slot as the app's key K, whatever K is called, so that one
//! script or one `DEL` can touch both. Where K has no brace the sibling is `{K}:g`, which an app can build by hand.
//! Where K has a brace, Redis would hash some part of K, or `{K}` would close too early; then the tag comes from a table
//! with one short tag for each slot: `{TAG[slot(K)]}:g:K`. The table is defined, not drawn: TAG[s] is the first string
//! over `0-9a-z`, shortest first and then in order, whose slot is s.

use std::fmt;
use std::sync::LazyLock;

use bytes::Bytes;

/// Redis Cluster's number of hash slots.
pub const SLOTS: u16 = 16_384;

/// Redis allows 512 MB; a key longer than this is a mistake, and would be repeated in every sibling.
pub const MAX_KEY_BYTES: usize = 1_024;

/// A key of the app's, checked and with its slot worked out once.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    bytes: Bytes,
    slot: u16,
}

/// Hydrant's keys beside an app's key, one letter each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sibling {
    /// The claim of the one fill that may write the key, or the memory that its source had nothing.
    Guard,
    /// The aliases a member was given.
    Index,
    /// "Invalidated a moment ago", for keys that apps write as well.
    Tombstone,
    /// Who filled the key, from where, in which trace.
    Provenance,
    /// A lease's fence, where the key is its lock.
    Lease,
    /// How far the lease's work has come.
    Progress,
    /// The lease's work, cut up for many.
    Shards,
    /// What of it was done.
    Results,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("a key cannot be empty")]
    Empty,
    #[error("a key of {0} bytes is over the limit of {MAX_KEY_BYTES}")]
    TooLong(usize),
    #[error("the key looks like one of Hydrant's own (`{{…}}:g`, `:x`, `:t`, `:m`, `:l`, `:p`, `:s`, `:r`)")]
    LooksLikeOurs,
}

impl Key {
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, KeyError> {
        let bytes = bytes.into();
        match bytes.len() {
            0 => return Err(KeyError::Empty),
            n if n > MAX_KEY_BYTES => return Err(KeyError::TooLong(n)),
            _ => {}
        }
        if looks_like_sibling(&bytes) {
            return Err(KeyError::LooksLikeOurs);
        }
        let slot = slot_of(&bytes);
        Ok(Self { bytes, slot })
    }

    /// Whose sibling this is, and which: the way back from `sibling`.
    pub fn of_sibling(name: &[u8]) -> Option<(Self, Sibling)> {
        let close = name.iter().position(|b| *b == b'}')?;
        let (own, rest) = (name.get(1..close)?, &name[close + 1..]);
        let (kind, key) = match rest {
            [b':', letter] => (Sibling::of_letter(*letter)?, own),
            [b':', letter, b':', key @ ..] => (Sibling::of_letter(*letter)?, key),
            _ => return None,
        };
        let key = Self::new(Bytes::copy_from_slice(key)).ok()?;
        // Forming it again is the proof: each form is for some keys only, and the tag has to be the slot's.
        (key.sibling(kind) == name).then_some((key, kind))
    }

    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub fn slot(&self) -> u16 {
        self.slot
    }

    /// The name of Hydrant's key beside this one; always in the same slot.
    pub fn sibling(&self, kind: Sibling) -> Vec<u8> {
        let letter = kind.letter();
        let has_brace = self.bytes.iter().any(|b| matches!(b, b'{' | b'}'));
        if has_brace {
            let tag = slot_tag(self.slot);
            [b"{", tag.as_bytes(), b"}:", &[letter], b":", &self.bytes].concat()
        } else {
            [b"{", &self.bytes[..], b"}:", &[letter]].concat()
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.bytes))
    }
}

/// Keys carry ids and, for entities marked secret, tokens: a key does not print itself by accident.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key(slot {}, {} bytes)", self.slot, self.bytes.len())
    }
}

impl Sibling {
    const fn letter(self) -> u8 {
        match self {
            Self::Guard => b'g',
            Self::Index => b'x',
            Self::Tombstone => b't',
            Self::Provenance => b'm',
            Self::Lease => b'l',
            Self::Progress => b'p',
            Self::Shards => b's',
            Self::Results => b'r',
        }
    }

    const fn of_letter(letter: u8) -> Option<Self> {
        match letter {
            b'g' => Some(Self::Guard),
            b'x' => Some(Self::Index),
            b't' => Some(Self::Tombstone),
            b'm' => Some(Self::Provenance),
            b'l' => Some(Self::Lease),
            b'p' => Some(Self::Progress),
            b's' => Some(Self::Shards),
            b'r' => Some(Self::Results),
            _ => None,
        }
    }
}

/// `{anything}:g` and `{tag}:g:anything`: an app's key of this form could be taken for a claim.
fn looks_like_sibling(key: &[u8]) -> bool {
    let Some(close) = key.iter().position(|b| *b == b'}') else { return false };
    let rest = &key[close + 1..];
    key[0] == b'{'
        && rest.len() >= 2
        && rest[0] == b':'
        && Sibling::of_letter(rest[1]).is_some()
        && (rest.len() == 2 || rest[2] == b':')
}

/// The slot Redis Cluster gives a key: CRC16 of what stands between the first `{` and the next `}`, if that is not
/// empty, else of the whole key.
pub fn slot_of(key: &[u8]) -> u16 {
    crc16(hash_tag(key)) % SLOTS
}

/// A short text that falls into this slot, for keys of Hydrant's own that have to stand there.
pub fn slot_tag(slot: u16) -> &'static str {
    &TAGS[usize::from(slot % SLOTS)]
}

fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|b| *b == b'{') else { return key };
    let after = &key[open + 1..];
    match after.iter().position(|b| *b == b'}') {
        Some(len) if len > 0 => &after[..len],
        _ => key,
    }
}

/// CRC-16/XMODEM, as Redis Cluster uses it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0u16, |crc, byte| {
        let index = usize::from((crc >> 8) as u8 ^ byte);
        (crc << 8) ^ CRC16[index]
    })
}

static CRC16: [u16; 256] = {
    let mut table = [0u16; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = (i as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

/// One short tag for each slot, worked out on first use (about 100,000 hashes: a few milliseconds).
static TAGS: LazyLock<Vec<String>> = LazyLock::new(|| {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut tags = vec![String::new(); usize::from(SLOTS)];
    let mut missing = tags.len();
    for length in 1u32.. {
        for number in 0..36usize.pow(length) {
            let digit = |place: u32| char::from(DIGITS[number / 36usize.pow(place) % 36]);
            let tag: String = (0..length).rev().map(digit).collect();
            let home = &mut tags[usize::from(slot_of(tag.as_bytes()))];
            if home.is_empty() {
                *home = tag;
                missing -= 1;
            }
        }
        if missing == 0 {
            break;
        }
    }
    tags
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &'static str) -> Key {
        Key::new(text).expect("a good key")
    }

    #[test]
    fn slots_are_those_of_redis() {
        // Asked of a server with CLUSTER KEYSLOT.
        for (text, slot) in
            [("foo", 12_182), ("123456789", 12_739), ("{user1000}.following", 3_443), ("foo{}{bar}", 8_363)]
        {
            assert_eq!(slot_of(text.as_bytes()), slot, "{text}");
        }
        assert_eq!(slot_of(b"foo{{bar}}zap"), slot_of(b"{bar"));
    }

    #[test]
    fn siblings_of_plain_keys_can_be_built_by_hand() {
        assert_eq!(key("user:id:123").sibling(Sibling::Guard), b"{user:id:123}:g");
        assert_eq!(key("user:id:123").sibling(Sibling::Index), b"{user:id:123}:x");
    }

    #[test]
    fn keys_that_look_like_ours_are_refused() {
        for ours in ["{user:id:1}:g", "{a}:x", "{abc}:t:k{", "{}:m"] {
            assert_eq!(Key::new(ours), Err(KeyError::LooksLikeOurs), "{ours}");
        }
        for theirs in ["{user:id:1}:group", "user:g", "{a}:y", "{a}g", "{"] {
            assert!(Key::new(theirs).is_ok(), "{theirs}");
        }
    }

    #[test]
    fn what_only_looks_like_a_sibling_is_nobodys() {
        let others: [&[u8]; 9] =
            [b"", b"}", b"{}:g", b"{a}:g:b", b"{a}:y", b"{a}:g:", b"{a{b}:g", b"{{a}:g}:x", b"user:{1}:g"];
        for other in others {
            assert_eq!(Key::of_sibling(other), None, "{}", String::from_utf8_lossy(other));
        }
    }

    proptest! {
        #[test]
        fn no_name_is_read_as_a_sibling_that_it_is_not(bytes in proptest::collection::vec(prop_oneof![Just(b'{'), Just(b'}'), Just(b':'), Just(b'g'), Just(b'a')], 0..10)) {
            if let Some((key, kind)) = Key::of_sibling(&bytes) {
                prop_assert_eq!(key.sibling(kind), bytes);
            }
        }

        #[test]
        fn a_sibling_shares_its_keys_slot(bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'{'), Just(b'}')], 1..40)) {
            if let Ok(key) = Key::new(bytes) {
                for kind in [Sibling::Guard, Sibling::Index, Sibling::Tombstone, Sibling::Provenance] {
                    let sibling = key.sibling(kind);
                    prop_assert_eq!(slot_of(&sibling), key.slot());
                    prop_assert!(looks_like_sibling(&sibling));
                    prop_assert_eq!(Key::of_sibling(&sibling), Some((key.clone(), kind)));
                }
            }
        }

        #[test]
        fn two_keys_never_share_a_sibling(a in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'{'), Just(b'}'), Just(b':'), Just(b'g')], 1..12), b in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'{'), Just(b'}'), Just(b':'), Just(b'g')], 1..12)) {
            if let (Ok(a), Ok(b)) = (Key::new(a), Key::new(b)) {
                prop_assert_eq!(a == b, a.sibling(Sibling::Guard) == b.sibling(Sibling::Guard));
            }
        }
    }
}
