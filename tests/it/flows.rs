//! The flows over the memory store and a stubbed source: what a call is told, what is written, who is asked how often.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use hydrant::domain::clock::Clock;
use hydrant::domain::entity::Draft;
use hydrant::domain::error::Kind;
use hydrant::domain::key::Key;
use hydrant::domain::outcome::Outcome;
use hydrant::domain::random::Random;
use hydrant::domain::secret::{Secret, SecretCell};
use hydrant::domain::source::{FetchError, Fetched, Source};
use hydrant::domain::store::Store;
use hydrant::domain::subject::Subject;
use hydrant::domain::switch::Switch;
use hydrant::domain::template::Params;
use hydrant::domain::trace::TraceContext;
use hydrant::domain::ttl::Ttl;
use hydrant::fill::settings::{Live, Settings};
use hydrant::fill::{self, Filler};
use hydrant::local::habits::MemoryHabits;
use hydrant::local::memory::MemoryStore;
use hydrant::prehydrate::cookies::Cookies;
use hydrant::prehydrate::identity::Identity;
use hydrant::prehydrate::identity::settings::{
    Algorithm, Claim, Claims, Expiry, Format, JwtKey, Presence, Rules, Session, SharedSecret, Written,
};
use hydrant::prehydrate::request::{Exclusion, Freshness, MemberRef, Planned, Report, Request, Status, Wait, Who};
use hydrant::prehydrate::{self, Prehydrate};
use hydrant::tasks::{Deaths, Tasks};
use hydrant::{domain::catalog::Catalog, local};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use crate::support::catalog::{catalog, draft, name, subject_draft};
use crate::support::cookies::{END, claims, jwt};
use crate::support::prehydration::{self, Parts};
use crate::support::stub::StubSource;

struct World {
    store: MemoryStore,
    source: Arc<StubSource>,
    live: Live,
    prehydrate: Prehydrate,
    registry: Registry,
    _deaths: Deaths,
}

fn world(drafts: Vec<Draft>, always: &[&str], source: StubSource) -> World {
    world_with(drafts, always, source, 512)
}

fn world_with(drafts: Vec<Draft>, always: &[&str], source: StubSource, in_flight: usize) -> World {
    world_of(drafts, always, source, in_flight, None)
}

fn world_of(
    drafts: Vec<Draft>,
    always: &[&str],
    source: StubSource,
    in_flight: usize,
    identity: Option<Identity>,
) -> World {
    let (random, source, mut registry) = (Random::from_seed(7), Arc::new(source), Registry::default());
    let store = MemoryStore::new(local::Config { bytes: 1 << 20, items: 1_000 }, random.clone());
    let live = Live::new(settings(catalog(drafts), Switch::default(), source.clone()));
    let config =
        fill::Config { group: "test".to_owned(), claim_life: Duration::from_secs(10), in_flight_bytes: 1 << 20 };
    let metrics = fill::metrics::Metrics::register(&mut registry);
    let filler = Filler::new(Arc::new(store.clone()), config, random.clone(), metrics);
    let config = prehydration::config(always.iter().map(|n| name(n)).collect(), in_flight);
    let (tasks, deaths) = Tasks::new();
    let cookies = Cookies::new(identity, Clock::fixed(UNIX_EPOCH + Duration::from_secs(END - 60)));
    let parts = Parts { cookies, live: live.clone(), filler, habits: Arc::new(MemoryHabits::default()) };
    let prehydrate = prehydration::start(config, parts, &tasks, &random, &mut registry);
    World { store, source, live, prehydrate, registry, _deaths: deaths }
}

fn settings(catalog: Catalog, switch: Switch, source: Arc<dyn Source>) -> Settings {
    Settings { catalog: Arc::new(catalog), switch, sources: BTreeMap::from([(name("backend"), source)]) }
}

/// Reads tokens of one key.
fn identity(id: &str, secret: &str) -> Identity {
    let secret = SharedSecret { text: SecretCell::new(Secret::new(secret)), written: Written::Text };
    let config = prehydrate::identity::settings::Config {
        cookie: "session".to_owned(),
        max_value_bytes: 4_096,
        format: Format::Jwt {
            keys: vec![JwtKey { id: Some(id.to_owned()), key: Algorithm::Hs256(secret) }],
            types: Vec::new(),
        },
        rules: Rules {
            issuers: Vec::new(),
            audiences: Vec::new(),
            leeway: Duration::from_secs(5),
            expiry: Expiry::Required,
        },
        claims: Claims {
            user: "sub".to_owned(),
            session: Session::Claim(Claim { path: "sid".to_owned(), presence: Presence::Required }),
            tenant: None,
            attributes: BTreeMap::new(),
        },
    };
    Identity::new(config).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn subject(user: &str) -> Subject {
    Subject::new(user.into(), Some(Secret::new(format!("s-{user}"))), None, Params::default()).expect("a good subject")
}

fn member(entity: &str, id: &str) -> MemberRef {
    MemberRef { entity: entity.into(), params: [("id", id)].into_iter().collect() }
}

fn login(user: &str, members: Vec<MemberRef>) -> Request {
    Request {
        who: Who::Subject(subject(user)),
        members,
        wait: Wait::Completed { until: Instant::now() + Duration::from_secs(3) },
        freshness: Freshness::Keep,
        trace: TraceContext::start(&Random::from_seed(1)),
    }
}

impl World {
    async fn run(&self, request: Request) -> Report {
        self.prehydrate.run(request).await.expect("served")
    }

    async fn value(&self, key: &'static str) -> Option<Bytes> {
        let key = Key::new(key).expect("a good key");
        self.store.read(&[key]).await.expect("memory answers").remove(0).map(|held| held.value)
    }
}

fn outcomes(report: &Report) -> Vec<(String, Outcome)> {
    report.lines.iter().map(|line| (name_of(&line.planned), line.ending.outcome)).collect()
}

/// By its key; what has none yet by its entity.
fn name_of(planned: &Planned) -> String {
    match planned.wanted.key() {
        Some(key) => key.to_string(),
        None => planned.wanted.entity().name().to_string(),
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_for_and_what_is_always_filled_stands_at_the_apps_keys() {
    let world = world(vec![subject_draft("user"), draft("role")], &["user"], StubSource::open());
    world.source.found("/user/7", r#"{"name":"Ada"}"#);
    world.source.found("/role/3", r#"["admin"]"#);
    let report = world.run(login("7", vec![member("role", "3")])).await;
    assert_eq!(report.status, Status::Completed);
    assert_eq!(outcomes(&report), [("role:3".into(), Outcome::Filled), ("user:7".into(), Outcome::Filled)]);
    assert_eq!(world.value("user:7").await.as_deref(), Some(&br#"{"name":"Ada"}"#[..]));
    assert_eq!(world.value("role:3").await.as_deref(), Some(&br#"["admin"]"#[..]));
}

#[tokio::test(start_paused = true)]
async fn a_subject_that_no_key_can_hold_is_refused_by_its_field() {
    let world = world(vec![subject_draft("user"), draft("role")], &["user"], StubSource::open());
    let refused = async |user| world.prehydrate.run(login(user, vec![member("role", "3")])).await.expect_err("refused");
    for user in ["a{b}", "a\nb"] {
        let error = refused(user).await;
        assert_eq!((error.kind, error.fields[0].path.as_str()), (Kind::InvalidField, "subject.user_id"), "{error}");
    }
    assert!(world.source.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_shows_what_would_be_left_out_and_why() {
    let world = world(vec![subject_draft("user"), draft("role"), draft("menu")], &["user"], StubSource::open());
    let drafts = vec![subject_draft("user"), draft("role"), draft("menu")];
    let switch = Switch { entities: BTreeMap::from([(name("menu"), false)]), ..Switch::default() };
    world.live.replace(settings(catalog(drafts), switch, world.source.clone()));
    let members = vec![member("menu", "1"), member("user", "8"), member("role", "3")];
    let report = world.run(Request { wait: Wait::DryRun, ..login("7", members) }).await;
    let plan: Vec<_> = report.plan.iter().map(|p| (name_of(&p.planned), p.exclusion)).collect();
    let expected = [
        ("role:3".to_owned(), None),
        ("user:7".to_owned(), None),
        ("menu:1".to_owned(), Some(Exclusion::Disabled)),
        ("user:8".to_owned(), Some(Exclusion::Denied)),
    ];
    assert_eq!((report.status, plan), (Status::Planned, expected.to_vec()));
    assert!(world.source.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_session_goes_only_where_it_is_asked_for() {
    let world = world(vec![subject_draft("user"), draft("role")], &["user"], StubSource::open());
    world.run(login("7", vec![member("role", "3")])).await;
    for call in world.source.calls() {
        let expected = call.path.starts_with("/user").then(|| "s-7".to_owned());
        assert_eq!(call.session, expected, "{}", call.path);
    }
}

#[tokio::test(start_paused = true)]
async fn another_subjects_member_is_denied_and_never_fetched() {
    let world = world(vec![subject_draft("user")], &[], StubSource::open());
    let report = world.run(login("7", vec![member("user", "8")])).await;
    assert_eq!(outcomes(&report), [("user:8".into(), Outcome::Denied)]);
    assert_eq!(report.status, Status::Partial);
    assert!(world.source.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_failing_source_costs_only_its_own_entry() {
    let world = world(vec![draft("a"), draft("b"), draft("c"), draft("d")], &[], StubSource::open());
    world.source.found("/a/1", "1");
    world.source.answer("/b/1", Err(FetchError::Timeout));
    world.source.answer("/c/1", Err(FetchError::TooLarge));
    world.source.answer("/d/1", Ok(Fetched::Absent));
    let members = ["a", "b", "c", "d"].map(|e| member(e, "1")).to_vec();
    let report = world.run(login("7", members)).await;
    let kinds: Vec<Outcome> = outcomes(&report).into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!(kinds, [Outcome::Filled, Outcome::Timeout, Outcome::TooLarge, Outcome::Absent]);
    assert_eq!(report.status, Status::Partial);
}

#[tokio::test(start_paused = true)]
async fn what_is_fresh_is_left_alone_and_refreshed_on_request() {
    let world = world(vec![draft("a")], &[], StubSource::open());
    world.source.found("/a/1", "1");
    world.run(login("7", vec![member("a", "1")])).await;
    let again = world.run(login("7", vec![member("a", "1")])).await;
    assert_eq!(outcomes(&again), [("a:1".into(), Outcome::Fresh)]);
    world.source.found("/a/1", "2");
    let refresh = Request { freshness: Freshness::Refresh, ..login("7", vec![member("a", "1")]) };
    assert_eq!(outcomes(&world.run(refresh).await), [("a:1".into(), Outcome::Filled)]);
    assert_eq!(world.value("a:1").await.as_deref(), Some(&b"2"[..]));
    assert_eq!(world.source.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn absence_is_remembered_where_it_is_declared_and_dies_with_an_invalidation() {
    let ttl = Ttl::new(Duration::from_secs(60), 0, 0, Some(Duration::from_secs(10))).expect("a good ttl");
    let world = world(vec![Draft { ttl, ..draft("a") }], &[], StubSource::open());
    world.source.answer("/a/1", Ok(Fetched::Absent));
    for _ in 0..2 {
        assert_eq!(outcomes(&world.run(login("7", vec![member("a", "1")])).await), [("a:1".into(), Outcome::Absent)]);
    }
    assert_eq!(world.source.calls().len(), 1);
    world.store.remove(&[Key::new("a:1").expect("a good key")]).await.expect("memory answers");
    world.source.found("/a/1", "1");
    assert_eq!(outcomes(&world.run(login("7", vec![member("a", "1")])).await), [("a:1".into(), Outcome::Filled)]);
}

#[tokio::test(start_paused = true)]
async fn what_the_source_no_longer_has_does_not_stay() {
    let world = world(vec![draft("a")], &[], StubSource::open());
    world.source.found("/a/1", "1");
    world.run(login("7", vec![member("a", "1")])).await;
    world.source.answer("/a/1", Ok(Fetched::Absent));
    let refresh = Request { freshness: Freshness::Refresh, ..login("7", vec![member("a", "1")]) };
    assert_eq!(outcomes(&world.run(refresh).await), [("a:1".into(), Outcome::Absent)]);
    assert_eq!(world.value("a:1").await, None);
    // Absence that is not declared is not remembered either.
    tokio::time::advance(Duration::from_millis(1)).await;
    world.source.found("/a/1", "2");
    assert_eq!(outcomes(&world.run(login("7", vec![member("a", "1")])).await), [("a:1".into(), Outcome::Filled)]);
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_beats_a_fill_in_flight() {
    let world = world(vec![draft("a")], &[], StubSource::shut());
    world.source.found("/a/1", "\"old\"");
    let fill = world.run(login("7", vec![member("a", "1")]));
    let invalidate = async {
        while world.source.calls().is_empty() {
            tokio::task::yield_now().await;
        }
        world.store.remove(&[Key::new("a:1").expect("a good key")]).await.expect("memory answers");
        world.source.open_gate();
    };
    let (report, ()) = tokio::join!(fill, invalidate);
    assert_eq!(outcomes(&report), [("a:1".into(), Outcome::Fenced)]);
    assert_eq!(world.value("a:1").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_hangs_up_leaves_nothing_half_done() {
    let world = world(vec![draft("a")], &[], StubSource::shut());
    world.source.found("/a/1", "1");
    let call = world.run(login("7", vec![member("a", "1")]));
    assert!(tokio::time::timeout(Duration::from_millis(5), call).await.is_err());
    world.source.open_gate();
    let report = world.run(login("7", vec![member("a", "1")])).await;
    assert!(report.status == Status::Completed || report.status == Status::Coalesced);
    assert_eq!(world.value("a:1").await.as_deref(), Some(&b"1"[..]));
    assert_eq!(world.source.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_same_login_twice_is_one_plan() {
    let world = world(vec![draft("a"), draft("b")], &[], StubSource::shut());
    world.source.found("/a/1", "1");
    world.source.found("/b/1", "1");
    let members = || vec![member("a", "1"), member("b", "1")];
    let (first, second, ()) = tokio::join!(world.run(login("7", members())), world.run(login("7", members())), async {
        world.source.open_gate();
    });
    assert_eq!((first.status, second.status), (Status::Completed, Status::Coalesced));
    assert_eq!(outcomes(&first), outcomes(&second));
    assert_eq!(world.source.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn different_plans_share_the_fill_of_one_key() {
    let world = world(vec![draft("a"), draft("b")], &[], StubSource::shut());
    world.source.found("/a/1", "1");
    world.source.found("/b/1", "1");
    let one = world.run(login("7", vec![member("a", "1")]));
    let two = world.run(login("8", vec![member("a", "1"), member("b", "1")]));
    let (one, two, ()) = tokio::join!(one, two, async { world.source.open_gate() });
    assert_eq!((one.status, two.status), (Status::Completed, Status::Completed));
    assert_eq!(world.source.calls().len(), 2);
    let mut text = String::new();
    encode(&mut text, &world.registry).expect("encodes");
    assert!(text.contains("hydrant_fill_written_bytes_total{entity=\"a\"} 1\n"), "written once: {text}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_ends_early_says_what_is_still_running() {
    let world = world(vec![draft("a")], &[], StubSource::shut());
    let until = Instant::now() + Duration::from_millis(50);
    let report = world.run(Request { wait: Wait::Completed { until }, ..login("7", vec![member("a", "1")]) }).await;
    assert_eq!(report.status, Status::Partial);
    assert_eq!(outcomes(&report), [("a:1".into(), Outcome::InFlight)]);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_source_ends_with_the_plan() {
    let world = world(vec![draft("a")], &[], StubSource::shut());
    let until = Instant::now() + Duration::from_secs(30);
    let report = world.run(Request { wait: Wait::Completed { until }, ..login("7", vec![member("a", "1")]) }).await;
    assert_eq!(outcomes(&report), [("a:1".into(), Outcome::Timeout)]);
}

#[tokio::test(start_paused = true)]
async fn over_capacity_a_login_is_shed_with_a_hint() {
    let world = world_with(vec![draft("a")], &[], StubSource::shut(), 1);
    let accept = |user: &str| Request { wait: Wait::Accepted, ..login(user, vec![member("a", user)]) };
    assert_eq!(world.run(accept("1")).await.status, Status::Accepted);
    tokio::task::yield_now().await;
    assert_eq!(world.run(accept("2")).await.status, Status::Accepted);
    tokio::time::advance(Duration::from_millis(25)).await;
    let shed = world.run(accept("3")).await;
    assert_eq!(shed.status, Status::Shed);
    assert!(shed.retry_after.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_plan_whose_time_is_over_before_its_turn_asks_nobody() {
    let world = world_with(vec![draft("a")], &[], StubSource::shut(), 1);
    let call = |user: &str| Request {
        wait: Wait::Completed { until: Instant::now() + Duration::from_secs(60) },
        ..login(user, vec![member("a", user)])
    };
    let (first, second) = tokio::join!(world.run(call("1")), world.run(call("2")));
    assert_eq!(outcomes(&first), [("a:1".into(), Outcome::Timeout)]);
    assert_eq!(outcomes(&second), [("a:2".into(), Outcome::Shed)]);
    assert_eq!(world.source.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_shows_the_plan_and_asks_nobody() {
    let world = world(vec![subject_draft("user"), draft("a")], &["user"], StubSource::open());
    let report = world.run(Request { wait: Wait::DryRun, ..login("7", vec![member("a", "1")]) }).await;
    assert_eq!(report.status, Status::Planned);
    let keys: Vec<String> = report.plan.iter().map(|p| name_of(&p.planned)).collect();
    assert_eq!(keys, ["a:1", "user:7"]);
    assert!(world.source.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn every_mistake_is_told_at_once_and_nothing_is_written() {
    let world = world(vec![draft("a")], &[], StubSource::open());
    let missing = MemberRef { entity: "a".into(), params: Params::default() };
    let members = vec![member("a", "{x}"), member("nope", "1"), missing, member("a", "..")];
    let error = world.prehydrate.run(login("7", members)).await.expect_err("refused");
    assert_eq!(error.kind, Kind::InvalidField);
    let paths: Vec<&str> = error.fields.iter().map(|f| f.path.as_str()).collect();
    assert_eq!(paths, ["members[0].params.id", "members[1].entity", "members[2].params.id", "members[3].params.id"]);
    assert!(world.source.calls().is_empty());
    assert_eq!(world.store.size().0, 0);
}

#[tokio::test(start_paused = true)]
async fn switched_off_nothing_is_filled() {
    let world = world(vec![draft("a"), draft("b")], &[], StubSource::open());
    world.source.found("/a/1", "1");
    let off = Switch { entities: BTreeMap::from([(name("b"), false)]), ..Switch::default() };
    world.live.replace(settings(catalog(vec![draft("a"), draft("b")]), off, world.source.clone()));
    let report = world.run(login("7", vec![member("a", "1"), member("b", "1")])).await;
    assert_eq!(outcomes(&report), [("a:1".into(), Outcome::Filled), ("b:1".into(), Outcome::Disabled)]);

    let off = Switch { all: false, ..Switch::default() };
    world.live.replace(settings(catalog(vec![draft("a")]), off, world.source.clone()));
    assert_eq!(world.run(login("7", vec![member("a", "2")])).await.status, Status::Disabled);
    assert_eq!(world.source.calls().len(), 1);
}

const KEY: &str = "a-key-of-the-login-service-of-enough-bytes";
const OTHER: &str = "another-key-of-the-login-service-as-long";

fn shown(cookie: String) -> Request {
    Request { who: Who::CookieValue(Secret::new(cookie)), ..login("nobody", vec![]) }
}

#[tokio::test(start_paused = true)]
async fn a_cookie_is_its_users_login_with_its_session() {
    let reader = Some(identity("1", KEY));
    let world = world_of(vec![subject_draft("user")], &["user"], StubSource::open(), 512, reader);
    world.source.found("/user/7", r#"{"name":"Ada"}"#);
    let report = world.run(shown(jwt("1", KEY, &claims("7")))).await;
    assert_eq!(outcomes(&report), [("user:7".into(), Outcome::Filled)]);
    assert_eq!(world.source.calls()[0].session.as_deref(), Some("session-of-7"));
    let header = Secret::new(format!("a=b; session={}", jwt("1", KEY, &claims("7"))));
    let again = world.run(Request { who: Who::CookieHeader(header), ..login("nobody", vec![]) }).await;
    assert_eq!(outcomes(&again), [("user:7".into(), Outcome::Fresh)]);
}

#[tokio::test(start_paused = true)]
async fn a_cookie_that_is_not_accepted_fetches_and_writes_nothing() {
    let reader = Some(identity("1", KEY));
    let world = world_of(vec![subject_draft("user")], &["user"], StubSource::open(), 512, reader);
    let good = jwt("1", KEY, &claims("7"));
    for wait in [Wait::DryRun, Wait::Accepted, Wait::Completed { until: Instant::now() + Duration::from_secs(3) }] {
        let forged = Request { wait, ..shown(jwt("1", OTHER, &claims("7"))) };
        let error = world.prehydrate.run(forged).await.expect_err("refused");
        assert_eq!((error.kind, error.fields), (Kind::Unauthenticated, vec![]));
    }
    // Time passes, and the token with it.
    tokio::time::advance(Duration::from_secs(66)).await;
    let late = world.prehydrate.run(shown(good)).await.expect_err("refused");
    assert_eq!((late.kind, late.detail.as_str()), (Kind::Unauthenticated, "the cookie is not accepted"));
    assert!(world.source.calls().is_empty());
    assert_eq!(world.store.size().0, 0);
}

#[tokio::test(start_paused = true)]
async fn cookies_are_read_by_what_is_configured_now() {
    let world = world(vec![subject_draft("user")], &["user"], StubSource::open());
    let cookie = || shown(jwt("1", KEY, &claims("7")));
    let kind = async || world.prehydrate.run(cookie()).await.err().map(|error| error.kind);
    assert_eq!(kind().await, Some(Kind::NotConfigured));
    let config = || prehydration::config(vec![], 512);
    world.prehydrate.reconfigure(config(), Some(identity("1", KEY)));
    assert_eq!(kind().await, None);
    world.prehydrate.reconfigure(config(), Some(identity("2", OTHER)));
    assert_eq!(kind().await, Some(Kind::Unauthenticated));
}

#[tokio::test(start_paused = true)]
async fn a_defect_in_one_fill_costs_only_its_own_entry() {
    let world = world(vec![draft("a")], &[], StubSource::open());
    world.source.found("/a/1", "1");
    let report = world.run(login("7", vec![member("a", "panic"), member("a", "1")])).await;
    assert_eq!(outcomes(&report), [("a:panic".into(), Outcome::Failed), ("a:1".into(), Outcome::Filled)]);
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_waited_goes_by_the_configuration_of_its_turn() {
    let world = world_with(vec![draft("a"), draft("b")], &[], StubSource::shut(), 1);
    world.source.found("/a/1", "1");
    world.source.found("/b/1", "1");
    let first = world.run(login("1", vec![member("a", "1")]));
    let second = world.run(login("2", vec![member("b", "1")]));
    let reload = async {
        while world.source.calls().is_empty() {
            tokio::task::yield_now().await;
        }
        let off = Switch { entities: BTreeMap::from([(name("b"), false)]), ..Switch::default() };
        world.live.replace(settings(catalog(vec![draft("a"), draft("b")]), off, world.source.clone()));
        world.source.open_gate();
    };
    let (first, second, ()) = tokio::join!(first, second, reload);
    assert_eq!(outcomes(&first), [("a:1".into(), Outcome::Filled)]);
    assert_eq!(outcomes(&second), [("b:1".into(), Outcome::Disabled)]);
}
