//! The whole probe over a store in memory and a source whose answers the test writes down, with a paused clock.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hydrant::domain::cleared::Cleared;
use hydrant::domain::clock::Clock;
use hydrant::domain::entity::{Alias, AliasValue, Credential, Draft, Load, Scope};
use hydrant::domain::key::Key;
use hydrant::domain::random::Random;
use hydrant::domain::source::Source;
use hydrant::domain::store::Store;
use hydrant::domain::switch::Switch;
use hydrant::domain::template::Template;
use hydrant::fill::settings::{Live, Settings};
use hydrant::local;
use hydrant::local::memory::MemoryStore;
use hydrant::tasks::{Deaths, Tasks};
use hydrant::verify::look::Looker;
use hydrant::verify::metrics::Metrics;
use hydrant::verify::{Config, Tools, Verify};
use prometheus_client::registry::Registry;
use tokio::task::yield_now;
use tokio::time::advance;

use crate::support::catalog;
use crate::support::stub::StubSource;

struct World {
    verify: Verify,
    store: Arc<MemoryStore>,
    source: Arc<StubSource>,
    registry: Registry,
    _tasks: Tasks,
    _deaths: Deaths,
}

const QUICK: Config = Config { enabled: true, per_minute: 6_000, bytes: 1 << 20 };
const ADA: &str = r#"{"id":"7","name":"Ada","email":"a@x","password":"x"}"#;
const KING: &str = r#"{"id":"7","name":"Ada King","email":"a@x","password":"x"}"#;
const BYRON: &str = r#"{"id":"7","name":"Byron","email":"a@x","password":"x"}"#;

impl World {
    fn new(config: Config) -> Self {
        Self::of(config, |draft| draft)
    }

    fn of(config: Config, change: impl FnOnce(Draft) -> Draft) -> Self {
        let key = Template::for_key("user:email:{email}").expect("a good template");
        let email = Alias { name: catalog::name("email"), key, value: AliasValue::Id, from: None };
        let user = change(Draft { aliases: vec![email], ..catalog::draft("user") });
        let catalog = Arc::new(catalog::catalog(vec![user]));
        let source = Arc::new(StubSource::open());
        let sources = [(catalog::name("backend"), source.clone() as Arc<dyn Source>)].into();
        let live = Live::new(Settings { catalog, switch: Switch::default(), sources });
        let random = Random::from_seed(1);
        let store = Arc::new(MemoryStore::new(local::Config { bytes: 1 << 20, items: 100 }, random.clone()));
        let (tasks, deaths) = Tasks::new();
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let tools = Tools { looker: Looker::new(store.clone(), live, random), clock: Clock::System, metrics };
        let verify = Verify::start(config, tools, &tasks);
        let world = Self { verify, store, source, registry, _tasks: tasks, _deaths: deaths };
        world.says(ADA);
        world
    }

    fn says(&self, body: &'static str) {
        self.source.found("/user/7", body);
    }

    fn asked(&self) -> usize {
        self.source.calls().len()
    }

    fn put(&self, key: &str, value: &str) {
        let value = Bytes::copy_from_slice(value.as_bytes());
        self.store.put(&key_of(key), value, Some(Duration::from_secs(300)));
    }

    /// As a fill writes it, which keeps no passwords.
    fn cache(&self, body: &str) {
        self.put("user:7", &body.replace(r#","password":"x""#, ""));
    }

    fn clear(&self) {
        let aliases = vec![key_of("user:email:a@x"), key_of("user:email:old@x")];
        self.verify.offer(vec![Cleared { key: key_of("user:7"), aliases }]);
    }

    /// Lets so many tenths of a second pass, one after another.
    async fn pass(&self, tenths: u64) {
        for _ in 0..tenths {
            advance(Duration::from_millis(100)).await;
            yield_now().await;
        }
    }

    fn count(&self, sample: &str) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("encodes");
        let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.map_or(0, |count| count.parse().expect("a number"))
    }

    fn checks(&self, result: &str) -> u64 {
        self.count(&format!(r#"hydrant_verify_checks_total{{entity="user",result="{result}"}}"#))
    }

    fn violations(&self, after: u64) -> u64 {
        self.count(&format!(r#"hydrant_verify_violations_total{{entity="user",after="{after}"}}"#))
    }
}

fn key_of(text: &str) -> Key {
    Key::new(text.to_owned()).expect("a good key")
}

#[tokio::test(start_paused = true)]
async fn what_is_true_after_1_10_and_60_seconds_is_no_violation() {
    let world = World::new(QUICK);
    world.clear();
    world.pass(5).await;
    world.cache(ADA);
    world.put("user:email:a@x", "7");
    world.pass(700).await;
    assert_eq!((world.checks("true"), world.checks("not_cached")), (3, 0));
    assert_eq!((world.asked(), world.verify.violations().len()), (4, 0));
    assert_eq!(world.count("hydrant_verify_followed"), 0, "it is over");
}

#[tokio::test(start_paused = true)]
async fn what_is_older_than_the_invalidation_is_found_with_its_age() {
    let world = World::new(QUICK);
    world.clear();
    world.cache(BYRON);
    world.pass(40).await;
    let [found] = &world.verify.violations()[..] else { panic!("{:?}", world.verify.violations()) };
    assert_eq!((found.entity.as_str(), found.after), ("user", Duration::from_secs(1)));
    assert!((3_000..4_000).contains(&found.age.as_millis()), "{:?}", found.age);
    assert!(!found.member.contains("user:7"), "no id is told");
    assert_eq!((world.violations(1), world.violations(10)), (1, 0));
    world.pass(700).await;
    assert_eq!((world.violations(10), world.violations(60)), (1, 1), "it is still there");
}

#[tokio::test(start_paused = true)]
async fn an_alias_that_outlived_its_member_is_found() {
    let world = World::new(QUICK);
    world.clear();
    world.put("user:email:old@x", "7");
    world.pass(50).await;
    assert_eq!(world.violations(1), 1);
    // Somebody else may have the address by now.
    let other = World::new(QUICK);
    other.clear();
    other.put("user:email:old@x", "8");
    other.cache(ADA);
    other.pass(50).await;
    assert_eq!((other.violations(1), other.checks("true")), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_gone_when_it_is_looked_at_again_is_none() {
    let world = World::new(QUICK);
    world.clear();
    world.pass(5).await;
    world.cache(ADA);
    world.says(KING);
    world.pass(10).await;
    world.store.remove(&[key_of("user:7")]).await.expect("removed");
    world.pass(30).await;
    assert_eq!((world.violations(1), world.checks("passed")), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_newer_invalidation_voids_what_is_being_checked() {
    let world = World::new(QUICK);
    world.clear();
    world.cache(BYRON);
    world.pass(20).await;
    world.verify.void(&[key_of("user:7")]);
    world.pass(700).await;
    assert_eq!((world.violations(1), world.count("hydrant_verify_voided_total")), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_change_that_nobody_announced_is_not_held_against_an_invalidation() {
    let world = World::new(QUICK);
    world.clear();
    world.pass(5).await;
    world.cache(ADA);
    world.says(KING);
    world.pass(40).await;
    assert_eq!((world.violations(1), world.checks("unannounced")), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_lags_is_believed_only_after_that() {
    let lagging = |draft: Draft| {
        let load = draft.load.map(|load| Load { lag: Some(Duration::from_secs(5)), ..load });
        Draft { load, ..draft }
    };
    let world = World::of(QUICK, lagging);
    world.says(BYRON);
    world.clear();
    world.cache(BYRON);
    world.pass(40).await;
    assert_eq!(world.asked(), 0, "it may still answer what was before");
    world.says(ADA);
    world.pass(80).await;
    assert_eq!(world.violations(1), 0, "its time is not over");
    world.pass(20).await;
    assert_eq!(world.violations(1), 1);
}

#[tokio::test(start_paused = true)]
async fn only_so_many_are_followed_and_none_where_it_is_off() {
    let slow = World::new(Config { per_minute: 60, ..QUICK });
    for _ in 0..20 {
        slow.clear();
        slow.pass(10).await;
    }
    // One in four seconds, and five of them have begun; each new one voids the last, since it is the same member.
    let begun = slow.asked();
    assert!((5..=6).contains(&begun), "{begun}");
    assert!(slow.count(r#"hydrant_verify_skipped_total{reason="full"}"#) >= 14);
    let off = World::new(Config { enabled: false, ..QUICK });
    off.clear();
    off.pass(700).await;
    assert_eq!(off.asked(), 0);
    off.verify.reconfigure(QUICK);
    off.clear();
    off.pass(10).await;
    assert_eq!(off.asked(), 1, "it is switched on while it runs");
}

#[tokio::test(start_paused = true)]
async fn what_only_the_user_may_ask_for_is_left_out() {
    let own = |draft: Draft| {
        let load = draft.load.map(|load| Load { credential: Credential::Session, ..load });
        Draft { load, scope: Scope::Subject, ..draft }
    };
    let world = World::of(QUICK, own);
    world.clear();
    world.pass(700).await;
    assert_eq!(world.asked(), 0);
    assert_eq!(world.count(r#"hydrant_verify_skipped_total{reason="session"}"#), 1);
}
