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
    Claim, ClaimAsk, ClaimMode, Claimed, Committed, Landing, Refusal, Rules, StoreError, Write,
};
use crate::remote::library::{Functions, Script};
use crate::remote::link::Link;
use crate::remote::node::Node;
use crate::remote::request::{Decimal, Op, Request};

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
    let life = millis(ask.life);
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
            let ttl = millis(write.ttl);
            let args = [&self.token, &self.stood, write.value.as_ref(), ttl.as_bytes()];
            let committed = self.settle(Script::Commit, &args).await?;
            Ok(Landing::plain(committed, write.ttl))
        }
        .boxed()
    }

    fn commit_absent(
        self: Box<Self>,
        ttl: Duration,
        _rules: Rules,
    ) -> BoxFuture<'static, Result<Committed, StoreError>> {
        async move {
            let ttl = millis(ttl);
            let args = [&self.token, &self.stood, ttl.as_bytes()];
            self.settle(Script::Absent, &args).await
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

    async fn settle(&self, script: Script, args: &[&[u8]]) -> Result<Committed, StoreError> {
        let keys = [self.guard.as_slice(), self.key.as_bytes()];
        if mutant::on(Mutant::M1NoClaim) {
            self.seize().await?;
        }
        let fresh = mutant::on(Mutant::M7TokenSurvivesReconnect);
        let link = if fresh { self.node.link().await? } else { self.link.clone() };
        match self.functions.run(&self.node, &link, script, &keys, args).await {
            Ok(Value::Int(1)) => Ok(Committed::Written),
            Ok(Value::Int(0)) => Ok(Committed::Fenced),
            Ok(Value::Int(2)) => Ok(Committed::Kept),
            Ok(_) => Err(StoreError::Refused(Refusal::Other)),
            // Certainly not sent, because the connection is gone: and with it the claim.
            Err(StoreError::Unreachable) => Ok(Committed::Fenced),
            Err(error) => Err(error),
        }
    }
}

/// At least one: Redis refuses a life of nothing.
fn millis(duration: Duration) -> Decimal {
    Decimal::new((duration.as_millis() as u64).max(1))
}
