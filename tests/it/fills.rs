//! One fill at a time, over a store that can be told to fail at each step: what leads an invalidation to a value has to be
//! there before the value is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use hydrant::domain::declared_version::DeclaredVersion;
use hydrant::domain::entity::{Alias, AliasValue, Draft, Load, Scope};
use hydrant::domain::key::Key;
use hydrant::domain::member_version::Version;
use hydrant::domain::outcome::{Outcome, Resource};
use hydrant::domain::projection::paths::Place;
use hydrant::domain::pseudonym::Pseudonym;
use hydrant::domain::random::Random;
use hydrant::domain::removal::{Erasure, Mark, Removal, TagPlace};
use hydrant::domain::source::{Fetched, Source};
use hydrant::domain::store::{ClaimAsk, ClaimMode, Claimed, Store};
use hydrant::domain::subject::{Fact, Subject};
use hydrant::domain::switch::Switch;
use hydrant::domain::tag::Tag;
use hydrant::domain::template::{Params, Template};
use hydrant::domain::trace::TraceContext;
use hydrant::fill::settings::Settings;
use hydrant::fill::{self, Filler, Job, Owner};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::time::{Instant, advance};

use crate::support::catalog::{catalog, draft, name};
use crate::support::faulty::{Answer, FaultyStore};
use crate::support::stub::StubSource;

const ADA: &str = r#"{"id":7,"email":"ada@x.org","name":"ada","rev":5}"#;

struct World {
    store: FaultyStore,
    source: Arc<StubSource>,
    settings: Arc<Settings>,
    filler: Filler,
    registry: Registry,
}

fn world(draft: Draft) -> World {
    world_with(draft, StubSource::open())
}

fn world_with(draft: Draft, source: StubSource) -> World {
    let (store, source, mut registry) = (FaultyStore::new(), Arc::new(source), Registry::default());
    source.found("/user/7", ADA);
    let sources = BTreeMap::from([(name("backend"), source.clone() as Arc<dyn Source>)]);
    let catalog = Arc::new(catalog(vec![draft]));
    let settings = Arc::new(Settings { catalog, switch: Switch::default(), sources });
    let config =
        fill::Config { group: "test".to_owned(), claim_life: Duration::from_secs(10), in_flight_bytes: 1 << 20 };
    let metrics = fill::metrics::Metrics::register(&mut registry);
    let filler = Filler::new(Arc::new(store.clone()), config, Random::from_seed(5), metrics);
    World { store, source, settings, filler, registry }
}

/// A user with an e-mail alias that holds the id, and one by name that holds the whole.
fn user() -> Draft {
    let alias = |alias: &str, value| Alias {
        name: name(alias),
        key: Template::for_key(&format!("user:{alias}:{{{alias}}}")).expect("a good template"),
        value,
        from: None,
    };
    Draft { aliases: vec![alias("email", AliasValue::Id), alias("name", AliasValue::Full)], ..draft("user") }
}

fn tagged() -> Draft {
    Draft { tags: vec![Template::parse("team:{id}").expect("a good template")], ..draft("user") }
}

fn key(text: &str) -> Key {
    Key::new(text.to_owned()).expect("a good key")
}

impl World {
    fn job(&self) -> Job {
        let params = [("id", "7")].into_iter().collect();
        Job {
            settings: self.settings.clone(),
            member: self.settings.catalog.member("user", params).expect("a good member"),
            owner: None,
            session: None,
            mode: ClaimMode::Miss { renew_below: Duration::ZERO },
            untouched_for: None,
            stagger_percent: 0,
            trace: TraceContext::start(&Random::from_seed(1)),
            accepted: Instant::now(),
            deadline: Instant::now() + Duration::from_secs(4),
        }
    }

    async fn fill(&self) -> Resource {
        self.filler.fill(self.job()).await
    }

    async fn values(&self) -> [Option<String>; 3] {
        [
            self.store.value("user:7").await,
            self.store.value("user:email:ada@x.org").await,
            self.store.value("user:name:ada").await,
        ]
    }

    async fn erase(&self, text: &str, mark: Option<Mark>) -> Vec<Key> {
        let erasure = Erasure { key: key(text), has_index: true, mark };
        let erased = self.store.memory.erase(&[erasure]).await;
        erased.keys.into_iter().next().expect("an answer").expect("memory never fails").aliases
    }

    async fn tagged(&self, tag: &Tag) -> Vec<Key> {
        self.store.memory.tagged(tag, TagPlace::default()).await.expect("memory never fails").keys
    }

    /// Whether nobody holds a claim.
    async fn is_free(&self, text: &str) -> bool {
        let key = key(text);
        let ask = ClaimAsk { key: &key, life: Duration::from_secs(1), mode: ClaimMode::Refresh };
        match self.store.memory.claim(ask).await {
            Ok(Claimed::Held(claim)) => claim.abort().await.is_ok(),
            _ => false,
        }
    }

    fn counted(&self, line: &str) -> bool {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("encodes");
        text.lines().any(|found| found == line)
    }

    fn aliases_ended(&self, end: &str, count: u32) -> bool {
        self.counted(&format!("hydrant_fill_aliases_total{{entity=\"user\",end=\"{end}\"}} {count}"))
    }
}

fn mark(floor: Option<Version>, life: u64) -> Mark {
    Mark { nonce: Some(Random::from_seed(9).nonce()), life: Duration::from_secs(life), floor }
}

#[tokio::test(start_paused = true)]
async fn a_member_is_written_with_its_aliases() {
    let world = world(user());
    assert_eq!(world.fill().await.outcome, Outcome::Filled);
    let full = Some(ADA.to_owned());
    assert_eq!(world.values().await, [full.clone(), Some("7".to_owned()), full]);
    let found = world.erase("user:7", None).await;
    assert_eq!(found, [key("user:email:ada@x.org"), key("user:name:ada")], "an invalidation finds them");
    assert!(world.aliases_ended("written", 2));
    assert_eq!(
        world.store.log(),
        [
            "claim user:7",
            "claim user:email:ada@x.org",
            "claim user:name:ada",
            "commit user:7",
            "commit user:email:ada@x.org",
            "commit user:name:ada"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_member_lacks_is_no_alias_and_what_cannot_be_a_key_is_left_out() {
    let world = world(user());
    world.source.found("/user/7", r#"{"id":7,"email":"{x}","name":null}"#);
    assert_eq!(world.fill().await.outcome, Outcome::Filled);
    assert!(world.aliases_ended("bad_key", 1));
    assert_eq!(world.erase("user:7", None).await, []);
}

#[tokio::test(start_paused = true)]
async fn an_alias_never_lands_on_another_templates_key() {
    let mut draft = user();
    draft.aliases[0].key = Template::for_key("user:{email}").expect("a good template");
    let world = world(Draft { key: Template::for_key("user:id:{id}").expect("a good template"), ..draft });
    world.source.found("/user/7", r#"{"email":"name:bob"}"#);
    assert_eq!(world.fill().await.outcome, Outcome::Filled);
    assert_eq!(world.store.value("user:name:bob").await, None);
    assert!(world.aliases_ended("bad_key", 1));
}

#[tokio::test(start_paused = true)]
async fn without_the_replicas_word_the_aliases_are_given_up_and_the_member_stays() {
    let world = world(user());
    world.store.confirm_aliases(Answer::Short);
    assert_eq!(world.fill().await.outcome, Outcome::Filled);
    assert_eq!(world.values().await, [Some(ADA.to_owned()), None, None]);
    assert!(world.is_free("user:email:ada@x.org").await && world.is_free("user:name:ada").await);
    assert!(world.aliases_ended("unconfirmed", 2));
}

#[tokio::test(start_paused = true)]
async fn a_fill_that_dies_after_its_commit_leaves_no_alias_and_is_found() {
    let world = world(user());
    world.store.confirm_aliases(Answer::Never);
    assert!(world.fill().now_or_never().is_none(), "it dies while it waits for the replicas");
    assert_eq!(world.values().await, [Some(ADA.to_owned()), None, None]);
    assert_eq!(world.erase("user:7", None).await.len(), 2, "the index names what it may have written");
    advance(Duration::from_secs(10)).await;
    assert!(world.is_free("user:email:ada@x.org").await, "its claims end by themselves");
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_between_the_commit_and_the_aliases_wins() {
    let world = world(user());
    let memory = world.store.memory.clone();
    world.store.before_commit("user:email:ada@x.org", move || {
        let found = erase_now(&memory, "user:7");
        assert_eq!(found.len(), 2, "registered before it is written");
        found.iter().for_each(|alias| drop(erase_now(&memory, &alias.to_string())));
    });
    assert_eq!(world.fill().await.outcome, Outcome::Filled);
    assert_eq!(world.values().await, [None, None, None]);
    assert!(world.aliases_ended("refused", 2));
}

fn erase_now(memory: &hydrant::local::memory::MemoryStore, text: &str) -> Vec<Key> {
    let erasure = [Erasure { key: key(text), has_index: true, mark: None }];
    let mut erased = memory.erase(&erasure).now_or_never().expect("memory never waits");
    erased.keys.remove(0).expect("memory never fails").aliases
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_during_the_fetch_fences_the_member_and_its_aliases() {
    let world = world(user());
    let memory = world.store.memory.clone();
    world.store.before_commit("user:7", move || drop(erase_now(&memory, "user:7")));
    let filled = world.fill().await;
    assert_eq!((filled.outcome, filled.written), (Outcome::Fenced, None));
    assert_eq!(world.values().await, [None, None, None]);
    assert!(world.is_free("user:email:ada@x.org").await);
    assert!(world.aliases_ended("not_tried", 2));
}

#[tokio::test(start_paused = true)]
async fn an_apps_value_is_kept_and_gets_no_aliases() {
    let world = world(user());
    let memory = world.store.memory.clone();
    world.store.before_commit("user:7", move || memory.put(&key("user:7"), "app".into(), None));
    assert_eq!(world.fill().await.outcome, Outcome::Fresh);
    assert_eq!(world.values().await, [Some("app".to_owned()), None, None]);
    assert!(world.is_free("user:name:ada").await);
}

#[tokio::test(start_paused = true)]
async fn an_alias_that_changed_leaves_the_old_one_to_be_found() {
    let world = world(user());
    world.fill().await;
    world.source.found("/user/7", r#"{"id":7,"email":"new@x.org"}"#);
    let job = Job { mode: ClaimMode::Refresh, ..world.job() };
    assert_eq!(world.filler.fill(job).await.outcome, Outcome::Filled);
    assert_eq!(world.store.value("user:email:new@x.org").await.as_deref(), Some("7"));
    let found = world.erase("user:7", None).await;
    assert_eq!(found, [key("user:email:ada@x.org"), key("user:email:new@x.org"), key("user:name:ada")]);
}

#[tokio::test(start_paused = true)]
async fn an_alias_whose_claim_is_taken_is_left_out() {
    let world = world(user());
    let email = key("user:email:ada@x.org");
    let ask = ClaimAsk { key: &email, life: Duration::from_secs(60), mode: ClaimMode::Refresh };
    let Ok(Claimed::Held(_other)) = world.store.memory.claim(ask).await else { panic!("free") };
    assert_eq!(world.fill().await.outcome, Outcome::Filled);
    assert_eq!(world.values().await, [Some(ADA.to_owned()), None, Some(ADA.to_owned())]);
    assert_eq!(world.erase("user:7", None).await, [key("user:name:ada")]);
    assert!(world.aliases_ended("not_claimed", 1));
}

#[tokio::test(start_paused = true)]
async fn an_alias_beyond_the_index_is_not_written() {
    let world = world(user());
    world.store.leave_room(1);
    assert_eq!(world.fill().await.outcome, Outcome::Filled);
    assert_eq!(world.values().await, [Some(ADA.to_owned()), Some("7".to_owned()), None]);
    assert!(world.is_free("user:name:ada").await);
    assert!(world.aliases_ended("no_room", 1));
}

#[tokio::test(start_paused = true)]
async fn where_the_source_lags_the_member_and_its_aliases_end_together() {
    let load = user().load.map(|load| Load { lag: Some(Duration::from_secs(2)), ..load });
    let world = world(Draft { load, ..user() });
    world.erase("user:7", Some(mark(None, 2))).await;
    advance(Duration::from_millis(500)).await;
    let filled = world.fill().await;
    let left = Duration::from_millis(1_500);
    assert_eq!(filled.written.map(|written| written.ttl), Some(left));
    assert_eq!(world.store.ttl("user:7").await, Some(left));
    assert_eq!(world.store.ttl("user:email:ada@x.org").await, Some(left));
    advance(Duration::from_secs(3)).await;
    assert_eq!(world.fill().await.written.map(|written| written.ttl), Some(Duration::from_secs(60)), "no longer cut");
}

fn versioned() -> Draft {
    let rev = Place::parse("$.rev").expect("a good place");
    Draft { version: Some(DeclaredVersion::Number(rev)), ..user() }
}

#[tokio::test(start_paused = true)]
async fn below_a_floor_nothing_is_written_and_above_it_all_is() {
    let world = world(versioned());
    world.erase("user:7", Some(mark(Version::new(6), 600))).await;
    let filled = world.fill().await;
    assert_eq!((filled.outcome, filled.reason.as_str()), (Outcome::Fenced, "older than what was declared invalid"));
    assert_eq!(world.values().await, [None, None, None]);
    assert_eq!(world.store.write("user:7").rules.version, Version::new(5));
    world.source.found("/user/7", r#"{"rev":6}"#);
    assert_eq!(world.fill().await.outcome, Outcome::Filled);
}

#[tokio::test(start_paused = true)]
async fn a_value_without_a_version_is_written_only_where_no_floor_stands() {
    let world = world(versioned());
    world.source.found("/user/7", r#"{"rev":"x"}"#);
    assert_eq!(world.fill().await.outcome, Outcome::Filled);
    world.erase("user:7", Some(mark(Version::new(6), 600))).await;
    assert_eq!(world.fill().await.outcome, Outcome::Fenced);
    world.source.answer("/user/7", Ok(Fetched::Absent));
    assert_eq!(world.fill().await.outcome, Outcome::Fenced, "absence has no version either");
}

#[tokio::test(start_paused = true)]
async fn tags_are_registered_before_the_source_is_asked() {
    let world = world_with(tagged(), StubSource::shut());
    let tag = Tag::declared("team:7").expect("a good tag");
    let mut fill = Box::pin(world.fill());
    assert!(fill.as_mut().now_or_never().is_none());
    assert_eq!(world.tagged(&tag).await, [key("user:7")]);
    assert_eq!(world.store.log(), ["claim user:7", "register user:7"]);
    world.source.open_gate();
    assert_eq!(fill.await.outcome, Outcome::Filled);
}

#[tokio::test(start_paused = true)]
async fn a_fresh_key_is_not_registered_again() {
    let world = world(tagged());
    world.fill().await;
    assert_eq!(world.fill().await.outcome, Outcome::Fresh);
    assert_eq!(world.store.log(), ["claim user:7", "register user:7", "commit user:7", "claim user:7"]);
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_the_replicas_do_not_know_ends_the_fill() {
    for answer in [Ok(Fetched::Found(ADA.into())), Ok(Fetched::Absent)] {
        let world = world(tagged());
        world.source.answer("/user/7", answer);
        world.store.confirm_tags(Answer::Short);
        let filled = world.fill().await;
        let why = "the replicas do not know of its tags yet";
        assert_eq!((filled.outcome, filled.reason.as_str()), (Outcome::Failed, why));
        assert_eq!(world.store.log(), ["claim user:7", "register user:7", "abort user:7"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_absent_is_registered_too() {
    let world = world(tagged());
    world.source.answer("/user/7", Ok(Fetched::Absent));
    assert_eq!(world.fill().await.outcome, Outcome::Absent);
    assert_eq!(world.tagged(&Tag::declared("team:7").expect("a good tag")).await, [key("user:7")]);
}

fn own() -> Draft {
    Draft { scope: Scope::Subject, ..draft("user") }
}

fn subject(tenant: Option<&str>) -> Subject {
    Subject::new("7".into(), None, tenant.map(str::to_owned), Params::default()).expect("a good subject")
}

#[tokio::test(start_paused = true)]
async fn a_subjects_own_members_are_registered_under_it() {
    let world = world(own());
    let without_owner = Tag::Subject(Pseudonym::new("test", None, "7"));
    world.fill().await;
    assert_eq!(world.tagged(&without_owner).await, [key("user:7")], "the key tells whose it is");
    world.erase("user:7", None).await;
    let owner = Some(world.filler.owner(&subject(Some("acme"))));
    world.filler.fill(Job { owner, ..world.job() }).await;
    let named = Tag::Subject(Pseudonym::new("test", Some("acme"), "7"));
    assert_eq!(world.tagged(&named).await, [key("user:7")], "whoever asks knows better");
}

#[tokio::test(start_paused = true)]
async fn what_a_logout_finds_by_itself_need_not_wait_for_the_replicas() {
    let bind = BTreeMap::from([("id".to_owned(), Fact::Session)]);
    let tags = tagged().tags;
    for (draft, outcome) in [
        (own(), Outcome::Filled),
        (Draft { bind, ..own() }, Outcome::Failed),
        (Draft { tags, ..own() }, Outcome::Failed),
    ] {
        let world = world(draft);
        world.store.confirm_tags(Answer::Short);
        let owner = Some(world.filler.owner(&subject(None)));
        assert_eq!(world.filler.fill(Job { owner, ..world.job() }).await.outcome, outcome);
        assert_eq!(world.tagged(&Tag::Subject(Pseudonym::new("test", None, "7"))).await, [key("user:7")]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_for_before_a_logout_is_not_written_after_it() {
    let world = world(own());
    let before = world.job();
    advance(Duration::from_millis(300)).await;
    let gone = Pseudonym::new("test", None, "7");
    world.store.memory.bury(gone, Duration::from_secs(60)).await.expect("memory never fails");
    advance(Duration::from_millis(200)).await;
    let after = world.job();
    let filled = world.filler.fill(before).await;
    assert_eq!((filled.outcome, filled.reason.as_str()), (Outcome::Fenced, "the subject has logged out"));
    assert!(world.is_free("user:7").await);
    advance(Duration::from_millis(100)).await;
    assert_eq!(world.filler.fill(after).await.outcome, Outcome::Filled, "a new login");
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_cannot_be_formed_ends_the_fill() {
    let tags = vec![Template::parse("of:{tenant}").expect("a good template")];
    let world = world(Draft { tags, ..own() });
    let filled = world.fill().await;
    let why = "the tag `of:{tenant}` cannot be formed: the tenant is not known";
    assert_eq!((filled.outcome, filled.reason.as_str()), (Outcome::Failed, why));
    assert_eq!(world.store.value("user:7").await, None);
    let owner = Some(Owner { subject: Pseudonym::new("test", None, "7"), tenant: Some("acme".to_owned()) });
    assert_eq!(world.filler.fill(Job { owner, ..world.job() }).await.outcome, Outcome::Filled);
    assert_eq!(world.tagged(&Tag::declared("of:acme").expect("a good tag")).await, [key("user:7")]);
}

#[tokio::test(start_paused = true)]
async fn while_an_invalidation_is_owed_no_fill_begins() {
    let world = world(user());
    let slot = key("user:7").slot();
    world.filler.gate().hold(&[slot]);
    let filled = world.fill().await;
    let why = "an invalidation has to be carried out first";
    assert_eq!((filled.outcome, filled.reason.as_str()), (Outcome::Failed, why));
    assert_eq!(world.store.log(), [""; 0]);
    let mut waiting = Box::pin(world.fill());
    assert!(waiting.as_mut().now_or_never().is_none());
    world.filler.gate().release(&[slot]);
    assert_eq!(waiting.await.outcome, Outcome::Filled);
}

#[tokio::test(start_paused = true)]
async fn an_alias_in_a_slot_that_is_owed_an_invalidation_is_left_out() {
    let world = world(user());
    world.filler.gate().hold(&[key("user:email:ada@x.org").slot()]);
    assert_eq!(world.fill().await.outcome, Outcome::Filled);
    assert_eq!(world.values().await, [Some(ADA.to_owned()), None, Some(ADA.to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn after_an_invalidation_nobody_joins_a_fill_from_before() {
    for forget in [|filler: &Filler| filler.forget(&[key("user:7")]), Filler::forget_all] {
        let world = world_with(draft("user"), StubSource::shut());
        let mut first = Box::pin(world.fill());
        assert!(first.as_mut().now_or_never().is_none());
        let mut joined = Box::pin(world.fill());
        assert!(joined.as_mut().now_or_never().is_none());
        assert_eq!(world.source.calls().len(), 1);
        world.erase("user:7", None).await;
        forget(&world.filler);
        let mut later = Box::pin(world.fill());
        assert!(later.as_mut().now_or_never().is_none());
        assert_eq!(world.source.calls().len(), 2, "a fetch of its own");
        world.source.open_gate();
        assert_eq!(first.await.outcome, Outcome::Fenced);
        assert_eq!(joined.await.outcome, Outcome::Fenced);
        assert_eq!(later.await.outcome, Outcome::Filled);
        assert_eq!(world.fill().await.outcome, Outcome::Fresh);
    }
}
