//! A Redis Cluster in memory: nodes, replication, slots, and what a connection is answered.
//!
//! Everything happens under one lock, one command at a time; delays and broken links are `net.rs`'s. The cluster knows
//! the truth (`truth`: who is a primary now), and each node only what it has heard, so that redirects, old primaries and
//! slots on their way are what they are in reality. After every change the checker looks at what an app would read.

mod changes;
pub mod node;
mod replication;
pub mod slots;

use std::collections::BTreeSet;
use std::sync::Arc;

use hydrant::domain::key::slot_of;
use hydrant::remote::Address;
use tokio::time::Instant;

use crate::checker::Checker;
use crate::cluster::node::{Follows, Link, Node, Role, Standing};
use crate::cluster::slots::{Route, Table, route};
use crate::log::Log;
use crate::redis::commands::integer;
use crate::redis::keyspace::Data;
use crate::redis::lua::Engine;
use crate::redis::server::Server;
use crate::redis::wire::{Reply, Words};

/// Calendar time at the start of every run, in milliseconds.
pub const EPOCH: u64 = 1_700_000_000_000;

/// Keys that one step of a scan answers: so few that fills commit between its steps.
const SCAN_PAGE: usize = 4;

pub struct Cluster {
    pub nodes: Vec<Node>,
    pub truth: Arc<Table>,
    pub rules: Rules,
    pub checker: Checker,
    pub log: Log,
    /// Commands that somebody sent and that the simulation does not know: a run that has any has failed.
    pub unknown: BTreeSet<String>,
    engine: Engine,
    started: Instant,
    runs: u64,
    /// Nodes that will hear of a new table: when, who, which.
    rumours: Vec<(u64, usize, Arc<Table>)>,
}

/// What differs between versions of Redis.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// From 7.2 on only a command that changed something moves the offset that `WAIT` looks at.
    pub waits_for: WaitsFor,
    /// The version in the greeting: before 7 there are scripts in place of functions.
    pub version: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    AnyCommand,
    OwnChange,
}

/// What a node remembers of one connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Session {
    asking: bool,
    offset: u64,
}

pub enum Answer {
    Now(Reply),
    /// Until so many replicas have got so far, or until the time is over.
    Wait {
        replicas: usize,
        offset: u64,
        until: u64,
    },
}

impl Cluster {
    /// Shards of one primary and so many replicas.
    pub fn new(shards: usize, replicas: usize, rules: Rules) -> Self {
        let primaries: Vec<usize> = (0..shards).collect();
        let truth = Arc::new(Table::even(&primaries));
        let role = |index: usize| match index < shards {
            true => Role::Primary,
            false => Role::Replica { of: index % shards, follows: Follows::Stream, link: Link::Up { lag: 1 } },
        };
        let nodes = (0..shards * (1 + replicas)).map(|index| {
            let address = Address { host: "redis".to_owned(), port: 7_000 + index as u16 };
            Node::new(address, role(index), truth.clone(), index as u64)
        });
        Self {
            nodes: nodes.collect(),
            truth,
            rules,
            checker: Checker::default(),
            log: Log::default(),
            unknown: BTreeSet::new(),
            engine: Engine::new(),
            started: Instant::now(),
            runs: 1_000,
            rumours: Vec::new(),
        }
    }

    pub fn now(&self) -> u64 {
        EPOCH + self.started.elapsed().as_millis() as u64
    }

    pub fn node_at(&self, address: &Address) -> Option<usize> {
        self.nodes.iter().position(|node| node.address == *address)
    }

    /// Lets time have its effect: replicas apply, nodes hear of tables.
    pub fn settle(&mut self) -> u64 {
        let now = self.now();
        self.spread_rumours(now);
        self.replicate(now);
        now
    }

    /// One command on one connection.
    pub fn execute(&mut self, index: usize, session: &mut Session, words: &Words) -> Answer {
        let now = self.settle();
        self.nodes[index].server.keys.now = now;
        self.nodes[index].server.keys.page = Some(SCAN_PAGE);
        let name = words[0].to_ascii_uppercase();
        let asking = std::mem::take(&mut session.asking);
        if name == b"WAIT" {
            return self.wait(index, session, words, now);
        }
        let reply = match name.as_slice() {
            b"HELLO" => self.hello(index),
            b"AUTH" | b"CLIENT" | b"READWRITE" => Reply::ok(),
            b"ASKING" => {
                session.asking = true;
                Reply::ok()
            }
            b"CLUSTER" => self.about_cluster(index, words),
            b"INFO" => self.info(index),
            b"PUBLISH" | b"SPUBLISH" => Reply::Int(0),
            _ => self.serve(index, asking, words, now),
        };
        let node = &mut self.nodes[index];
        let libraries_changed = name == b"FUNCTION" && !matches!(reply, Reply::Error(_));
        let changed = node.publish(now, libraries_changed);
        if !changed.is_empty() || libraries_changed || self.rules.waits_for == WaitsFor::AnyCommand {
            session.offset = node.offset;
        }
        self.look_at(&changed);
        Answer::Now(reply)
    }

    /// How many replicas have got so far; nothing where the node is no primary any more.
    pub fn reached(&mut self, index: usize, offset: u64) -> Option<usize> {
        self.settle();
        self.nodes[index].is_primary().then(|| {
            let has_it = |node: &&Node| {
                matches!(node.role, Role::Replica { of, follows: Follows::Stream, .. } if of == index)
                    && node.offset >= offset
            };
            self.nodes.iter().filter(has_it).count()
        })
    }

    /// The value that an app's client finds now, which follows the truth and `ASK`.
    pub fn read(&self, key: &[u8]) -> Option<&Data> {
        let slot = slot_of(key);
        let owner = &self.nodes[self.truth.owner(slot)];
        if owner.standing == Standing::Down {
            return None;
        }
        let here = owner.server.keys.peek_at(key, self.now());
        here.or_else(|| self.nodes[*owner.moves.out.get(&slot)?].server.keys.peek_at(key, self.now()))
    }

    /// How many intents the journal holds, in truth.
    pub fn intents(&self) -> usize {
        let owners = self.primaries();
        let keys = owners.iter().flat_map(|owner| self.nodes[*owner].server.keys.keys());
        keys.map(|(_, entry)| match &entry.data {
            Data::Stream(stream) => stream.entries.len(),
            Data::Text(_) | Data::Hash(_) | Data::Scored(_) => 0,
        })
        .sum()
    }

    pub fn note(&mut self, what: impl FnOnce() -> String) {
        let at = self.now() - EPOCH;
        self.log.note(at, what);
    }

    fn serve(&mut self, index: usize, asking: bool, words: &Words, _now: u64) -> Reply {
        let keys = Server::keys_of(words);
        let node = &self.nodes[index];
        if !keys.is_empty() && node.standing == Standing::Alone {
            return Reply::Error("CLUSTERDOWN The cluster is down".to_owned());
        }
        let at = |index: usize| self.nodes[index].address.to_string();
        match route(index, &node.view, &node.moves, &node.server, &keys, asking) {
            Route::Here => {}
            Route::Moved(slot, to) => return Reply::Error(format!("MOVED {slot} {}", at(to))),
            Route::Ask(slot, to) => return Reply::Error(format!("ASK {slot} {}", at(to))),
            Route::TryAgain => {
                return Reply::Error("TRYAGAIN Multiple keys request during rehashing of slot".to_owned());
            }
            Route::CrossSlot => {
                self.unknown.insert("a command across slots".to_owned());
                return Reply::Error("CROSSSLOT Keys in request don't hash to the same slot".to_owned());
            }
        }
        let writes_anyway = [&b"FUNCTION"[..], b"FLUSHALL"].iter().any(|name| words[0].eq_ignore_ascii_case(name));
        if !node.is_primary() && (writes_anyway || !keys.is_empty()) {
            return Reply::Error("READONLY You can't write against a read only replica.".to_owned());
        }
        let node = &mut self.nodes[index];
        match node.server.execute(&mut self.engine, words) {
            Some(reply) => reply,
            None => {
                let name = String::from_utf8_lossy(&words[0]).into_owned();
                self.unknown.insert(name.clone());
                Reply::Error(format!("ERR unknown command '{name}'"))
            }
        }
    }

    fn wait(&mut self, index: usize, session: &Session, words: &Words, now: u64) -> Answer {
        if !self.nodes[index].is_primary() {
            return Answer::Now(Reply::Error("ERR WAIT cannot be used with replica instances.".to_owned()));
        }
        let number = |at: usize| words.get(at).and_then(|word| integer::<u64>(word).ok()).unwrap_or(0);
        // No time means for ever; a minute is.
        let time = if number(2) == 0 { 60_000 } else { number(2) };
        Answer::Wait { replicas: number(1) as usize, offset: session.offset, until: now + time }
    }

    fn hello(&self, index: usize) -> Reply {
        let role = if self.nodes[index].is_primary() { "master" } else { "replica" };
        let fields =
            [("server", "redis"), ("version", self.rules.version), ("proto", "3"), ("mode", "cluster"), ("role", role)];
        Reply::Map(fields.map(|(name, value)| (Reply::text(name), Reply::text(value))).to_vec())
    }

    fn info(&self, index: usize) -> Reply {
        let node = &self.nodes[index];
        let role = if node.is_primary() { "master" } else { "slave" };
        Reply::text(format!(
            "# Server\r\nredis_version:{}\r\nrun_id:{:040x}\r\n# Replication\r\nrole:{role}\r\n",
            self.rules.version, node.run
        ))
    }

    fn about_cluster(&mut self, index: usize, words: &Words) -> Reply {
        match words.get(1).map(|word| word.to_ascii_uppercase()).as_deref() {
            Some(b"SLOTS") => self.slots(index),
            Some(b"KEYSLOT") => Reply::Int(i64::from(slot_of(words.get(2).map_or(&[][..], Vec::as_slice)))),
            _ => {
                let words: Vec<_> = words.iter().take(2).map(|word| String::from_utf8_lossy(word)).collect();
                self.unknown.insert(words.join(" "));
                Reply::Error("ERR unknown subcommand".to_owned())
            }
        }
    }

    fn slots(&self, index: usize) -> Reply {
        let shown = |node: usize| {
            let Address { host, port } = &self.nodes[node].address;
            Reply::Array(vec![
                Reply::text(host.clone()),
                Reply::Int(i64::from(*port)),
                Reply::text(format!("{node:040x}")),
                Reply::Array(Vec::new()),
            ])
        };
        let replicas = |owner: usize| {
            let of_owner = move |node: &Node| matches!(node.role, Role::Replica { of, .. } if of == owner);
            self.nodes.iter().enumerate().filter(move |(_, node)| of_owner(node)).map(|(index, _)| index)
        };
        let ranges = self.nodes[index].view.ranges.iter().map(|range| {
            let bounds = [Reply::Int(i64::from(range.first)), Reply::Int(i64::from(range.last)), shown(range.owner)];
            Reply::Array(bounds.into_iter().chain(replicas(range.owner).map(shown)).collect())
        });
        Reply::Array(ranges.collect())
    }

    /// From now on nothing older may be read of the member, what stands there now included.
    pub fn acknowledge(&mut self, id: &str, version: u64) {
        self.settle();
        let keys = self.checker.acknowledge(id, version);
        self.look_at(&keys);
    }

    /// What an app would read now although it must not, whatever was excused.
    pub fn what_is_wrong(&mut self) -> Vec<String> {
        self.settle();
        let keys = self.checker.watched();
        keys.iter().filter_map(|key| self.checker.wrong(key, self.read(key))).collect()
    }

    /// Shows the checker what an app would now read at these keys.
    fn look_at(&mut self, keys: &[Vec<u8>]) {
        for key in keys {
            if self.checker.watches(key) {
                let found = self.read(key).cloned();
                let at = self.now() - EPOCH;
                self.checker.saw(&mut self.log, at, key, found.as_ref());
            }
        }
    }

    /// The same for every key there is, after something that concerns many.
    pub fn look_at_all(&mut self) {
        self.look_at(&self.checker.watched());
    }
}
