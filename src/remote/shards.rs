//! Shards in Redis: a stream in the lock's slot, with one consumer group, and beside it a hash of what was done.
//!
//! Plain commands that may be repeated. A shard that no consumer has read is handed out by `XREADGROUP`; one that was read
//! and not heard of since by `XAUTOCLAIM`, which never sees the former: so both are asked. Whoever takes a shard off the
//! stream is the one who counts what was done, so two workers of one shard are counted once.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use redis::Value;

use crate::domain::key::{Key, Sibling};
use crate::domain::shards::{Done, Shards, Standing, Taken};
use crate::domain::store::{Refusal, StoreError};
use crate::remote::connect::text;
use crate::remote::error;
use crate::remote::request::{Decimal, Op, Request};
use crate::remote::store::Remote;

const GROUP: &[u8] = b"w";
/// A step that nobody ends goes with its stream.
const LIFE: &[u8] = b"86400000";
/// What a field of the results begins with that counts one worker's shards.
const WORKER: &str = "by:";
const COUNTS: [&str; 4] = ["done", "warmed", "fresh", "failed"];

impl Shards for Remote {
    fn open<'a>(&'a self, lock: &'a Key) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            self.close(lock).await?;
            let stream = lock.sibling(Sibling::Shards);
            self.one(Op::Lease, lock, &[b"XGROUP", b"CREATE", &stream, GROUP, b"0", b"MKSTREAM"]).await?;
            self.one(Op::Lease, lock, &[b"PEXPIRE", &stream, LIFE]).await.map(drop)
        }
        .boxed()
    }

    fn put<'a>(&'a self, lock: &'a Key, shard: Bytes) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let stream = lock.sibling(Sibling::Shards);
            self.one(Op::Lease, lock, &[b"XADD", &stream, b"*", b"s", &shard]).await.map(drop)
        }
        .boxed()
    }

    fn take<'a>(
        &'a self,
        lock: &'a Key,
        worker: &'a str,
        silent_for: Duration,
    ) -> BoxFuture<'a, Result<Option<Taken>, StoreError>> {
        async move {
            let (stream, worker) = (lock.sibling(Sibling::Shards), worker.as_bytes());
            if self.one(Op::Lease, lock, &[b"XLEN", &stream]).await? == Value::Int(0) {
                return Ok(None);
            }
            let read: [&[u8]; 9] = [b"XREADGROUP", b"GROUP", GROUP, worker, b"COUNT", b"1", b"STREAMS", &stream, b">"];
            if let Some(taken) = read_by_group(self.one(Op::Lease, lock, &read).await?) {
                return Ok(Some(taken));
            }
            let idle = Decimal::millis(silent_for);
            let claim: [&[u8]; 8] = [b"XAUTOCLAIM", &stream, GROUP, worker, idle.as_bytes(), b"0-0", b"COUNT", b"1"];
            Ok(claimed(self.one(Op::Lease, lock, &claim).await?))
        }
        .boxed()
    }

    fn hold<'a>(&'a self, lock: &'a Key, worker: &'a str, shard: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let stream = lock.sibling(Sibling::Shards);
            let claim: [&[u8]; 7] = [b"XCLAIM", &stream, GROUP, worker.as_bytes(), b"0", shard.as_bytes(), b"JUSTID"];
            self.one(Op::Lease, lock, &claim).await.map(drop)
        }
        .boxed()
    }

    fn finish<'a>(
        &'a self,
        lock: &'a Key,
        worker: &'a str,
        shard: &'a str,
        done: Done,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let (stream, results) = (lock.sibling(Sibling::Shards), lock.sibling(Sibling::Results));
            let taken_off = self.one(Op::Lease, lock, &[b"XDEL", &stream, shard.as_bytes()]).await?;
            let mut commands = vec![Request::one(&[b"XACK", &stream, GROUP, shard.as_bytes()])];
            if taken_off == Value::Int(1) {
                let counts = COUNTS.into_iter().zip([done.done, done.warmed, done.fresh, done.failed]);
                let by = format!("{WORKER}{worker}");
                for (field, count) in counts.chain([(by.as_str(), 1)]).filter(|(_, count)| *count > 0) {
                    let count = Decimal::new(count);
                    commands.push(Request::one(&[b"HINCRBY", &results, field.as_bytes(), count.as_bytes()]));
                }
                commands.push(Request::one(&[b"PEXPIRE", &results, LIFE]));
            }
            for reply in self.in_a_row(Op::Lease, lock, &commands).await? {
                error::accepted(reply)?;
            }
            Ok(())
        }
        .boxed()
    }

    fn standing<'a>(&'a self, lock: &'a Key) -> BoxFuture<'a, Result<Standing, StoreError>> {
        async move {
            let (stream, results) = (lock.sibling(Sibling::Shards), lock.sibling(Sibling::Results));
            let asks = [
                Request::one(&[b"XLEN", &stream]),
                Request::one(&[b"XRANGE", &stream, b"-", b"+", b"COUNT", b"1"]),
                Request::one(&[b"HGETALL", &results]),
            ];
            let replies = self.in_a_row(Op::Lease, lock, &asks).await?;
            let odd = StoreError::Refused(Refusal::Other);
            let [left, oldest, results] = <[Value; 3]>::try_from(replies).map_err(|_| odd)?;
            let Value::Int(left) = error::accepted(left)? else { return Err(odd) };
            let mut standing = Standing { left: left.unsigned_abs(), ..Standing::default() };
            standing.oldest = first(error::accepted(oldest)?).map(|taken| taken.shard);
            for (field, count) in pairs(error::accepted(results)?) {
                let count = text(&count).and_then(|count| count.parse().ok()).unwrap_or_default();
                match text(&field).unwrap_or_default() {
                    "done" => standing.done.done = count,
                    "warmed" => standing.done.warmed = count,
                    "fresh" => standing.done.fresh = count,
                    "failed" => standing.done.failed = count,
                    by if by.starts_with(WORKER) => standing.workers += 1,
                    _ => {}
                }
            }
            Ok(standing)
        }
        .boxed()
    }

    fn close<'a>(&'a self, lock: &'a Key) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            for key in [lock.sibling(Sibling::Shards), lock.sibling(Sibling::Results)] {
                self.one(Op::Lease, lock, &[b"DEL", &key]).await?;
            }
            Ok(())
        }
        .boxed()
    }
}

/// `{stream: [entry, …]}`, as a map or as pairs.
fn read_by_group(reply: Value) -> Option<Taken> {
    let entries = match reply {
        Value::Map(streams) => streams.into_iter().next()?.1,
        Value::Array(streams) => match streams.into_iter().next()? {
            Value::Array(pair) => pair.into_iter().nth(1)?,
            _ => return None,
        },
        _ => return None,
    };
    first(entries)
}

/// `[next, [entry, …], …]`
fn claimed(reply: Value) -> Option<Taken> {
    let Value::Array(parts) = reply else { return None };
    first(parts.into_iter().nth(1)?)
}

/// `[[id, [field, value]], …]`; an entry that was taken off meanwhile has no value.
fn first(entries: Value) -> Option<Taken> {
    let Value::Array(entries) = entries else { return None };
    let Value::Array(entry) = entries.into_iter().next()? else { return None };
    let [id, Value::Array(fields)] = <[Value; 2]>::try_from(entry).ok()? else { return None };
    let Value::BulkString(shard) = fields.into_iter().nth(1)? else { return None };
    Some(Taken { id: text(&id)?.to_owned(), shard: Bytes::from(shard) })
}

fn pairs(reply: Value) -> Vec<(Value, Value)> {
    match reply {
        Value::Map(pairs) => pairs,
        Value::Array(flat) => {
            let mut flat = flat.into_iter();
            std::iter::from_fn(|| Some((flat.next()?, flat.next()?))).collect()
        }
        _ => Vec::new(),
    }
}
