//! Removing keys with their claims, and reading what their indexes name.
//!
//! For each key, in one request and in this order: the marks, the key with its guard, its index. What comes after a mark
//! finds it; and a fill whose value the removal did not meet has registered its aliases in the same step, before the
//! index is read. While a slot moves its keys may be on either side, so then each goes by itself, the guard first: a fill
//! that began before is fenced by the time its key goes.

use futures_util::future::join_all;
use redis::Value;

use crate::domain::key::{Key, Sibling};
use crate::domain::mutant::{self, Mutant};
use crate::domain::removal::{Erased, Erasure, Gone};
use crate::domain::store::{Refusal, StoreError};
use crate::remote::lane::{self, Carrier};
use crate::remote::request::{Op, Request, Road};
use crate::remote::store::Remote;
use crate::remote::{error, mark};

impl Remote {
    pub async fn erase_all(&self, op: Op, erasures: &[Erasure]) -> Erased {
        let slots: Vec<u16> = erasures.iter().map(|erasure| erasure.key.slot()).collect();
        // What has no index leads to nothing further.
        let is_last = erasures.iter().all(|erasure| !erasure.has_index);
        let road = if is_last && op == Op::Erase { Road::Lane } else { Road::Usual };
        let shares = self.each_node(op, road, &slots, |request, place| pack(request, &erasures[place])).await;
        let mut carriers = shares.carriers;
        // Whatever becomes of one key, all the others are removed.
        let gone = join_all(erasures.iter().zip(shares.replies).map(|(erasure, replies)| async move {
            match replies {
                Ok(replies) if replies.iter().any(error::is_redirect) => self.erase_one(op, erasure).await,
                Ok(replies) => (read(erasure, replies), Vec::new()),
                Err(error) => (Err(error), Vec::new()),
            }
        }));
        let mut keys = Vec::with_capacity(erasures.len());
        for (gone, carried) in gone.await {
            keys.push(gone);
            carriers.extend(carried);
        }
        Erased { keys, confirmation: lane::confirmation(carriers) }
    }

    /// One key, command by command; and what carried them.
    async fn erase_one(&self, op: Op, erasure: &Erasure) -> (Result<Gone, StoreError>, Vec<Carrier>) {
        let mut carriers = Vec::new();
        let gone = self.erase_by_steps(op, erasure, &mut carriers).await;
        (gone, carriers)
    }

    async fn erase_by_steps(&self, op: Op, erasure: &Erasure, carriers: &mut Vec<Carrier>) -> Result<Gone, StoreError> {
        let (key, slot) = (&erasure.key, erasure.key.slot());
        let mut send = async |command: Request| {
            let (reply, carrier) = self.follow(op, slot, &command).await?;
            carriers.push(carrier);
            Ok::<Value, StoreError>(reply)
        };
        // A mark that cannot be left is no reason to leave the key; it is told in the end.
        let mut marked = Ok(());
        for command in erasure.mark.iter().flat_map(|mark| mark::commands(key, mark)) {
            marked = marked.and(send(command).await.map(drop));
        }
        let fenced = count(&send(Request::one(&[b"DEL", &key.sibling(Sibling::Guard)])).await?)?;
        let held = count(&send(Request::one(&[b"DEL", key.as_bytes()])).await?)?;
        if erasure.mark.is_some() {
            marked = marked.and(send(mark::forget_hashes(key)).await.map(drop));
        }
        let aliases = if erasure.has_index { aliases(send(index(key)).await?)? } else { Vec::new() };
        marked.map(|()| Gone { held: held > 0, fenced: fenced > 0, aliases })
    }
}

fn pack(request: &mut Request, erasure: &Erasure) {
    let key = &erasure.key;
    if mutant::on(Mutant::M18IndexReadFirst) && erasure.has_index {
        request.append(&index(key));
    }
    if let Some(mark) = &erasure.mark {
        mark::commands(key, mark).iter().for_each(|command| request.append(command));
    }
    request.push(&[b"EXISTS", key.as_bytes()]);
    request.push(&[b"DEL", key.as_bytes(), &key.sibling(Sibling::Guard)]);
    if erasure.mark.is_some() {
        request.append(&mark::forget_hashes(key));
    }
    if erasure.has_index {
        request.append(&index(key));
    }
    if mutant::on(Mutant::M5IndexCleared) && erasure.has_index {
        request.push(&[b"DEL", &key.sibling(Sibling::Index)]);
    }
}

/// Reads what `pack` asked for: the marks, then what was there, what went, and the index.
fn read(erasure: &Erasure, mut replies: Vec<Value>) -> Result<Gone, StoreError> {
    if mutant::on(Mutant::M5IndexCleared) && erasure.has_index {
        replies.pop();
    }
    if mutant::on(Mutant::M18IndexReadFirst) && erasure.has_index {
        let early = replies.remove(0);
        replies.pop();
        replies.push(early);
    }
    let after = 2 + usize::from(erasure.mark.is_some()) + usize::from(erasure.has_index);
    let rest = replies.split_off(replies.len().saturating_sub(after));
    // A mark that was refused is told, although the key went.
    replies.into_iter().try_for_each(|reply| error::accepted(reply).map(drop))?;
    let rest = rest.into_iter().map(error::accepted).collect::<Result<Vec<Value>, StoreError>>()?;
    let [held, gone, ..] = rest.as_slice() else { return Err(StoreError::Refused(Refusal::Other)) };
    let (held, gone) = (count(held)?, count(gone)?);
    let named = rest.into_iter().last().filter(|_| erasure.has_index);
    let aliases = named.map_or(Ok(Vec::new()), aliases)?;
    Ok(Gone { held: held > 0, fenced: gone > held, aliases })
}

pub fn index(key: &Key) -> Request {
    Request::one(&[b"ZRANGE", &key.sibling(Sibling::Index), b"0", b"-1"])
}

pub fn count(reply: &Value) -> Result<i64, StoreError> {
    match reply {
        Value::Int(count) => Ok(*count),
        _ => Err(StoreError::Refused(Refusal::Other)),
    }
}

/// What no key can be was not put there by us.
pub fn aliases(reply: Value) -> Result<Vec<Key>, StoreError> {
    let Value::Array(members) = reply else { return Err(StoreError::Refused(Refusal::Other)) };
    let key = |member| match member {
        Value::BulkString(bytes) => Key::new(bytes).ok(),
        _ => None,
    };
    Ok(members.into_iter().filter_map(key).collect())
}
