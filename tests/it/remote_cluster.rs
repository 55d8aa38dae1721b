//! A cluster while its slots move.

use std::time::Duration;

use hydrant::domain::key::{Key, Sibling, slot_of};
use hydrant::domain::member_version::Version;
use hydrant::domain::random::Random;
use hydrant::domain::removal::{Erasure, Mark, Removal};
use hydrant::domain::store::{Claimed, Committed, Confirmed, Refusal, Rules, Store, StoreError, Write};
use hydrant::remote::{Config, Mode};

use crate::support::redis::{RedisCluster, RedisServer};
use crate::support::store::{Rig, TTL, claim, claim_error, commit, config, fill, key, miss, refresh, value};
use crate::support::wait::until;

/// One slot on its way from the first primary to the second.
struct Migration<'a> {
    cluster: &'a RedisCluster,
    slot: String,
}

impl<'a> Migration<'a> {
    fn begin(cluster: &'a RedisCluster, slot: u16) -> Self {
        let migration = Self { cluster, slot: slot.to_string() };
        let (from, to) = (migration.from().text(&["CLUSTER", "MYID"]), migration.to().text(&["CLUSTER", "MYID"]));
        migration.to().command(&["CLUSTER", "SETSLOT", &migration.slot, "IMPORTING", &from]);
        migration.from().command(&["CLUSTER", "SETSLOT", &migration.slot, "MIGRATING", &to]);
        migration
    }

    fn from(&self) -> &RedisServer {
        &self.cluster.nodes[0]
    }

    fn to(&self) -> &RedisServer {
        &self.cluster.nodes[1]
    }

    fn carry(&self, key: &[u8]) {
        let port = self.to().port.to_string();
        self.from().command(&[&b"MIGRATE"[..], b"127.0.0.1", port.as_bytes(), key, b"0", b"1000"]);
    }

    fn end(self) {
        let to = self.to().text(&["CLUSTER", "MYID"]);
        for node in [self.to(), self.from(), &self.cluster.nodes[2]] {
            node.command(&["CLUSTER", "SETSLOT", &self.slot, "NODE", &to]);
        }
    }
}

/// Keys of one slot of the first primary, each with a brace, so that their siblings are built from the table.
fn keys(cluster: &RedisCluster, prefix: &str, names: &[&str]) -> Vec<Key> {
    let tag = cluster.key_of(0, prefix);
    names.iter().map(|name| key(format!("{{{tag}}}:{name}"))).collect()
}

#[tokio::test]
async fn a_slot_can_move_under_fills() {
    let cluster = RedisCluster::start().await;
    let rig = Rig::up(config(Mode::Cluster { seeds: cluster.seeds() })).await;
    let store = &*rig.store;
    let keys = keys(&cluster, "move:", &["stays", "moves", "missing", "claimed", "moved-claim"]);
    let [stays, moves, missing, claimed, moved_claim] = &keys[..] else { panic!("five keys") };
    for key in [stays, moves] {
        assert_eq!(fill(store, key, "v").await, Ok(Committed::Written));
    }
    let (here, there) = (claim(store, miss(claimed)).await, claim(store, miss(moved_claim)).await);

    let migration = Migration::begin(&cluster, stays.slot());
    migration.carry(moves.as_bytes());
    migration.carry(&moved_claim.sibling(Sibling::Guard));
    // Nothing is filled meanwhile, and what is fresh is still known as fresh.
    let moved = StoreError::Refused(Refusal::Moved);
    assert_eq!(claim_error(store, miss(missing)).await, Some(moved));
    assert_eq!(claim_error(store, miss(moves)).await, Some(moved));
    assert_eq!(claim_error(store, refresh(stays)).await, Some(moved));
    assert_eq!(commit(here, "v", TTL).await, Err(moved));
    assert_eq!(commit(there, "v", TTL).await, Err(moved));
    // Reads and removals reach both sides.
    let read = store.read(&keys).await.expect("a read");
    let found: Vec<bool> = read.iter().map(Option::is_some).collect();
    assert_eq!(found, [true, true, false, false, false]);
    assert_eq!(store.remove(&keys).await, Ok(2));
    assert!(store.read(&keys).await.expect("a read").iter().all(Option::is_none));
    let guards = |server: &RedisServer| server.text(&["CLUSTER", "COUNTKEYSINSLOT", &stays.slot().to_string()]);
    assert_eq!((guards(migration.from()), guards(migration.to())), ("0".to_owned(), "0".to_owned()));

    migration.end();
    until("fills at the new owner", async || fill(store, missing, "v").await == Ok(Committed::Written)).await;
    assert_eq!(value(store, missing).await.as_deref(), Some("v"));
    assert_eq!(store.remove(&keys).await, Ok(1));
}

#[tokio::test]
async fn an_invalidation_reaches_both_sides_of_a_slot_that_moves() {
    let cluster = RedisCluster::start().await;
    let rig = Rig::up(Config { replicas: 1, ..config(Mode::Cluster { seeds: cluster.seeds() }) }).await;
    let store = &*rig.store;
    let keys = keys(&cluster, "gone:", &["stays", "moves", "torn", "missing"]);
    let [stays, moves, torn, missing] = &keys[..] else { panic!("four keys") };
    let alias = |key: &Key| Key::new([key.as_bytes(), &b"@"[..]].concat()).expect("a good key");
    for key in [stays, moves, torn] {
        let write = Write { aliases: vec![alias(key)], registered_for: TTL, ..Write::plain("v".into(), TTL) };
        claim(store, miss(key)).await.commit(write).await.expect("written");
    }
    let migration = Migration::begin(&cluster, stays.slot());
    for part in [moves.as_bytes(), &moves.sibling(Sibling::Index)[..], &torn.sibling(Sibling::Index)] {
        migration.carry(part);
    }

    let floor = Version::new(7);
    let mark = Mark { nonce: Some(Random::from_seed(1).nonce()), life: TTL, floor };
    let erasures: Vec<Erasure> =
        keys.iter().map(|key| Erasure { key: key.clone(), has_index: true, mark: Some(mark) }).collect();
    let erased = store.erase(&erasures).await;
    for (key, gone) in keys.iter().zip(erased.keys) {
        let gone = gone.expect("erased");
        let named = if key == missing { Vec::new() } else { vec![alias(key)] };
        assert_eq!((gone.held, gone.aliases), (key != missing, named));
    }
    until("a confirmation of both sides", async || store.erase(&erasures).await.confirmation.await == Confirmed::Yes)
        .await;

    // Each mark stands once, on either side, and is there when the slot has moved.
    for key in &keys {
        migration.carry(&key.sibling(Sibling::Tombstone));
    }
    migration.carry(&stays.sibling(Sibling::Index));
    migration.end();
    until("fills at the new owner", async || fill(store, missing, "v").await == Ok(Committed::Written)).await;
    for key in &keys {
        let rules = Rules { version: Version::new(6), has_floor: true, ..Rules::default() };
        let landing = claim(store, refresh(key)).await.commit(Write { rules, ..Write::plain("old".into(), TTL) }).await;
        assert_eq!(landing.map(|landing| landing.committed), Ok(Committed::Superseded));
    }
}

#[tokio::test]
async fn a_commit_never_follows_a_slot_that_moved() {
    let cluster = RedisCluster::start().await;
    let rig = Rig::up(config(Mode::Cluster { seeds: cluster.seeds() })).await;
    let store = &*rig.store;
    let keys = keys(&cluster, "commit:", &["k"]);
    let held = claim(store, miss(&keys[0])).await;

    // The claim itself arrives at the new owner: a commit that followed would be taken.
    let migration = Migration::begin(&cluster, keys[0].slot());
    migration.carry(&keys[0].sibling(Sibling::Guard));
    migration.end();
    assert_eq!(commit(held, "v", TTL).await, Err(StoreError::Refused(Refusal::Moved)));
    assert_eq!(value(store, &keys[0]).await, None);
    until("the claim seen at the new owner", async || {
        matches!(store.claim(miss(&keys[0])).await, Ok(Claimed::InFlight { .. }))
    })
    .await;
}

#[tokio::test]
async fn a_replica_is_seed_enough() {
    let cluster = RedisCluster::shared().await;
    let rig = Rig::up(config(Mode::Cluster { seeds: vec![cluster.nodes[5].address()] })).await;
    let health = rig.store.health();
    assert_eq!(health.len(), 3);
    assert!(health.iter().all(|node| node.trouble.is_none() && node.next_try.is_none()));
    for primary in 0..3 {
        let key = key(cluster.key_of(primary, "seed:"));
        assert_eq!(fill(&*rig.store, &key, "v").await, Ok(Committed::Written));
    }
}

#[tokio::test]
async fn slots_are_those_of_the_server() {
    let cluster = RedisCluster::shared().await;
    let mut random = 7u64;
    for _ in 0..200 {
        let bytes: Vec<u8> = (0..8)
            .map(|_| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                b"{}ab\x00"[(random >> 33) as usize % 5]
            })
            .collect();
        let theirs = cluster.nodes[0].text(&[&b"CLUSTER"[..], b"KEYSLOT", &bytes]);
        assert_eq!(theirs, slot_of(&bytes).to_string(), "{bytes:?}");
    }
}

#[tokio::test]
async fn nothing_is_asked_of_the_cluster_without_need() {
    let cluster = RedisCluster::start().await;
    let rig = Rig::up(config(Mode::Cluster { seeds: cluster.seeds() })).await;
    let before = rig.metric("hydrant_redis_topology_refreshes_total{outcome=\"ok\"}");
    // tidy: waits because it shows that nothing happens meanwhile
    tokio::time::sleep(Duration::from_secs(3)).await;
    let asked = rig.metric("hydrant_redis_topology_refreshes_total{outcome=\"ok\"}") - before;
    assert!(asked <= 5, "{asked} refreshes in three seconds at one a second");
}
