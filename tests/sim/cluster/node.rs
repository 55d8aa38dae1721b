//! One node: its server, its part in replication, and what it believes of the cluster.
//!
//! A primary writes whole entries to its stream; a replica applies them in order, late. `WAIT` looks at offsets, one
//! step for each command that changed something.

use std::collections::VecDeque;
use std::sync::Arc;

use hydrant::remote::Address;
use tokio_util::sync::CancellationToken;

use crate::cluster::slots::{Moves, Table};
use crate::redis::keyspace::Entry;
use crate::redis::server::Server;

pub struct Node {
    pub address: Address,
    pub server: Server,
    pub standing: Standing,
    pub role: Role,
    /// Which life of the process this is.
    pub run: u64,
    /// How much this node has written, or taken over from its primary.
    pub offset: u64,
    pub stream: VecDeque<Change>,
    /// What was last written to disk.
    pub snapshot: Server,
    /// The table this node goes by.
    pub view: Arc<Table>,
    pub moves: Moves,
    /// Connections end with it.
    pub life: CancellationToken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Up,
    /// Nothing is answered until then; connections stay.
    Hung,
    /// Alive, but has lost sight of the others for so long that it refuses to serve.
    Alone,
    Down,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Primary,
    Replica {
        of: usize,
        /// Where it is in the primary's stream; nothing while it waits for a copy of everything.
        follows: Follows,
        link: Link,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    Stream,
    /// From then on.
    CopyAt(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Up { lag: u64 },
    Cut,
}

/// What one command changed.
#[derive(Clone)]
pub struct Change {
    pub offset: u64,
    pub at: u64,
    pub entries: Arc<Vec<(Vec<u8>, Option<Entry>)>>,
    pub libraries: Option<Arc<std::collections::BTreeMap<String, Vec<u8>>>>,
}

impl Node {
    pub fn new(address: Address, role: Role, view: Arc<Table>, run: u64) -> Self {
        Self {
            address,
            server: Server::default(),
            standing: Standing::Up,
            role,
            run,
            offset: 0,
            stream: VecDeque::new(),
            snapshot: Server::default(),
            view,
            moves: Moves::default(),
            life: CancellationToken::new(),
        }
    }

    pub fn is_primary(&self) -> bool {
        self.role == Role::Primary
    }

    /// Puts what the server noted since the last call into the stream. Answers whether there was anything.
    pub fn publish(&mut self, now: u64, libraries_changed: bool) -> Vec<Vec<u8>> {
        let entries = self.server.keys.take_changes();
        if !self.is_primary() || (entries.is_empty() && !libraries_changed) {
            return Vec::new();
        }
        self.offset += 1;
        let changed = entries.iter().map(|(key, _)| key.clone()).collect();
        let libraries = libraries_changed.then(|| Arc::new(self.server.libraries.clone()));
        self.stream.push_back(Change { offset: self.offset, at: now, entries: Arc::new(entries), libraries });
        changed
    }

    /// What a replica does with its primary's stream.
    pub fn apply(&mut self, change: &Change) {
        self.server.keys.apply(&change.entries);
        if let Some(libraries) = &change.libraries {
            self.server.libraries = (**libraries).clone();
        }
        self.offset = change.offset;
    }
}
