//! One conformance suite for every keeper of leases, as `store_contract` is for stores.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, join, join_all};
use hydrant::domain::key::Key;
use hydrant::domain::lease::{Acquired, Grant, LeaseAsk, Leases, Noted, Progress, Renewed, Validity, tick_key};
use hydrant::domain::store::StoreError;
use hydrant::local::lease::MemoryLeases;
use hydrant::remote::{Config, Mode};
use tokio::time::Instant;

use crate::support::redis::{RedisCluster, RedisServer};
use crate::support::store::{Rig, config};
use crate::support::wait::until;

const TTL: Duration = Duration::from_secs(30);
/// Long enough to be asked twice within it, short enough to wait for.
const SHORT: Duration = Duration::from_millis(400);

#[derive(Clone)]
struct Bench {
    leases: Arc<dyn Leases>,
    lock: Key,
}

type Case = (&'static str, fn(Bench) -> LocalBoxFuture<'static, ()>);

const CASES: [Case; 8] = [
    ("one at a time holds it", |b| Box::pin(one_at_a_time_holds_it(b))),
    ("of many who ask at once one is granted", |b| Box::pin(of_many_who_ask_at_once_one_is_granted(b))),
    ("it ends by itself", |b| Box::pin(it_ends_by_itself(b))),
    ("only its owner renews it", |b| Box::pin(only_its_owner_renews_it(b))),
    ("a release that comes late ends nobody elses", |b| Box::pin(a_late_release_ends_nobody_elses(b))),
    ("each grant has a higher fence", |b| Box::pin(each_grant_has_a_higher_fence(b))),
    ("progress goes on under the newest fence only", |b| Box::pin(progress_goes_on_under_the_newest_fence_only(b))),
    ("a tick is had once", |b| Box::pin(a_tick_is_had_once(b))),
];

async fn the_contract_holds(leases: Arc<dyn Leases>, prefix: &str) {
    let mut failed = Vec::new();
    for (number, (name, run)) in CASES.into_iter().enumerate() {
        let lock = Key::new(format!("{prefix}:{number}:warmup:lock")).expect("a good key");
        if AssertUnwindSafe(run(Bench { leases: leases.clone(), lock })).catch_unwind().await.is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "the leases break their contract: {failed:?}");
}

#[tokio::test]
async fn memory_keeps_the_contract_of_leases() {
    the_contract_holds(Arc::new(MemoryLeases::default()), "lease").await;
}

#[tokio::test]
async fn a_single_server_keeps_the_contract_of_leases() {
    let server = RedisServer::start().await;
    let rig = Rig::up(config(Mode::Standalone { address: server.address() })).await;
    the_contract_holds(rig.store.clone(), "lease").await;
}

#[tokio::test]
async fn a_cluster_keeps_the_contract_of_leases() {
    let cluster = RedisCluster::shared().await;
    let rig = Rig::up(Config { replicas: 1, ..config(Mode::Cluster { seeds: cluster.seeds() }) }).await;
    the_contract_holds(rig.store.clone(), "lease").await;
}

#[tokio::test]
async fn the_lock_is_what_an_app_would_set_itself() {
    let server = RedisServer::start().await;
    let rig = Rig::up(config(Mode::Standalone { address: server.address() })).await;
    let lock = Key::new("cache:warmup:lock").expect("a good key");
    let bench = Bench { leases: rig.store.clone(), lock };
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let granted = bench.granted(trace, TTL).await;
    assert_eq!(server.text(&["GET", "cache:warmup:lock"]), trace);
    let left: u64 = server.text(&["PTTL", "cache:warmup:lock"]).parse().expect("a number");
    assert!((25_000..=30_000).contains(&left), "{left}");
    bench.leases.release(&bench.ask(trace, TTL), granted.fence).await.expect("answered");
    assert_eq!(server.command(&["EXISTS", "cache:warmup:lock"]), redis::Value::Int(0));
    // An app's own runner, which knows nothing of fences.
    server.command(&["SET", "cache:warmup:lock", "theirs", "NX", "EX", "30"]);
    assert_eq!(bench.holder(trace).await, "theirs");
}

/// P5 across a failover: a grant that the replicas do not know of could be given to another.
#[tokio::test]
async fn a_lease_that_the_replicas_do_not_know_of_is_not_granted() {
    let cluster = RedisCluster::start().await;
    let rig = Rig::up(Config { replicas: 1, ..config(Mode::Cluster { seeds: cluster.seeds() }) }).await;
    let lock = Key::new(cluster.key_of(0, "lock:")).expect("a good key");
    let bench = Bench { leases: rig.store.clone(), lock };
    let granted = bench.granted("before", TTL).await;
    cluster.nodes[3].hang();
    until("a renewal that the replica does not know of", async || {
        bench.leases.renew(&bench.ask("before", TTL), granted.fence).await == Err(StoreError::Timeout)
    })
    .await;
    bench.leases.release(&bench.ask("before", TTL), granted.fence).await.expect("answered");
    assert_eq!(bench.acquire("after", TTL).await, Err(StoreError::Timeout));
    cluster.nodes[3].resume();
    until("a lease again", async || matches!(bench.acquire("later", TTL).await, Ok(Acquired::Granted(_)))).await;
}

/// P5: the server began to count before its answer came, however long that took.
#[tokio::test]
async fn a_lease_is_counted_from_before_its_request_was_sent() {
    let server = RedisServer::start().await;
    let rig = Rig::up(config(Mode::Standalone { address: server.address() })).await;
    let lock = Key::new("cache:warmup:lock").expect("a good key");
    let bench = Bench { leases: rig.store.clone(), lock };
    // What has to be loaded first is there from now on.
    let first = bench.granted("first", TTL).await.fence;
    bench.leases.release(&bench.ask("first", TTL), first).await.expect("answered");
    // No answer comes from a server that stands still, so it comes after this moment.
    let resume = || {
        let before = Instant::now();
        server.resume();
        before
    };
    server.hang();
    let (grant, resumed) = join(bench.granted("late", TTL), async { resume() }).await;
    assert!(grant.validity <= Validity::of(resumed, TTL), "counted from its answer");
    let ask = bench.ask("late", TTL);
    server.hang();
    let (renewed, resumed) = join(bench.leases.renew(&ask, grant.fence), async { resume() }).await;
    match renewed.expect("answered") {
        Renewed::Until(validity) => assert!(validity <= Validity::of(resumed, TTL), "counted from its answer"),
        Renewed::Lost => panic!("it was late's"),
    }
}

/// A mutant is chosen once for a process, so each has one of its own: this very binary, asked for one test.
#[cfg(feature = "mutants")]
#[test]
fn mutants_of_the_lease_are_found() {
    let caught = |mutant: &str, test: &str| {
        let myself = std::env::current_exe().expect("a test is a file");
        let test = format!("lease_contract::{test}");
        let output = std::process::Command::new(myself).args(["--exact", &test]).env("HYDRANT_MUTANT", mutant).output();
        let output = output.expect("runs");
        assert!(String::from_utf8_lossy(&output.stdout).contains("running 1 test"), "{test} is not there any more");
        !output.status.success()
    };
    for (mutant, test) in [
        ("M14", "a_lease_is_counted_from_before_its_request_was_sent"),
        ("M15", "a_single_server_keeps_the_contract_of_leases"),
    ] {
        assert!(caught(mutant, test), "{mutant} is not found");
        assert!(!caught("M1", test), "it is {mutant} that is caught, and no other");
    }
}

impl Bench {
    fn ask(&self, holder: &str, ttl: Duration) -> LeaseAsk {
        LeaseAsk { lock: self.lock.clone(), holder: holder.to_owned(), pod: format!("pod-of-{holder}"), ttl }
    }

    async fn acquire(&self, holder: &str, ttl: Duration) -> Result<Acquired, StoreError> {
        self.leases.acquire(&self.ask(holder, ttl)).await
    }

    async fn granted(&self, holder: &str, ttl: Duration) -> Grant {
        match self.acquire(holder, ttl).await.expect("answered") {
            Acquired::Granted(grant) => grant,
            held @ Acquired::Held { .. } => panic!("{held:?}"),
        }
    }

    /// Who holds it, by what another is answered.
    async fn holder(&self, asking: &str) -> String {
        match self.acquire(asking, TTL).await.expect("answered") {
            Acquired::Held { holder, .. } => holder,
            Acquired::Granted(grant) => panic!("granted: {grant:?}"),
        }
    }

    async fn note(&self, fence: u64, text: &'static str) -> Noted {
        let progress = Progress { text: Bytes::from(text), life: TTL };
        self.leases.note(&self.lock, fence, progress).await.expect("answered")
    }
}

async fn one_at_a_time_holds_it(bench: Bench) {
    let sent = Instant::now();
    let grant = bench.granted("a", TTL).await;
    assert!(grant.validity.end() <= Instant::now() + TTL && grant.validity.end() > sent + TTL * 9 / 10);
    match bench.acquire("b", TTL).await.expect("answered") {
        Acquired::Held { holder, pod, remaining } => {
            assert_eq!((holder.as_str(), pod.as_str()), ("a", "pod-of-a"));
            assert!(remaining <= TTL && remaining > TTL / 2, "{remaining:?}");
        }
        Acquired::Granted(grant) => panic!("{grant:?}"),
    }
    assert_eq!(bench.holder("a").await, "a", "not even its holder is granted it twice");
    bench.leases.release(&bench.ask("a", TTL), grant.fence).await.expect("answered");
    bench.granted("b", TTL).await;
}

async fn of_many_who_ask_at_once_one_is_granted(bench: Bench) {
    let names: Vec<String> = (0..16).map(|number| format!("runner-{number}")).collect();
    let asked = join_all(names.iter().map(|name| bench.acquire(name, TTL))).await;
    let granted = asked.iter().filter(|acquired| matches!(acquired, Ok(Acquired::Granted(_)))).count();
    assert_eq!(granted, 1, "{asked:?}");
}

async fn it_ends_by_itself(bench: Bench) {
    let first = bench.granted("a", SHORT).await;
    until("the end of a lease", async || matches!(bench.acquire("b", TTL).await, Ok(Acquired::Granted(_)))).await;
    assert_eq!(first.validity.left(Instant::now()), Duration::ZERO, "its holder had stopped before");
    assert_eq!(bench.leases.renew(&bench.ask("a", TTL), first.fence).await, Ok(Renewed::Lost));
}

async fn only_its_owner_renews_it(bench: Bench) {
    let grant = bench.granted("a", SHORT).await;
    let renew = async |holder, fence| bench.leases.renew(&bench.ask(holder, TTL), fence).await.expect("answered");
    assert_eq!(renew("b", grant.fence).await, Renewed::Lost);
    assert_eq!(renew("a", grant.fence + 1).await, Renewed::Lost);
    match renew("a", grant.fence).await {
        Renewed::Until(validity) => assert!(validity > grant.validity),
        Renewed::Lost => panic!("it was a's"),
    }
    assert_eq!(bench.holder("b").await, "a");
}

async fn a_late_release_ends_nobody_elses(bench: Bench) {
    let first = bench.granted("a", SHORT).await;
    until("the end of a lease", async || matches!(bench.acquire("b", TTL).await, Ok(Acquired::Granted(_)))).await;
    bench.leases.release(&bench.ask("a", TTL), first.fence).await.expect("answered");
    assert_eq!(bench.holder("c").await, "b");
    // The same name again, but of an older lease: two calls may bring the same trace.
    bench.leases.release(&bench.ask("b", TTL), first.fence).await.expect("answered");
    assert_eq!(bench.holder("c").await, "b");
}

async fn each_grant_has_a_higher_fence(bench: Bench) {
    let mut last = 0;
    for holder in ["a", "b", "a"] {
        let grant = bench.granted(holder, TTL).await;
        assert!(grant.fence > last);
        last = grant.fence;
        bench.leases.release(&bench.ask(holder, TTL), grant.fence).await.expect("answered");
    }
}

async fn progress_goes_on_under_the_newest_fence_only(bench: Bench) {
    let noted = async || bench.leases.noted(&bench.lock).await.expect("answered");
    assert_eq!(noted().await, None);
    let first = bench.granted("a", TTL).await.fence;
    assert_eq!(bench.note(first, "half").await, Noted::Written);
    bench.leases.release(&bench.ask("a", TTL), first).await.expect("answered");
    assert_eq!(noted().await.as_deref(), Some(&b"half"[..]), "who comes next goes on from there");
    let second = bench.granted("b", TTL).await.fence;
    assert_eq!(bench.note(first, "less").await, Noted::Superseded);
    assert_eq!(bench.note(second, "more").await, Noted::Written);
    assert_eq!(noted().await.as_deref(), Some(&b"more"[..]));
}

async fn a_tick_is_had_once(bench: Bench) {
    let group = bench.lock.to_string().replace(':', "-");
    let tick = |seconds| tick_key(&group, "default", seconds).expect("a good key");
    let asked = join_all((0..8).map(|_| async { bench.leases.tick(&tick(60), TTL).await.expect("answered") })).await;
    assert_eq!(asked.into_iter().filter(|had| *had).count(), 1);
    assert!(bench.leases.tick(&tick(120), SHORT).await.expect("answered"));
    until("the end of a tick", async || bench.leases.tick(&tick(120), SHORT).await.expect("answered")).await;
}

/// P5 across a failover: what was granted is still held at the primary that comes after.
#[tokio::test]
async fn a_lease_stands_after_a_failover() {
    let mut cluster = RedisCluster::start().await;
    let rig = Rig::up(Config { replicas: 1, ..config(Mode::Cluster { seeds: cluster.seeds() }) }).await;
    let lock = Key::new(cluster.key_of(0, "lock:")).expect("a good key");
    let bench = Bench { leases: rig.store.clone(), lock };
    let mut granted = None;
    until("a lease that the replica knows of", async || {
        granted = match bench.acquire("before", TTL).await {
            Ok(Acquired::Granted(grant)) => Some(grant),
            Ok(Acquired::Held { .. }) | Err(_) => None,
        };
        granted.is_some()
    })
    .await;
    cluster.nodes[0].kill();
    let mut held = None;
    until("the primary that comes after", async || {
        held = bench.acquire("after", TTL).await.ok();
        held.is_some()
    })
    .await;
    assert!(matches!(&held, Some(Acquired::Held { holder, .. }) if holder == "before"), "{held:?}");
    // A renewal is not confirmed any more: there is no replica. The holder stops when its time is over.
    let fence = granted.expect("granted").fence;
    assert_eq!(bench.leases.renew(&bench.ask("before", TTL), fence).await, Err(StoreError::Timeout));
}
