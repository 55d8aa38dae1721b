//! Asking for the topology, and reading the answers.
//!
//! `CLUSTER SLOTS`, not `CLUSTER SHARDS`: it names the primary first, gives the port that fits the connection (TLS or not)
//! and the endpoint the cluster prefers, and every version from 6.2 on has it, so that one reader does.

use std::collections::BTreeSet;

use redis::Value;

use crate::domain::key;
use crate::remote::connect::{self, text};
use crate::remote::error::ConnectError;
use crate::remote::node::{Node, Shared};
use crate::remote::request::{Op, Request};
use crate::remote::{Address, Auth};

/// Keys whose slots we compare with the server's: plain, tagged, and every way a brace can stand.
const SAMPLES: [&[u8]; 10] = [
    b"foo",
    b"user:id:123",
    b"{user1000}.following",
    b"foo{}{bar}",
    b"foo{{bar}}zap",
    b"foo{bar}{zap}",
    b"}{",
    b"{",
    b"a}b{c}d",
    b"\x00\xff{\x80}",
];

/// What somebody says the topology is.
#[derive(Debug, PartialEq, Eq)]
pub struct View {
    pub owners: Vec<Owner>,
    /// Everybody named, replicas too.
    pub known: BTreeSet<Address>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Owner {
    pub first: u16,
    pub last: u16,
    pub address: Address,
    /// The cluster's name for it, which it keeps when it comes back at another address.
    pub id: Option<String>,
}

/// Over a connection that lives.
pub async fn from_node(node: &Node) -> Option<View> {
    let reply = node.call(Op::Topology, slots_request()).await.ok()?;
    read_slots(&reply, &node.address)
}

/// Over a connection made for the question.
pub async fn from_stranger(shared: &Shared, address: &Address) -> Option<View> {
    let reply = ask(shared, address, shared.auth.as_ref(), &slots_request()).await?;
    read_slots(&reply, address)
}

pub async fn from_sentinel(shared: &Shared, address: &Address, master: &str, auth: Option<&Auth>) -> Option<View> {
    let question = Request::one(&[b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", master.as_bytes()]);
    let reply = ask(shared, address, auth, &question).await?;
    let Value::Array(parts) = reply else { return None };
    let [host, port] = parts.as_slice() else { return None };
    let primary = Address { host: text(host)?.to_owned(), port: text(port)?.parse().ok()? };
    let owner = Owner { first: 0, last: key::SLOTS - 1, address: primary, id: None };
    Some(View { owners: vec![owner], known: BTreeSet::new() })
}

/// Whether a node of a cluster computes the slots that we do; nothing if it would not say. A user that may not ask
/// leaves it open: then we go by the specification.
pub async fn agrees_on_slots(node: &Node) -> Option<bool> {
    let mut request = Request::default();
    for sample in SAMPLES {
        request.push(&[b"CLUSTER", b"KEYSLOT", sample]);
    }
    let Value::Array(replies) = node.call(Op::Topology, request).await.ok()? else { return None };
    let agrees = |(sample, reply): (&&[u8], &Value)| match reply {
        Value::Int(slot) => *slot == i64::from(key::slot_of(sample)),
        _ => true,
    };
    Some(SAMPLES.iter().zip(&replies).all(agrees))
}

fn slots_request() -> Request {
    Request::one(&[b"CLUSTER", b"SLOTS"])
}

async fn ask(shared: &Shared, address: &Address, auth: Option<&Auth>, question: &Request) -> Option<Value> {
    let conversation = async {
        let (mut wire, _) = connect::open(&*shared.dial, address, auth).await?;
        wire.ask(question).await?.pop().ok_or(ConnectError::Protocol)
    };
    match tokio::time::timeout(shared.connect_timeout, conversation).await.unwrap_or(Err(ConnectError::Timeout)) {
        Ok(reply) => Some(reply),
        Err(error) => {
            tracing::debug!(node = %address, %error, "cannot ask for the topology");
            None
        }
    }
}

fn read_slots(reply: &Value, asked: &Address) -> Option<View> {
    let Value::Array(ranges) = reply else { return None };
    let mut view = View { owners: Vec::new(), known: BTreeSet::new() };
    for range in ranges {
        let Value::Array(parts) = range else { return None };
        let [Value::Int(first), Value::Int(last), primary, replicas @ ..] = parts.as_slice() else { return None };
        let address = read_address(primary, asked)?;
        view.known.insert(address.clone());
        view.known.extend(replicas.iter().filter_map(|replica| read_address(replica, asked)));
        let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
        view.owners.push(Owner { first, last, address, id: read_id(primary) });
    }
    // A node that was just reset knows nobody: that is no view to go by.
    (!view.owners.is_empty()).then_some(view)
}

fn read_id(node: &Value) -> Option<String> {
    let Value::Array(parts) = node else { return None };
    parts.get(2).and_then(text).map(str::to_owned)
}

fn read_address(node: &Value, asked: &Address) -> Option<Address> {
    let Value::Array(parts) = node else { return None };
    let [host, Value::Int(port), ..] = parts.as_slice() else { return None };
    // A node that does not know its own name leaves it out: then it is the one we asked.
    let host = match text(host) {
        None | Some("" | "?") => &asked.host,
        Some(host) => host,
    };
    Some(Address { host: host.to_owned(), port: u16::try_from(*port).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str, port: u16) -> Address {
        Address { host: host.to_owned(), port }
    }

    #[test]
    fn a_slot_table_is_read() {
        let wire = "*2\r\n\
            *4\r\n:0\r\n:99\r\n*4\r\n$8\r\n10.0.0.1\r\n:6379\r\n$2\r\nid\r\n*0\r\n*3\r\n$8\r\n10.0.0.2\r\n:6380\r\n$2\r\nid\r\n\
            *3\r\n:100\r\n:16383\r\n*3\r\n$-1\r\n:6381\r\n$2\r\nid\r\n";
        let reply = redis::parse_redis_value(wire.as_bytes()).expect("a good reply");
        let view = read_slots(&reply, &address("asked", 1)).expect("a good view");
        let id = Some("id".to_owned());
        let owners = vec![
            Owner { first: 0, last: 99, address: address("10.0.0.1", 6379), id: id.clone() },
            Owner { first: 100, last: 16_383, address: address("asked", 6381), id },
        ];
        assert_eq!(view.owners, owners);
        assert!(view.known.contains(&address("10.0.0.2", 6380)));
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_no_view() {
        for wire in ["*0\r\n", "+OK\r\n", "*1\r\n*1\r\n:0\r\n", "*1\r\n*3\r\n:0\r\n:99999\r\n*2\r\n$1\r\na\r\n:1\r\n"] {
            let reply = redis::parse_redis_value(wire.as_bytes()).expect("a good reply");
            assert_eq!(read_slots(&reply, &address("asked", 1)), None, "{wire:?}");
        }
    }
}
