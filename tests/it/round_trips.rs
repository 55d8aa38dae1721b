//! How often a login goes to Redis and back, before it asks its sources and after they have answered. Counted, not
//! measured: in `support/far.rs` a round trip is the only thing that takes time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hydrant::domain::clock::Clock;
use hydrant::domain::entity::follows::Follows;
use hydrant::domain::entity::{Alias, AliasValue, Draft};
use hydrant::domain::habits::{Habits, Update};
use hydrant::domain::projection::paths::Place;
use hydrant::domain::pseudonym::Pseudonym;
use hydrant::domain::random::Random;
use hydrant::domain::source::{FetchAsk, FetchError, Fetched, Source};
use hydrant::domain::subject::Subject;
use hydrant::domain::switch::Switch;
use hydrant::domain::template::{Params, Template};
use hydrant::domain::trace::TraceContext;
use hydrant::fill::settings::{Live, Settings};
use hydrant::fill::{self, Filler};
use hydrant::local;
use hydrant::local::habits::MemoryHabits;
use hydrant::local::memory::MemoryStore;
use hydrant::prehydrate::cookies::Cookies;
use hydrant::prehydrate::request::{Freshness, Request, Wait, Who};
use hydrant::prehydrate::{Prehydrate, predict};
use hydrant::tasks::{Deaths, Tasks};
use prometheus_client::registry::Registry;
use tokio::time::{Instant, sleep};

use crate::support::catalog::{catalog, name, subject_draft};
use crate::support::far::{Far, ROUND_TRIP};
use crate::support::prehydration::{self, GROUP, Parts};

/// Far longer than all round trips together.
const FETCH: Duration = Duration::from_millis(1_000);

/// Answers all alike, after a while, and remembers when it was asked.
#[derive(Default)]
struct SlowSource(Mutex<BTreeMap<String, Instant>>);

impl Source for SlowSource {
    fn fetch<'a>(&'a self, ask: FetchAsk<'a>) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        async move {
            self.0.lock().expect("unpoisoned").insert(ask.member.key.to_string(), Instant::now());
            sleep(FETCH).await;
            Ok(Fetched::Found(Bytes::from_static(br#"{"email":"a@b.c","org":"5"}"#)))
        }
        .boxed()
    }
}

struct World {
    source: Arc<SlowSource>,
    far: Far,
    prehydrate: Prehydrate,
    _deaths: Deaths,
}

/// Round trips before a source was asked, and from its answer until the whole plan was done.
#[derive(Debug, PartialEq, Eq)]
struct Trips {
    before: BTreeMap<String, u128>,
    after: u128,
}

impl World {
    fn new(drafts: Vec<Draft>, always: &[&str]) -> Self {
        let (random, mut registry) = (Random::from_seed(7), Registry::default());
        let store = MemoryStore::new(local::Config { bytes: 1 << 20, items: 1_000 }, random.clone());
        let far = Far { store, habits: Arc::new(MemoryHabits::default()) };
        let source = Arc::new(SlowSource::default());
        let sources: BTreeMap<_, Arc<dyn Source>> = BTreeMap::from([(name("backend"), source.clone() as _)]);
        let live = Live::new(Settings { catalog: Arc::new(catalog(drafts)), switch: Switch::default(), sources });
        let config = fill::Config { group: GROUP.to_owned(), claim_life: 10 * FETCH, in_flight_bytes: 1 << 20 };
        let metrics = fill::metrics::Metrics::register(&mut registry);
        let filler = Filler::new(Arc::new(far.clone()), config, random.clone(), metrics);
        let (tasks, deaths) = Tasks::new();
        let cookies = Cookies::new(None, Clock::fixed(UNIX_EPOCH + Duration::from_secs(1_000_000)));
        let parts = Parts { cookies, live, filler, habits: Arc::new(far.clone()) };
        let config = prehydration::config(always.iter().map(|text| name(text)).collect(), 16);
        let plan = predict::Config { items: 16, ..config.plan.clone() };
        let config = hydrant::prehydrate::Config { plan, ..config };
        let prehydrate = prehydration::start(config, parts, &tasks, &random, &mut registry);
        Self { source, far, prehydrate, _deaths: deaths }
    }

    async fn habit(&self, items: &[&str]) {
        let set = items.iter().map(|item| (format!("s:{item}"), "0.9".to_owned())).collect();
        let (subject, update) = (Pseudonym::new(GROUP, None, "7"), Update { set, ..Update::default() });
        self.far.habits.write(subject, &update, Duration::from_secs(86_400)).await.expect("memory");
    }

    async fn login(&self) -> Trips {
        let began = Instant::now();
        let request = Request {
            who: Who::Subject(Subject::new("7".into(), None, None, Params::default()).expect("a good subject")),
            members: Vec::new(),
            wait: Wait::Completed { until: began + 10 * FETCH },
            freshness: Freshness::Keep,
            trace: TraceContext::start(&Random::from_seed(1)),
        };
        let report = self.prehydrate.run(request).await.expect("served");
        let ended = Instant::now();
        assert!(report.lines.iter().all(|line| line.ending.outcome.is_settled()), "{report:?}");
        let trips = |time: Duration| time.as_micros() / ROUND_TRIP.as_micros();
        let asked = std::mem::take(&mut *self.source.0.lock().expect("unpoisoned"));
        let last = asked.values().max().copied().unwrap_or(began);
        let after = trips((ended - last).saturating_sub(FETCH));
        Trips { before: asked.into_iter().map(|(key, at)| (key, trips(at - began))).collect(), after }
    }
}

fn before(trips: &[(&str, u128)]) -> BTreeMap<String, u128> {
    trips.iter().map(|(key, trips)| ((*key).to_owned(), *trips)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_login_makes_two_round_trips_before_its_fetches_and_one_after_them() {
    let world = World::new(["profile", "orders", "news"].map(subject_draft).to_vec(), &["profile"]);
    world.habit(&["orders", "news"]).await;
    let trips = world.login().await;
    let expected = before(&[("news:7", 2), ("orders:7", 2), ("profile:7", 1)]);
    assert_eq!(trips, Trips { before: expected, after: 1 }, "the history, then the claims; and the commits");
}

#[tokio::test(start_paused = true)]
async fn what_is_fresh_costs_one_round_trip() {
    let world = World::new(vec![subject_draft("profile")], &["profile"]);
    world.login().await;
    let began = Instant::now();
    let trips = world.login().await;
    assert_eq!((trips.before, began.elapsed()), (BTreeMap::new(), ROUND_TRIP));
}

#[tokio::test(start_paused = true)]
async fn with_aliases_it_makes_three_and_a_wait_after_the_fetch() {
    let key = Template::for_key("mail:{email}").expect("a good template");
    let alias = Alias { name: name("email"), key, value: AliasValue::Id, from: None };
    let world = World::new(vec![Draft { aliases: vec![alias], ..subject_draft("user") }], &["user"]);
    let trips = world.login().await;
    assert_eq!(trips, Trips { before: before(&[("user:7", 1)]), after: 4 });
}

#[tokio::test(start_paused = true)]
async fn a_tag_is_registered_before_the_fetch_and_costs_one_more() {
    let tags = vec![Template::parse("of:{id}").expect("a good template")];
    let world = World::new(vec![Draft { tags, ..subject_draft("user") }], &["user"]);
    let trips = world.login().await;
    assert_eq!(trips, Trips { before: before(&[("user:7", 2)]), after: 1 });
}

#[tokio::test(start_paused = true)]
async fn what_follows_from_an_answer_is_read_claimed_and_fetched_after_it() {
    let by = BTreeMap::from([("org".to_owned(), Place::field("org"))]);
    let follows = Some(Follows { from: name("profile"), by });
    let path = Template::parse("/desk/{org}/{id}").expect("a good template");
    let load = subject_draft("desk")
        .load
        .map(|load| hydrant::domain::entity::Load { ask: hydrant::domain::entity::load::Ask::Get(path), ..load });
    let key = Template::for_key("desk:{org}:{id}").expect("a good template");
    let desk = Draft { follows, load, key, ..subject_draft("desk") };
    let world = World::new(vec![subject_draft("profile"), desk], &["desk"]);
    let trips = world.login().await;
    let fetch = FETCH.as_micros() / ROUND_TRIP.as_micros();
    let expected = before(&[("profile:7", 1), ("desk:5:7", 1 + fetch + 1 + 3)]);
    assert_eq!(trips, Trips { before: expected, after: 1 }, "committed; then read, claimed and registered");
}
