//! What an invalidation asks of every store: one list of cases, over memory, a single Redis and a cluster.
//!
//! Each case is a sentence of the contract in `domain::store` and `domain::removal`; what only Redis can get wrong has its
//! tests in `remote_removal` and `remote_confirm`.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, join_all};
use hydrant::domain::key::Key;
use hydrant::domain::member_version::Version;
use hydrant::domain::pseudonym::Pseudonym;
use hydrant::domain::random::{Nonce, Random};
use hydrant::domain::removal::{Erasure, Gone, Mark, Removal, Replaced, Replacement, TagPlace};
use hydrant::domain::store::{Claimed, Committed, Confirmed, Landing, Registration, Rules, Store, StoreError, Write};
use hydrant::domain::tag::Tag;
use hydrant::local;
use hydrant::local::memory::MemoryStore;
use hydrant::remote::Mode;

use crate::store_contract::{AppWrites, app_writes};
use crate::support::redis::{RedisCluster, RedisServer};
use crate::support::store::{LIFE, Rig, TTL, claim, commit, config, fill, miss, refresh, value};
use crate::support::wait::until;

/// Everything a store does.
pub trait Whole: Store + Removal {}
impl<T: Store + Removal> Whole for T {}

#[derive(Clone)]
struct Bench {
    store: Arc<dyn Whole>,
    app: AppWrites,
    prefix: String,
    random: Random,
}

type Case = (&'static str, fn(Bench) -> LocalBoxFuture<'static, ()>);

/// Long enough that no case outlives it.
const MARKED: Duration = Duration::from_secs(30);

const CASES: [Case; 24] = [
    ("an erasure says what was there", |b| Box::pin(an_erasure_says_what_was_there(b))),
    ("an erasure names the aliases of the commit", |b| Box::pin(an_erasure_names_the_aliases(b))),
    ("an index outlives the erasure", |b| Box::pin(an_index_outlives_the_erasure(b))),
    ("a commit that is refused registers nothing", |b| Box::pin(a_refused_commit_registers_nothing(b))),
    ("a commit with rules keeps the claims contract", |b| Box::pin(a_commit_with_rules_keeps_the_contract(b))),
    ("a version below the floor is refused", |b| Box::pin(a_version_below_the_floor_is_refused(b))),
    ("a floor only rises", |b| Box::pin(a_floor_only_rises(b))),
    ("a floor ends by itself", |b| Box::pin(a_floor_ends_by_itself(b))),
    ("absence is refused while a floor stands", |b| Box::pin(absence_is_refused_while_a_floor_stands(b))),
    ("a source that lags gets short lives", |b| Box::pin(a_source_that_lags_gets_short_lives(b))),
    ("no lag once the mark is older", |b| Box::pin(no_lag_once_the_mark_is_older(b))),
    ("entities without rules ask no tombstone", |b| Box::pin(entities_without_rules_ask_no_tombstone(b))),
    ("a replacement voids the claim", |b| Box::pin(a_replacement_voids_the_claim(b))),
    ("a replacement is a floor", |b| Box::pin(a_replacement_is_a_floor(b))),
    ("an old replacement leaves the key removed", |b| Box::pin(an_old_replacement_leaves_the_key_removed(b))),
    ("no replacement after an invalidation without version", |b| Box::pin(no_replacement_without_a_floor(b))),
    ("softening only shortens", |b| Box::pin(softening_only_shortens(b))),
    ("softening is a removal else", |b| Box::pin(softening_marks_and_reads_the_index_as_a_removal_does(b))),
    ("weeding takes what apps brought back", |b| Box::pin(weeding_takes_what_apps_brought_back(b))),
    ("weeding leaves what fills wrote", |b| Box::pin(weeding_leaves_what_fills_wrote(b))),
    ("only the newest invalidation weeds", |b| Box::pin(only_the_newest_invalidation_weeds(b))),
    ("who does not weed leaves it to who does", |b| Box::pin(who_does_not_weed_leaves_it_to_who_does(b))),
    ("a tag names all its keys", |b| Box::pin(a_tag_names_all_its_keys(b))),
    ("a buried subject is told", |b| Box::pin(a_buried_subject_is_told(b))),
];

pub async fn the_contract_holds(store: Arc<dyn Whole>, app: AppWrites, prefix: &str) {
    let mut failed = Vec::new();
    for (number, (name, run)) in CASES.into_iter().enumerate() {
        let (prefix, random) = (format!("{prefix}:{number}"), Random::from_seed(number as u64));
        let bench = Bench { store: store.clone(), app: app.clone(), prefix, random };
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
    the_contract_holds(rig.store.clone(), app, "removal").await;
}

#[tokio::test]
async fn a_cluster_keeps_the_contract() {
    let cluster = RedisCluster::shared().await;
    let rig = Rig::up(config(Mode::Cluster { seeds: cluster.seeds() })).await;
    let app: AppWrites = Arc::new(move |key, value, ttl| {
        app_writes(&cluster.nodes[cluster.owner(key.as_bytes())], key, value, ttl);
    });
    the_contract_holds(rig.store.clone(), app, "removal").await;
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    let store = MemoryStore::new(local::Config { bytes: 64 << 20, items: 20_000 }, Random::from_seed(1));
    let apps = store.clone();
    let app: AppWrites = Arc::new(move |key, value, ttl| apps.put(key, value.to_owned().into(), ttl));
    the_contract_holds(Arc::new(store), app, "removal").await;
}

impl Bench {
    fn key(&self, name: &str) -> Key {
        Key::new(format!("{}:{name}", self.prefix)).expect("a good key")
    }

    fn keys(&self, names: &[&str]) -> Vec<Key> {
        names.iter().map(|name| self.key(name)).collect()
    }

    fn mark(&self, floor: Option<u64>) -> Mark {
        Mark { nonce: Some(self.random.nonce()), life: MARKED, floor: floor.map(version) }
    }

    /// Removes one key whose member has aliases.
    async fn erase(&self, key: &Key, mark: Option<Mark>) -> Gone {
        let erased = self.store.erase(&[Erasure { key: key.clone(), has_index: true, mark }]).await;
        assert_eq!(erased.confirmation.await, Confirmed::Yes);
        erased.keys.into_iter().next().expect("one key").expect("erased")
    }

    async fn land(&self, key: &Key, write: Write) -> Landing {
        claim(&*self.store, refresh(key)).await.commit(write).await.expect("an end")
    }

    async fn land_version(&self, key: &Key, number: Option<u64>) -> Committed {
        let rules = Rules { version: number.map(version), has_floor: true, ..Rules::default() };
        self.land(key, Write { rules, ..plain("v") }).await.committed
    }

    async fn replace(&self, key: &Key, text: &'static str, number: u64) -> bool {
        let replacement = Replacement {
            key,
            value: text.into(),
            ttl: TTL,
            version: version(number),
            mark: self.random.nonce(),
            life: MARKED,
        };
        let (is_written, confirmation) = match self.store.replace(replacement).await.expect("an end") {
            Replaced::Written(confirmation) => (true, confirmation),
            Replaced::Superseded(confirmation) => (false, confirmation),
        };
        assert_eq!(confirmation.await, Confirmed::Yes);
        is_written
    }

    async fn left(&self, key: &Key) -> Option<Duration> {
        self.store.read(std::slice::from_ref(key)).await.expect("a read").pop().flatten()?.ttl
    }

    async fn tagged(&self, tag: &Tag) -> BTreeSet<Key> {
        let (mut keys, mut next) = (BTreeSet::new(), Some(TagPlace::default()));
        while let Some(place) = next {
            let page = self.store.tagged(tag, place).await.expect("a page");
            keys.extend(page.keys);
            next = page.next;
        }
        keys
    }

    async fn register(&self, key: &Key, tags: &[Tag]) -> Result<Option<Duration>, StoreError> {
        let registered = self.store.register(Registration { key, tags, life: TTL }).await?;
        assert_eq!(registered.confirmation.await, Confirmed::Yes);
        Ok(registered.gone)
    }
}

fn version(number: u64) -> Version {
    Version::new(number).expect("a good version")
}

fn plain(text: &'static str) -> Write {
    Write::plain(text.into(), TTL)
}

async fn an_erasure_says_what_was_there(bench: Bench) {
    let [filled, claimed, both, nothing] = &bench.keys(&["filled", "claimed", "both", "nothing"])[..] else { panic!() };
    for key in [filled, both] {
        fill(&*bench.store, key, "v").await.expect("filled");
    }
    let held = [claim(&*bench.store, miss(claimed)).await, claim(&*bench.store, refresh(both)).await];
    let erasures =
        [filled, claimed, both, nothing].map(|key| Erasure { key: key.clone(), has_index: true, mark: None });
    let erased = bench.store.erase(&erasures).await;
    let seen: Vec<(bool, bool)> =
        erased.keys.into_iter().map(|gone| gone.expect("erased")).map(|gone| (gone.held, gone.fenced)).collect();
    assert_eq!(seen, [(true, false), (false, true), (true, true), (false, false)]);
    assert_eq!(erased.confirmation.await, Confirmed::Yes);
    for held in held {
        assert_eq!(commit(held, "late", TTL).await, Ok(Committed::Fenced));
    }
    assert!(bench.store.erase(&[]).await.keys.is_empty());
}

async fn an_erasure_names_the_aliases(bench: Bench) {
    let (key, aliases) = (bench.key("k"), bench.keys(&["a@example", "b{}@example"]));
    let landing = bench.land(&key, Write { aliases: aliases.clone(), registered_for: TTL, ..plain("v") }).await;
    assert_eq!((landing.committed, landing.aliases, landing.ttl), (Committed::Written, 2, TTL));
    assert_eq!(landing.confirmation.expect("asked").await, Confirmed::Yes);
    let gone = bench.erase(&key, None).await;
    assert_eq!(gone.aliases.into_iter().collect::<BTreeSet<_>>(), aliases.into_iter().collect());
    assert!(gone.held);
    assert_eq!(value(&*bench.store, &key).await, None);
}

async fn an_index_outlives_the_erasure(bench: Bench) {
    let (key, old, new) = (bench.key("k"), bench.key("old@"), bench.key("new@"));
    for alias in [&old, &new] {
        bench.land(&key, Write { aliases: vec![alias.clone()], registered_for: TTL, ..plain("v") }).await;
        bench.erase(&key, None).await;
    }
    assert_eq!(bench.erase(&key, None).await.aliases.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([old, new]));
}

async fn a_refused_commit_registers_nothing(bench: Bench) {
    let (key, alias) = (bench.key("k"), bench.key("a@"));
    let held = claim(&*bench.store, miss(&key)).await;
    bench.erase(&key, Some(bench.mark(Some(7)))).await;
    let rules = Rules { version: Some(version(6)), has_floor: true, ..Rules::default() };
    let write = Write { aliases: vec![alias], registered_for: TTL, rules, ..plain("v") };
    let fenced = held.commit(write.clone()).await.expect("an end");
    assert_eq!((fenced.committed, fenced.aliases, fenced.confirmation.is_some()), (Committed::Fenced, 0, false));
    let superseded = bench.land(&key, write).await;
    assert_eq!((superseded.committed, superseded.aliases), (Committed::Superseded, 0));
    assert!(bench.erase(&key, None).await.aliases.is_empty());
}

async fn a_commit_with_rules_keeps_the_contract(bench: Bench) {
    let key = bench.key("k");
    let rules = Rules { version: None, has_floor: true, lag: Some(TTL), is_shared: true };
    let write = |text| Write { rules, aliases: vec![bench.key("a@")], registered_for: TTL, ..plain(text) };
    assert_eq!(bench.land(&key, write("v")).await.committed, Committed::Written);
    assert_eq!(bench.land(&key, write("w")).await.committed, Committed::Written, "a refresh replaces what stood");
    let held = claim(&*bench.store, refresh(&key)).await;
    (bench.app)(&key, "the app's", Some(TTL));
    assert_eq!(held.commit(write("x")).await.expect("an end").committed, Committed::Kept);
    assert_eq!(value(&*bench.store, &key).await.as_deref(), Some("the app's"));
    assert!(matches!(bench.store.claim(refresh(&key)).await, Ok(Claimed::Held(_))), "the claim was used up");
}

async fn a_version_below_the_floor_is_refused(bench: Bench) {
    let key = bench.key("k");
    assert_eq!(bench.land_version(&key, None).await, Committed::Written, "no floor stands yet");
    bench.erase(&key, Some(bench.mark(Some(7)))).await;
    for old in [Some(6), Some(0), None] {
        assert_eq!(bench.land_version(&key, old).await, Committed::Superseded, "{old:?}");
        assert_eq!(value(&*bench.store, &key).await, None);
        assert!(matches!(bench.store.claim(miss(&key)).await, Ok(Claimed::Held(_))), "the claim was given back");
        bench.erase(&key, None).await;
    }
    for new in [7, 1 << 53] {
        assert_eq!(bench.land_version(&key, Some(new)).await, Committed::Written, "{new}");
    }
}

async fn a_floor_only_rises(bench: Bench) {
    let key = bench.key("k");
    for floor in [Some((1 << 53) - 1), Some(3), None] {
        bench.erase(&key, Some(bench.mark(floor))).await;
    }
    assert_eq!(bench.land_version(&key, Some((1 << 53) - 2)).await, Committed::Superseded);
    assert_eq!(bench.land_version(&key, Some((1 << 53) - 1)).await, Committed::Written);
}

async fn a_floor_ends_by_itself(bench: Bench) {
    let key = bench.key("k");
    bench.erase(&key, Some(Mark { life: Duration::from_millis(50), ..bench.mark(Some(7)) })).await;
    until("a floor that is over", async || bench.land_version(&key, None).await == Committed::Written).await;
}

async fn absence_is_refused_while_a_floor_stands(bench: Bench) {
    let key = bench.key("k");
    let rules = Rules { has_floor: true, ..Rules::default() };
    bench.erase(&key, Some(bench.mark(None))).await;
    let absent = async || claim(&*bench.store, refresh(&key)).await.commit_absent(TTL, rules).await;
    assert_eq!(absent().await, Ok(Committed::Written), "an invalidation without version leaves no floor");
    bench.erase(&key, Some(bench.mark(Some(1)))).await;
    assert_eq!(absent().await, Ok(Committed::Superseded));
    assert!(matches!(bench.store.claim(miss(&key)).await, Ok(Claimed::Held(_))), "nothing is remembered");
}

async fn a_source_that_lags_gets_short_lives(bench: Bench) {
    let key = bench.key("k");
    let rules = Rules { lag: Some(Duration::from_secs(20)), ..Rules::default() };
    assert_eq!(bench.land(&key, Write { rules, ..plain("v") }).await.ttl, TTL, "no invalidation is known");
    bench.erase(&key, Some(bench.mark(None))).await;
    let landing = bench.land(&key, Write { rules, ..plain("v") }).await;
    let short = Duration::ZERO..=Duration::from_secs(20);
    assert!(landing.committed == Committed::Written && short.contains(&landing.ttl), "{:?}", landing.ttl);
    assert!(bench.left(&key).await.is_some_and(|left| left <= landing.ttl));
    let brief = bench.land(&key, Write { rules, ttl: LIFE, ..plain("w") }).await;
    assert_eq!(brief.ttl, LIFE, "a life that is shorter still stays");

    let rules = Rules { lag: Some(Duration::from_secs(2)), ..Rules::default() };
    bench.erase(&key, Some(bench.mark(None))).await;
    let held = claim(&*bench.store, miss(&key)).await;
    assert_eq!(held.commit_absent(TTL, rules).await, Ok(Committed::Written));
    until("an absence that is over", async || matches!(bench.store.claim(miss(&key)).await, Ok(Claimed::Held(_))))
        .await;
}

async fn no_lag_once_the_mark_is_older(bench: Bench) {
    let key = bench.key("k");
    let rules = Rules { lag: Some(Duration::from_millis(30)), ..Rules::default() };
    bench.erase(&key, Some(bench.mark(None))).await;
    until("a whole life", async || bench.land(&key, Write { rules, ..plain("v") }).await.ttl == TTL).await;
}

async fn entities_without_rules_ask_no_tombstone(bench: Bench) {
    let key = bench.key("k");
    bench.erase(&key, Some(bench.mark(Some(9)))).await;
    assert_eq!(fill(&*bench.store, &key, "v").await, Ok(Committed::Written));
    assert!(bench.left(&key).await.is_some_and(|left| left > TTL / 2));
}

async fn a_replacement_voids_the_claim(bench: Bench) {
    let key = bench.key("k");
    let held = claim(&*bench.store, miss(&key)).await;
    assert!(bench.replace(&key, "given", 3).await);
    assert_eq!(commit(held, "fetched", TTL).await, Ok(Committed::Fenced));
    assert_eq!(value(&*bench.store, &key).await.as_deref(), Some("given"));
    assert!(bench.left(&key).await.is_some_and(|left| left <= TTL && left > TTL / 2));
}

async fn a_replacement_is_a_floor(bench: Bench) {
    let key = bench.key("k");
    assert!(bench.replace(&key, "given", 3).await);
    assert_eq!(bench.land_version(&key, Some(2)).await, Committed::Superseded);
    assert!(bench.replace(&key, "the same again", 3).await);
    assert_eq!(bench.land_version(&key, Some(4)).await, Committed::Written);
}

async fn an_old_replacement_leaves_the_key_removed(bench: Bench) {
    let key = bench.key("k");
    bench.erase(&key, Some(bench.mark(Some(7)))).await;
    assert!(bench.replace(&key, "new", 8).await);
    let held = claim(&*bench.store, refresh(&key)).await;
    assert!(!bench.replace(&key, "old", 6).await);
    assert_eq!(value(&*bench.store, &key).await, None, "nobody knows whether what stood was good");
    assert_eq!(commit(held, "v", TTL).await, Ok(Committed::Fenced));
}

async fn no_replacement_without_a_floor(bench: Bench) {
    let key = bench.key("k");
    bench.erase(&key, Some(bench.mark(None))).await;
    bench.erase(&key, Some(bench.mark(Some(5)))).await;
    assert!(!bench.replace(&key, "given", 6).await, "how new the one without version was is not known");
    assert_eq!(value(&*bench.store, &key).await, None);
    bench.erase(&key, Some(Mark { life: Duration::from_millis(50), ..bench.mark(None) })).await;
    until("a replacement that is believed", async || bench.replace(&key, "given", 6).await).await;
}

async fn softening_only_shortens(bench: Bench) {
    let [long, brief, endless, nothing] = &bench.keys(&["long", "brief", "endless", "nothing"])[..] else { panic!() };
    (bench.app)(long, "v", Some(TTL));
    (bench.app)(brief, "v", Some(LIFE));
    (bench.app)(endless, "v", None);
    let grace = Duration::from_secs(20);
    let held = claim(&*bench.store, refresh(long)).await;
    for (key, was_there) in [(long, true), (brief, true), (endless, true), (nothing, false)] {
        let erasure = Erasure { key: key.clone(), has_index: true, mark: None };
        let softened = bench.store.soften(&erasure, grace).await.expect("softened");
        assert_eq!((softened.gone.held, softened.confirmation.await), (was_there, Confirmed::Yes));
    }
    assert_eq!(commit(held, "fetched before", TTL).await, Ok(Committed::Fenced));
    for key in [long, endless] {
        assert!(bench.left(key).await.is_some_and(|left| left <= grace && left > grace / 2));
    }
    assert!(bench.left(brief).await.is_some_and(|left| left <= LIFE));
    assert_eq!(value(&*bench.store, long).await.as_deref(), Some("v"));
}

async fn softening_marks_and_reads_the_index_as_a_removal_does(bench: Bench) {
    let [key, alias] = &bench.keys(&["k", "alias"])[..] else { panic!() };
    bench.land(key, Write { aliases: vec![alias.clone()], registered_for: TTL, ..plain("v") }).await;
    let held = claim(&*bench.store, refresh(key)).await;
    let erasure = Erasure { key: key.clone(), has_index: true, mark: Some(bench.mark(Some(7))) };
    let gone = bench.store.soften(&erasure, LIFE).await.expect("softened").gone;
    assert_eq!(gone, Gone { held: true, fenced: true, aliases: vec![alias.clone()] });
    assert_eq!(commit(held, "fetched before", TTL).await, Ok(Committed::Fenced));
    assert_eq!(bench.land_version(key, Some(6)).await, Committed::Superseded);
}

/// An invalidation of a key that apps write as well.
async fn invalidate_shared(bench: &Bench, key: &Key) -> Nonce {
    let mark = bench.mark(None);
    bench.erase(key, Some(mark)).await;
    mark.nonce.expect("it weeds")
}

async fn fill_shared(bench: &Bench, key: &Key, text: &'static str) {
    let rules = Rules { is_shared: true, ..Rules::default() };
    assert_eq!(bench.land(key, Write { rules, ..plain(text) }).await.committed, Committed::Written);
}

async fn weeding_takes_what_apps_brought_back(bench: Bench) {
    let key = bench.key("k");
    fill_shared(&bench, &key, "old").await;
    let first = invalidate_shared(&bench, &key).await;
    fill_shared(&bench, &key, "old").await;
    let mark = invalidate_shared(&bench, &key).await;
    (bench.app)(&key, "old", Some(TTL));
    assert_ne!(first, mark);
    assert_eq!(bench.store.weed(&key, mark).await, Ok(true), "fills wrote it, but before the invalidation");
    assert_eq!(value(&*bench.store, &key).await, None);
    assert_eq!(bench.store.weed(&key, mark).await, Ok(false), "nothing stands there");
}

async fn weeding_leaves_what_fills_wrote(bench: Bench) {
    let key = bench.key("k");
    let mark = invalidate_shared(&bench, &key).await;
    fill_shared(&bench, &key, "new").await;
    assert_eq!(bench.store.weed(&key, mark).await, Ok(false));
    (bench.app)(&key, "newer", Some(TTL));
    assert_eq!(bench.store.weed(&key, mark).await, Ok(true));
}

async fn only_the_newest_invalidation_weeds(bench: Bench) {
    let key = bench.key("k");
    let older = invalidate_shared(&bench, &key).await;
    let newer = invalidate_shared(&bench, &key).await;
    (bench.app)(&key, "stale", Some(TTL));
    assert_eq!(bench.store.weed(&key, older).await, Ok(false));
    assert_eq!(value(&*bench.store, &key).await.as_deref(), Some("stale"));
    assert_eq!(bench.store.weed(&key, newer).await, Ok(true));
    assert!(bench.replace(&bench.key("other"), "given", 1).await);
    assert_eq!(bench.store.weed(&bench.key("other"), newer).await, Ok(false), "what was given is not weeded");
}

async fn who_does_not_weed_leaves_it_to_who_does(bench: Bench) {
    let key = bench.key("k");
    let weeding = invalidate_shared(&bench, &key).await;
    bench.erase(&key, Some(Mark { nonce: None, ..bench.mark(None) })).await;
    (bench.app)(&key, "stale", Some(TTL));
    assert_eq!(bench.store.weed(&key, weeding).await, Ok(true));
}

async fn a_tag_names_all_its_keys(bench: Bench) {
    let tag = |name: &str| Tag::declared(format!("{}:{name}", bench.prefix)).expect("a good tag");
    let (colour, size, empty) = (tag("colour"), tag("size"), tag("empty"));
    let keys: BTreeSet<Key> = (0..3_000).map(|number| bench.key(&number.to_string())).collect();
    let tags = [colour.clone(), size.clone()];
    let all: Vec<&Key> = keys.iter().collect();
    for some in all.chunks(100) {
        let registered = join_all(some.iter().map(|key| bench.register(key, &tags))).await;
        assert!(registered.iter().all(|registered| *registered == Ok(None)), "{registered:?}");
    }
    assert_eq!(bench.tagged(&colour).await, keys);
    assert_eq!(bench.tagged(&size).await, keys);
    assert!(bench.tagged(&empty).await.is_empty());
}

async fn a_buried_subject_is_told(bench: Bench) {
    let subject = Pseudonym::new("test", None, &bench.prefix);
    let (key, tags) = (bench.key("k"), [Tag::Subject(subject)]);
    assert_eq!(bench.register(&key, &tags).await, Ok(None));
    assert_eq!(bench.tagged(&tags[0]).await, BTreeSet::from([key.clone()]));
    let confirmation = bench.store.bury(subject, MARKED).await.expect("buried");
    assert_eq!(confirmation.await, Confirmed::Yes);
    let gone = bench.register(&key, &tags).await.expect("registered").expect("gone");
    assert!(gone < MARKED, "{gone:?}");
    until("a burial that ages", async || {
        bench.register(&key, &tags).await.expect("registered").is_some_and(|ago| ago > gone)
    })
    .await;
    let other = [Tag::Subject(Pseudonym::new("test", None, "somebody else"))];
    assert_eq!(bench.register(&key, &other).await, Ok(None));
    bench.store.bury(subject, Duration::from_millis(30)).await.expect("buried");
    until("a burial that is over", async || bench.register(&key, &tags).await == Ok(None)).await;
}
