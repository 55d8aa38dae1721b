//! Histories in Redis: one hash a subject, in the subject's slot.
//!
//! Read with one `HSCAN` step: a hash as small as ours comes whole in one reply, and one that somebody has flooded costs
//! no more than a page. Written with a few commands in one request; each may be repeated, so redirects are followed.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use redis::Value;

use crate::domain::habits::{self, Habits, MAX_FIELDS, Reading, Sight, Touched, Update};
use crate::domain::key::Key;
use crate::domain::pseudonym::Pseudonym;
use crate::domain::store::{Refusal, StoreError};
use crate::remote::error;
use crate::remote::request::{Decimal, Op, Request};
use crate::remote::store::Remote;

impl Habits for Remote {
    fn read<'a>(&'a self, subject: Pseudonym) -> BoxFuture<'a, Result<Reading, StoreError>> {
        async move {
            let key = self.history_key(subject)?;
            let count = Decimal::new(MAX_FIELDS as u64);
            let command: [&[u8]; 5] = [b"HSCAN", key.as_bytes(), b"0", b"COUNT", count.as_bytes()];
            reading(self.one(Op::Habits, &key, &command).await?)
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
            let commands = commands(&key, update, life);
            for reply in self.in_a_row(Op::Habits, &key, &commands).await? {
                error::accepted(reply)?;
            }
            Ok(())
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

fn commands(key: &Key, update: &Update, life: Duration) -> Vec<Request> {
    let mut commands = Vec::new();
    if update.from_scratch {
        commands.push(Request::one(&[b"DEL", key.as_bytes()]));
    } else if !update.remove.is_empty() {
        let fields = update.remove.iter().map(|field| -> &[u8] { field });
        commands.push(on_key(b"HDEL", key, fields));
    }
    if !update.set.is_empty() {
        let pairs = update.set.iter().flat_map(|(field, value)| [field.as_bytes(), value.as_bytes()]);
        commands.push(on_key(b"HSET", key, pairs));
    }
    commands.push(on_key(b"PEXPIRE", key, [Decimal::millis(life).as_bytes()]));
    commands
}

fn on_key<'a>(verb: &'a [u8], key: &'a Key, rest: impl IntoIterator<Item = &'a [u8]>) -> Request {
    let parts: Vec<&[u8]> = [verb, key.as_bytes()].into_iter().chain(rest).collect();
    Request::one(&parts)
}

fn reading(reply: Value) -> Result<Reading, StoreError> {
    let broken = StoreError::Refused(Refusal::Other);
    let Value::Array(parts) = reply else { return Err(broken) };
    let (Some(Value::BulkString(cursor)), Some(Value::Array(flat)), 2) = (parts.first(), parts.get(1), parts.len())
    else {
        return Err(broken);
    };
    let text = |value: &Value| match value {
        Value::BulkString(bytes) => Some(Bytes::copy_from_slice(bytes)),
        _ => None,
    };
    let fields = flat.chunks_exact(2).map(|pair| Some((text(&pair[0])?, text(&pair[1])?)));
    let fields: Vec<(Bytes, Bytes)> = fields.collect::<Option<_>>().ok_or(broken)?;
    Ok(Reading { fields, is_flooded: cursor != b"0" })
}
