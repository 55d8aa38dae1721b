//! The store contract over Redis: which node is asked what, for which key.
//!
//! Claims go to the owner of their slot and are refused where the slot moves. Reads and removals are sent node by node,
//! each node's share in one request of single-key pairs, never across slots for one command; what is redirected is sent
//! again key by key, which is harmless, because neither minds being done twice.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use redis::Value;

use crate::domain::key::Key;
use crate::domain::random::Random;
use crate::domain::removal::Erasure;
use crate::domain::store::{ClaimAsk, Claimed, Held, Refusal, Registered, Registration, Store, StoreError, StoreState};
use crate::remote::library::Functions;
use crate::remote::node::{Health, Shared};
use crate::remote::request::{Op, Request, Road};
use crate::remote::topology::Topology;
use crate::remote::{Mode, claim, error};

pub struct Remote {
    pub topology: Topology,
    pub shared: Arc<Shared>,
    pub functions: Arc<Functions>,
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
                self.moved();
            }
            claimed
        }
        .boxed()
    }

    fn register<'a>(&'a self, ask: Registration<'a>) -> BoxFuture<'a, Result<Registered, StoreError>> {
        self.register_all(ask).boxed()
    }

    fn remove<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<usize, StoreError>> {
        async move {
            let plain = |key: &Key| Erasure { key: key.clone(), has_index: false, mark: None };
            let erasures: Vec<Erasure> = keys.iter().map(plain).collect();
            let erased = self.erase_all(Op::Remove, &erasures).await;
            erased.keys.into_iter().map(|gone| gone.map(|gone| usize::from(gone.held))).sum()
        }
        .boxed()
    }

    fn read<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<Vec<Option<Held>>, StoreError>> {
        async move {
            let slots: Vec<u16> = keys.iter().map(Key::slot).collect();
            let pack = |request: &mut Request, place: usize| {
                request.push(&[b"GET", keys[place].as_bytes()]);
                request.push(&[b"PTTL", keys[place].as_bytes()]);
            };
            let shares = self.each_node(Op::Read, Road::Usual, &slots, pack).await;
            let held = join_all(keys.iter().zip(shares.replies).map(|(key, replies)| async move {
                let follow = async |command: Request| self.follow(Op::Read, key.slot(), &command).await;
                let replies = match replies? {
                    replies if replies.iter().any(error::is_redirect) => {
                        let (value, _) = follow(Request::one(&[b"GET", key.as_bytes()])).await?;
                        vec![value, follow(Request::one(&[b"PTTL", key.as_bytes()])).await?.0]
                    }
                    replies => replies,
                };
                let [value, left] = <[Value; 2]>::try_from(replies).map_err(|_| StoreError::Refused(Refusal::Other))?;
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
