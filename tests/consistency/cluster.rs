//! Three primaries and three replicas, their roles as they are now, and what is needed to make them well again after a
//! fault. Roles change in a run, so nothing here remembers who was a primary.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hydrant::domain::key::SLOTS;
use redis::Value;
use tokio::time::{Instant, sleep};

use crate::net::{NODES, Net};
use crate::node::Node;
use crate::support::wait::until;

pub struct Cluster {
    pub nodes: Vec<Node>,
    /// The servers' names for themselves, in the nodes' order.
    ids: Vec<String>,
}

/// A primary as the others see it.
#[derive(Clone, Debug)]
pub struct Shard {
    pub primary: usize,
    pub replicas: Vec<usize>,
}

const PRIMARIES: usize = 3;
/// A failover and a full resynchronisation on a machine that does much else.
const REPAIR: Duration = Duration::from_secs(40);

impl Cluster {
    pub async fn start(net: &Arc<Net>) -> Self {
        let nodes: Vec<Node> = (0..NODES).map(|number| Node::start(number, net.clone())).collect();
        let mut ids = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            node.wait_until_up().await;
            ids.push(node.text(&["CLUSTER", "MYID"]).await);
            said(node, &["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]).await;
            if index < PRIMARIES {
                let share = |index: usize| usize::from(SLOTS) * index / PRIMARIES;
                let (first, last) = (share(index).to_string(), (share(index + 1) - 1).to_string());
                said(node, &["CLUSTER", "ADDSLOTSRANGE", &first, &last]).await;
            }
        }
        for node in &nodes[1..] {
            let [ip, port, bus] = node.meeting_point();
            said(&nodes[0], &["CLUSTER", "MEET", &ip, &port, &bus]).await;
        }
        let cluster = Self { nodes, ids };
        for node in &cluster.nodes {
            until("everybody knows everybody", async || {
                node.text(&["CLUSTER", "INFO"]).await.contains("known_nodes:6")
            })
            .await;
        }
        for index in PRIMARIES..NODES {
            until("a node that may replicate", async || {
                cluster.nodes[index].command(&["CLUSTER", "REPLICATE", &cluster.ids[index - PRIMARIES]]).await.is_ok()
            })
            .await;
        }
        cluster.repair().await.expect("a new cluster becomes well");
        cluster
    }

    /// The primaries that own slots, as most of the nodes that answer see it.
    pub async fn shards(&self) -> Vec<Shard> {
        let mut views: Vec<(usize, String)> = Vec::new();
        for node in self.nodes.iter().filter(|node| node.is_running()) {
            let text = node.text(&["CLUSTER", "NODES"]).await;
            views.push((text.lines().filter(|line| !line.contains("fail")).count(), text));
        }
        // Whoever is cut off sees the fewest that are well.
        let best = views.into_iter().max_by_key(|(well, _)| *well).map(|(_, text)| text).unwrap_or_default();
        self.read_shards(&best)
    }

    pub fn id(&self, node: usize) -> &str {
        &self.ids[node]
    }

    /// Starts what is down and waits until three primaries own everything, each with a replica that follows.
    pub async fn repair(&self) -> Result<(), String> {
        let end = Instant::now() + REPAIR;
        loop {
            for node in self.nodes.iter().filter(|node| !node.is_running()) {
                node.launch();
            }
            let trouble = match self.trouble().await {
                None => return Ok(()),
                Some(trouble) => trouble,
            };
            if Instant::now() > end {
                return Err(format!("the cluster did not become well: {trouble}"));
            }
            // tidy: waits because it looks again and again, with a bound
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn trouble(&self) -> Option<String> {
        let shards = self.shards().await;
        if shards.len() != PRIMARIES || shards.iter().any(|shard| shard.replicas.len() != 1) {
            return Some(format!("shards are {shards:?}"));
        }
        for node in &self.nodes {
            let info = node.text(&["CLUSTER", "INFO"]).await;
            if !info.contains("cluster_state:ok") || !info.contains("cluster_slots_ok:16384") {
                return Some(format!("node {} does not call the cluster well", node.number));
            }
            let agreed = self.read_shards(&node.text(&["CLUSTER", "NODES"]).await);
            let primaries = |shards: &[Shard]| shards.iter().map(|shard| shard.primary).collect::<Vec<_>>();
            if primaries(&agreed) != primaries(&shards) {
                return Some(format!("node {} sees other primaries", node.number));
            }
        }
        for replica in shards.iter().flat_map(|shard| &shard.replicas) {
            let info = self.nodes[*replica].text(&["INFO", "replication"]).await;
            if !info.contains("role:slave") || !info.contains("master_link_status:up") {
                return Some(format!("replica {replica} does not follow"));
            }
        }
        for Shard { primary, .. } in &shards {
            // Up to a second later than its replica says so, a primary counts it for `WAIT`.
            if !self.nodes[*primary].text(&["INFO", "replication"]).await.contains("state=online") {
                return Some(format!("node {primary} does not count its replica yet"));
            }
        }
        None
    }

    /// `CLUSTER NODES`: id, address, flags, primary, three times, link, slots.
    fn read_shards(&self, text: &str) -> Vec<Shard> {
        let mut shards: BTreeMap<usize, Shard> = BTreeMap::new();
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
        let known = |id: &str| self.ids.iter().position(|known| known == id);
        for row in rows.iter().filter(|row| row.len() > 8 && row[2].contains("master") && !row[2].contains("fail")) {
            let Some(primary) = known(row[0]) else { continue };
            shards.insert(primary, Shard { primary, replicas: Vec::new() });
        }
        for row in rows.iter().filter(|row| row.len() > 7 && row[2].contains("slave") && !row[2].contains("fail")) {
            if let (Some(replica), Some(primary)) = (known(row[0]), known(row[3]))
                && let Some(shard) = shards.get_mut(&primary)
            {
                shard.replicas.push(replica);
            }
        }
        shards.into_values().collect()
    }

    pub async fn flush(&self) {
        for shard in self.shards().await {
            // One that fails leaves something to be found, which is the safe way to be wrong.
            let _ = self.nodes[shard.primary].command(&["FLUSHALL"]).await;
        }
    }

    /// Every key of every primary with this beginning.
    pub async fn keys(&self, prefix: &str) -> Vec<(usize, Vec<u8>)> {
        let mut found = Vec::new();
        for shard in self.shards().await {
            let keys = self.nodes[shard.primary].command(&["KEYS", &format!("{prefix}*")]).await;
            let keys = keys.and_then(|keys| Ok(redis::from_redis_value::<Vec<Vec<u8>>>(keys)?)).unwrap_or_default();
            found.extend(keys.into_iter().map(|key| (shard.primary, key)));
        }
        found
    }
}

async fn said(node: &Node, parts: &[&str]) -> Value {
    node.command(parts).await.unwrap_or_else(|error| panic!("{parts:?}: {error}"))
}
