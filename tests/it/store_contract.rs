//! One conformance suite for every store: a plain list of cases over `Arc<dyn Store>`.
//!
//! A store is put under it by a `Bench`: the store, and a hand that writes a key as an app would, beside the store.
//! Every case gets a prefix of its own, so that they can share a server.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, join_all};
use hydrant::domain::key::Key;
use hydrant::domain::random::Random;
use hydrant::domain::store::{Claim, ClaimAsk, ClaimMode, Claimed, Committed, Rules, Store};
use hydrant::local;
use hydrant::local::memory::MemoryStore;
use hydrant::remote::Mode;

use crate::support::redis::{RedisCluster, RedisServer};
use crate::support::store::{LIFE, Rig, TTL, claim, commit, config, fill, miss, refresh, value};
use crate::support::wait::until;

/// Writes a key past the store; `None` is a key that has no end.
pub type AppWrites = Arc<dyn Fn(&Key, &str, Option<Duration>) + Send + Sync>;

#[derive(Clone)]
pub struct Bench {
    pub store: Arc<dyn Store>,
    pub app: AppWrites,
    pub prefix: String,
}

type Case = (&'static str, fn(Bench) -> LocalBoxFuture<'static, ()>);

/// Every case, with its name.
const CASES: [Case; 25] = [
    ("a missing key is claimed and written", |b| Box::pin(a_missing_key_is_claimed_and_written(b))),
    ("a fresh key is not claimed", |b| Box::pin(a_fresh_key_is_not_claimed(b))),
    ("a key about to end is renewed", |b| Box::pin(a_key_about_to_end_is_renewed(b))),
    ("a second claim is in flight", |b| Box::pin(a_second_claim_is_in_flight(b))),
    ("an aborted claim is free at once", |b| Box::pin(an_aborted_claim_is_free_at_once(b))),
    ("a claim ends by itself", |b| Box::pin(a_claim_ends_by_itself(b))),
    ("an old claim cannot commit over a new one", |b| Box::pin(an_old_claim_cannot_commit_over_a_new_one(b))),
    ("a removal voids the claim", |b| Box::pin(a_removal_voids_the_claim(b))),
    ("a removal counts values only", |b| Box::pin(a_removal_counts_values_only(b))),
    ("absence is remembered", |b| Box::pin(absence_is_remembered(b))),
    ("absence dies with a removal", |b| Box::pin(absence_dies_with_a_removal(b))),
    ("absence ends by itself", |b| Box::pin(absence_ends_by_itself(b))),
    ("absence takes away what stood", |b| Box::pin(absence_takes_away_what_stood(b))),
    ("a refresh replaces what stood", |b| Box::pin(a_refresh_replaces_what_stood(b))),
    ("a refresh keeps an apps newer value", |b| Box::pin(a_refresh_keeps_an_apps_newer_value(b))),
    ("a fill keeps an apps value", |b| Box::pin(a_fill_keeps_an_apps_value(b))),
    ("absence keeps an apps value", |b| Box::pin(absence_keeps_an_apps_value(b))),
    ("a key without end is fresh", |b| Box::pin(a_key_without_end_is_fresh(b))),
    ("a value ends when its time is over", |b| Box::pin(a_value_ends_when_its_time_is_over(b))),
    ("a value that ends while it is renewed is written anew", |b| Box::pin(a_value_that_ends_while_it_is_renewed(b))),
    ("absence of what ended meanwhile is remembered", |b| Box::pin(absence_of_what_ended_meanwhile_is_remembered(b))),
    ("an apps value outweighs a remembered absence", |b| Box::pin(an_apps_value_outweighs_a_remembered_absence(b))),
    ("reads come in order", |b| Box::pin(reads_come_in_order(b))),
    ("any bytes can be key and value", |b| Box::pin(any_bytes_can_be_key_and_value(b))),
    ("many fills at once", |b| Box::pin(many_fills_at_once(b))),
];

/// Runs every case and names those that failed.
pub async fn the_contract_holds(store: Arc<dyn Store>, app: AppWrites, prefix: &str) {
    let mut failed = Vec::new();
    for (number, (name, run)) in CASES.into_iter().enumerate() {
        let bench = Bench { store: store.clone(), app: app.clone(), prefix: format!("{prefix}:{number}") };
        if AssertUnwindSafe(run(bench)).catch_unwind().await.is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "the store breaks its contract: {failed:?}");
}

#[tokio::test]
async fn a_single_server_keeps_the_contract() {
    let server = RedisServer::start().await;
    let rig = Rig::up(config(Mode::Standalone { address: server.address() })).await;
    let app: AppWrites = Arc::new(move |key, value, ttl| app_writes(&server, key, value, ttl));
    the_contract_holds(rig.store.clone(), app, "contract").await;
}

#[tokio::test]
async fn a_cluster_keeps_the_contract() {
    let cluster = RedisCluster::shared().await;
    let rig = Rig::up(config(Mode::Cluster { seeds: cluster.seeds() })).await;
    let app: AppWrites = Arc::new(move |key, value, ttl| {
        app_writes(&cluster.nodes[cluster.owner(key.as_bytes())], key, value, ttl);
    });
    the_contract_holds(rig.store.clone(), app, "contract").await;
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    let store = MemoryStore::new(local::Config { bytes: 64 << 20, items: 1_000 }, Random::from_seed(1));
    let apps = store.clone();
    let app: AppWrites = Arc::new(move |key, value, ttl| apps.put(key, value.to_owned().into(), ttl));
    the_contract_holds(Arc::new(store), app, "contract").await;
}

pub fn app_writes(server: &RedisServer, key: &Key, value: &str, ttl: Option<Duration>) {
    let millis = ttl.map(|ttl| ttl.as_millis().to_string());
    let mut command: Vec<&[u8]> = vec![b"SET", key.as_bytes(), value.as_bytes()];
    if let Some(millis) = &millis {
        command.extend([&b"PX"[..], millis.as_bytes()]);
    }
    server.command(&command);
}

impl Bench {
    fn key(&self, name: &str) -> Key {
        Key::new(format!("{}:{name}", self.prefix)).expect("a good key")
    }
}

async fn a_missing_key_is_claimed_and_written(bench: Bench) {
    let key = bench.key("k");
    let held = claim(&*bench.store, miss(&key)).await;
    assert_eq!(value(&*bench.store, &key).await, None, "a claim shows no value");
    assert_eq!(commit(held, "v", TTL).await, Ok(Committed::Written));
    let read = bench.store.read(&[key]).await.expect("a read").pop().flatten().expect("a value");
    assert_eq!(read.value, "v");
    assert!(read.ttl.is_some_and(|ttl| ttl <= TTL && ttl > TTL / 2), "{:?}", read.ttl);
}

async fn a_fresh_key_is_not_claimed(bench: Bench) {
    let key = bench.key("k");
    fill(&*bench.store, &key, "v").await.expect("filled");
    assert!(matches!(bench.store.claim(miss(&key)).await, Ok(Claimed::Fresh)));
}

async fn a_key_about_to_end_is_renewed(bench: Bench) {
    let key = bench.key("k");
    fill(&*bench.store, &key, "old").await.expect("filled");
    let ask = ClaimAsk { key: &key, life: LIFE, mode: ClaimMode::Miss { renew_below: TTL * 2 } };
    let held = claim(&*bench.store, ask).await;
    assert_eq!(value(&*bench.store, &key).await.as_deref(), Some("old"), "readers still have the old value");
    assert_eq!(commit(held, "new", TTL).await, Ok(Committed::Written));
    assert_eq!(value(&*bench.store, &key).await.as_deref(), Some("new"));
}

async fn a_second_claim_is_in_flight(bench: Bench) {
    let key = bench.key("k");
    let _held = claim(&*bench.store, miss(&key)).await;
    for ask in [miss(&key), refresh(&key)] {
        let Ok(Claimed::InFlight { age }) = bench.store.claim(ask).await else { panic!("not in flight") };
        assert!(age < LIFE, "{age:?}");
    }
    until("an age that grows", async || {
        matches!(bench.store.claim(miss(&key)).await, Ok(Claimed::InFlight { age }) if age > Duration::from_millis(20))
    })
    .await;
}

async fn an_aborted_claim_is_free_at_once(bench: Bench) {
    let key = bench.key("k");
    claim(&*bench.store, miss(&key)).await.abort().await.expect("given back");
    assert_eq!(fill(&*bench.store, &key, "v").await, Ok(Committed::Written));
}

async fn a_claim_ends_by_itself(bench: Bench) {
    let key = bench.key("k");
    let ask = ClaimAsk { life: Duration::from_millis(30), ..miss(&key) };
    let old = claim(&*bench.store, ask).await;
    until("a claim that may be taken again", async || matches!(bench.store.claim(ask).await, Ok(Claimed::Held(_))))
        .await;
    assert_eq!(commit(old, "late", TTL).await, Ok(Committed::Fenced));
    assert_eq!(value(&*bench.store, &key).await, None);
}

async fn an_old_claim_cannot_commit_over_a_new_one(bench: Bench) {
    let key = bench.key("k");
    let old = claim(&*bench.store, miss(&key)).await;
    bench.store.remove(std::slice::from_ref(&key)).await.expect("removed");
    let new = claim(&*bench.store, miss(&key)).await;
    assert_eq!(commit(old, "old", TTL).await, Ok(Committed::Fenced));
    assert_eq!(commit(new, "new", TTL).await, Ok(Committed::Written));
    assert_eq!(value(&*bench.store, &key).await.as_deref(), Some("new"));
}

async fn a_removal_voids_the_claim(bench: Bench) {
    let key = bench.key("k");
    let held = claim(&*bench.store, miss(&key)).await;
    bench.store.remove(std::slice::from_ref(&key)).await.expect("removed");
    assert_eq!(commit(held, "stale", TTL).await, Ok(Committed::Fenced));
    assert_eq!(value(&*bench.store, &key).await, None);
    let held = claim(&*bench.store, refresh(&key)).await;
    bench.store.remove(std::slice::from_ref(&key)).await.expect("removed");
    assert_eq!(held.commit_absent(TTL, Rules::default()).await, Ok(Committed::Fenced));
    assert!(matches!(bench.store.claim(miss(&key)).await, Ok(Claimed::Held(_))), "absence was not remembered");
}

async fn a_removal_counts_values_only(bench: Bench) {
    let (filled, claimed, nothing) = (bench.key("filled"), bench.key("claimed"), bench.key("nothing"));
    fill(&*bench.store, &filled, "v").await.expect("filled");
    let _held = claim(&*bench.store, miss(&claimed)).await;
    assert_eq!(bench.store.remove(&[filled.clone(), claimed, nothing]).await, Ok(1));
    assert_eq!(value(&*bench.store, &filled).await, None);
    assert_eq!(bench.store.remove(&[]).await, Ok(0));
}

async fn absence_is_remembered(bench: Bench) {
    let key = bench.key("k");
    assert_eq!(
        claim(&*bench.store, miss(&key)).await.commit_absent(TTL, Rules::default()).await,
        Ok(Committed::Written)
    );
    assert_eq!(value(&*bench.store, &key).await, None, "the app's key stays away");
    assert!(matches!(bench.store.claim(miss(&key)).await, Ok(Claimed::Absent)));
    let held = claim(&*bench.store, refresh(&key)).await;
    assert_eq!(commit(held, "v", TTL).await, Ok(Committed::Written));
    assert_eq!(value(&*bench.store, &key).await.as_deref(), Some("v"));
}

async fn absence_dies_with_a_removal(bench: Bench) {
    let key = bench.key("k");
    claim(&*bench.store, miss(&key)).await.commit_absent(TTL, Rules::default()).await.expect("remembered");
    assert_eq!(bench.store.remove(std::slice::from_ref(&key)).await, Ok(0));
    assert!(matches!(bench.store.claim(miss(&key)).await, Ok(Claimed::Held(_))));
}

async fn absence_ends_by_itself(bench: Bench) {
    let key = bench.key("k");
    claim(&*bench.store, miss(&key))
        .await
        .commit_absent(Duration::from_millis(30), Rules::default())
        .await
        .expect("remembered");
    until("an absence that is over", async || matches!(bench.store.claim(miss(&key)).await, Ok(Claimed::Held(_))))
        .await;
}

async fn absence_takes_away_what_stood(bench: Bench) {
    let key = bench.key("k");
    fill(&*bench.store, &key, "gone at the source").await.expect("filled");
    assert_eq!(
        claim(&*bench.store, refresh(&key)).await.commit_absent(TTL, Rules::default()).await,
        Ok(Committed::Written)
    );
    assert_eq!(value(&*bench.store, &key).await, None);
    assert!(matches!(bench.store.claim(miss(&key)).await, Ok(Claimed::Absent)));
}

async fn a_refresh_replaces_what_stood(bench: Bench) {
    let key = bench.key("k");
    fill(&*bench.store, &key, "old").await.expect("filled");
    let held = claim(&*bench.store, refresh(&key)).await;
    assert_eq!(commit(held, "new", TTL).await, Ok(Committed::Written));
    assert_eq!(value(&*bench.store, &key).await.as_deref(), Some("new"));
}

async fn a_refresh_keeps_an_apps_newer_value(bench: Bench) {
    let key = bench.key("k");
    fill(&*bench.store, &key, "old").await.expect("filled");
    let held = claim(&*bench.store, refresh(&key)).await;
    (bench.app)(&key, "the app's", Some(TTL));
    assert_eq!(commit(held, "ours", TTL).await, Ok(Committed::Kept));
    assert_eq!(value(&*bench.store, &key).await.as_deref(), Some("the app's"));
    assert!(matches!(bench.store.claim(refresh(&key)).await, Ok(Claimed::Held(_))), "the claim was used up");
}

async fn a_fill_keeps_an_apps_value(bench: Bench) {
    let key = bench.key("k");
    let held = claim(&*bench.store, miss(&key)).await;
    (bench.app)(&key, "the app's", Some(TTL));
    assert_eq!(commit(held, "ours", TTL).await, Ok(Committed::Kept));
    assert_eq!(value(&*bench.store, &key).await.as_deref(), Some("the app's"));
}

async fn absence_keeps_an_apps_value(bench: Bench) {
    let key = bench.key("k");
    let held = claim(&*bench.store, miss(&key)).await;
    (bench.app)(&key, "the app's", Some(TTL));
    assert_eq!(held.commit_absent(TTL, Rules::default()).await, Ok(Committed::Kept));
    assert_eq!(value(&*bench.store, &key).await.as_deref(), Some("the app's"));
    assert!(matches!(bench.store.claim(miss(&key)).await, Ok(Claimed::Fresh)));
}

async fn a_key_without_end_is_fresh(bench: Bench) {
    let key = bench.key("k");
    (bench.app)(&key, "for ever", None);
    let ask = ClaimAsk { key: &key, life: LIFE, mode: ClaimMode::Miss { renew_below: TTL } };
    assert!(matches!(bench.store.claim(ask).await, Ok(Claimed::Fresh)));
    let read = bench.store.read(&[key]).await.expect("a read").pop().flatten().expect("a value");
    assert_eq!(read.ttl, None);
}

async fn a_value_ends_when_its_time_is_over(bench: Bench) {
    let key = bench.key("k");
    let held = claim(&*bench.store, miss(&key)).await;
    assert_eq!(commit(held, "v", Duration::from_millis(30)).await, Ok(Committed::Written));
    until("a value that is gone", async || value(&*bench.store, &key).await.is_none()).await;
    assert_eq!(fill(&*bench.store, &key, "again").await, Ok(Committed::Written));
}

/// A claim on a value that is there, and that has ended by the time it is used.
async fn claim_outlives_the_value(bench: &Bench, key: &Key) -> Box<dyn Claim> {
    (bench.app)(key, "old", Some(Duration::from_millis(50)));
    let ask = ClaimAsk { key, life: LIFE, mode: ClaimMode::Miss { renew_below: TTL } };
    let held = claim(&*bench.store, ask).await;
    until("a value that is gone", async || value(&*bench.store, key).await.is_none()).await;
    held
}

async fn a_value_that_ends_while_it_is_renewed(bench: Bench) {
    let key = bench.key("k");
    let held = claim_outlives_the_value(&bench, &key).await;
    assert_eq!(commit(held, "new", TTL).await, Ok(Committed::Written));
    assert_eq!(value(&*bench.store, &key).await.as_deref(), Some("new"));
}

async fn absence_of_what_ended_meanwhile_is_remembered(bench: Bench) {
    let key = bench.key("k");
    let held = claim_outlives_the_value(&bench, &key).await;
    assert_eq!(held.commit_absent(TTL, Rules::default()).await, Ok(Committed::Written));
    assert!(matches!(bench.store.claim(miss(&key)).await, Ok(Claimed::Absent)));
}

async fn an_apps_value_outweighs_a_remembered_absence(bench: Bench) {
    let key = bench.key("k");
    claim(&*bench.store, miss(&key)).await.commit_absent(TTL, Rules::default()).await.expect("remembered");
    (bench.app)(&key, "the app's", Some(TTL));
    assert!(matches!(bench.store.claim(miss(&key)).await, Ok(Claimed::Fresh)));
    let ask = ClaimAsk { key: &key, life: LIFE, mode: ClaimMode::Miss { renew_below: TTL * 2 } };
    let held = claim(&*bench.store, ask).await;
    assert_eq!(commit(held, "ours", TTL).await, Ok(Committed::Written));
    assert_eq!(value(&*bench.store, &key).await.as_deref(), Some("ours"));
}

async fn reads_come_in_order(bench: Bench) {
    let keys: Vec<Key> = (0..600).map(|number| bench.key(&number.to_string())).collect();
    for (number, key) in keys.iter().enumerate().filter(|(number, _)| number % 3 == 0) {
        assert_eq!(fill(&*bench.store, key, &number.to_string()).await, Ok(Committed::Written));
    }
    let read = bench.store.read(&keys).await.expect("a read");
    assert_eq!(read.len(), keys.len());
    for (number, held) in read.into_iter().enumerate() {
        let expected = (number % 3 == 0).then(|| number.to_string());
        assert_eq!(held.map(|held| String::from_utf8_lossy(&held.value).into_owned()), expected);
    }
    assert_eq!(bench.store.remove(&keys).await, Ok(200));
    assert_eq!(bench.store.read(&[]).await, Ok(Vec::new()));
}

async fn any_bytes_can_be_key_and_value(bench: Bench) {
    let prefix = bench.prefix.as_bytes();
    let names: [&[u8]; 9] = [b"{a}", b"}{", b"{}", b"{", b"}", b"a{b}c{d}e", b"{{x}}", b"\x00\xff\r\n", b" "];
    for name in names {
        let key = Key::new([name, prefix].concat()).expect("a good key");
        for bytes in [&b""[..], &b"\x00\r\n\xff"[..], &vec![b'x'; 1024 * 1024][..]] {
            let held = claim(&*bench.store, refresh(&key)).await;
            assert_eq!(commit(held, bytes.to_vec(), TTL).await, Ok(Committed::Written), "{name:?}");
            let read = bench.store.read(std::slice::from_ref(&key)).await.expect("a read").pop().flatten();
            assert_eq!(read.expect("a value").value.len(), bytes.len(), "{name:?}");
        }
        assert_eq!(bench.store.remove(std::slice::from_ref(&key)).await, Ok(1), "{name:?}");
    }
}

async fn many_fills_at_once(bench: Bench) {
    let keys: Vec<Key> = (0..500).map(|number| bench.key(&number.to_string())).collect();
    let filled = join_all(keys.iter().map(|key| fill(&*bench.store, key, "v"))).await;
    assert!(filled.iter().all(|filled| *filled == Ok(Committed::Written)), "{filled:?}");
    let one = bench.key("contended");
    let claims = join_all((0..100).map(|_| bench.store.claim(miss(&one)))).await;
    let held = claims.iter().filter(|claim| matches!(claim, Ok(Claimed::Held(_)))).count();
    assert_eq!(held, 1, "one claim at a time");
}
