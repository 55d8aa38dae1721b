//! Looking through one primary, a few hundred places at a time.
//!
//! A scan belongs to one run of one server: a cursor says nothing to another, so each step says which run it continues,
//! and one that meets another run is refused. `KEYS` is never sent; the pattern is matched on the server, so that what
//! does not match costs no bytes.

use std::time::Duration;

use bytes::Bytes;
use redis::Value;

use crate::domain::key::slot_of;
use crate::domain::removal::{Primary, ScanPage, ScanStep};
use crate::domain::store::{Refusal, StoreError};
use crate::remote::connect::{server_time, text};
use crate::remote::error::accepted;
use crate::remote::request::{Decimal, Op, Request};
use crate::remote::store::Remote;

/// Places looked at in one step, whatever was asked for: about a quarter of a millisecond of the server's time.
const COUNT: u32 = 500;

/// Members taken out of a sorted set at a time: a quarter of a millisecond.
const TRIMMED: &[u8] = b"500";
/// A fill may be slower than its clock; the same as when a registration trims.
const GRACE: Duration = Duration::from_secs(60);

/// Who owns slots, reached or not. Slots without an owner are one that cannot be reached: what stands there may return.
pub fn primaries(remote: &Remote) -> Vec<Primary> {
    let (owners, is_whole) = remote.topology.owners();
    let mut primaries: Vec<Primary> = owners
        .into_iter()
        .map(|node| Primary { name: node.address.to_string(), run: node.run().unwrap_or_default() })
        .collect();
    if !is_whole {
        primaries.push(Primary { name: "slots without an owner".to_owned(), run: String::new() });
    }
    primaries
}

pub async fn scan(remote: &Remote, step: ScanStep<'_>) -> Result<ScanPage, StoreError> {
    let node = remote.topology.node(&step.primary.name).ok_or(StoreError::Unreachable)?;
    let link = node.link().await?;
    if link.run() != step.primary.run {
        return Err(StoreError::Refused(Refusal::Moved));
    }
    let (cursor, count) = (Decimal::new(step.cursor), Decimal::new(step.count.clamp(1, COUNT).into()));
    let command: [&[u8]; 6] =
        [b"SCAN", cursor.as_bytes(), b"MATCH", step.pattern.as_bytes(), b"COUNT", count.as_bytes()];
    let reply = accepted(node.call_on(&link, Op::Scan, Request::one(&command)).await?)?;
    let page = read(reply).ok_or(StoreError::Refused(Refusal::Other))?;
    if page.next.is_none() {
        // Whoever has gone through it wants to know whether keys moved meanwhile.
        remote.topology.nudge();
    }
    Ok(page)
}

/// By the server's clock, and by when members end alone: one that is registered anew meanwhile ends later, and stays.
pub async fn trim(remote: &Remote, name: &[u8]) -> Result<u64, StoreError> {
    let slot = slot_of(name);
    let odd = StoreError::Refused(Refusal::Other);
    let (time, _) = remote.follow(Op::Scan, slot, &Request::one(&[b"TIME"])).await?;
    let ended = server_time(&time).ok_or(odd)?.saturating_sub(GRACE);
    let ended = Decimal::new(ended.as_millis() as u64);
    let some: [&[u8]; 7] = [b"ZRANGEBYSCORE", name, b"-inf", ended.as_bytes(), b"LIMIT", b"0", TRIMMED];
    let with_ends = Request::gathered(&[&some, &[b"WITHSCORES"]]);
    let (Value::Array(members), _) = remote.follow(Op::Scan, slot, &with_ends).await? else { return Err(odd) };
    let Some(last) = members.last().and_then(end) else { return Ok(0) };
    let last = last.to_string();
    let remove = Request::one(&[b"ZREMRANGEBYSCORE", name, b"-inf", last.as_bytes()]);
    match remote.follow(Op::Scan, slot, &remove).await? {
        (Value::Int(removed), _) => Ok(removed.unsigned_abs()),
        _ => Err(odd),
    }
}

/// The score of `[member, score]`.
fn end(member: &Value) -> Option<f64> {
    match member {
        Value::Array(pair) => match pair.as_slice() {
            [_, Value::Double(end)] => Some(*end),
            _ => None,
        },
        _ => None,
    }
}

/// The next cursor and the keys; a cursor of 0 ends it.
fn read(reply: Value) -> Option<ScanPage> {
    let Value::Array(parts) = reply else { return None };
    let [next, Value::Array(keys)] = <[Value; 2]>::try_from(parts).ok()? else { return None };
    let next: u64 = text(&next)?.parse().ok()?;
    let keys = keys.into_iter().filter_map(|key| match key {
        Value::BulkString(key) => Some(Bytes::from(key)),
        _ => None,
    });
    Some(ScanPage { keys: keys.collect(), next: (next != 0).then_some(next) })
}
