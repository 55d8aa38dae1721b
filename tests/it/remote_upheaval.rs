//! What real servers do to what was acknowledged, and how it is told; and scans, which must not outlive it.

use std::collections::BTreeSet;

use hydrant::domain::key::{Key, SLOTS};
use hydrant::domain::random::Random;
use hydrant::domain::removal::{Erasure, Primary, Removal, ScanStep, Upheaval};
use hydrant::domain::secret::{Secret, SecretCell};
use hydrant::domain::store::{Confirmed, Refusal, Store, StoreError};
use hydrant::remote::{Auth, Config, Mode};
use tokio::sync::broadcast::Receiver;

use crate::support::redis::{RedisCluster, RedisServer, SentinelGroup};
use crate::support::store::{Rig, config, key};
use crate::support::wait::{LONGEST, until};

async fn next(heard: &mut Receiver<Upheaval>) -> Upheaval {
    tokio::time::timeout(LONGEST, heard.recv()).await.expect("in time").expect("told")
}

async fn cluster_rig(cluster: &RedisCluster) -> Rig {
    Rig::up(config(Mode::Cluster { seeds: cluster.seeds() })).await
}

/// What the first of the cluster's primaries owns.
const FIRST_THIRD: (u16, u16) = (0, SLOTS / 3 - 1);

#[tokio::test]
async fn a_failover_tells_the_slots_that_moved() {
    let cluster = RedisCluster::start().await;
    let rig = cluster_rig(&cluster).await;
    let mut heard = rig.store.upheavals();
    assert_eq!(rig.store.primaries().len(), 3);
    cluster.nodes[3].command(&["CLUSTER", "FAILOVER"]);
    assert_eq!(next(&mut heard).await, Upheaval::Moved { slots: vec![FIRST_THIRD] });
    rig.wait_until_up().await;
    assert!(rig.store.primaries().iter().any(|primary| primary.name == cluster.nodes[3].address().to_string()));
    assert!(heard.is_empty(), "a promotion is no restart: {:?}", heard.recv().await);
}

#[tokio::test]
async fn a_dead_primarys_successor_tells_the_slots_that_moved() {
    let mut cluster = RedisCluster::start().await;
    let rig = cluster_rig(&cluster).await;
    let mut heard = rig.store.upheavals();
    cluster.nodes[0].kill();
    assert_eq!(next(&mut heard).await, Upheaval::Moved { slots: vec![FIRST_THIRD] });
    rig.wait_until_up().await;
    cluster.nodes[0].restart().await;
    cluster.wait_until_well().await;
    assert!(heard.is_empty(), "it came back as a replica: {:?}", heard.recv().await);
}

#[tokio::test]
async fn sentinels_failover_moves_everything() {
    let group = SentinelGroup::start().await;
    let mode = Mode::Sentinel { sentinels: group.addresses(), master: "main".to_owned(), auth: None };
    let rig = Rig::up(config(mode)).await;
    let mut heard = rig.store.upheavals();
    group.sentinels[0].command(&["SENTINEL", "FAILOVER", "main"]);
    assert_eq!(next(&mut heard).await, Upheaval::Moved { slots: vec![(0, SLOTS - 1)] });
}

#[tokio::test]
async fn a_primary_that_brings_its_disk_back_is_told() {
    let mut server = RedisServer::start().await;
    let rig = Rig::up(config(Mode::Standalone { address: server.address() })).await;
    let mut heard = rig.store.upheavals();
    server.command(&["SET", "old", "v"]);
    server.command(&["SAVE"]);
    let erasure = Erasure { key: key("old"), has_index: false, mark: None };
    let erased = rig.store.erase(&[erasure]).await;
    assert!(erased.keys[0].as_ref().is_ok_and(|gone| gone.held));
    assert_eq!(erased.confirmation.await, Confirmed::Yes);
    let before = rig.store.primaries();

    server.kill();
    server.restart().await;
    let Upheaval::Restarted { primary } = next(&mut heard).await else { panic!("a restart") };
    assert_eq!(server.text(&["GET", "old"]), "v", "it is back");
    assert_eq!(primary.name, before[0].name);
    assert_ne!(primary.run, before[0].run);
    assert_eq!(rig.store.primaries(), std::slice::from_ref(&primary));

    let step = |primary| ScanStep { primary, cursor: 0, pattern: "*", count: 100 };
    let of_before = rig.store.scan(step(&before[0])).await.map(|page| page.keys);
    assert_eq!(of_before, Err(StoreError::Refused(Refusal::Moved)), "its cursor says nothing to the new one");
    let page = rig.store.scan(step(&primary)).await.expect("a page");
    assert_eq!((page.keys, page.next), (vec!["old".into()], None));
}

#[tokio::test]
async fn a_primary_that_comes_back_at_another_address_has_restarted() {
    let mut cluster = RedisCluster::start().await;
    let rig = cluster_rig(&cluster).await;
    let mut heard = rig.store.upheavals();
    // Without its replica nobody takes over.
    cluster.nodes[3].kill();
    cluster.nodes[0].kill();
    cluster.nodes[0].restart_elsewhere().await;
    let name = cluster.nodes[0].address().to_string();
    let (mut moved, mut restarted) = (None, None);
    while moved.is_none() || restarted.is_none() {
        match next(&mut heard).await {
            Upheaval::Moved { slots } => moved = Some(slots),
            Upheaval::Restarted { primary } => restarted = Some(primary.name),
            Upheaval::Moving { slot } => panic!("slot {slot} does not move"),
        }
    }
    assert_eq!((moved, restarted), (Some(vec![FIRST_THIRD]), Some(name)));
}

#[tokio::test]
async fn a_new_connection_is_no_restart() {
    let server = RedisServer::start().await;
    let rig = Rig::up(config(Mode::Standalone { address: server.address() })).await;
    let heard = rig.store.upheavals();
    reconnect(&rig, &server).await;
    assert!(heard.is_empty());
}

#[tokio::test]
async fn where_the_run_may_not_be_asked_for_a_new_connection_may_be_a_restart() {
    let server = RedisServer::start().await;
    server.command(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all", "-info"]);
    let password = SecretCell::new(Secret::new("pw"));
    let auth = Some(Auth { username: Some("app".to_owned()), password });
    let rig = Rig::up(Config { auth, ..config(Mode::Standalone { address: server.address() }) }).await;
    let mut heard = rig.store.upheavals();
    reconnect(&rig, &server).await;
    assert!(matches!(next(&mut heard).await, Upheaval::Restarted { .. }));
}

async fn reconnect(rig: &Rig, server: &RedisServer) {
    server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    until("the old connection noticed", async || rig.metric("hydrant_redis_connections_lost_total") == 1).await;
    until("a new connection", async || rig.store.read(&[key("k")]).await.is_ok()).await;
}

#[tokio::test]
async fn a_slot_on_its_way_is_told_when_it_is_met_and_when_it_has_moved() {
    let cluster = RedisCluster::start().await;
    let rig = cluster_rig(&cluster).await;
    let mut heard = rig.store.upheavals();
    let moving: Key = key(cluster.key_of(0, "moving:"));
    let (slot, [from, to, other]) = (moving.slot().to_string(), [0, 1, 2].map(|node| &cluster.nodes[node]));
    let (from_id, to_id) = (from.text(&["CLUSTER", "MYID"]), to.text(&["CLUSTER", "MYID"]));
    from.command(&[&b"SET"[..], moving.as_bytes(), b"v"]);
    to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
    from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);

    let erasure = Erasure { key: moving.clone(), has_index: false, mark: None };
    let erased = rig.store.erase(&[erasure]).await;
    assert!(erased.keys[0].as_ref().is_ok_and(|gone| gone.held), "{:?}", erased.keys);
    assert_eq!(next(&mut heard).await, Upheaval::Moving { slot: moving.slot() });
    for node in [to, from, other] {
        node.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
    }
    assert_eq!(next(&mut heard).await, Upheaval::Moved { slots: vec![(moving.slot(), moving.slot())] });
}

/// Goes through one primary; answers what it found and in how many steps.
async fn go_through(rig: &Rig, primary: &Primary, pattern: &str) -> (BTreeSet<String>, usize) {
    let (mut found, mut steps, mut cursor) = (BTreeSet::new(), 0, Some(0));
    while let Some(from) = cursor {
        let page = rig.store.scan(ScanStep { primary, cursor: from, pattern, count: 50 }).await.expect("a page");
        found.extend(page.keys.iter().map(|key| String::from_utf8_lossy(key).into_owned()));
        (steps, cursor) = (steps + 1, page.next);
    }
    (found, steps)
}

#[tokio::test]
async fn a_scan_of_every_primary_finds_every_key_that_matches() {
    let cluster = RedisCluster::shared().await;
    let rig = cluster_rig(&cluster).await;
    let prefix = format!("scan{}:", Random::from_os().nonce().as_bytes()[0]);
    let names: BTreeSet<String> = (0..300).map(|number| format!("{prefix}{number}")).collect();
    for name in &names {
        cluster.nodes[cluster.owner(name)].command(&["SET", name, "v"]);
    }
    let (mut found, mut steps) = (BTreeSet::new(), 0);
    for primary in rig.store.primaries() {
        let (more, taken) = go_through(&rig, &primary, &format!("{prefix}*")).await;
        found.extend(more);
        steps += taken;
    }
    assert_eq!(found, names);
    assert!(steps >= 6, "fifty places in a step: {steps} steps");
}

#[tokio::test]
async fn slots_without_an_owner_are_a_primary_that_cannot_be_reached() {
    let rig = Rig::new(config(Mode::Cluster { seeds: vec![] }));
    let primaries = rig.store.primaries();
    assert_eq!(primaries.len(), 1);
    let step = ScanStep { primary: &primaries[0], cursor: 0, pattern: "*", count: 1 };
    assert_eq!(rig.store.scan(step).await.map(|page| page.next), Err(StoreError::Unreachable));
}
