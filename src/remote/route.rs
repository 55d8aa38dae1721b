//! To the owners of slots: everybody's share in one request, or one command after its redirects.
//!
//! Only for commands that mind neither being done twice nor reaching a node that owned the slot a moment ago. A fill's
//! scripts never come this way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::Value;
use tokio::time::Instant;

use crate::domain::key::Key;
use crate::domain::store::{Refusal, StoreError};
use crate::remote::lane::{self, Carrier};
use crate::remote::library::Script;
use crate::remote::link::Link;
use crate::remote::metrics::RedirectKind;
use crate::remote::node::Node;
use crate::remote::request::{Op, Request, Road};
use crate::remote::store::Remote;
use crate::remote::{Address, error};

/// Keys of one request: a node's share of a large removal must not hold up everybody else's commands.
const KEYS_AT_ONCE: usize = 256;
/// How often one command may be sent on. One move needs one; more than a few means that the nodes disagree.
const REDIRECTS: usize = 5;
/// Before the next try where a slot is half here and half there.
const TRY_AGAIN_PAUSE: Duration = Duration::from_millis(5);

/// The replies that belong to each key, in the order asked for, and what carried the requests that were answered.
pub struct Shares {
    pub replies: Vec<Result<Vec<Value>, StoreError>>,
    pub carriers: Vec<Carrier>,
}

impl Remote {
    /// Sends some commands for each slot's key, one request a node (and as few as possible). `pack` is given the place of
    /// a key, and says how many commands it added by adding them.
    pub async fn each_node(&self, op: Op, road: Road, slots: &[u16], pack: impl Fn(&mut Request, usize)) -> Shares {
        let mut shares = Shares { replies: vec![Err(StoreError::Unreachable); slots.len()], carriers: Vec::new() };
        let mut owned: BTreeMap<Address, (Arc<Node>, Vec<usize>)> = BTreeMap::new();
        for (place, slot) in slots.iter().enumerate() {
            match self.topology.owner(*slot).await {
                Ok(node) => match owned.get_mut(&node.address) {
                    Some((_, share)) => share.push(place),
                    None => drop(owned.insert(node.address.clone(), (node, vec![place]))),
                },
                Err(error) => shares.replies[place] = Err(error),
            }
        }
        let sent = owned.values().flat_map(|(node, share)| share.chunks(KEYS_AT_ONCE).map(move |part| (node, part)));
        let sent = sent.map(|(node, part)| {
            let (mut request, mut ends) = (Request::default(), Vec::with_capacity(part.len()));
            for place in part {
                pack(&mut request, *place);
                ends.push(request.replies());
            }
            async move { (part, ends, send(node, op, road, slots[part[0]], request).await) }
        });
        for (part, ends, answer) in join_all(sent).await {
            match answer {
                Ok((replies, carrier)) => {
                    shares.carriers.push(carrier);
                    let (mut replies, mut start) = (replies.into_iter(), 0);
                    for (place, end) in part.iter().zip(ends) {
                        shares.replies[*place] = Ok(replies.by_ref().take(end - start).collect());
                        start = end;
                    }
                }
                Err(error) => part.iter().for_each(|place| shares.replies[*place] = Err(error)),
            }
        }
        shares
    }

    /// Sends one command after its redirects. Only for commands that may be repeated, and only single-key ones.
    pub async fn follow(&self, op: Op, slot: u16, command: &Request) -> Result<(Value, Carrier), StoreError> {
        let mut node = self.topology.owner(slot).await?;
        let mut request = command.clone();
        for _ in 0..REDIRECTS {
            let (mut replies, carrier) = call(&node, op, slot, request).await?;
            // What `ASKING` itself was answered is of no interest.
            let reply = replies.pop().unwrap_or_default();
            let Some(redirect) = error::redirect(&reply, &node.address) else {
                return error::accepted(reply).map(|reply| (reply, carrier));
            };
            request = command.clone();
            let next = match redirect {
                error::Redirect::Moved(to) => {
                    self.moved();
                    self.topology.named(&to)
                }
                error::Redirect::Ask(to) => {
                    self.shared.upheavals.moving(slot, Instant::now());
                    self.shared.metrics.redirected(RedirectKind::Ask);
                    request = request.asking();
                    self.topology.named(&to)
                }
                error::Redirect::TryAgain => {
                    self.shared.upheavals.moving(slot, Instant::now());
                    self.shared.metrics.redirected(RedirectKind::TryAgain);
                    tokio::time::sleep(TRY_AGAIN_PAUSE).await;
                    Some(node)
                }
            };
            node = next.ok_or(StoreError::Refused(Refusal::Moved))?;
        }
        Err(StoreError::Refused(Refusal::Moved))
    }

    /// One single-key command, after its redirects; its reply alone.
    pub async fn one(&self, op: Op, key: &Key, command: &[&[u8]]) -> Result<Value, StoreError> {
        self.follow(op, key.slot(), &Request::one(command)).await.map(|(reply, _carrier)| reply)
    }

    /// Some single-key commands of one slot in one request, and each by itself where it was redirected.
    pub async fn in_a_row(&self, op: Op, key: &Key, commands: &[Request]) -> Result<Vec<Value>, StoreError> {
        let node = self.topology.owner(key.slot()).await?;
        let mut request = Request::default();
        commands.iter().for_each(|command| request.append(command));
        let (mut replies, _) = call(&node, op, key.slot(), request).await?;
        for (reply, command) in replies.iter_mut().zip(commands) {
            if error::redirect(reply, &node.address).is_some() {
                (*reply, _) = self.follow(op, key.slot(), command).await?;
            }
        }
        Ok(replies)
    }

    /// Runs a script at the owner of a slot. It is refused where the slot moves: no script follows a redirect.
    pub async fn run(
        &self,
        script: Script,
        slot: u16,
        keys: &[&[u8]],
        args: &[&[u8]],
    ) -> Result<(Value, Carrier), StoreError> {
        let node = self.topology.owner(slot).await?;
        let link = node.link().await?;
        match self.functions.run(&node, &link, script, keys, args).await {
            Ok(reply) => Ok((reply, Carrier::Link { node, link, slot })),
            Err(error) => {
                if error == StoreError::Refused(Refusal::Moved) {
                    self.moved();
                }
                Err(error)
            }
        }
    }

    /// The slot is moving or has moved: the next one asks somebody else.
    pub fn moved(&self) {
        self.shared.metrics.redirected(RedirectKind::Moved);
        self.topology.nudge();
    }
}

async fn send(
    node: &Arc<Node>,
    op: Op,
    road: Road,
    slot: u16,
    request: Request,
) -> Result<(Vec<Value>, Carrier), StoreError> {
    match road {
        Road::Usual => call(node, op, slot, request).await,
        Road::Lane => match lane::ride(node, op, slot, &request).await {
            Some(rode) => rode.map(|(replies, confirmed)| (replies, Carrier::Lane(confirmed))),
            None => call(node, op, slot, request).await,
        },
    }
}

async fn call(node: &Arc<Node>, op: Op, slot: u16, request: Request) -> Result<(Vec<Value>, Carrier), StoreError> {
    let (link, count): (Arc<Link>, usize) = (node.link().await?, request.replies());
    let reply = node.call_on(&link, op, request).await?;
    let replies = match reply {
        reply if count == 1 => vec![reply],
        Value::Array(replies) if replies.len() == count => replies,
        _ => return Err(StoreError::Refused(Refusal::Other)),
    };
    Ok((replies, Carrier::Link { node: node.clone(), link, slot }))
}
