//! Histories in Redis: one hash a subject, in the subject's slot, read and written by scripts that bound what they touch.
//!
//! A hash as small as ours comes whole in one reply. One that somebody has flooded costs a few pages and is told to be so,
//! and a field that cannot be ours is left there whatever its size. A write after the subject was forgotten is no write.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use redis::Value;

use crate::domain::habits::{
    self, Habits, MAX_FIELDS, MAX_NAME_BYTES, MAX_STEPS, MAX_VALUE_BYTES, Reading, Sight, Touched, Update,
};
use crate::domain::key::{Key, Sibling};
use crate::domain::pseudonym::Pseudonym;
use crate::domain::store::{Refusal, StoreError};
use crate::remote::library::Script;
use crate::remote::request::{Decimal, Op, Request};
use crate::remote::store::Remote;

impl Habits for Remote {
    fn read<'a>(&'a self, subject: Pseudonym) -> BoxFuture<'a, Result<Reading, StoreError>> {
        async move {
            let key = self.history_key(subject)?;
            let bounds = [MAX_FIELDS, MAX_STEPS, MAX_NAME_BYTES, MAX_VALUE_BYTES].map(|most| Decimal::new(most as u64));
            let bounds = bounds.each_ref().map(Decimal::as_bytes);
            reading(self.run(Script::Recall, key.slot(), &[key.as_bytes()], &bounds).await?.0)
        }
        .boxed()
    }

    fn write<'a>(
        &'a self,
        subject: Pseudonym,
        update: &'a Update,
        life: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let key = self.history_key(subject)?;
            let tombstone = key.sibling(Sibling::Tombstone);
            let Update { set, remove, from_scratch, age } = update;
            let numbers = [life, *age].map(Decimal::millis);
            let counts = [MAX_FIELDS, usize::from(*from_scratch), remove.len()].map(|count| Decimal::new(count as u64));
            let mut args: Vec<&[u8]> = numbers.iter().chain(&counts).map(Decimal::as_bytes).collect();
            args.extend(remove.iter().map(|field| -> &[u8] { field }));
            args.extend(set.iter().flat_map(|(field, value)| [field.as_bytes(), value.as_bytes()]));
            self.run(Script::Remember, key.slot(), &[key.as_bytes(), &tombstone], &args).await.map(drop)
        }
        .boxed()
    }

    fn look<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Sight, StoreError>> {
        async move {
            let asks: [&[&[u8]]; 3] = [&[b"OBJECT", b"IDLETIME"], &[b"OBJECT", b"FREQ"], &[b"PTTL"]];
            let asks = asks.map(|ask| Request::gathered(&[ask, &[key.as_bytes()]]));
            let replies = self.in_a_row(Op::Habits, key, &asks).await?;
            // One of the two is refused, by the server's eviction policy.
            let touched = match &replies[..] {
                [Value::Int(seconds), ..] => Touched::Idle(Duration::from_secs(seconds.unsigned_abs())),
                [_, Value::Int(often), _] => Touched::Frequency(often.unsigned_abs()),
                _ => Touched::Unknown,
            };
            let left = match &replies[..] {
                [.., Value::Int(left)] => u64::try_from(*left).ok().map(Duration::from_millis),
                _ => None,
            };
            Ok(Sight { touched, left })
        }
        .boxed()
    }
}

impl Remote {
    fn history_key(&self, subject: Pseudonym) -> Result<Key, StoreError> {
        habits::key(&self.shared.group, subject).map_err(|_too_long| StoreError::Refused(Refusal::Other))
    }
}

fn reading(reply: Value) -> Result<Reading, StoreError> {
    let broken = StoreError::Refused(Refusal::Other);
    let Value::Array(parts) = reply else { return Err(broken) };
    let Some((Value::Int(more), flat)) = parts.split_first() else { return Err(broken) };
    let text = |value: &Value| match value {
        Value::BulkString(bytes) => Some(Bytes::copy_from_slice(bytes)),
        _ => None,
    };
    let fields = flat.chunks_exact(2).map(|pair| Some((text(&pair[0])?, text(&pair[1])?)));
    let fields: Vec<(Bytes, Bytes)> = fields.collect::<Option<_>>().ok_or(broken)?;
    Ok(Reading { fields, is_flooded: *more == 1 })
}
