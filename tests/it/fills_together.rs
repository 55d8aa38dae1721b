//! Many fills that share their fetches: one call where there can be one, and each member's end its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hydrant::domain::entity::load::{Bulk, BulkAsk};
use hydrant::domain::entity::{Draft, Load};
use hydrant::domain::outcome::{Outcome, Resource};
use hydrant::domain::projection::paths::Place;
use hydrant::domain::random::Random;
use hydrant::domain::source::{FetchAsk, FetchError, FetchManyAsk, Fetched, Source};
use hydrant::domain::store::{ClaimMode, Store};
use hydrant::domain::switch::Switch;
use hydrant::domain::template::Template;
use hydrant::domain::trace::TraceContext;
use hydrant::fill::settings::Settings;
use hydrant::fill::{self, Filler, Job};
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use crate::support::catalog::{catalog, draft, name};
use crate::support::faulty::FaultyStore;

/// Answers for every id, and remembers with how many it was asked at once.
#[derive(Default)]
struct BulkSource {
    calls: Mutex<Vec<usize>>,
    singles: Mutex<Vec<String>>,
    /// Ids that spoil a call in bulk.
    spoilers: BTreeSet<&'static str>,
    absent: BTreeSet<&'static str>,
    /// Removes these keys while it is asked, as an invalidation would.
    meanwhile: Option<(FaultyStore, Vec<hydrant::domain::key::Key>)>,
}

impl BulkSource {
    fn answer(&self, id: &str) -> Result<Fetched, FetchError> {
        match (self.spoilers.contains(id), self.absent.contains(id)) {
            (true, _) => Err(FetchError::Refused),
            (false, true) => Ok(Fetched::Absent),
            (false, false) => Ok(Fetched::Found(format!("{{\"id\":\"{id}\"}}").into())),
        }
    }
}

impl Source for BulkSource {
    fn fetch<'a>(&'a self, ask: FetchAsk<'a>) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        let id = ask.member.params.get("id").expect("an id").to_owned();
        let answer = self.answer(&id);
        self.singles.lock().expect("unpoisoned").push(id);
        std::future::ready(answer).boxed()
    }

    fn fetch_many<'a>(&'a self, ask: FetchManyAsk<'a>) -> BoxFuture<'a, Vec<Result<Fetched, FetchError>>> {
        async move {
            let ids: Vec<&str> = ask.members.iter().map(|member| member.params.get("id").expect("an id")).collect();
            self.calls.lock().expect("unpoisoned").push(ids.len());
            if let Some((store, keys)) = &self.meanwhile {
                store.remove(keys).await.expect("removed");
            }
            if ids.iter().any(|id| self.spoilers.contains(id)) {
                return vec![Err(FetchError::Refused); ids.len()];
            }
            ids.into_iter().map(|id| self.answer(id)).collect()
        }
        .boxed()
    }
}

struct World {
    store: FaultyStore,
    source: Arc<BulkSource>,
    settings: Arc<Settings>,
    filler: Filler,
}

fn in_bulk(most: usize) -> Draft {
    let plain = draft("user");
    let place = |text: &str| Place::parse(text).expect("a place");
    let path = Template::parse("/users?ids={ids}").expect("a path");
    let bulk = Bulk { ask: BulkAsk::Get { path, items: place("$"), id: place("$.id") }, most };
    let load = plain.load.clone().map(|load| Load { bulk: Some(bulk), ..load });
    Draft { load, ..plain }
}

fn world(draft: Draft, store: FaultyStore, source: BulkSource) -> World {
    let source = Arc::new(source);
    let sources = BTreeMap::from([(name("backend"), source.clone() as Arc<dyn Source>)]);
    let settings = Arc::new(Settings { catalog: Arc::new(catalog(vec![draft])), switch: Switch::default(), sources });
    let config =
        fill::Config { group: "test".to_owned(), claim_life: Duration::from_secs(10), in_flight_bytes: 1 << 20 };
    let metrics = fill::metrics::Metrics::register(&mut Registry::default());
    let filler = Filler::new(Arc::new(store.clone()), config, Random::from_seed(5), metrics);
    World { store, source, settings, filler }
}

impl World {
    fn key(&self, id: &str) -> hydrant::domain::key::Key {
        self.job(id).member.key
    }

    fn job(&self, id: &str) -> Job {
        let params = [("id", id)].into_iter().collect();
        Job {
            settings: self.settings.clone(),
            member: self.settings.catalog.member("user", params).expect("a good member"),
            owner: None,
            session: None,
            mode: ClaimMode::Miss { renew_below: Duration::ZERO },
            untouched_for: None,
            trace: TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").expect("well formed"),
            accepted: Instant::now(),
            deadline: Instant::now() + Duration::from_secs(5),
        }
    }

    async fn fill(&self, ids: &[&str]) -> Vec<Resource> {
        self.filler.fill_many(ids.iter().map(|id| self.job(id)).collect()).await
    }

    fn calls(&self) -> Vec<usize> {
        self.source.calls.lock().expect("unpoisoned").clone()
    }
}

fn outcomes(resources: &[Resource]) -> Vec<(String, Outcome)> {
    resources.iter().map(|resource| (resource.member.key.to_string(), resource.outcome)).collect()
}

fn all_of(resources: &[Resource], outcome: Outcome) -> usize {
    resources.iter().filter(|resource| resource.outcome == outcome).count()
}

#[tokio::test(start_paused = true)]
async fn many_members_are_fetched_with_few_calls() {
    let world = world(in_bulk(10), FaultyStore::new(), BulkSource::default());
    let ids: Vec<String> = (0..25).map(|n| n.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let filled = world.fill(&ids).await;
    assert_eq!(all_of(&filled, Outcome::Filled), 25, "{filled:?}");
    let keys: Vec<String> = filled.iter().map(|resource| resource.member.key.to_string()).collect();
    assert_eq!(keys, ids.iter().map(|id| format!("user:{id}")).collect::<Vec<_>>(), "in their order");
    assert_eq!(world.calls(), [10, 10, 5]);
    let held = world.store.read(&[world.key("7")]).await.expect("read");
    assert_eq!(held[0].as_ref().map(|held| &held.value[..]), Some(&b"{\"id\":\"7\"}"[..]));
    // What is fresh is not asked for again, and the others do not wait for it.
    let again = world.fill(&["7", "99"]).await;
    assert_eq!((again[0].outcome, again[1].outcome), (Outcome::Fresh, Outcome::Filled));
    assert_eq!(world.calls().last(), Some(&1));
}

#[tokio::test(start_paused = true)]
async fn each_member_ends_as_its_own() {
    let store = FaultyStore::new();
    let plain = world(in_bulk(10), store.clone(), BulkSource::default());
    let source = BulkSource {
        absent: BTreeSet::from(["2"]),
        meanwhile: Some((store.clone(), vec![plain.key("3")])),
        ..BulkSource::default()
    };
    let world = world(in_bulk(10), store, source);
    let filled = world.fill(&["1", "2", "3", "1"]).await;
    let expected = [("user:1", Outcome::Filled), ("user:2", Outcome::Absent), ("user:3", Outcome::Fenced)];
    assert_eq!(outcomes(&filled[..3]), expected.map(|(key, outcome)| (key.to_owned(), outcome)));
    assert!(matches!(filled[3].outcome, Outcome::Filled | Outcome::Fresh), "{:?}", filled[3]);
    assert_eq!(world.calls(), [3]);
}

#[tokio::test(start_paused = true)]
async fn one_that_spoils_the_call_is_found_and_the_others_are_filled() {
    let source = BulkSource { spoilers: BTreeSet::from(["13"]), ..BulkSource::default() };
    let world = world(in_bulk(64), FaultyStore::new(), source);
    let ids: Vec<String> = (0..64).map(|n| n.to_string()).collect();
    let filled = world.fill(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(all_of(&filled, Outcome::Filled), 63);
    assert_eq!(filled[13].outcome, Outcome::Failed);
    assert!(world.calls().len() <= 13, "{:?}", world.calls());
}

#[tokio::test(start_paused = true)]
async fn a_query_that_is_wrong_is_not_tried_for_everybody() {
    let ids = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    let source = BulkSource { spoilers: BTreeSet::from(ids), ..BulkSource::default() };
    let world = world(in_bulk(1_000), FaultyStore::new(), source);
    let ids: Vec<&str> = ids.into_iter().cycle().take(10).collect();
    let filled = world.fill(&ids).await;
    assert_eq!(all_of(&filled, Outcome::Failed), 10);
    assert!(world.calls().len() <= 2 * 64 + 1, "{:?}", world.calls());
    assert!(world.source.singles.lock().expect("unpoisoned").is_empty());
}

#[tokio::test(start_paused = true)]
async fn whoever_is_held_up_does_not_hold_up_the_others() {
    let world = world(in_bulk(10), FaultyStore::new(), BulkSource::default());
    let key = world.key("1");
    let ask = hydrant::domain::store::ClaimAsk { key: &key, life: Duration::from_secs(3), mode: ClaimMode::Refresh };
    let _held = world.store.claim(ask).await.expect("claimed");
    let start = Instant::now();
    let filled = world.fill(&["1", "2", "3"]).await;
    assert_eq!(all_of(&filled, Outcome::Filled), 3, "{filled:?}");
    assert!(filled[1].elapsed < Duration::from_secs(1) && start.elapsed() >= Duration::from_secs(2));
    assert_eq!(world.calls(), [2, 1]);
}

#[tokio::test(start_paused = true)]
async fn without_a_bulk_load_members_are_fetched_one_by_one() {
    let world = world(draft("user"), FaultyStore::new(), BulkSource::default());
    let filled = world.fill(&["1", "2"]).await;
    assert_eq!(all_of(&filled, Outcome::Filled), 2);
    assert_eq!((world.calls().len(), world.source.singles.lock().expect("unpoisoned").len()), (0, 2));
}
