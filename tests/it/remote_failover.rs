//! The failover table as tests: what becomes of the shard that is hit, and of those that are not.
//!
//! Every call to a healthy shard has to succeed, all the time; a call that outlived its deadline would have failed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hydrant::domain::store::{Committed, Store, StoreState};
use hydrant::remote::{Config, Mode};

use crate::support::redis::RedisCluster;
use crate::support::store::{Rig, TTL, claim, commit, config, fill, key, miss, value};
use crate::support::wait::until;

/// Long enough for a machine that builds three things at once; the cluster's own failover takes seconds.
const DEADLINE: Duration = Duration::from_millis(500);

async fn rig(cluster: &RedisCluster) -> Rig {
    Rig::up(Config { deadline: DEADLINE, ..config(Mode::Cluster { seeds: cluster.seeds() }) }).await
}

/// Fills, reads and removes on one shard until told to stop; answers how often.
async fn works_all_along(rig: &Rig, cluster: &RedisCluster, primary: usize, stop: &AtomicBool) -> u64 {
    let key = key(cluster.key_of(primary, "healthy:"));
    let mut rounds = 0;
    while !stop.load(Ordering::Relaxed) {
        assert_eq!(fill(&*rig.store, &key, "v").await, Ok(Committed::Written), "shard {primary}, round {rounds}");
        assert_eq!(value(&*rig.store, &key).await.as_deref(), Some("v"), "shard {primary}, round {rounds}");
        assert_eq!(rig.store.remove(std::slice::from_ref(&key)).await, Ok(1), "shard {primary}, round {rounds}");
        rounds += 1;
        // tidy: waits because it paces the calls of a loop that ends with the fault
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    rounds
}

/// The first shard comes back under its replica, while the two others never falter.
async fn the_first_shard_comes_back(rig: &Rig, cluster: &RedisCluster) {
    let victim = key(cluster.key_of(0, "victim:"));
    let (stop, failed) = (AtomicBool::new(false), AtomicU64::new(0));
    let hit = async {
        until("fills on the shard that was hit", async || {
            let filled = fill(&*rig.store, &victim, "v").await;
            failed.fetch_add(u64::from(filled.is_err()), Ordering::Relaxed);
            filled == Ok(Committed::Written)
        })
        .await;
        stop.store(true, Ordering::Relaxed);
    };
    let (first, second) = (works_all_along(rig, cluster, 1, &stop), works_all_along(rig, cluster, 2, &stop));
    let ((), first, second) = tokio::join!(hit, first, second);
    assert!(failed.load(Ordering::Relaxed) > 0, "the fault was felt");
    assert!(first > 100 && second > 100, "{first} and {second} rounds on the healthy shards");
    let owner = cluster.nodes[3].address();
    assert!(rig.store.health().iter().any(|node| node.address == owner), "the replica took over");
}

#[tokio::test]
async fn a_dead_primary_is_replaced() {
    let mut cluster = RedisCluster::start().await;
    let rig = rig(&cluster).await;
    let held_key = key(cluster.key_of(0, "held:"));
    let held = claim(&*rig.store, miss(&held_key)).await;
    cluster.nodes[0].kill();
    the_first_shard_comes_back(&rig, &cluster).await;
    assert_eq!(commit(held, "v", TTL).await, Ok(Committed::Fenced), "taken on the dead primary");
    assert_eq!(value(&*rig.store, &held_key).await, None);

    // It comes back as a replica, and nobody minds.
    cluster.nodes[0].restart().await;
    cluster.wait_until_well().await;
    rig.wait_until_up().await;
}

#[tokio::test]
async fn a_hung_primary_is_replaced() {
    let cluster = RedisCluster::start().await;
    let rig = rig(&cluster).await;
    let held_key = key(cluster.key_of(0, "held:"));
    let held = claim(&*rig.store, miss(&held_key)).await;
    cluster.nodes[0].hang();
    the_first_shard_comes_back(&rig, &cluster).await;
    cluster.nodes[0].resume();
    assert_eq!(commit(held, "v", TTL).await, Ok(Committed::Fenced), "its connection was given up");
    cluster.wait_until_well().await;
    rig.wait_until_up().await;
}

#[tokio::test]
async fn a_planned_failover_is_followed() {
    let cluster = RedisCluster::start().await;
    let rig = rig(&cluster).await;
    let held = claim(&*rig.store, miss(&key(cluster.key_of(0, "held:")))).await;
    cluster.nodes[3].command(&["CLUSTER", "FAILOVER"]);
    let owner = cluster.nodes[3].address();
    let victim = key(cluster.key_of(0, "victim:"));
    until("a store at the new primary", async || {
        let _ = fill(&*rig.store, &victim, "v").await;
        rig.store.health().iter().any(|node| node.address == owner)
    })
    .await;
    // Refused by a replica, or void because the connection was given up: never written.
    assert_ne!(commit(held, "v", TTL).await, Ok(Committed::Written));
    until("fills at the new primary", async || {
        rig.store.remove(std::slice::from_ref(&victim)).await.is_ok()
            && fill(&*rig.store, &victim, "v").await == Ok(Committed::Written)
    })
    .await;
}

#[tokio::test]
async fn all_nodes_down_and_back() {
    let mut cluster = RedisCluster::start().await;
    let rig = rig(&cluster).await;
    cluster.nodes.iter_mut().for_each(|node| node.kill());
    let victim = key(cluster.key_of(0, "victim:"));
    until("a store that is down", async || rig.store.state() == StoreState::Down).await;

    let failed = "hydrant_redis_connects_total{outcome=\"failed\"}";
    let asked = "hydrant_redis_topology_refreshes_total{outcome=\"failed\"}";
    let before = (rig.metric(failed), rig.metric(asked));
    let outage = tokio::time::Instant::now();
    while outage.elapsed() < Duration::from_secs(4) {
        // Callers go on asking; that must not make more connections.
        fill(&*rig.store, &victim, "v").await.expect_err("down");
        // tidy: waits because it paces the calls of a loop that ends with the fault
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let tries = (rig.metric(failed) - before.0, rig.metric(asked) - before.1);
    assert!(tries.0 <= 60 && tries.1 <= 40, "no storm: {tries:?} tries in four seconds");

    for node in &mut cluster.nodes {
        node.restart().await;
    }
    cluster.wait_until_well().await;
    rig.wait_until_up().await;
    for primary in 0..3 {
        let key = key(cluster.key_of(primary, "back:"));
        until("fills again", async || fill(&*rig.store, &key, "v").await == Ok(Committed::Written)).await;
    }
}
