//! What happens to a cluster: deaths, failovers, restarts from disk, slots that move, memory that runs out.

use hydrant::domain::key::slot_of;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::cluster::node::{Follows, Link, Role, Standing};
use crate::redis::server::Server;

impl Cluster {
    /// The indexes of the primaries that own slots, in truth.
    pub fn primaries(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|index| self.truth.owns_any(*index)).collect()
    }

    pub fn replicas_of(&self, primary: usize) -> Vec<usize> {
        let follows = |index: &usize| matches!(self.nodes[*index].role, Role::Replica { of, .. } if of == primary);
        (0..self.nodes.len()).filter(follows).collect()
    }

    /// kill -9: memory and connections are gone.
    pub fn kill(&mut self, index: usize) {
        self.settle();
        self.note(|| format!("node {index} is killed"));
        let node = &mut self.nodes[index];
        node.standing = Standing::Down;
        node.life.cancel();
    }

    pub fn stand(&mut self, index: usize, standing: Standing) {
        self.settle();
        self.note(|| format!("node {index} is {standing:?}"));
        self.nodes[index].standing = standing;
    }

    /// Drops every connection to a node, as `CLIENT KILL` does.
    pub fn disconnect(&mut self, index: usize) {
        self.note(|| format!("node {index} drops its connections"));
        let node = &mut self.nodes[index];
        node.life.cancel();
        node.life = CancellationToken::new();
    }

    /// A process that starts again with what its disk had, as what it was. Its replicas copy it.
    pub fn restart(&mut self, index: usize) {
        let now = self.settle();
        self.note(|| format!("node {index} starts again with its snapshot"));
        self.runs += 1;
        let run = self.runs;
        let node = &mut self.nodes[index];
        node.run = run;
        node.server = node.snapshot.clone();
        node.server.scripts.clear();
        node.stream.clear();
        node.offset = 0;
        node.standing = Standing::Up;
        node.life = CancellationToken::new();
        if let Role::Replica { of, link, .. } = node.role {
            node.role = Role::Replica { of, follows: Follows::CopyAt(now + 20), link };
        }
        for replica in self.replicas_of(index) {
            self.follow_anew(replica, index, now + 20);
        }
        for key in self.checker.watched().into_iter().filter(|key| self.truth.owner(slot_of(key)) == index) {
            if let Some(back) = self.read(&key).cloned() {
                self.checker.excuse(&key, back);
            }
        }
        self.look_at_all();
    }

    /// Every primary writes its snapshot.
    pub fn save(&mut self) {
        let now = self.settle();
        for node in &mut self.nodes {
            node.server.keys.now = now;
            node.snapshot = node.server.clone();
        }
    }

    /// A replica takes its primary's place with what it has. The others hear of it when `hears_at` says.
    pub fn promote(&mut self, index: usize, hears_at: impl FnMut(usize) -> u64) {
        let now = self.settle();
        let Role::Replica { of, .. } = self.nodes[index].role else { return };
        let (had, has) = (self.nodes[of].offset, self.nodes[index].offset);
        self.note(|| format!("node {index} takes the place of {of}, {} changes behind", had.saturating_sub(has)));
        let siblings: Vec<usize> = self.replicas_of(of).into_iter().filter(|sibling| *sibling != index).collect();
        let node = &mut self.nodes[index];
        node.role = Role::Primary;
        node.stream.clear();
        // What was under way here is forgotten: a replica knows of no moves.
        node.moves = Default::default();
        let truth = self.truth.with_heir(of, index);
        self.announce(truth, &[index], hears_at);
        for sibling in siblings {
            self.follow_anew(sibling, index, now + 10);
        }
        self.look_at_all();
    }

    /// The replica is given everything first: what `CLUSTER FAILOVER` does.
    pub fn hand_over(&mut self, index: usize, hears_at: impl FnMut(usize) -> u64) {
        let Role::Replica { of, follows: Follows::Stream, .. } = self.nodes[index].role else { return };
        self.replicate(u64::MAX);
        if self.nodes[index].offset == self.nodes[of].offset {
            self.promote(index, hears_at);
        }
    }

    pub(super) fn follow_anew(&mut self, replica: usize, of: usize, when: u64) {
        let link = match self.nodes[replica].role {
            Role::Replica { link, .. } => link,
            Role::Primary => Link::Up { lag: 1 },
        };
        self.nodes[replica].role = Role::Replica { of, follows: Follows::CopyAt(when), link };
    }

    pub fn set_link(&mut self, replica: usize, new: Link) {
        self.settle();
        if let Role::Replica { of, follows, .. } = self.nodes[replica].role {
            self.note(|| format!("node {replica} is linked to {of}: {new:?}"));
            self.nodes[replica].role = Role::Replica { of, follows, link: new };
        }
    }

    /// Some keys that have an end go, as when memory runs out under a `volatile-*` policy.
    pub fn evict(&mut self, index: usize, mut chosen: impl FnMut() -> bool) {
        let now = self.settle();
        let node = &mut self.nodes[index];
        node.server.keys.now = now;
        let mortal = node.server.keys.keys().filter(|(_, entry)| entry.ends.is_some());
        let gone: Vec<Vec<u8>> = mortal.map(|(key, _)| key.clone()).filter(|_| chosen()).collect();
        gone.iter().for_each(|key| {
            node.server.keys.remove(key);
        });
        let changed = node.publish(now, false);
        self.note(|| format!("node {index} evicts {} keys", gone.len()));
        self.look_at(&changed);
    }

    /// One command that an operator gives a node, such as `FUNCTION FLUSH`.
    pub fn command(&mut self, index: usize, words: &[&str]) {
        self.note(|| format!("node {index} is told {}", words.join(" ")));
        let words = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        self.execute(index, &mut Default::default(), &words);
    }

    pub fn begin_move(&mut self, slot: u16, to: usize) {
        self.settle();
        let from = self.truth.owner(slot);
        self.note(|| format!("slot {slot} begins to move from {from} to {to}"));
        self.nodes[to].moves.into.insert(slot, from);
        self.nodes[from].moves.out.insert(slot, to);
    }

    /// Moves one key of the slot; answers whether there was one.
    pub fn move_key(&mut self, slot: u16) -> bool {
        let now = self.settle();
        let from = self.truth.owner(slot);
        let Some(to) = self.nodes[from].moves.out.get(&slot).copied() else { return false };
        let source: &mut Server = &mut self.nodes[from].server;
        source.keys.now = now;
        let mut keys = source.keys.keys().filter(|(key, _)| slot_of(key) == slot);
        let Some((key, entry)) = keys.next().map(|(key, entry)| (key.clone(), entry.clone())) else { return false };
        drop(keys);
        source.keys.remove(&key);
        self.nodes[to].server.keys.now = now;
        self.nodes[to].server.keys.put(&key, entry);
        self.nodes[from].publish(now, false);
        self.nodes[to].publish(now, false);
        self.look_at(&[key]);
        true
    }

    /// The slot has moved: both ends are told, the others hear of it.
    pub fn end_move(&mut self, slot: u16, hears_at: impl FnMut(usize) -> u64) {
        self.settle();
        let from = self.truth.owner(slot);
        let Some(to) = self.nodes[from].moves.out.get(&slot).copied() else { return };
        self.note(|| format!("slot {slot} has moved to {to}"));
        let truth = self.truth.with_slot(slot, to);
        self.announce(truth, &[from, to], hears_at);
        self.look_at_all();
    }
}
