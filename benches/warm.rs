//! Keys a second of a warm-up's fills, from an instant source and from Postgres in bulk, against `redis-cli --pipe` of the
//! same keys and against a straightforward Node warmer. `WARM_KEYS=1000000 cargo bench --bench warm`.
//!
//! All of them write to the same Redis in turn, in each round. What is Hydrant's is guarded, the others are not.

#![expect(clippy::print_stdout, reason = "a bench reports on its standard output")]

#[path = "support/postgres.rs"]
mod postgres;
mod support;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all, ready};
use hydrant::domain::backoff::Backoff;
use hydrant::domain::breaker;
use hydrant::domain::catalog::Catalog;
use hydrant::domain::entity::load::{Ask, Bulk, BulkAsk, Rows};
use hydrant::domain::entity::{Class, Draft, Entity, Load, Name, Scope, Writers};
use hydrant::domain::outcome::Outcome;
use hydrant::domain::projection::{Projection, Spec};
use hydrant::domain::query::Query;
use hydrant::domain::random::Random;
use hydrant::domain::secret::{Secret, SecretCell};
use hydrant::domain::source::{FetchAsk, FetchError, FetchManyAsk, Fetched, Source};
use hydrant::domain::store::{ClaimMode, Store};
use hydrant::domain::switch::Switch;
use hydrant::domain::template::{Ids, Template};
use hydrant::domain::trace::TraceContext;
use hydrant::domain::ttl::Ttl;
use hydrant::fill::settings::Settings;
use hydrant::fill::{self, Filler, Job};
use hydrant::remote::{self, Address, Mode};
use hydrant::source::postgres::{Config, PostgresSource};
use hydrant::source::{any, metrics};
use hydrant::tasks::Tasks;
use postgres::Postgres;
use prometheus_client::registry::Registry;
use support::Redis;
use tokio::time::Instant;

const VALUE_BYTES: usize = 1_024;
/// Members of one call of `fill_many`, and such calls at once.
const BATCH: usize = 500;
const BATCHES: usize = 2;

fn main() {
    let keys = std::env::var_os("WARM_KEYS").and_then(|keys| keys.to_str()?.parse().ok());
    let count: usize = keys.unwrap_or(if support::is_quick() { 5_000 } else { 100_000 });
    let rounds = if support::is_quick() { 1 } else { 5 };
    let redis = Redis::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let database = runtime.block_on(Postgres::start(count, VALUE_BYTES));
    let instant = runtime.block_on(Warmer::build(&redis, Arc::new(Instantly(body()))));
    let bulk = runtime.block_on(Warmer::from_postgres(&redis, &database));
    let (pipe, node) = (Pipe::write(count), node_home());

    let (mut ways, mut memory) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let ran = [
            timed(&redis, || pipe.run(&redis)),
            node.as_ref().map_or(f64::NAN, |home| flushed(&redis, || warm_by_node(home, &redis, count))),
            timed(&redis, || runtime.block_on(instant.fill(count))),
            timed(&redis, || runtime.block_on(bulk.fill(count))),
        ];
        // The first round warms up, and loads the functions.
        if round > 0 {
            ways.push(ran.map(|seconds| count as f64 / seconds));
            memory.push(resident());
        }
    }
    println!("{count} keys of {VALUE_BYTES} B, batches of {BATCH}, {BATCHES} at once, median of {rounds} rounds");
    println!("{:<38} {:>10} {:>10} {:>10}", "", "keys/s", "to --pipe", "to Node");
    for (at, what) in [
        "redis-cli --pipe",
        "Node: SETEX, allSettled, unguarded",
        "hydrant, instant source",
        "hydrant, Postgres in bulk",
    ]
    .into_iter()
    .enumerate()
    {
        let of = |per: fn(&[f64; 4], usize) -> f64| {
            support::median(&mut ways.iter().map(|run| per(run, at)).collect::<Vec<_>>())
        };
        println!(
            "{what:<38} {:>10.0} {:>10.2} {:>10.2}",
            of(|run, at| run[at]),
            of(|run, at| run[at] / run[0]),
            of(|run, at| run[at] / run[1])
        );
    }
    println!("targets: 0.3 of --pipe and 1.2 of Node, from an instant source");
    println!("shed and filled again: {:?}, {:?}", instant.shed, bulk.shed);
    println!("resident after each round, MiB: {memory:.0?}");
}

fn timed(redis: &Redis, work: impl FnOnce()) -> f64 {
    flushed(redis, || {
        let started = Instant::now();
        work();
        started.elapsed().as_secs_f64()
    })
}

fn flushed(redis: &Redis, work: impl FnOnce() -> f64) -> f64 {
    redis.flush();
    work()
}

fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse::<f64>().unwrap_or_default() / 1024.0
}

fn body() -> Bytes {
    format!(r#"{{"id":123456,"name":"Ada","bio":"{}"}}"#, "x".repeat(VALUE_BYTES - 40)).into()
}

/// The same keys and values in the bytes of the protocol, for `redis-cli --pipe`.
struct Pipe {
    file: tempfile::NamedTempFile,
}

impl Pipe {
    fn write(count: usize) -> Self {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let mut out = BufWriter::new(File::create(file.path()).expect("ours"));
        let value = body();
        for n in 0..count {
            let key = format!("user:id:{n}");
            write!(out, "*4\r\n$5\r\nSETEX\r\n${}\r\n{key}\r\n$3\r\n300\r\n${}\r\n", key.len(), value.len())
                .expect("written");
            out.write_all(&value).and_then(|()| out.write_all(b"\r\n")).expect("written");
        }
        out.flush().expect("written");
        Self { file }
    }

    fn run(&self, redis: &Redis) {
        let input = File::open(self.file.path()).expect("written before");
        let ran = Command::new("redis-cli")
            .args(["-p", &redis.port.to_string(), "--pipe"])
            .stdin(input)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(ran.expect("redis-cli comes with redis-server").success());
    }
}

/// Where the Node warmer is installed; none where there is no Node.
fn node_home() -> Option<PathBuf> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let home = here.join("target/bench-warmer");
    std::fs::create_dir_all(&home).ok()?;
    for file in ["package.json", "warmer.mjs"] {
        std::fs::copy(here.join("benches/warm_node").join(file), home.join(file)).ok()?;
    }
    let quiet = ["install", "--no-audit", "--no-fund", "--loglevel=error"];
    let is_there = home.join("node_modules/ioredis").exists()
        || Command::new("npm").args(quiet).current_dir(&home).stdout(Stdio::null()).status().ok()?.success();
    is_there.then_some(home)
}

/// The seconds it says it took: without its start.
fn warm_by_node(home: &PathBuf, redis: &Redis, count: usize) -> f64 {
    let args = [usize::from(redis.port), count, VALUE_BYTES, 1_000].map(|number| number.to_string());
    let said = Command::new("node").arg("warmer.mjs").args(args).current_dir(home).output().expect("node runs");
    String::from_utf8_lossy(&said.stdout).trim().parse().unwrap_or(f64::NAN)
}

struct Instantly(Bytes);

impl Source for Instantly {
    fn fetch<'a>(&'a self, _ask: FetchAsk<'a>) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        ready(Ok(Fetched::Found(self.0.clone()))).boxed()
    }

    fn fetch_many<'a>(&'a self, ask: FetchManyAsk<'a>) -> BoxFuture<'a, Vec<Result<Fetched, FetchError>>> {
        ready(ask.members.iter().map(|_| Ok(Fetched::Found(self.0.clone()))).collect()).boxed()
    }
}

struct Warmer {
    filler: Filler,
    settings: Arc<Settings>,
    trace: TraceContext,
    shed: AtomicUsize,
    _tasks: Tasks,
}

impl Warmer {
    async fn from_postgres(redis: &Redis, database: &Postgres) -> Self {
        let (tasks, _) = Tasks::new();
        let config = Config {
            url: SecretCell::new(Secret::new(database.url.as_str())),
            password: None,
            pool: BATCHES,
            statement_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            max_bytes: 1 << 20,
            tls: None,
        };
        let metrics = metrics::Metrics::register(&mut Registry::default());
        let source = PostgresSource::build(name("db"), config, Random::from_os(), &metrics, &tasks);
        let source = any::AnySource::Postgres(Arc::new(source.expect("a good configuration")));
        Self::build(redis, source.as_source()).await
    }

    async fn build(redis: &Redis, source: Arc<dyn Source>) -> Self {
        let (tasks, _deaths) = Tasks::new();
        let mut registry = Registry::default();
        let waits = Backoff::new(Duration::from_secs(2), Duration::from_secs(60)).expect("a good backoff");
        let config = remote::Config {
            mode: Mode::Standalone { address: Address { host: "127.0.0.1".into(), port: redis.port } },
            auth: None,
            tls: None,
            replicas: 0,
            // A pause of the machine is no failure of the server here.
            deadline: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(1),
            breaker: breaker::Config { failures: 3, waits },
            refresh: Duration::from_secs(30),
            group: "bench".into(),
        };
        let metrics = remote::metrics::Metrics::register(&mut registry);
        let store: Arc<dyn Store> = remote::build(config, &tasks, Random::from_os(), metrics);
        let config =
            fill::Config { group: "bench".into(), claim_life: Duration::from_secs(10), in_flight_bytes: 16 << 20 };
        let filler = Filler::new(store, config, Random::from_os(), fill::metrics::Metrics::register(&mut registry));
        let settings = Settings {
            catalog: Arc::new(Catalog::new(vec![entity()]).expect("one template")),
            switch: Switch::default(),
            sources: BTreeMap::from([(name("db"), source)]),
        };
        let trace = TraceContext::start(&Random::from_seed(1));
        Self { filler, settings: Arc::new(settings), trace, shed: AtomicUsize::new(0), _tasks: tasks }
    }

    async fn fill(&self, count: usize) {
        let next = AtomicUsize::new(0);
        let worker = async |_| {
            loop {
                let from = next.fetch_add(BATCH, Ordering::Relaxed);
                if from >= count {
                    return;
                }
                let mut left: Vec<usize> = (from..count.min(from + BATCH)).collect();
                while !left.is_empty() {
                    let filled = self.filler.fill_many(left.iter().map(|n| self.job(*n)).collect()).await;
                    let again = left.into_iter().zip(filled).filter(|(_, filled)| match filled.outcome {
                        Outcome::Filled | Outcome::Fresh => false,
                        // On a machine that is busy otherwise: as a warm-up would, it tries again. A commit that was
                        // shed leaves its claim behind.
                        Outcome::Shed | Outcome::InFlight => true,
                        other => panic!("{other:?}: {}", filled.reason),
                    });
                    left = again.map(|(n, _)| n).collect();
                    self.shed.fetch_add(left.len(), Ordering::Relaxed);
                }
            }
        };
        join_all((0..BATCHES).map(worker)).await;
    }

    fn job(&self, n: usize) -> Job {
        let params = [("id", n.to_string())].into_iter().collect();
        Job {
            settings: self.settings.clone(),
            member: self.settings.catalog.member("user", params).expect("a good member"),
            owner: None,
            session: None,
            mode: ClaimMode::Miss { renew_below: Duration::from_secs(60) },
            untouched_for: None,
            trace: self.trace,
            accepted: Instant::now(),
            deadline: Instant::now() + Duration::from_secs(20),
        }
    }
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a good name")
}

fn entity() -> Entity {
    let allow = ["id", "name", "bio"].map(str::to_owned).to_vec();
    let spec = Spec { allow, max_bytes: 1 << 20, ..Spec::default() };
    let query = |text| Query::parse(text, &[]).expect("a query");
    let many = query("select id, name, bio from users where id = any({id})");
    let bulk = Bulk { ask: BulkAsk::Query { query: many, columns: vec!["id".to_owned()] }, most: BATCH };
    let one = query("select id, name, bio from users where id = {id}");
    let load = Load { bulk: Some(bulk), ..Load::plain(name("db"), Ask::Query { query: one, rows: Rows::One }) };
    Entity::new(Draft {
        name: name("user"),
        key: Template::for_key("user:id:{id}").expect("a good template"),
        ids: Ids::Plain,
        aliases: Vec::new(),
        scope: Scope::Shared,
        class: Class::Reference,
        bind: BTreeMap::new(),
        follows: None,
        load: Some(load),
        ttl: Ttl::new(Duration::from_secs(300), 10, 20, None).expect("a good ttl"),
        projection: Projection::new(spec).expect("a good projection"),
        owner: None,
        version: None,
        soft: None,
        writers: Writers::Hydrant,
        tags: Vec::new(),
        secret: false,
    })
    .expect("a good entity")
}
