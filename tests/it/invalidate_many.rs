//! More than is worked on at once: what stands in the way of some must not stand in the way of all, nor pile up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join3};
use hydrant::domain::entity::Entity;
use hydrant::domain::journal::JobId;
use hydrant::domain::key::Key;
use hydrant::domain::store::{ClaimAsk, Claimed, Held, Registered, Registration, Store, StoreError, StoreState};
use hydrant::domain::tag::Tag;
use hydrant::invalidate::jobs::JobState;
use hydrant::invalidate::request::{Mode, State, Target};
use hydrant::invalidate::sweep::Spec;
use hydrant::local::memory::MemoryStore;
use tokio::time::sleep;

use crate::invalidate_world::{Place, Redis, Sidecar, member, user};
use crate::support::catalog::draft;
use crate::support::store::key;
use crate::support::wait::until;

/// More than one look at the journal finds, and more than are taken over at a time.
const MANY: usize = 300;

#[tokio::test(start_paused = true)]
async fn what_cannot_be_done_does_not_keep_a_peer_from_what_can() {
    let redis = Redis::new();
    let dead = Sidecar::new(&redis, 1, vec![user()], None);
    redis.faults.now().keys.extend(["user:7".to_owned(), "user:8".to_owned()]);
    let call = async |id| {
        let answer = dead.call(Mode::Remove, vec![Target::Member(member("user", id))]).await.expect("promised");
        let State::Pending { job, .. } = answer.state else { panic!("{:?}", answer.state) };
        job
    };
    for _ in 0..MANY {
        call("7").await;
    }
    let last = call("8").await;
    dead.tasks.drain(Duration::from_secs(1)).await;
    let before = dead.invalidate.job(last.as_str()).await.expect("known").attempts;
    drop(dead);

    redis.put("user:8", "old");
    redis.faults.now().keys.remove("user:8");
    let other = Sidecar::new(&redis, 2, vec![user()], None);
    other.invalidate.start().await.expect("no spool");
    until("the one that can be done", async || redis.value("user:8").await.is_none()).await;
    until("its end", async || {
        let job = other.invalidate.job(last.as_str()).await.expect("known");
        job.state == JobState::Succeeded && job.attempts > before && job.holder == "pod-2"
    })
    .await;
    assert_eq!(redis.backlog().await, MANY as u64);
}

/// The old declaration, by which every sidecar knows what is wrong.
fn dropped() -> Spec {
    Spec::of([&Entity::new(draft("old")).expect("a good entity")])
}

#[tokio::test(start_paused = true)]
async fn what_a_reload_makes_wrong_is_swept_by_one_for_all() {
    let redis = Redis::new();
    let sidecars = [1, 2, 3].map(|seed| Sidecar::new(&redis, seed, vec![draft("new")], None));
    for key in ["old:1", "new:1"] {
        redis.put(key, "v");
    }
    let [one, two, late] = &sidecars;
    let reload = async |sidecar: &Sidecar| sidecar.invalidate.purge(dropped()).await;
    let later = async {
        sleep(Duration::from_secs(10)).await;
        // It had the old configuration until now.
        redis.put("old:2", "v");
        reload(late).await;
    };
    join3(reload(one), reload(two), later).await;
    assert_eq!(redis.faults.now().recorded, 2, "one for those who had it at once, and one after the last");
    assert_eq!((redis.value("old:1").await, redis.value("old:2").await), (None, None));
    assert!(redis.value("new:1").await.is_some());
    assert_eq!(redis.backlog().await, 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_reload_makes_wrong_is_swept_though_its_sidecar_ends() {
    let redis = Redis::new();
    let [ends, other] = [1, 2].map(|seed| Sidecar::new(&redis, seed, vec![draft("new")], None));
    redis.put("old:1", "v");
    let invalidate = ends.invalidate.clone();
    ends.tasks.until_stop(async move { invalidate.purge(dropped()).await });
    until("an intent", async || redis.faults.now().recorded == 1).await;
    redis.put("old:2", "v");
    ends.tasks.drain(Duration::from_secs(1)).await;
    other.invalidate.start().await.expect("no spool");
    sleep(Duration::from_secs(30)).await;
    until("all of it gone", async || redis.value("old:1").await.is_none() && redis.value("old:2").await.is_none())
        .await;
}

/// A store that tells how much of it was read at once.
#[derive(Clone)]
struct Watching {
    store: MemoryStore,
    most: Arc<AtomicUsize>,
}

impl Store for Watching {
    fn claim<'a>(&'a self, ask: ClaimAsk<'a>) -> BoxFuture<'a, Result<Claimed, StoreError>> {
        self.store.claim(ask)
    }

    fn register<'a>(&'a self, ask: Registration<'a>) -> BoxFuture<'a, Result<Registered, StoreError>> {
        self.store.register(ask)
    }

    fn remove<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<usize, StoreError>> {
        self.store.remove(keys)
    }

    fn read<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<Vec<Option<Held>>, StoreError>> {
        self.most.fetch_max(keys.len(), Ordering::SeqCst);
        self.store.read(keys)
    }

    fn state(&self) -> StoreState {
        self.store.state()
    }
}

#[tokio::test(start_paused = true)]
async fn aliases_are_read_a_few_at_a_time() {
    let (redis, most) = (Redis::new(), Arc::new(AtomicUsize::new(0)));
    let store = Arc::new(Watching { store: redis.store.clone(), most: most.clone() });
    let faulty = Arc::new(redis.clone());
    let place = Place { store, removal: faulty.clone(), journal: faulty };
    let sidecar = Sidecar::at(place, "shop", 1, vec![user()], None);
    let aliases = |many: usize| -> Vec<String> { (0..many).map(|n| format!("user:email:{n}@b.c")).collect() };
    for (n, alias) in aliases(100).iter().enumerate() {
        redis.store.put(&key(alias), format!("{n}").into(), None);
    }
    let answer = sidecar.call(Mode::Remove, vec![Target::Keys(aliases(100))]).await.expect("done");
    assert_eq!((answer.counts.matched, answer.counts.removed), (200, 100));
    assert_eq!(most.load(Ordering::SeqCst), 16);

    let many: Vec<Target> = aliases(1_025).chunks(256).map(|some| Target::Keys(some.to_vec())).collect();
    let error = sidecar.call(Mode::Remove, many).await.expect_err("too many");
    assert_eq!(error.fields.iter().map(|field| field.path.as_str()).collect::<Vec<_>>(), ["targets"]);
}

#[tokio::test(start_paused = true)]
async fn a_sweep_waits_for_the_longest_claim_of_the_fleet() {
    let redis = Redis::new();
    let sidecar = Sidecar::new(&redis, 1, vec![draft("order")], None);
    let sign = JobId::new("0-0-2").expect("a good id");
    sidecar.invalidate.start().await.expect("no spool");
    until("word of its own claims", async || redis.signs.lock().expect("sound").contains_key(&sign)).await;
    // A sidecar with another configuration.
    redis.signs.lock().expect("sound").insert(sign.clone(), Bytes::from_static(b"60000"));
    let answer = sidecar.call(Mode::Remove, vec![Target::All { entities: Vec::new() }]).await.expect("promised");
    let State::Pending { job, .. } = answer.state else { panic!("{:?}", answer.state) };
    sleep(Duration::from_secs(59)).await;
    redis.put("order:late", "filled before, and written at the end of its claim");
    until("its end", async || sidecar.invalidate.job(job.as_str()).await.expect("known").state == JobState::Succeeded)
        .await;
    assert_eq!(redis.value("order:late").await, None);
    sleep(Duration::from_secs(600)).await;
    assert_eq!(redis.signs.lock().expect("sound")[&sign], "60000", "nobody says less while it is believed");
}

#[tokio::test(start_paused = true)]
async fn a_tag_is_read_no_further_than_what_it_names_can_be_removed() {
    let redis = Redis::new();
    let sidecar = Sidecar::new(&redis, 1, vec![draft("order")], None);
    let tag = Tag::declared("all").expect("a good tag");
    for number in 0..5_000 {
        let key = key(format!("order:{number}"));
        let ask = Registration { key: &key, tags: std::slice::from_ref(&tag), life: Duration::from_secs(600) };
        redis.store.register(ask).await.expect("memory answers");
        redis.store.put(&key, Bytes::from_static(b"v"), None);
    }
    {
        let mut wrong = redis.faults.now();
        (wrong.all_keys, wrong.page) = (true, Some(100));
    }
    let answer = sidecar.call(Mode::Remove, vec![Target::Tag("all".to_owned())]).await.expect("promised");
    let State::Pending { job, .. } = answer.state else { panic!("{:?}", answer.state) };
    sleep(Duration::from_secs(20)).await;
    let pages = redis.faults.now().pages;
    assert!((20..=40).contains(&pages), "{pages} pages were read of 50");
    redis.faults.now().all_keys = false;
    until("its end", async || sidecar.invalidate.job(job.as_str()).await.expect("known").state == JobState::Succeeded)
        .await;
    let counts = sidecar.invalidate.job(job.as_str()).await.expect("known").counts;
    assert_eq!((counts.matched, counts.removed), (5_000, 5_000));
}
