//! Histories in Redis: one hash a subject, in the subject's slot.
//!
//! Read with one `HSCAN` step: a hash as small as ours comes whole in one reply, and one that somebody has flooded costs
//! no more than a page. Written with a few commands in one request; each may be repeated, so redirects are followed.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use redis::Value;

use crate::domain::habits::{self, Habits, MAX_FIELDS, Reading, Update};
use crate::domain::key::Key;
use crate::domain::pseudonym::Pseudonym;
use crate::domain::store::{Refusal, StoreError};
use crate::remote::error;
use crate::remote::request::{Decimal, Op};
use crate::remote::store::Remote;

impl Habits for Remote {
    fn read<'a>(&'a self, subject: Pseudonym) -> BoxFuture<'a, Result<Reading, StoreError>> {
        async move {
            let key = self.history_key(subject)?;
            let count = Decimal::new(MAX_FIELDS as u64);
            let command: [&[u8]; 5] = [b"HSCAN", key.as_bytes(), b"0", b"COUNT", count.as_bytes()];
            reading(error::accepted(self.follow(Op::Habits, &key, &command).await?)?)
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
            for command in commands(&key, update, life) {
                let parts: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
                error::accepted(self.follow(Op::Habits, &key, &parts).await?)?;
            }
            Ok(())
        }
        .boxed()
    }
}

impl Remote {
    fn history_key(&self, subject: Pseudonym) -> Result<Key, StoreError> {
        habits::key(self.group(), subject).map_err(|_too_long| StoreError::Refused(Refusal::Other))
    }
}

fn commands(key: &Key, update: &Update, life: Duration) -> Vec<Vec<Vec<u8>>> {
    let on_key = |verb: &[u8]| vec![verb.to_vec(), key.as_bytes().to_vec()];
    let mut commands = Vec::new();
    if update.from_scratch {
        commands.push(on_key(b"DEL"));
    } else if !update.remove.is_empty() {
        let mut command = on_key(b"HDEL");
        command.extend(update.remove.iter().map(|field| field.to_vec()));
        commands.push(command);
    }
    if !update.set.is_empty() {
        let mut command = on_key(b"HSET");
        command.extend(update.set.iter().flat_map(|(field, value)| [field.clone().into_bytes(), value.clone().into_bytes()]));
        commands.push(command);
    }
    let mut command = on_key(b"PEXPIRE");
    command.push(Decimal::new(life.as_millis() as u64).as_bytes().to_vec());
    commands.push(command);
    commands
}

fn reading(reply: Value) -> Result<Reading, StoreError> {
    let broken = StoreError::Refused(Refusal::Other);
    let Value::Array(parts) = reply else { return Err(broken) };
    let (Some(Value::BulkString(cursor)), Some(Value::Array(flat)), 2) = (parts.first(), parts.get(1), parts.len()) else {
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
