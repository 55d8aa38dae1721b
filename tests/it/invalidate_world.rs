//! A small fleet for the tests of invalidation: sidecars over one memory store and one journal, with faults on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hydrant::domain::clock::Clock;
use hydrant::domain::entity::{Alias, AliasValue, Draft, Member};
use hydrant::domain::error::Error;
use hydrant::domain::journal::{Due, Hold, JobId, Journal, Note, Recorded, Standing};
use hydrant::domain::key::Key;
use hydrant::domain::outcome::Outcome;
use hydrant::domain::pseudonym::Pseudonym;
use hydrant::domain::random::{Nonce, Random};
use hydrant::domain::removal::{
    Erased, Erasure, Primary, Removal, Replaced, Replacement, ScanPage, ScanStep, Softened, TagPage, TagPlace, Upheaval,
};
use hydrant::domain::source::Source;
use hydrant::domain::store::{ClaimMode, Confirmation, Confirmed, Store, StoreError};
use hydrant::domain::switch::Switch;
use hydrant::domain::tag::Tag;
use hydrant::domain::template::{Params, Template};
use hydrant::domain::trace::TraceContext;
use hydrant::fill::settings::{Live, Settings};
use hydrant::fill::{self, Filler, Job};
use hydrant::invalidate::request::{Answer, Effect, MemberTarget, Mode, Request, Target};
use hydrant::invalidate::sweep::pace::Rates;
use hydrant::invalidate::{self, Config, Hands, Invalidate, Means, spool};
use hydrant::local;
use hydrant::local::journal::MemoryJournal;
use hydrant::local::memory::MemoryStore;
use hydrant::tasks::{Deaths, Tasks};
use prometheus_client::registry::Registry;
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::support::catalog::{catalog, draft, name};
use crate::support::store::{key, value};
use crate::support::stub::StubSource;

/// What the sidecars share.
#[derive(Clone)]
pub struct Redis {
    pub store: MemoryStore,
    pub journal: MemoryJournal,
    pub faults: Faults,
    upheavals: broadcast::Sender<Upheaval>,
    pub signs: Arc<Mutex<BTreeMap<JobId, Bytes>>>,
}

/// What goes wrong at present; cloning shares it.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Wrong>>);

#[derive(Default)]
pub struct Wrong {
    /// The journal cannot be reached.
    pub journal: bool,
    /// Not wrong: how many intents it has taken.
    pub recorded: usize,
    /// What the journal has written is not confirmed.
    pub intents_short: bool,
    /// These keys cannot be removed.
    pub keys: BTreeSet<String>,
    /// None can.
    pub all_keys: bool,
    /// Not wrong: a tag has pages of so many keys, and so many have been read.
    pub page: Option<usize>,
    pub pages: usize,
    /// These keys cannot be looked at for what an app wrote back.
    pub weeds: BTreeSet<String>,
    /// What is taken off the journal comes back with a failover.
    pub finish_lost: bool,
    /// What was removed is not confirmed.
    pub erased_short: bool,
    /// Nobody can be told to be gone.
    pub burials: bool,
    /// A command that never ends, for whoever sends it.
    pub hangs: Option<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Record,
    /// Written, and nobody is told so.
    Recorded,
    IntentConfirmed,
    ErasePrimary,
    /// Removed, and nobody is told so.
    ErasedPrimary,
    EraseAlias,
    Finish,
}

/// Where a sidecar keeps things.
pub struct Place {
    pub store: Arc<dyn Store>,
    pub removal: Arc<dyn Removal>,
    pub journal: Arc<dyn Journal>,
}

/// One sidecar.
pub struct Sidecar {
    pub invalidate: Invalidate,
    pub filler: Filler,
    pub live: Live,
    pub source: Arc<StubSource>,
    pub tasks: Tasks,
    pub registry: Registry,
    _deaths: Deaths,
}

impl Redis {
    pub fn new() -> Self {
        let random = Random::from_seed(11);
        let store = MemoryStore::new(local::Config { bytes: 1 << 22, items: 10_000 }, random);
        Self {
            store,
            journal: MemoryJournal::default(),
            faults: Faults::default(),
            upheavals: broadcast::channel(8).0,
            signs: Arc::default(),
        }
    }

    pub async fn value(&self, text: &str) -> Option<String> {
        value(&self.store, &key(text)).await
    }

    /// As an app would.
    pub fn put(&self, text: &str, value: &'static str) {
        self.store.put(&key(text), Bytes::from_static(value.as_bytes()), Some(Duration::from_secs(60)));
    }

    pub async fn remove(&self, text: &str) {
        self.store.remove(&[key(text)]).await.expect("memory answers");
    }

    pub fn tell(&self, upheaval: Upheaval) {
        self.upheavals.send(upheaval).expect("somebody listens");
    }

    /// Intents that wait.
    pub async fn backlog(&self) -> u64 {
        self.journal.backlog().await.into_iter().map(|count| count.expect("known")).sum()
    }
}

impl Sidecar {
    pub fn new(redis: &Redis, seed: u64, drafts: Vec<Draft>, spool: Option<&Path>) -> Self {
        let faulty = Arc::new(redis.clone());
        let place = Place { store: Arc::new(redis.store.clone()), removal: faulty.clone(), journal: faulty };
        Self::at(place, "shop", seed, drafts, spool)
    }

    pub fn at(place: Place, group: &str, seed: u64, drafts: Vec<Draft>, spool: Option<&Path>) -> Self {
        let Place { store, removal, journal } = place;
        let (random, source, mut registry) =
            (Random::from_seed(seed), Arc::new(StubSource::open()), Registry::default());
        let clock = Clock::fixed(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let sources = BTreeMap::from([(name("backend"), source.clone() as Arc<dyn Source>)]);
        let settings = Settings { catalog: Arc::new(catalog(drafts)), switch: Switch::default(), sources };
        let live = Live::new(settings);
        let config = fill::Config { group: group.to_owned(), claim_life: LIFE, in_flight_bytes: 1 << 20 };
        let metrics = fill::metrics::Metrics::register(&mut registry);
        let filler = Filler::new(store.clone(), config, random.clone(), metrics);
        let (tasks, deaths) = Tasks::new();
        let metrics = invalidate::metrics::Metrics::register(&mut registry);
        let hands = Hands { store, removal, journal, filler: filler.clone() };
        let means = Means { live: live.clone(), tasks: tasks.clone(), clock, random, metrics };
        let spool = spool.map(|home| spool::Config { directory: home.join("spool"), files: 16_384, bytes: 1 << 24 });
        let config = Config {
            group: group.to_owned(),
            pod: format!("pod-{seed}"),
            claim_life: LIFE,
            rates: Rates::default(),
            refreshes: 16,
            spool,
        };
        let invalidate = Invalidate::new(config, hands, means, Arc::new(|_| {}));
        Self { invalidate, filler, live, source, tasks, registry, _deaths: deaths }
    }

    pub async fn call(&self, mode: Mode, targets: Vec<Target>) -> Result<Answer, Error> {
        self.invalidate.run(request(mode, targets)).await
    }

    /// A whole fill of `<entity>:{id}` with what the source is told to answer.
    pub async fn fill(&self, entity: &str, id: &str, body: &'static str) -> Outcome {
        self.source.found(&format!("/{entity}/{id}"), body);
        self.fill_as_it_is(entity, id).await
    }

    pub async fn fill_as_it_is(&self, entity: &str, id: &str) -> Outcome {
        self.fill_since(entity, id, Instant::now()).await
    }

    /// For a call that came then.
    pub async fn fill_since(&self, entity: &str, id: &str, accepted: Instant) -> Outcome {
        let settings = self.live.get();
        let member = settings.catalog.member(entity, [("id", id)].into_iter().collect()).expect("a member");
        self.fill_of(member, accepted).await
    }

    pub async fn fill_member(&self, member: Member) -> Outcome {
        self.fill_of(member, Instant::now()).await
    }

    async fn fill_of(&self, member: Member, accepted: Instant) -> Outcome {
        let settings = self.live.get();
        let now = Instant::now();
        let job = Job {
            settings,
            member,
            owner: None,
            session: None,
            mode: ClaimMode::Miss { renew_below: Duration::ZERO },
            untouched_for: None,
            stagger_percent: 0,
            trace: trace(),
            accepted,
            deadline: now + Duration::from_secs(4),
        };
        self.filler.fill(job).await.outcome
    }

    /// One sample as `/metrics` shows it.
    pub fn metric(&self, sample: &str) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("encodes");
        let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {sample} in\n{text}")).parse().expect("a number")
    }
}

pub const LIFE: Duration = Duration::from_secs(10);
/// What the door gives a call that names no deadline.
pub const DEADLINE: Duration = Duration::from_millis(100);

pub fn trace() -> TraceContext {
    TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").expect("well formed")
}

pub fn request(mode: Mode, targets: Vec<Target>) -> Request {
    let (effect, reason, until) = (Effect::Real, "a test".to_owned(), Instant::now() + DEADLINE);
    Request { targets, mode, effect, reason, within: Vec::new(), trace: trace(), until }
}

pub fn params(pairs: &[(&str, &str)]) -> Params {
    pairs.iter().copied().collect()
}

pub fn member(entity: &str, id: &str) -> MemberTarget {
    MemberTarget {
        entity: entity.to_owned(),
        alias: None,
        params: params(&[("id", id)]),
        known_aliases: Vec::new(),
        min_version: None,
        replacement: None,
    }
}

/// `user:{id}` with `user:email:{email}` that leads to it.
pub fn user() -> Draft {
    Draft { aliases: vec![alias("email", AliasValue::Id)], ..draft("user") }
}

pub fn alias(named: &str, value: AliasValue) -> Alias {
    let key = Template::for_key(&format!("user:{named}:{{{named}}}")).expect("a good template");
    Alias { name: name(named), key, value, from: None }
}

impl Faults {
    pub fn now(&self) -> MutexGuard<'_, Wrong> {
        self.0.lock().expect("unpoisoned")
    }

    /// The replicas answer nothing in time.
    pub fn late(&self) {
        let mut wrong = self.now();
        (wrong.intents_short, wrong.erased_short) = (true, true);
    }

    async fn hang(&self, step: Step) {
        let hangs = self.now().hangs == Some(step);
        if hangs {
            std::future::pending::<()>().await;
        }
    }
}

/// Word that sidecars leave for each other, which the journal in memory has no place for: it has one sidecar.
fn is_sign(id: &JobId) -> bool {
    id.as_str().split('-').count() == 3
}

fn unconfirmed(confirmation: Confirmation, is_short: bool) -> Confirmation {
    match is_short {
        true => Confirmation::new(std::future::ready(Confirmed::Short)),
        false => confirmation,
    }
}

impl Removal for Redis {
    fn erase<'a>(&'a self, erasures: &'a [Erasure]) -> BoxFuture<'a, Erased> {
        async move {
            let is_alias = erasures.iter().all(|erasure| !erasure.has_index);
            self.faults.hang(if is_alias { Step::EraseAlias } else { Step::ErasePrimary }).await;
            let (reachable, is_short) = {
                let wrong = self.faults.now();
                let reachable: Vec<bool> =
                    erasures.iter().map(|e| !wrong.all_keys && !wrong.keys.contains(&e.key.to_string())).collect();
                (reachable, wrong.erased_short)
            };
            let mut keys = Vec::new();
            for (erasure, is_reachable) in erasures.iter().zip(reachable) {
                let one = std::slice::from_ref(erasure);
                keys.push(match is_reachable {
                    true => self.store.erase(one).await.keys.pop().expect("one answer"),
                    false => Err(StoreError::Unreachable),
                });
            }
            if !is_alias {
                self.faults.hang(Step::ErasedPrimary).await;
            }
            Erased { keys, confirmation: unconfirmed(Confirmation::given(), is_short) }
        }
        .boxed()
    }

    fn replace<'a>(&'a self, replacement: Replacement<'a>) -> BoxFuture<'a, Result<Replaced, StoreError>> {
        self.store.replace(replacement)
    }

    fn soften<'a>(&'a self, erasure: &'a Erasure, grace: Duration) -> BoxFuture<'a, Result<Softened, StoreError>> {
        async move {
            let is_short = self.faults.now().erased_short;
            let Softened { gone, confirmation } = self.store.soften(erasure, grace).await?;
            Ok(Softened { gone, confirmation: unconfirmed(confirmation, is_short) })
        }
        .boxed()
    }

    fn weed<'a>(&'a self, key: &'a Key, mark: Nonce) -> BoxFuture<'a, Result<bool, StoreError>> {
        let is_away = self.faults.now().weeds.contains(&key.to_string());
        match is_away {
            true => std::future::ready(Err(StoreError::Unreachable)).boxed(),
            false => self.store.weed(key, mark),
        }
    }

    fn tagged<'a>(&'a self, tag: &'a Tag, from: TagPlace) -> BoxFuture<'a, Result<TagPage, StoreError>> {
        async move {
            let whole = self.store.tagged(tag, from).await?;
            let mut wrong = self.faults.now();
            wrong.pages += 1;
            let Some(page) = wrong.page else { return Ok(whole) };
            let keys: Vec<Key> = whole.keys.into_iter().skip(from.cursor as usize).take(page).collect();
            let cursor = from.cursor + page as u64;
            let next = (keys.len() == page).then_some(TagPlace { cursor, ..from });
            Ok(TagPage { keys, next })
        }
        .boxed()
    }

    fn bury<'a>(&'a self, subject: Pseudonym, life: Duration) -> BoxFuture<'a, Result<Confirmation, StoreError>> {
        let is_away = self.faults.now().burials;
        match is_away {
            true => std::future::ready(Err(StoreError::Unreachable)).boxed(),
            false => self.store.bury(subject, life),
        }
    }

    fn primaries(&self) -> Vec<Primary> {
        self.store.primaries()
    }

    fn scan<'a>(&'a self, step: ScanStep<'a>) -> BoxFuture<'a, Result<ScanPage, StoreError>> {
        self.store.scan(step)
    }

    fn upheavals(&self) -> broadcast::Receiver<Upheaval> {
        self.upheavals.subscribe()
    }
}

impl Journal for Redis {
    fn record<'a>(&'a self, intent: Bytes) -> BoxFuture<'a, Result<Recorded, StoreError>> {
        async move {
            self.faults.hang(Step::Record).await;
            if self.faults.now().journal {
                return Err(StoreError::Unreachable);
            }
            let Recorded { id, confirmation } = self.journal.record(intent).await?;
            self.faults.now().recorded += 1;
            self.faults.hang(Step::Recorded).await;
            let is_short = self.faults.now().intents_short;
            let faults = self.faults.clone();
            let confirmation = Confirmation::new(async move {
                faults.hang(Step::IntentConfirmed).await;
                unconfirmed(confirmation, is_short).await
            });
            Ok(Recorded { id, confirmation })
        }
        .boxed()
    }

    fn finish<'a>(&'a self, id: &'a JobId, note: Option<Note>) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            self.faults.hang(Step::Finish).await;
            if self.faults.now().finish_lost {
                return Ok(());
            }
            self.journal.finish(id, note).await
        }
        .boxed()
    }

    fn note<'a>(&'a self, id: &'a JobId, note: Note) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            if is_sign(id) {
                self.signs.lock().expect("unpoisoned").insert(id.clone(), note.text);
                return Ok(());
            }
            self.journal.note(id, note).await
        }
        .boxed()
    }

    fn standing<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, Result<Standing, StoreError>> {
        async move {
            if is_sign(id) {
                let note = self.signs.lock().expect("unpoisoned").get(id).cloned();
                return Ok(Standing { intent: None, note });
            }
            self.journal.standing(id).await
        }
        .boxed()
    }

    fn parts(&self) -> u8 {
        self.journal.parts()
    }

    fn hold<'a>(&'a self, part: u8, holder: Nonce, life: Duration) -> BoxFuture<'a, Result<Hold, StoreError>> {
        self.journal.hold(part, holder, life)
    }

    fn due<'a>(
        &'a self,
        part: u8,
        after: Option<&'a JobId>,
        older_than: Duration,
        limit: u16,
    ) -> BoxFuture<'a, Result<Vec<Due>, StoreError>> {
        self.journal.due(part, after, older_than, limit)
    }

    fn backlog<'a>(&'a self) -> BoxFuture<'a, Vec<Result<u64, StoreError>>> {
        self.journal.backlog()
    }
}
