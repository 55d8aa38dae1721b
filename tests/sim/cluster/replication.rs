//! How replicas keep up, and how news of who owns what goes round.

use std::sync::Arc;

use crate::cluster::Cluster;
use crate::cluster::node::{Change, Follows, Link, Role, Standing};
use crate::cluster::slots::Table;

impl Cluster {
    /// Every replica takes over what is old enough to have reached it.
    pub(super) fn replicate(&mut self, now: u64) {
        for index in 0..self.nodes.len() {
            let Role::Replica { of, follows, link: Link::Up { lag } } = self.nodes[index].role else { continue };
            if self.nodes[of].standing == Standing::Down || self.nodes[index].standing == Standing::Down {
                continue;
            }
            // Whoever replicates a replica waits until that one is a primary, or until it is told another.
            if !self.nodes[of].is_primary() {
                continue;
            }
            match follows {
                Follows::Stream => self.follow(index, of, now.saturating_sub(lag)),
                Follows::CopyAt(when) if when <= now => self.copy_all(index, of, lag),
                Follows::CopyAt(_) => {}
            }
        }
    }

    fn follow(&mut self, index: usize, of: usize, written_by: u64) {
        let have = self.nodes[index].offset;
        let primary = &self.nodes[of];
        let skip = primary.stream.partition_point(|change| change.offset <= have);
        let due: Vec<Change> =
            primary.stream.iter().skip(skip).take_while(|change| change.at <= written_by).cloned().collect();
        due.iter().for_each(|change| self.nodes[index].apply(change));
    }

    fn copy_all(&mut self, index: usize, of: usize, lag: u64) {
        let (server, offset) = (self.nodes[of].server.clone(), self.nodes[of].offset);
        let node = &mut self.nodes[index];
        let is_full = node.server.is_full;
        node.server = server;
        node.server.is_full = is_full;
        node.server.scripts.clear();
        node.offset = offset;
        node.role = Role::Replica { of, follows: Follows::Stream, link: Link::Up { lag } };
    }

    /// A new truth, which some know at once and the others hear of, each at its time.
    pub(super) fn announce(&mut self, truth: Table, at_once: &[usize], mut hears_at: impl FnMut(usize) -> u64) {
        self.truth = Arc::new(truth);
        for index in 0..self.nodes.len() {
            let when = if at_once.contains(&index) { 0 } else { hears_at(index) };
            self.rumours.push((when, index, self.truth.clone()));
        }
        let now = self.now();
        self.spread_rumours(now);
    }

    pub(super) fn spread_rumours(&mut self, now: u64) {
        let mut rumours = std::mem::take(&mut self.rumours);
        rumours.retain(|(when, index, table)| {
            let hears = *when <= now && matches!(self.nodes[*index].standing, Standing::Up | Standing::Alone);
            if hears {
                self.hear(*index, table.clone(), now);
            }
            !hears
        });
        self.rumours = rumours;
    }

    /// A node learns a table. Where its primary owns nothing any more, or it was that itself, it follows the heir.
    fn hear(&mut self, index: usize, table: Arc<Table>, now: u64) {
        if table.epoch <= self.nodes[index].view.epoch {
            return;
        }
        let old = std::mem::replace(&mut self.nodes[index].view, table.clone());
        self.nodes[index].moves.out.retain(|slot, _| table.owner(*slot) == index);
        self.nodes[index].moves.into.retain(|slot, _| table.owner(*slot) != index);
        if self.nodes[index].standing == Standing::Alone {
            self.nodes[index].standing = Standing::Up;
        }
        let master = match self.nodes[index].role {
            Role::Primary => index,
            Role::Replica { of, .. } => of,
        };
        let heir = old.ranges.iter().find(|range| range.owner == master).map(|range| table.owner(range.first));
        match heir.filter(|heir| *heir != index && !table.owns_any(master)) {
            Some(heir) => {
                self.note(|| format!("node {index} becomes a replica of {heir}"));
                self.nodes[index].stream.clear();
                self.follow_anew(index, heir, now + 20);
            }
            None => self.drop_foreign_keys(index),
        }
    }

    /// A primary that has lost a slot drops what it still has of it.
    fn drop_foreign_keys(&mut self, index: usize) {
        let now = self.now();
        let node = &mut self.nodes[index];
        if !node.is_primary() {
            return;
        }
        let foreign = |key: &[u8]| {
            let slot = hydrant::domain::key::slot_of(key);
            node.view.owner(slot) != index && !node.moves.into.contains_key(&slot)
        };
        let gone: Vec<Vec<u8>> =
            node.server.keys.keys().map(|(key, _)| key.clone()).filter(|key| foreign(key)).collect();
        gone.iter().for_each(|key| {
            node.server.keys.remove(key);
        });
        node.publish(now, false);
    }
}
