//! A primary that Sentinel names, and its successor.

use hydrant::domain::store::{Committed, Store};
use hydrant::remote::{Config, Mode};

use crate::support::certificates::Certificates;
use crate::support::redis::SentinelGroup;
use crate::support::store::{Rig, TTL, claim, commit, config, fill, key, miss, value};
use crate::support::wait::until;

fn mode(group: &SentinelGroup) -> Mode {
    Mode::Sentinel { sentinels: group.addresses(), master: "main".to_owned(), auth: None }
}

#[tokio::test]
async fn a_dead_primary_is_followed_to_its_successor() {
    let mut group = SentinelGroup::start().await;
    let rig = Rig::up(config(mode(&group))).await;
    let (before, held, after) = (key("before"), key("held"), key("after"));
    assert_eq!(fill(&*rig.store, &before, "v").await, Ok(Committed::Written));
    until("a replica that has it", async || group.servers[1].text(&["EXISTS", "before"]) == "1").await;
    let claim = claim(&*rig.store, miss(&held)).await;

    group.servers[0].kill();
    until("fills on the successor", async || fill(&*rig.store, &after, "v").await == Ok(Committed::Written)).await;
    assert_eq!(rig.store.health()[0].address, group.servers[1].address());
    assert_eq!(value(&*rig.store, &before).await.as_deref(), Some("v"));
    assert_eq!(commit(claim, "v", TTL).await, Ok(Committed::Fenced), "taken on the old primary");
}

#[tokio::test]
async fn a_planned_failover_is_followed() {
    let group = SentinelGroup::start().await;
    let rig = Rig::up(config(mode(&group))).await;
    assert_eq!(fill(&*rig.store, &key("before"), "v").await, Ok(Committed::Written));
    group.sentinels[0].command(&["SENTINEL", "FAILOVER", "main"]);
    until("a store at the successor", async || {
        rig.store.health().first().is_some_and(|node| node.address == group.servers[1].address())
    })
    .await;
    until("fills on the successor", async || fill(&*rig.store, &key("after"), "v").await == Ok(Committed::Written))
        .await;
    assert_eq!(group.servers[1].text(&["EXISTS", "after"]), "1");
}

#[tokio::test]
async fn a_hung_sentinel_delays_nobody() {
    let group = SentinelGroup::start().await;
    group.sentinels[0].hang();
    let rig = Rig::up(config(mode(&group))).await;
    assert_eq!(fill(&*rig.store, &key("k"), "v").await, Ok(Committed::Written));
    group.sentinels[0].resume();
}

#[tokio::test]
async fn tls_to_sentinels_and_servers() {
    let certs = Certificates::new();
    let group = SentinelGroup::start_with_tls(&certs).await;
    let sentinels = group.sentinels.iter().map(|sentinel| sentinel.tls_address()).collect();
    let mode = Mode::Sentinel { sentinels, master: "main".to_owned(), auth: None };
    let rig = Rig::up(Config { tls: Some(certs.redis_client()), ..config(mode) }).await;
    assert_eq!(rig.store.health()[0].address, group.servers[0].tls_address());
    assert_eq!(fill(&*rig.store, &key("k"), "v").await, Ok(Committed::Written));
    assert_eq!(rig.store.remove(&[key("k")]).await, Ok(1));
}
