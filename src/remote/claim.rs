//! Taking a claim and using it up.
//!
//! A claim lives on the connection that it was taken on: its commit goes there or nowhere. Where that connection is gone,
//! the server may have lost the claim with its memory, or have been replaced by another; so nothing is sent and the
//! claim counts as fenced. No commit is redirected, and none is repeated once it may have been carried out.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use redis::Value;

use crate::domain::key::{Key, Sibling};
use crate::domain::mutant::{self, Mutant};
use crate::domain::random::Nonce;
use crate::domain::store::{
    Claim, ClaimAsk, ClaimMode, Claimed, Committed, Confirmation, Landing, Refusal, Rules, StoreError, Write,
};
use crate::remote::lane::{self, Carrier};
use crate::remote::library::{Functions, GRACE, Script};
use crate::remote::link::Link;
use crate::remote::mark;
use crate::remote::node::Node;
use crate::remote::request::{Decimal, Op, Request};

/// Aliases of one member. An invalidation reads them all and deletes each with its guard, so that a member with more would
/// hold up the others; what is over it is not registered, and so must not be cached.
const ALIASES: u64 = 64;

/// A claim that is held, and where.
struct Held {
    node: Arc<Node>,
    link: Arc<Link>,
    functions: Arc<Functions>,
    key: Key,
    guard: Vec<u8>,
    token: Vec<u8>,
    /// What stood at the key: its hash, or nothing.
    stood: Vec<u8>,
}

pub async fn take(
    node: Arc<Node>,
    functions: Arc<Functions>,
    nonce: Nonce,
    ask: ClaimAsk<'_>,
) -> Result<Claimed, StoreError> {
    let link = node.link().await?;
    let guard = ask.key.sibling(Sibling::Guard);
    let life = Decimal::millis(ask.life);
    let token = [b"c", nonce.as_bytes().as_slice(), life.as_bytes()].concat();
    let renew_below = match ask.mode {
        ClaimMode::Miss { renew_below } => Some(Decimal::new(renew_below.as_millis() as u64)),
        ClaimMode::Refresh => None,
    };
    let renew_below: &[u8] = renew_below.as_ref().map_or(b"-1", Decimal::as_bytes);
    let (keys, args) = ([guard.as_slice(), ask.key.as_bytes()], [token.as_slice(), life.as_bytes(), renew_below]);
    let reply = functions.run(&node, &link, Script::Claim, &keys, &args).await;
    let key = ask.key.clone();
    let held = |stood| Held { node, link, functions, key, guard: guard.clone(), token: token.clone(), stood };
    if matches!(reply, Err(StoreError::Timeout)) {
        held(Vec::new()).give_back_late();
        return Err(StoreError::Timeout);
    }
    match reply? {
        Value::BulkString(stood) => Ok(Claimed::Held(Box::new(held(stood)))),
        Value::Int(-1) => Ok(Claimed::Fresh),
        Value::Int(-2) => Ok(Claimed::Absent),
        Value::Int(age) => Ok(Claimed::InFlight { age: Duration::from_millis(age.unsigned_abs()) }),
        _ => Err(StoreError::Refused(Refusal::Other)),
    }
}

impl Claim for Held {
    fn commit(self: Box<Self>, write: Write) -> BoxFuture<'static, Result<Landing, StoreError>> {
        async move {
            let Rules { version: _, has_floor, lag, is_shared } = write.rules;
            let is_plain = write.aliases.is_empty() && write.untouched_for.is_none();
            if has_floor || lag.is_some() || is_shared || !is_plain {
                return self.commit_ruled(&write).await;
            }
            let ttl = Decimal::millis(write.ttl);
            let args: [&[u8]; 4] = [&self.token, &self.stood, &write.value, ttl.as_bytes()];
            let committed = match self.settle(Script::Commit, &self.keys(), &args).await? {
                Some(reply) => how(&reply)?,
                None => Committed::Fenced,
            };
            Ok(Landing::plain(committed, write.ttl))
        }
        .boxed()
    }

    fn commit_absent(
        self: Box<Self>,
        ttl: Duration,
        rules: Rules,
    ) -> BoxFuture<'static, Result<Committed, StoreError>> {
        async move {
            let Rules { version: _, has_floor, lag, is_shared: _ } = rules;
            let ttl = Decimal::millis(ttl);
            let lag_text = lag.map(Decimal::millis);
            let (tombstone, [guard, key]) = (self.key.sibling(Sibling::Tombstone), self.keys());
            let with_tombstone: [&[u8]; 3] = [guard, key, &tombstone];
            let has_rules = has_floor || lag.is_some();
            let keys = if has_rules { &with_tombstone[..] } else { &with_tombstone[..2] };
            let args: [&[u8]; 5] = [&self.token, &self.stood, ttl.as_bytes(), flag(has_floor), digits(&lag_text)];
            match self.settle(Script::Absent, keys, &args).await? {
                Some(reply) => how(&reply),
                None => Ok(Committed::Fenced),
            }
        }
        .boxed()
    }

    fn abort(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        async move {
            let gone = self.link.is_broken();
            if !gone {
                self.functions.run(&self.node, &self.link, Script::Abort, &[&self.guard], &[&self.token]).await?;
            }
            Ok(())
        }
        .boxed()
    }
}

impl Held {
    /// Nobody knows whether the claim was taken, and it would stand in everybody's way for its whole life. On the same
    /// link the abort comes after it; whoever asked need not wait for that.
    fn give_back_late(self) {
        self.node.clone().detach(async move {
            if let Err(error) = Box::new(self).abort().await {
                tracing::debug!(%error, "a late claim could not be given back");
            }
        });
    }

    /// What a claim must not do (M1): stand again because it wants to.
    async fn seize(&self) -> Result<Value, StoreError> {
        let request = Request::one(&[b"SET", &self.guard, &self.token]);
        self.node.call_on(&self.link, Op::Claim, request).await
    }

    fn keys(&self) -> [&[u8]; 2] {
        [&self.guard, self.key.as_bytes()]
    }

    async fn commit_ruled(&self, write: &Write) -> Result<Landing, StoreError> {
        let Rules { version, has_floor, lag, is_shared } = write.rules;
        let (index, tombstone) = (self.key.sibling(Sibling::Index), self.key.sibling(Sibling::Tombstone));
        let keys: [&[u8]; 4] = [&self.guard, self.key.as_bytes(), &index, &tombstone];
        let (ttl, registered_for) = (Decimal::millis(write.ttl), Decimal::millis(write.registered_for));
        let (version, lag) = (version.map(|version| Decimal::new(version.number())), lag.map(Decimal::millis));
        let (room, hashes) = (Decimal::new(ALIASES), Decimal::new(mark::HASHES));
        let untouched = write.untouched_for.map(|long| Decimal::new(long.as_secs()));
        let mut args: Vec<&[u8]> = Vec::with_capacity(13 + write.aliases.len());
        args.extend([&self.token, &self.stood, write.value.as_ref(), ttl.as_bytes()]);
        args.extend([digits(&version), flag(has_floor), digits(&lag), flag(is_shared)]);
        args.extend([registered_for.as_bytes(), room.as_bytes(), GRACE, hashes.as_bytes(), digits(&untouched)]);
        args.extend(write.aliases.iter().map(|alias| -> &[u8] { alias.as_bytes() }));
        let odd = StoreError::Refused(Refusal::Other);
        let Some(reply) = self.settle(Script::CommitRuled, &keys, &args).await? else {
            return Ok(Landing::plain(Committed::Fenced, write.ttl));
        };
        let Value::Array(parts) = reply else { return Err(odd) };
        let [ended, Value::Int(life), Value::Int(aliases), Value::Int(marked)] = &parts[..] else { return Err(odd) };
        let carrier = Carrier::Link { node: self.node.clone(), link: self.link.clone(), slot: self.key.slot() };
        Ok(Landing {
            committed: how(ended)?,
            ttl: Duration::from_millis(life.unsigned_abs()),
            aliases: aliases.unsigned_abs() as usize,
            is_marked: *marked == 1,
            confirmation: match mutant::on(Mutant::M16NoWaitForRegistration) {
                true => Some(Confirmation::given()),
                false => (*aliases > 0).then(|| lane::confirmation([carrier])),
            },
        })
    }

    /// Runs one of the scripts that use the claim up; no reply where the claim is gone with its connection.
    async fn settle(&self, script: Script, keys: &[&[u8]], args: &[&[u8]]) -> Result<Option<Value>, StoreError> {
        if mutant::on(Mutant::M1NoClaim) {
            self.seize().await?;
        }
        let fresh = mutant::on(Mutant::M7TokenSurvivesReconnect);
        let link = if fresh { self.node.link().await? } else { self.link.clone() };
        match self.functions.run(&self.node, &link, script, keys, args).await {
            Ok(reply) => Ok(Some(reply)),
            // Certainly not sent, because the connection is gone: and with it the claim.
            Err(StoreError::Unreachable) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// How a script that ends a claim says that it ended.
fn how(reply: &Value) -> Result<Committed, StoreError> {
    match reply {
        Value::Int(1) => Ok(Committed::Written),
        Value::Int(0) => Ok(Committed::Fenced),
        Value::Int(2) => Ok(Committed::Kept),
        Value::Int(3) => Ok(Committed::Superseded),
        _ => Err(StoreError::Refused(Refusal::Other)),
    }
}

fn flag(is_set: bool) -> &'static [u8] {
    if is_set { b"1" } else { b"" }
}

fn digits(number: &Option<Decimal>) -> &[u8] {
    number.as_ref().map_or(b"", Decimal::as_bytes)
}
