//! Sweeps: over memory, where time is ours, and over real servers that change under them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hydrant::domain::entity::{Alias, AliasValue, Draft, Name};
use hydrant::domain::key::Key;
use hydrant::domain::random::Random;
use hydrant::domain::removal::Removal;
use hydrant::domain::switch::Switch;
use hydrant::domain::template::Template;
use hydrant::fill::settings::{Live, Settings};
use hydrant::invalidate::metrics::Metrics;
use hydrant::invalidate::recent::Recent;
use hydrant::invalidate::request::Mode;
use hydrant::invalidate::sweep::pace::{Paces, Rates};
use hydrant::invalidate::sweep::{Progress, Spec, Tools, run};
use hydrant::local;
use hydrant::local::memory::MemoryStore;
use hydrant::remote::Mode as RedisMode;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::support::catalog::{catalog, draft, name};
use crate::support::redis::{RedisCluster, RedisServer};
use crate::support::store::{Rig, config, fill, key, value};
use crate::support::wait::until;

/// The longest life of a claim: the second pass waits for it.
const CLAIM_LIFE: Duration = Duration::from_millis(500);
/// What a sweep waits after each second pass, for news of what has moved.
const NEWS: Duration = Duration::from_secs(1);

/// Users with their e-mail addresses, and orders.
fn live() -> Live {
    let email = Alias {
        name: name("email"),
        key: Template::for_key("user:email:{email}").expect("a good template"),
        value: AliasValue::Id,
        from: None,
    };
    let key = Template::for_key("user:id:{id}").expect("a good template");
    let user = Draft { key, aliases: vec![email], ..draft("user") };
    let soft = Draft { soft: Some(Duration::from_secs(5)), ..draft("soft") };
    let catalog = Arc::new(catalog(vec![user, draft("order"), soft]));
    Live::new(Settings { catalog, switch: Switch::default(), sources: BTreeMap::new() })
}

type Told = Arc<Mutex<Vec<String>>>;

/// What a sweep works with, and every key that it told this process to forget or to load again.
fn tools(removal: Arc<dyn Removal>) -> (Tools, Told, Told) {
    let (forgotten, reloaded) = (Told::default(), Told::default());
    let (forget, reload) = (forgotten.clone(), reloaded.clone());
    let forget = Arc::new(move |keys: &[Key]| forget.lock().expect("sound").extend(keys.iter().map(Key::to_string)));
    let reload = Arc::new(move |keys: Vec<Key>| reload.lock().expect("sound").extend(keys.iter().map(Key::to_string)));
    let recent = Recent::new(Metrics::register(&mut Registry::default()));
    let (live, random) = (live(), Random::from_seed(3));
    let (claim_life, paces) = (CLAIM_LIFE, Paces::new(Rates::default()));
    let tools = Tools { removal, live, claim_life, paces, random, recent, forget, reload };
    (tools, forgotten, reloaded)
}

fn all_of(entities: &[&str]) -> Spec {
    Spec { entities: entities.iter().map(|text| name(text)).collect::<Vec<Name>>(), ..Spec::default() }
}

fn all_like(pattern: &str) -> Spec {
    Spec { patterns: vec![pattern.to_owned()], ..Spec::default() }
}

async fn swept(tools: &Tools, spec: &Spec) -> Progress {
    run(tools, spec, None, |_| {}).await.expect("an end")
}

/// Runs a sweep, and lets `meanwhile` look at how far it is.
async fn swept_while(tools: &Tools, spec: &Spec, meanwhile: impl AsyncFnOnce(watch::Receiver<Progress>)) -> Progress {
    let (told, progress) = watch::channel(Progress::default());
    let report = |progress| {
        told.send_replace(progress);
    };
    let (ended, ()) = tokio::join!(run(tools, spec, None, report), meanwhile(progress));
    ended.expect("an end")
}

/// When the first pass has ended.
async fn between_the_passes(progress: &mut watch::Receiver<Progress>) {
    let is_over = |progress: &Progress| {
        progress.pass == 1 && progress.nodes_total > 0 && progress.nodes_done >= progress.nodes_total
    };
    progress.wait_for(is_over).await.expect("a sweep");
}

#[tokio::test(start_paused = true)]
async fn a_sweep_ends_with_a_pass_that_began_a_claims_life_after_the_request() {
    let bounds = local::Config { bytes: 1 << 20, items: 1_000 };
    let store = Arc::new(MemoryStore::new(bounds, Random::from_seed(1)));
    for id in 0..300 {
        fill(&*store, &key(format!("order:{id}")), "v").await.expect("filled");
    }
    fill(&*store, &key("user:id:1"), "v").await.expect("filled");
    let (tools, forgotten, _) = tools(store.clone());
    let begun = Instant::now();
    let late = key("order:late");
    let ended = swept_while(&tools, &all_of(&["order"]), async |mut progress| {
        between_the_passes(&mut progress).await;
        assert_eq!(progress.borrow().counts.removed, 300);
        assert_eq!(fill(&*store, &late, "v").await, Ok(hydrant::domain::store::Committed::Written));
    })
    .await;
    assert!(begun.elapsed() >= CLAIM_LIFE);
    assert_eq!((ended.pass, ended.nodes_done, ended.nodes_total), (2, 1, 1));
    assert_eq!((ended.counts.matched, ended.counts.removed), (301, 301));
    assert_eq!(value(&*store, &late).await, None, "what a pass could not see the next one does");
    assert_eq!(value(&*store, &key("user:id:1")).await.as_deref(), Some("v"), "nobody asked for it");
    assert!(forgotten.lock().expect("sound").contains(&"order:late".to_owned()));
}

/// A fill fetches before the request, claims the alias at the end of its own claim's life, and writes at the end of that one's.
#[tokio::test(start_paused = true)]
async fn where_aliases_alone_are_meant_a_sweep_outlasts_two_claims() {
    let bounds = local::Config { bytes: 1 << 20, items: 1_000 };
    let store = Arc::new(MemoryStore::new(bounds, Random::from_seed(1)));
    let (tools, ..) = tools(store.clone());
    let late = key("user:email:late");
    swept_while(&tools, &all_like("user:email:*"), async |mut progress| {
        between_the_passes(&mut progress).await;
        tokio::time::sleep(CLAIM_LIFE * 2 - Duration::from_millis(1)).await;
        assert_eq!(fill(&*store, &late, "v").await, Ok(hydrant::domain::store::Committed::Written));
    })
    .await;
    assert_eq!(value(&*store, &late).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_is_taken_over_goes_on_with_its_second_pass() {
    let bounds = local::Config { bytes: 1 << 20, items: 1_000 };
    let store = Arc::new(MemoryStore::new(bounds, Random::from_seed(1)));
    fill(&*store, &key("order:1"), "v").await.expect("filled");
    let (tools, ..) = tools(store.clone());
    let resume = Progress { pass: 2, scanned: 7_000, ..Progress::default() };
    let begun = Instant::now();
    let ended = run(&tools, &all_of(&["order"]), Some(resume), |_| {}).await.expect("an end");
    assert_eq!((ended.pass, ended.scanned, ended.counts.removed), (3, 7_500, 1));
    assert!(begun.elapsed() < CLAIM_LIFE + NEWS, "the wait was somebody else's");
}

async fn one_server() -> (RedisServer, Rig) {
    let server = RedisServer::start().await;
    let rig = Rig::up(config(RedisMode::Standalone { address: server.address() })).await;
    (server, rig)
}

fn exists(server: &RedisServer, key: &str) -> bool {
    server.text(&["EXISTS", key]) == "1"
}

#[tokio::test]
async fn what_is_left_of_a_member_leads_to_all_of_it() {
    let (server, rig) = one_server().await;
    let far = "99999999999999";
    // One with its value, one remembered as absent, one of which only the index is left; and others.
    server.command(&["MSET", "user:id:1", "v", "user:email:a", "1", "{user:id:2}:g", "a"]);
    server.command(&["MSET", "user:email:c", "3", "other:1", "v", "order:1", "v", "user:identity", "v"]);
    server.command(&["ZADD", "{user:id:1}:x", far, "user:email:a", far, "user:email:b"]);
    server.command(&["ZADD", "{user:id:3}:x", far, "user:email:c"]);
    let (tools, ..) = tools(rig.store.clone());
    let ended = swept(&tools, &all_like("user:id:*")).await;
    for gone in ["user:id:1", "user:email:a", "{user:id:2}:g", "user:email:c"] {
        assert!(!exists(&server, gone), "{gone}");
    }
    for stays in ["other:1", "order:1", "user:identity", "{user:id:1}:x", "{user:id:3}:x"] {
        assert!(exists(&server, stays), "{stays}");
    }
    assert_eq!((ended.pass, ended.counts.matched, ended.counts.removed, ended.counts.fenced), (2, 1, 3, 1));
}

#[tokio::test]
async fn a_soft_sweep_shortens_and_fences_and_then_loads_again() {
    let (server, rig) = one_server().await;
    server.command(&["MSET", "soft:1", "v", "soft:2", "v", "{soft:2}:g", "c"]);
    let (tools, _, reloaded) = tools(rig.store.clone());
    let ended = swept(&tools, &Spec { mode: Mode::Soft, ..all_of(&["soft"]) }).await;
    assert!(exists(&server, "soft:1") && exists(&server, "soft:2") && !exists(&server, "{soft:2}:g"));
    let left: i64 = server.text(&["PTTL", "soft:1"]).parse().expect("a number");
    assert!((1..=5_000).contains(&left), "{left} ms left");
    assert_eq!((ended.counts.matched, ended.counts.removed), (2, 2), "each is counted once");
    let mut reloaded = reloaded.lock().expect("sound").clone();
    reloaded.sort();
    assert_eq!(reloaded, ["soft:1", "soft:2"]);
}

#[tokio::test]
async fn a_sweep_that_refreshes_loads_again_what_was_cached() {
    let (server, rig) = one_server().await;
    server.command(&["MSET", "order:1", "v", "{order:2}:g", "a"]);
    let (tools, _, reloaded) = tools(rig.store.clone());
    swept(&tools, &Spec { mode: Mode::Refresh, ..all_of(&["order"]) }).await;
    assert!(!exists(&server, "order:1") && !exists(&server, "{order:2}:g"));
    assert_eq!(*reloaded.lock().expect("sound"), ["order:1"]);
}

#[tokio::test]
async fn patterns_mean_what_they_mean_to_the_server() {
    let server = RedisServer::start().await;
    let keys =
        ["user:a", "user:b]", "user:[x", "user:*", "user:a*c", r"user:\", "user:-", "user:^", "user:ab", "user:"];
    for key in keys {
        server.command(&["SET", key, "v"]);
    }
    let patterns = [
        "user:*",
        "user:?",
        "user:[a-c]*",
        "user:[^a]",
        r"user:\*",
        r"user:[\]]",
        r"user:[\[]x",
        "user:[c-a]",
        "user:a*b",
        r"user:\\",
        "user:[a-]]",
        "user:[]",
        "user:[^]",
        "user:??*",
        "user:[-]",
        "user:a[*]c",
        "*",
    ];
    for pattern in patterns {
        let mut theirs: Vec<String> = redis::from_redis_value(server.command(&["KEYS", pattern])).expect("keys");
        let ours = |key: &&str| hydrant::domain::glob::matches(pattern.as_bytes(), key.as_bytes());
        let mut ours: Vec<String> = keys.into_iter().filter(ours).map(str::to_owned).collect();
        theirs.sort();
        ours.sort();
        assert_eq!(ours, theirs, "{pattern}");
    }
}

#[tokio::test]
async fn a_cluster_is_swept_whole_though_a_primary_is_replaced() {
    let mut cluster = RedisCluster::start().await;
    let rig = Rig::up(config(RedisMode::Cluster { seeds: cluster.seeds() })).await;
    let keys: Vec<Key> = (0..2_000).map(|id| key(format!("order:{id}"))).collect();
    for key in &keys {
        let text = key.to_string();
        cluster.nodes[cluster.owner(&text)].command(&["SET", &text, "v"]);
    }
    let (tools, ..) = tools(rig.store.clone());
    let back = cluster.key_of(0, "order:back");
    let ended = swept_while(&tools, &all_of(&["order"]), async |mut progress| {
        between_the_passes(&mut progress).await;
        cluster.nodes[0].kill();
        // The successor knows something that a failover brought back.
        until("a successor", async || cluster.nodes[3].try_command(&["SET", &back, "old"]).is_ok()).await;
    })
    .await;
    assert!(ended.pass >= 2, "{ended:?}");
    assert_eq!(ended.nodes_done, ended.nodes_total);
    rig.wait_until_up().await;
    for node in [1, 2, 3] {
        assert_eq!(cluster.nodes[node].text(&["DBSIZE"]), "0", "node {node}");
    }
}

#[tokio::test]
async fn a_primary_that_restarts_under_a_sweep_is_swept_again() {
    let (mut server, rig) = one_server().await;
    server.command(&["MSET", "order:1", "old", "order:2", "old"]);
    server.command(&["SAVE"]);
    let (tools, ..) = tools(rig.store.clone());
    let ended = swept_while(&tools, &all_of(&["order"]), async |mut progress| {
        progress.wait_for(|progress| progress.pass == 2 && progress.nodes_done == 1).await.expect("a sweep");
        server.kill();
        server.restart().await;
        assert!(exists(&server, "order:1"), "its disk brought it back");
    })
    .await;
    assert_eq!((ended.pass, ended.counts.removed), (3, 4));
    assert!(!exists(&server, "order:1") && !exists(&server, "order:2"));
}

#[tokio::test]
async fn the_janitor_takes_out_what_ended_more_than_a_minute_ago() {
    let (server, rig) = one_server().await;
    let now = hydrant::domain::clock::Clock::System.unix().as_millis() as u64;
    let (long_ago, just_now, later) = (now - 100_000, now - 30_000, now + 100_000);
    let add = |set: &str, end: u64, member: &str| server.command(&["ZADD", set, &end.to_string(), member]);
    for set in ["{user:id:1}:x", "hydrant:{test:3:tenant}:tag"] {
        for number in 0..700 {
            add(set, long_ago - number, &format!("ended:{number}"));
        }
        add(set, just_now, "ended just now");
        add(set, later, "stands");
    }
    add("{user:id:2}:x", long_ago, "all of it");
    add("app's own", long_ago, "not ours");
    server.command(&["SET", "{of:another:type}:x", "v"]);
    assert_eq!(hydrant::invalidate::janitor::round(&*rig.store).await, Ok(1_401));
    let count = |set: &str| server.text(&["ZCARD", set]);
    assert_eq!([count("{user:id:1}:x"), count("hydrant:{test:3:tenant}:tag"), count("app's own")], ["2", "2", "1"]);
    assert!(!exists(&server, "{user:id:2}:x"), "an empty one goes");
}
