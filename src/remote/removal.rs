//! What an invalidation does to Redis, beyond the plain removal of `Store`.
//!
//! Whatever an invalidation cannot do without is a plain command, so that it goes on where the functions are missing.
//! Scripts are left for what may fail: a replacement, which then becomes a removal, and the weeding of what apps wrote.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use redis::Value;
use tokio::sync::broadcast;

use crate::domain::key::{Key, Sibling};
use crate::domain::pseudonym::Pseudonym;
use crate::domain::random::Nonce;
use crate::domain::removal::{
    Erased, Erasure, Primary, Removal, Replaced, Replacement, ScanPage, ScanStep, Softened, TagPage, TagPlace, Upheaval,
};
use crate::domain::store::{Confirmation, Refusal, StoreError};
use crate::domain::tag::Tag;
use crate::remote::connect::text;
use crate::remote::lane;
use crate::remote::library::Script;
use crate::remote::register::{gone_key, tag_key};
use crate::remote::request::{Decimal, Op, Request};
use crate::remote::scan;
use crate::remote::store::Remote;

/// About how many keys of a tag to read at once. The server looks at ten times as many places at most, which takes it less
/// than a millisecond.
const TAGGED_AT_ONCE: &[u8] = b"512";

impl Removal for Remote {
    fn erase<'a>(&'a self, erasures: &'a [Erasure]) -> BoxFuture<'a, Erased> {
        self.erase_all(Op::Erase, erasures).boxed()
    }

    fn replace<'a>(&'a self, replacement: Replacement<'a>) -> BoxFuture<'a, Result<Replaced, StoreError>> {
        async move {
            let key = replacement.key;
            let (guard, tombstone) = (key.sibling(Sibling::Guard), key.sibling(Sibling::Tombstone));
            let (ttl, life) = (Decimal::millis(replacement.ttl), Decimal::millis(replacement.life));
            let version = Decimal::new(replacement.version.number());
            let keys: [&[u8]; 3] = [key.as_bytes(), &guard, &tombstone];
            let args: [&[u8]; 5] =
                [&replacement.value, ttl.as_bytes(), version.as_bytes(), replacement.mark.as_bytes(), life.as_bytes()];
            match self.run(Script::Replace, key.slot(), &keys, &args).await? {
                (Value::Int(1), carrier) => Ok(Replaced::Written(lane::confirmation([carrier]))),
                (Value::Int(0), carrier) => Ok(Replaced::Superseded(lane::confirmation([carrier]))),
                _ => Err(StoreError::Refused(Refusal::Other)),
            }
        }
        .boxed()
    }

    fn soften<'a>(&'a self, erasure: &'a Erasure, grace: Duration) -> BoxFuture<'a, Result<Softened, StoreError>> {
        self.soften_by_steps(erasure, grace).boxed()
    }

    fn weed<'a>(&'a self, key: &'a Key, mark: Nonce) -> BoxFuture<'a, Result<bool, StoreError>> {
        async move {
            let (guard, tombstone) = (key.sibling(Sibling::Guard), key.sibling(Sibling::Tombstone));
            let keys: [&[u8]; 3] = [key.as_bytes(), &guard, &tombstone];
            match self.run(Script::Weed, key.slot(), &keys, &[mark.as_bytes()]).await? {
                (Value::Int(removed), _) => Ok(removed == 1),
                _ => Err(StoreError::Refused(Refusal::Other)),
            }
        }
        .boxed()
    }

    /// The first page asks all shards at once: most tags are small, and their sixteen shards then cost one round trip.
    fn tagged<'a>(&'a self, tag: &'a Tag, from: TagPlace) -> BoxFuture<'a, Result<TagPage, StoreError>> {
        async move {
            let last = if from == TagPlace::default() { tag.shards() } else { from.shard.saturating_add(1) };
            let reads = (from.shard..last.min(tag.shards())).map(|shard| async move {
                let place = if shard == from.shard { from } else { TagPlace { shard, ..TagPlace::default() } };
                self.tagged_shard(tag, place).await
            });
            let mut page = TagPage { keys: Vec::new(), next: None };
            for read in join_all(reads).await {
                let (keys, next) = read?;
                page.keys.extend(keys);
                if next.cursor != 0 {
                    // What the shards after it answered is read again in its turn.
                    page.next = Some(next);
                    return Ok(page);
                }
            }
            page.next = (last < tag.shards()).then_some(TagPlace { shard: last, ..TagPlace::default() });
            Ok(page)
        }
        .boxed()
    }

    fn bury<'a>(&'a self, subject: Pseudonym, life: Duration) -> BoxFuture<'a, Result<Confirmation, StoreError>> {
        async move {
            let (gone, life) = (gone_key(&self.shared.group, subject)?, Decimal::millis(life));
            let bury = Request::one(&[b"SET", gone.as_bytes(), life.as_bytes(), b"PX", life.as_bytes()]);
            let (_, carrier) = self.follow(Op::Bury, gone.slot(), &bury).await?;
            Ok(lane::confirmation([carrier]))
        }
        .boxed()
    }

    fn primaries(&self) -> Vec<Primary> {
        scan::primaries(self)
    }

    fn scan<'a>(&'a self, step: ScanStep<'a>) -> BoxFuture<'a, Result<ScanPage, StoreError>> {
        scan::scan(self, step).boxed()
    }

    fn trim<'a>(&'a self, name: &'a [u8]) -> BoxFuture<'a, Result<u64, StoreError>> {
        scan::trim(self, name).boxed()
    }

    fn upheavals(&self) -> broadcast::Receiver<Upheaval> {
        self.shared.upheavals.listen()
    }
}

impl Remote {
    /// A page of one shard, and where the next begins. On a server that did not give the cursor (the slot has moved, the
    /// primary was replaced) the shard is read from its beginning: a foreign cursor would pass by some of it in silence.
    async fn tagged_shard(&self, tag: &Tag, place: TagPlace) -> Result<(Vec<Key>, TagPlace), StoreError> {
        let set = tag_key(tag, &self.shared.group, place.shard)?;
        let (mut reply, mut server) = self.scan_tag(&set, place.cursor).await?;
        if place.cursor != 0 && server != place.server {
            (reply, server) = self.scan_tag(&set, 0).await?;
        }
        let odd = StoreError::Refused(Refusal::Other);
        let Value::Array(parts) = reply else { return Err(odd) };
        let Ok([next, Value::Array(members)]) = <[Value; 2]>::try_from(parts) else { return Err(odd) };
        let cursor = text(&next).and_then(|digits| digits.parse().ok()).ok_or(odd)?;
        // Keys alternate with their scores; what no key can be was not put there by us.
        let keys = members.into_iter().step_by(2).filter_map(|member| match member {
            Value::BulkString(bytes) => Key::new(bytes).ok(),
            _ => None,
        });
        Ok((keys.collect(), TagPlace { cursor, server, ..place }))
    }

    async fn scan_tag(&self, set: &Key, cursor: u64) -> Result<(Value, u64), StoreError> {
        let cursor = Decimal::new(cursor);
        let read = Request::one(&[b"ZSCAN", set.as_bytes(), cursor.as_bytes(), b"COUNT", TAGGED_AT_ONCE]);
        let (reply, carrier) = self.follow(Op::Tagged, set.slot(), &read).await?;
        // What rode on a lane was answered by nobody who could be asked to go on.
        let server = carrier.server().unwrap_or_default();
        Ok((reply, server))
    }
}
