//! Whether a confirmation says the truth: replicas that stop, connections that break, primaries that are replaced.
//!
//! A "yes" may need a second look on a busy machine, where a replica can take longer than it is waited for; a "yes" that
//! must not be is asked for many times.

use std::time::Duration;

use hydrant::domain::key::Key;
use hydrant::domain::pseudonym::Pseudonym;
use hydrant::domain::removal::{Erasure, Removal};
use hydrant::domain::store::{Confirmation, Confirmed, Registration, Store, Write};
use hydrant::domain::tag::Tag;
use hydrant::remote::{Config, Mode};

use crate::support::redis::{RedisCluster, RedisServer};
use crate::support::store::{Rig, TTL, claim, config, fill, key, refresh};
use crate::support::wait::until;

struct Pair {
    primary: RedisServer,
    replica: RedisServer,
}

impl Pair {
    async fn start() -> Self {
        let primary = RedisServer::start_with(&["--repl-diskless-sync-delay", "0"]).await;
        let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &primary.port.to_string()]).await;
        for server in [&primary, &replica] {
            until("replication that goes on", async || server.replicates()).await;
        }
        Self { primary, replica }
    }

    async fn rig(&self, replicas: u8) -> Rig {
        let mode = Mode::Standalone { address: self.primary.address() };
        Rig::up(Config { replicas, ..config(mode) }).await
    }
}

async fn erase(rig: &Rig, key: &Key) -> Confirmation {
    let erased = rig.store.erase(&[Erasure { key: key.clone(), has_index: true, mark: None }]).await;
    assert!(erased.keys.iter().all(Result::is_ok));
    erased.confirmation
}

async fn until_confirmed(rig: &Rig, key: &Key) {
    until("a confirmation", async || erase(rig, key).await.await == Confirmed::Yes).await;
}

/// Every way to write something that is confirmed.
async fn confirmations(rig: &Rig, key: &Key) -> Vec<Confirmation> {
    let (tags, subject) = ([Tag::declared("colour").expect("a good tag")], Pseudonym::new("test", None, "7"));
    let registered = rig.store.register(Registration { key, tags: &tags, life: TTL }).await.expect("registered");
    let write = Write { aliases: vec![key.clone()], registered_for: TTL, ..Write::plain("v".into(), TTL) };
    let landing = claim(&*rig.store, refresh(key)).await.commit(write).await.expect("written");
    vec![
        registered.confirmation,
        landing.confirmation.expect("aliases were registered"),
        rig.store.bury(subject, TTL).await.expect("buried"),
        erase(rig, key).await,
    ]
}

#[tokio::test]
async fn what_replicas_have_is_confirmed_and_what_they_lack_is_not() {
    let pair = Pair::start().await;
    let (rig, k) = (pair.rig(1).await, key("k"));
    until("all of it confirmed", async || {
        let mut confirmed = Vec::new();
        for confirmation in confirmations(&rig, &k).await {
            confirmed.push(confirmation.await);
        }
        confirmed == [Confirmed::Yes; 4]
    })
    .await;

    pair.replica.hang();
    for confirmation in confirmations(&rig, &k).await {
        assert_eq!(confirmation.await, Confirmed::Short);
    }
    // A repeated delete finds nothing, and a lane of its own has written nothing: neither may pass for done.
    let peer = pair.rig(1).await;
    for rig in [&rig, &peer, &peer] {
        assert_eq!(erase(rig, &k).await.await, Confirmed::Short);
    }
    assert_eq!(erase(&pair.rig(0).await, &k).await.await, Confirmed::Yes, "nobody asked for replicas");

    pair.replica.resume();
    until_confirmed(&rig, &k).await;
    until_confirmed(&peer, &k).await;
}

#[tokio::test]
async fn the_first_to_ask_a_cluster_that_is_well_is_confirmed() {
    let cluster = RedisCluster::start().await;
    let keys: Vec<Erasure> = (0..3)
        .map(|primary| key(cluster.key_of(primary, "first:")))
        .map(|key| Erasure { key, has_index: false, mark: None })
        .collect();
    // Each has new lanes to three nodes. One of them must be confirmed; none was, where replicas are not yet counted.
    let first = async || {
        let rig = Rig::up(Config { replicas: 1, ..config(Mode::Cluster { seeds: cluster.seeds() }) }).await;
        rig.store.erase(&keys).await.confirmation.await
    };
    let (a, b, c) = tokio::join!(first(), first(), first());
    assert!([a, b, c].contains(&Confirmed::Yes), "{a:?} {b:?} {c:?}");
}

#[tokio::test]
async fn one_replica_of_two_is_short() {
    let pair = Pair::start().await;
    let (rig, k) = (pair.rig(2).await, key("k"));
    for _ in 0..3 {
        assert_eq!(erase(&rig, &k).await.await, Confirmed::Short);
    }
    assert!(rig.metric(r#"hydrant_redis_confirmations_total{confirmed="short"}"#) == 3);
    assert!(rig.metric(r#"hydrant_redis_requests_total{op="wait",outcome="ok"}"#) <= 3);
}

#[tokio::test]
async fn removals_are_not_held_up_by_those_who_wait() {
    let pair = Pair::start().await;
    let (rig, k) = (pair.rig(1).await, key("k"));
    pair.replica.hang();
    let waiting = async {
        for _ in 0..10 {
            assert_eq!(erase(&rig, &k).await.await, Confirmed::Short);
        }
    };
    let working = async {
        let mut rounds = 0;
        loop {
            fill(&*rig.store, &key("other"), "v").await.expect("filled");
            rig.store.remove(&[key("other")]).await.expect("removed");
            rounds += 1;
            // tidy: waits because it paces the calls of a loop that ends with the other one
            tokio::time::sleep(Duration::from_millis(1)).await;
            if rounds == 100 {
                return;
            }
        }
    };
    tokio::join!(waiting, working);
    // Two connections to the node, whoever waits.
    assert_eq!(rig.metric(r#"hydrant_redis_connects_total{outcome="ok"}"#), 2);
}

#[tokio::test]
async fn many_share_one_wait() {
    let pair = Pair::start().await;
    let rig = pair.rig(1).await;
    until_confirmed(&rig, &key("first")).await;
    let sample = r#"hydrant_redis_requests_total{op="wait",outcome="ok"}"#;
    let before = rig.metric(sample);
    let keys: Vec<Key> = (0..200).map(|number| key(format!("k{number}"))).collect();
    let confirmations = futures_util::future::join_all(keys.iter().map(|key| erase(&rig, key))).await;
    futures_util::future::join_all(confirmations.into_iter().map(IntoFuture::into_future)).await;
    let batches = rig.metric(sample) - before;
    assert!((1..=20).contains(&batches), "{batches} for two hundred");
}

#[tokio::test]
async fn a_connection_that_carried_a_removal_and_broke_confirms_nothing() {
    let pair = Pair::start().await;
    let (rig, k) = (pair.rig(1).await, key("k"));
    until_confirmed(&rig, &k).await;
    let confirmation = erase(&rig, &k).await;
    pair.primary.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    until("a new connection", async || rig.store.read(std::slice::from_ref(&k)).await.is_ok()).await;
    until("the old one noticed", async || rig.metric("hydrant_redis_connections_lost_total") == 1).await;
    assert_eq!(confirmation.await, Confirmed::Short);
    until_confirmed(&rig, &k).await;
}

#[tokio::test]
async fn a_primary_that_was_replaced_confirms_nothing() {
    let cluster = RedisCluster::start().await;
    let rig = Rig::up(Config { replicas: 1, ..config(Mode::Cluster { seeds: cluster.seeds() }) }).await;
    let (hit, spared) = (key(cluster.key_of(0, "hit:")), key(cluster.key_of(1, "spared:")));
    until_confirmed(&rig, &hit).await;
    until_confirmed(&rig, &spared).await;
    let confirmation = erase(&rig, &hit).await;
    cluster.nodes[3].command(&["CLUSTER", "FAILOVER"]);
    until("a new primary", async || cluster.nodes[3].text(&["INFO", "replication"]).contains("role:master")).await;
    until("an old one that knows", async || cluster.nodes[0].text(&["INFO", "replication"]).contains("role:slave"))
        .await;
    assert_eq!(confirmation.await, Confirmed::Short);
    until_confirmed(&rig, &spared).await;
    until("a confirmation of the new primary", async || {
        let erased = rig.store.erase(&[Erasure { key: hit.clone(), has_index: false, mark: None }]).await;
        erased.keys.iter().all(Result::is_ok) && erased.confirmation.await == Confirmed::Yes
    })
    .await;
}

#[tokio::test]
async fn a_server_that_does_not_tell_its_run_confirms_nothing() {
    let pair = Pair::start().await;
    pair.primary.command(&["ACL", "SETUSER", "default", "-info"]);
    let (rig, k) = (pair.rig(1).await, key("k"));
    assert_eq!(erase(&rig, &k).await.await, Confirmed::Short);
    // Connections of before go on as they are.
    pair.primary.command(&["ACL", "SETUSER", "default", "+info"]);
    pair.primary.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    until("a confirmation", async || {
        let erased = rig.store.erase(&[Erasure { key: k.clone(), has_index: false, mark: None }]).await;
        erased.confirmation.await == Confirmed::Yes && erased.keys.iter().all(Result::is_ok)
    })
    .await;
}
