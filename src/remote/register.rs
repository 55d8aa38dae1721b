//! Writing a key into its tags.
//!
//! A tag's shards lie in slots of their own, and each is one script at its owner; all of them are on their way together.
//! The server's clock says when an entry ends, because the clocks of sidecars differ, and its life is only ever
//! lengthened: a later fill with a shorter life must not take away what an earlier one still needs.

use std::time::Duration;

use futures_util::future::join_all;
use redis::Value;

use crate::domain::key::{Key, KeyError};
use crate::domain::pseudonym::Pseudonym;
use crate::domain::store::{Refusal, Registered, Registration, StoreError};
use crate::domain::tag::Tag;
use crate::remote::lane::{self, Carrier};
use crate::remote::library::{GRACE, Script};
use crate::remote::request::Decimal;
use crate::remote::store::Remote;

/// Ended entries taken out by one registration: more than it adds, so that a set shrinks as it is used, and few enough to
/// be nothing beside the rest.
const TRIMMED: &[u8] = b"16";

impl Remote {
    pub async fn register_all(&self, ask: Registration<'_>) -> Result<Registered, StoreError> {
        let (mut gone, mut carriers) = (None, Vec::with_capacity(ask.tags.len()));
        for registered in join_all(ask.tags.iter().map(|tag| self.register_one(tag, &ask))).await {
            let (buried, carrier) = registered?;
            // A key has one subject; if it had two, the one that went last would count.
            gone = gone.into_iter().chain(buried).min();
            carriers.push(carrier);
        }
        Ok(Registered { gone, confirmation: lane::confirmation(carriers) })
    }

    async fn register_one(&self, tag: &Tag, ask: &Registration<'_>) -> Result<(Option<Duration>, Carrier), StoreError> {
        let group = &self.shared.group;
        let set = tag_key(tag, group, tag.shard_of(ask.key))?;
        let gone = match tag {
            Tag::Subject(subject) => Some(gone_key(group, *subject)?),
            Tag::Declared(_) => None,
        };
        let mut keys: Vec<&[u8]> = vec![set.as_bytes()];
        keys.extend(gone.iter().map(|gone| -> &[u8] { gone.as_bytes() }));
        let life = Decimal::millis(ask.life);
        let args: [&[u8]; 4] = [ask.key.as_bytes(), life.as_bytes(), GRACE, TRIMMED];
        match self.run(Script::Register, set.slot(), &keys, &args).await? {
            (Value::Int(ago), carrier) => Ok((u64::try_from(ago).ok().map(at_least), carrier)),
            _ => Err(StoreError::Refused(Refusal::Other)),
        }
    }
}

/// The server counts whole milliseconds on both sides, so what it says may be almost one too much. Then a plan from just
/// before a logout would be taken for one from after it; the other way round a plan is refused that need not be.
fn at_least(ago: u64) -> Duration {
    Duration::from_millis(ago.saturating_sub(1))
}

pub fn tag_key(tag: &Tag, group: &str, shard: u8) -> Result<Key, StoreError> {
    tag.key(group, shard).map_err(unfit)
}

/// Where a subject's tombstone stands: in the slot of its tag.
pub fn gone_key(group: &str, subject: Pseudonym) -> Result<Key, StoreError> {
    Key::new(format!("hydrant:{{{group}:{subject}}}:gone")).map_err(unfit)
}

/// Groups and tags are bounded where they are read, so that this does not happen.
fn unfit(_: KeyError) -> StoreError {
    StoreError::Refused(Refusal::Other)
}
