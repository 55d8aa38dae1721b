//! Leases in Redis: the lock as the configuration names it, and in its slot the fence and what its work has noted.
//!
//! Each step is one script at the owner of the lock's slot. It follows no redirect: a step that was redirected has done
//! nothing, and whoever asked asks again. Validity is counted from before the request is sent, so that waiting for a
//! connection only makes it shorter. With replicas a grant and a renewal count once the replicas have them: else the
//! lock could come back shorter after a failover, or not at all (tests/model/lease.rs).

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use redis::Value;
use tokio::time::Instant;

use crate::domain::key::{Key, Sibling};
use crate::domain::lease::{Acquired, Grant, LeaseAsk, Leases, Noted, Progress, Renewed, Validity};
use crate::domain::mutant::{self, Mutant};
use crate::domain::store::{Confirmed, Refusal, StoreError};
use crate::remote::connect::text;
use crate::remote::lane;
use crate::remote::library::Script;
use crate::remote::request::{Decimal, Op};
use crate::remote::store::Remote;

impl Leases for Remote {
    fn acquire<'a>(&'a self, ask: &'a LeaseAsk) -> BoxFuture<'a, Result<Acquired, StoreError>> {
        async move {
            let LeaseAsk { lock, holder, pod, ttl } = ask;
            let (sent, life) = (Instant::now(), Decimal::millis(*ttl));
            let args: [&[u8]; 3] = [holder.as_bytes(), life.as_bytes(), pod.as_bytes()];
            let keys: [&[u8]; 2] = [lock.as_bytes(), &lock.sibling(Sibling::Lease)];
            let (reply, carrier) = self.run(Script::Acquire, lock.slot(), &keys, &args).await?;
            let Value::Int(fence) = reply else { return held(reply, *ttl) };
            let fence = fence.unsigned_abs();
            match lane::confirmation([carrier]).await {
                Confirmed::Yes => Ok(Acquired::Granted(Grant { fence, validity: validity(sent, *ttl) })),
                Confirmed::Short => {
                    // Nobody's lease should not stand in the way of the next one for long.
                    let _ = self.release(ask, fence).await;
                    Err(StoreError::Timeout)
                }
            }
        }
        .boxed()
    }

    fn renew<'a>(&'a self, ask: &'a LeaseAsk, fence: u64) -> BoxFuture<'a, Result<Renewed, StoreError>> {
        async move {
            let (sent, life) = (Instant::now(), Decimal::millis(ask.ttl));
            let fence = Decimal::new(fence);
            let keys: [&[u8]; 2] = [ask.lock.as_bytes(), &ask.lock.sibling(Sibling::Lease)];
            let args: [&[u8]; 3] = [ask.holder.as_bytes(), fence.as_bytes(), life.as_bytes()];
            match self.run(Script::Renew, ask.lock.slot(), &keys, &args).await? {
                (Value::Int(1), carrier) => match lane::confirmation([carrier]).await {
                    Confirmed::Yes => Ok(Renewed::Until(validity(sent, ask.ttl))),
                    Confirmed::Short => Err(StoreError::Timeout),
                },
                _ => Ok(Renewed::Lost),
            }
        }
        .boxed()
    }

    fn release<'a>(&'a self, ask: &'a LeaseAsk, fence: u64) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            if mutant::on(Mutant::M15ReleaseUnasked) {
                return self.one(Op::Lease, &ask.lock, &[b"DEL", ask.lock.as_bytes()]).await.map(drop);
            }
            let fence = Decimal::new(fence);
            let keys: [&[u8]; 2] = [ask.lock.as_bytes(), &ask.lock.sibling(Sibling::Lease)];
            let args: [&[u8]; 2] = [ask.holder.as_bytes(), fence.as_bytes()];
            self.run(Script::Release, ask.lock.slot(), &keys, &args).await.map(drop)
        }
        .boxed()
    }

    fn tick<'a>(&'a self, tick: &'a Key, life: Duration) -> BoxFuture<'a, Result<bool, StoreError>> {
        async move {
            let life = Decimal::millis(life);
            let set: [&[u8]; 6] = [b"SET", tick.as_bytes(), b"1", b"NX", b"PX", life.as_bytes()];
            Ok(self.one(Op::Lease, tick, &set).await? != Value::Nil)
        }
        .boxed()
    }

    fn note<'a>(&'a self, lock: &'a Key, fence: u64, note: Progress) -> BoxFuture<'a, Result<Noted, StoreError>> {
        async move {
            let (fence, life) = (Decimal::new(fence), Decimal::millis(note.life));
            let keys: [&[u8]; 2] = [&lock.sibling(Sibling::Lease), &lock.sibling(Sibling::Progress)];
            let args: [&[u8]; 3] = [fence.as_bytes(), &note.text, life.as_bytes()];
            match self.run(Script::Note, lock.slot(), &keys, &args).await? {
                (Value::Int(1), _) => Ok(Noted::Written),
                _ => Ok(Noted::Superseded),
            }
        }
        .boxed()
    }

    fn noted<'a>(&'a self, lock: &'a Key) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        async move {
            match self.one(Op::Lease, lock, &[b"GET", &lock.sibling(Sibling::Progress)]).await? {
                Value::BulkString(text) => Ok(Some(Bytes::from(text))),
                _ => Ok(None),
            }
        }
        .boxed()
    }
}

fn validity(sent: Instant, ttl: Duration) -> Validity {
    let counted = if mutant::on(Mutant::M14LeaseFromReply) { Instant::now() } else { sent };
    Validity::of(counted, ttl)
}

/// `[holder, pod, milliseconds]`. A lock without an end is somebody else's, and looked at again after a life of ours.
fn held(reply: Value, ttl: Duration) -> Result<Acquired, StoreError> {
    let odd = StoreError::Refused(Refusal::Other);
    let Value::Array(parts) = reply else { return Err(odd) };
    let [holder, pod, Value::Int(left)] = <[Value; 3]>::try_from(parts).map_err(|_| odd)? else { return Err(odd) };
    let word = |value: &Value| text(value).unwrap_or_default().to_owned();
    let remaining = u64::try_from(left).map_or(ttl, Duration::from_millis);
    Ok(Acquired::Held { holder: word(&holder), pod: word(&pod), remaining })
}
