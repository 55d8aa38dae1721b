//! The store contract over Redis: which node is asked what, for which key.
//!
//! Claims go to the owner of their slot and are refused where the slot moves. Reads and removals are sent node by node,
//! each node's share in one request of single-key pairs, never across slots for one command; what is redirected is sent
//! again key by key, which is harmless, because neither minds being done twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use redis::Value;

use crate::domain::key::{Key, Sibling};
use crate::domain::random::Random;
use crate::domain::store::{ClaimAsk, Claimed, Held, Refusal, Registered, Registration, Store, StoreError, StoreState};
use crate::remote::library::Functions;
use crate::remote::metrics::RedirectKind;
use crate::remote::node::{Health, Node, Shared};
use crate::remote::request::{Op, Request};
use crate::remote::topology::Topology;
use crate::remote::{Address, Mode, claim, error};

/// Keys of one request: a node's share of a large removal must not hold up everybody else's commands.
const KEYS_AT_ONCE: usize = 256;
/// How often one command may be sent on. One move needs one; more than a few means that the nodes disagree.
const REDIRECTS: usize = 5;
/// Before the next try where a slot is half here and half there.
const TRY_AGAIN_PAUSE: Duration = Duration::from_millis(5);

pub struct Remote {
    topology: Topology,
    shared: Arc<Shared>,
    functions: Arc<Functions>,
    random: Random,
}

impl Remote {
    pub fn new(mode: Mode, shared: Arc<Shared>, random: Random) -> Self {
        let topology = Topology::new(mode, shared.clone());
        Self { topology, shared, functions: Arc::new(Functions::new()), random }
    }

    /// Every node as it stands, from memory.
    pub fn health(&self) -> Vec<Health> {
        self.topology.health()
    }

    /// Runs as long as the process.
    pub async fn keep_topology(&self, every: Duration) {
        self.topology.keep(every).await;
    }
}

impl Store for Remote {
    fn claim<'a>(&'a self, ask: ClaimAsk<'a>) -> BoxFuture<'a, Result<Claimed, StoreError>> {
        async move {
            if self.topology.disagrees() {
                return Err(StoreError::Refused(Refusal::Other));
            }
            let node = self.topology.owner(ask.key.slot()).await?;
            let claimed = claim::take(node, self.functions.clone(), self.random.nonce(), ask).await;
            // The slot is moving or has moved: no fill now, and the next one asks somebody else.
            if matches!(claimed, Err(StoreError::Refused(Refusal::Moved))) {
                self.shared.metrics.redirected(RedirectKind::Moved);
                self.topology.nudge();
            }
            claimed
        }
        .boxed()
    }

    fn register<'a>(&'a self, _ask: Registration<'a>) -> BoxFuture<'a, Result<Registered, StoreError>> {
        async move { Err(StoreError::Refused(Refusal::Other)) }.boxed()
    }

    fn remove<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<usize, StoreError>> {
        async move {
            let pack = |request: &mut Request, key: &Key| {
                request.push(&[b"EXISTS", key.as_bytes()]);
                request.push(&[b"DEL", key.as_bytes(), &key.sibling(Sibling::Guard)]);
            };
            let replies = self.each_node(Op::Remove, keys, pack).await;
            // Whatever becomes of one key, all the others are removed first.
            let removed = join_all(keys.iter().zip(replies).map(|(key, replies)| async move {
                match replies? {
                    (Value::Int(held), Value::Int(_)) => Ok(held as usize),
                    (first, second) if is_redirect(&first) || is_redirect(&second) => self.remove_one(key).await,
                    (first, second) => {
                        error::accepted(first).and(error::accepted(second))?;
                        Err(StoreError::Refused(Refusal::Other))
                    }
                }
            }));
            removed.await.into_iter().sum()
        }
        .boxed()
    }

    fn read<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<Vec<Option<Held>>, StoreError>> {
        async move {
            let pack = |request: &mut Request, key: &Key| {
                request.push(&[b"GET", key.as_bytes()]);
                request.push(&[b"PTTL", key.as_bytes()]);
            };
            let replies = self.each_node(Op::Read, keys, pack).await;
            let held = join_all(keys.iter().zip(replies).map(|(key, replies)| async move {
                let (value, left) = match replies? {
                    (first, second) if is_redirect(&first) || is_redirect(&second) => {
                        let value = self.follow(Op::Read, key, &[b"GET", key.as_bytes()]).await?;
                        (value, self.follow(Op::Read, key, &[b"PTTL", key.as_bytes()]).await?)
                    }
                    replies => replies,
                };
                read_held(error::accepted(value)?, error::accepted(left)?)
            }));
            held.await.into_iter().collect()
        }
        .boxed()
    }

    fn state(&self) -> StoreState {
        self.topology.state()
    }
}

impl Remote {
    /// Sends two commands for each key, one request a node (and as few as possible), and answers each key's two replies.
    async fn each_node(
        &self,
        op: Op,
        keys: &[Key],
        pack: impl Fn(&mut Request, &Key),
    ) -> Vec<Result<(Value, Value), StoreError>> {
        let mut answers: Vec<Result<(Value, Value), StoreError>> = vec![Err(StoreError::Unreachable); keys.len()];
        let mut shares: BTreeMap<&Address, (Arc<Node>, Vec<usize>)> = BTreeMap::new();
        let mut owners = Vec::with_capacity(keys.len());
        for key in keys {
            owners.push(self.topology.owner(key.slot()).await);
        }
        for (index, owner) in owners.iter().enumerate() {
            match owner {
                Ok(node) => {
                    shares.entry(&node.address).or_insert_with(|| (node.clone(), Vec::new())).1.push(index);
                }
                Err(error) => answers[index] = Err(*error),
            }
        }
        let sent = shares.values().flat_map(|(node, share)| share.chunks(KEYS_AT_ONCE).map(move |part| (node, part)));
        let sent = sent.map(|(node, part)| {
            let mut request = Request::default();
            part.iter().for_each(|index| pack(&mut request, &keys[*index]));
            async move { (part, node.call(op, request).await) }
        });
        for (part, reply) in join_all(sent).await {
            match reply {
                Ok(Value::Array(replies)) => {
                    let mut replies = replies.into_iter();
                    for index in part {
                        answers[*index] = match (replies.next(), replies.next()) {
                            (Some(first), Some(second)) => Ok((first, second)),
                            _ => Err(StoreError::Refused(Refusal::Other)),
                        };
                    }
                }
                Ok(_) => part.iter().for_each(|index| answers[*index] = Err(StoreError::Refused(Refusal::Other))),
                Err(error) => part.iter().for_each(|index| answers[*index] = Err(error)),
            }
        }
        answers
    }

    /// While a slot moves its keys may be on either side, so each key goes by itself, the guard first: a fill that
    /// began before is fenced by the time its key goes.
    async fn remove_one(&self, key: &Key) -> Result<usize, StoreError> {
        let guard = key.sibling(Sibling::Guard);
        self.follow(Op::Remove, key, &[b"DEL", &guard]).await.and_then(error::accepted)?;
        match self.follow(Op::Remove, key, &[b"DEL", key.as_bytes()]).await.and_then(error::accepted)? {
            Value::Int(held) => Ok(held as usize),
            _ => Err(StoreError::Refused(Refusal::Other)),
        }
    }

    /// Who owns the key's slot.
    pub async fn owner(&self, key: &Key) -> Result<Address, StoreError> {
        self.topology.owner(key.slot()).await.map(|node| node.address.clone())
    }

    /// Two commands on one slot in one request, and each by itself where it was redirected.
    pub async fn both(&self, op: Op, key: &Key, commands: [&[&[u8]]; 2]) -> Result<[Value; 2], StoreError> {
        let mut request = Request::default();
        commands.iter().for_each(|command| request.push(command));
        let node = self.topology.owner(key.slot()).await?;
        let Value::Array(replies) = node.call(op, request).await? else {
            return Err(StoreError::Refused(Refusal::Other));
        };
        let mut replies = <[Value; 2]>::try_from(replies).map_err(|_| StoreError::Refused(Refusal::Other))?;
        for (reply, command) in replies.iter_mut().zip(commands) {
            if is_redirect(reply) {
                *reply = self.follow(op, key, command).await?;
            }
        }
        Ok(replies)
    }

    /// Sends one command after its redirects. Only for commands that may be repeated, and only single-key ones.
    pub async fn follow(&self, op: Op, key: &Key, command: &[&[u8]]) -> Result<Value, StoreError> {
        let mut node = self.topology.owner(key.slot()).await?;
        let mut request = Request::one(command);
        for _ in 0..REDIRECTS {
            let reply = match node.call(op, request).await? {
                // What `ASKING` itself was answered is of no interest.
                Value::Array(mut replies) => replies.pop().unwrap_or_default(),
                reply => reply,
            };
            let Some(redirect) = error::redirect(&reply, &node.address) else { return Ok(reply) };
            request = Request::one(command);
            let next = match redirect {
                error::Redirect::Moved(to) => {
                    self.shared.metrics.redirected(RedirectKind::Moved);
                    self.topology.nudge();
                    self.topology.named(&to)
                }
                error::Redirect::Ask(to) => {
                    self.shared.metrics.redirected(RedirectKind::Ask);
                    request = request.asking();
                    self.topology.named(&to)
                }
                error::Redirect::TryAgain => {
                    self.shared.metrics.redirected(RedirectKind::TryAgain);
                    tokio::time::sleep(TRY_AGAIN_PAUSE).await;
                    Some(node)
                }
            };
            node = next.ok_or(StoreError::Refused(Refusal::Moved))?;
        }
        Err(StoreError::Refused(Refusal::Moved))
    }
}

fn is_redirect(value: &Value) -> bool {
    matches!(value, Value::ServerError(_)) && error::refused(value) == Some(Refusal::Moved)
}

fn read_held(value: Value, left: Value) -> Result<Option<Held>, StoreError> {
    match (value, left) {
        // Gone between the two.
        (Value::Nil, _) | (_, Value::Int(-2)) => Ok(None),
        (Value::BulkString(value), Value::Int(left)) => {
            let ttl = u64::try_from(left).ok().map(Duration::from_millis);
            Ok(Some(Held { value: Bytes::from(value), ttl }))
        }
        _ => Err(StoreError::Refused(Refusal::Other)),
    }
}
