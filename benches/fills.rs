//! Guarded fills through the whole fill path, from an instant source to a real Redis, against the same claim and commit
//! commands driven by a raw pipelined client, and against plain pipelined `SET`. `cargo bench --bench fills`.

#![expect(clippy::print_stdout, reason = "a bench reports on its standard output")]

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all, ready};
use hydrant::domain::backoff::Backoff;
use hydrant::domain::breaker;
use hydrant::domain::catalog::Catalog;
use hydrant::domain::entity::load::Ask;
use hydrant::domain::entity::{Class, Draft, Entity, Load, Name, Scope, Writers};
use hydrant::domain::outcome::Outcome;
use hydrant::domain::projection::{Projection, Spec};
use hydrant::domain::random::Random;
use hydrant::domain::source::{FetchAsk, FetchError, Fetched, Source};
use hydrant::domain::store::{ClaimMode, Store};
use hydrant::domain::switch::Switch;
use hydrant::domain::template::{Ids, Template};
use hydrant::domain::trace::TraceContext;
use hydrant::domain::ttl::Ttl;
use hydrant::fill::metrics::Metrics;
use hydrant::fill::settings::Settings;
use hydrant::fill::{self, Filler, Job};
use hydrant::remote::{self, Address, Mode};
use hydrant::tasks::Tasks;
use prometheus_client::registry::Registry;
use support::Redis;
use tokio::time::Instant;

/// Fills under way at once: a busy pod's.
const IN_FLIGHT: usize = 256;
const VALUE_BYTES: usize = 1_024;

struct Instantly(Bytes);

impl Source for Instantly {
    fn fetch<'a>(&'a self, _ask: FetchAsk<'a>) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        ready(Ok(Fetched::Found(self.0.clone()))).boxed()
    }
}

/// One measured run: what it did a second, and what a piece of work cost the client and the server.
struct Run {
    per_second: f64,
    client_micros: f64,
    server_micros: f64,
}

fn main() {
    let (rounds, count) = if support::is_quick() { (1, 5_000) } else { (7, 100_000) };
    let redis = Redis::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let hydrant = runtime.block_on(Hydrant::build(&redis));
    let mut raw = Raw::connect(&redis);

    let (mut whole, mut commands, mut sets) = (Vec::new(), Vec::new(), Vec::new());
    // The first round warms up, and loads the functions.
    for round in 0..=rounds {
        redis.flush();
        let ran = [
            measure(&redis, count, || runtime.block_on(hydrant.fill(count))),
            measure(&redis, count, || raw.claim_and_commit(count)),
            measure(&redis, count, || raw.set(count)),
        ];
        if round > 0 {
            let [a, b, c] = ran;
            whole.push(a);
            commands.push(b);
            sets.push(c);
        }
    }
    println!("guarded fills of {VALUE_BYTES} B, {IN_FLIGHT} in flight, median of {rounds} rounds of {count}");
    println!("{:<34} {:>10} {:>14} {:>14}", "", "per second", "client µs each", "server µs each");
    for (what, runs) in [
        ("hydrant, whole fill path", &whole),
        ("raw client, claim + commit", &commands),
        ("raw client, plain SET", &sets),
    ] {
        let of = |pick: fn(&Run) -> f64| support::median(&mut runs.iter().map(pick).collect::<Vec<_>>());
        println!(
            "{what:<34} {:>10.0} {:>14.2} {:>14.2}",
            of(|r| r.per_second),
            of(|r| r.client_micros),
            of(|r| r.server_micros)
        );
    }
    let ratio = |others: &[Run]| {
        let pairs = whole.iter().zip(others).map(|(a, b)| a.per_second / b.per_second);
        support::median(&mut pairs.collect::<Vec<_>>())
    };
    println!("ratio to the same commands: {:.2} (target 0.5, hoped for 0.8)", ratio(&commands));
    println!("ratio to plain SET:         {:.2}", ratio(&sets));
    let claim = commands.iter().zip(&sets).map(|(with, without)| with.server_micros / without.server_micros);
    let claim = support::median(&mut claim.collect::<Vec<_>>());
    println!("what the claim costs:       {claim:.2} times the server's time for a plain SET");
}

fn measure(redis: &Redis, count: usize, work: impl FnOnce()) -> Run {
    let (client, server, started) = (support::cpu(), redis.cpu(), Instant::now());
    work();
    let elapsed = started.elapsed();
    let each = |used: Duration| used.as_secs_f64() * 1e6 / count as f64;
    Run {
        per_second: count as f64 / elapsed.as_secs_f64(),
        client_micros: each(support::cpu() - client),
        server_micros: each(redis.cpu() - server),
    }
}

/// A JSON value as a backend would send it, with a field that is dropped.
fn body() -> Bytes {
    let filler = "x".repeat(VALUE_BYTES - 130);
    let text = format!(
        r#"{{"id":123456,"name":"Ada Lovelace","email":"ada@example.org","roles":["admin","user"],"balance":12.50,"bio":"{filler}"}}"#
    );
    text.into()
}

struct Hydrant {
    filler: Filler,
    settings: Arc<Settings>,
    next: AtomicUsize,
    _tasks: Tasks,
}

impl Hydrant {
    async fn build(redis: &Redis) -> Self {
        let (tasks, _deaths) = Tasks::new();
        let mut registry = Registry::default();
        let waits = Backoff::new(Duration::from_secs(2), Duration::from_secs(60)).expect("a good backoff");
        let config = remote::Config {
            mode: Mode::Standalone { address: Address { host: "127.0.0.1".into(), port: redis.port } },
            auth: None,
            tls: None,
            replicas: 0,
            deadline: Duration::from_millis(250),
            connect_timeout: Duration::from_secs(1),
            breaker: breaker::Config { failures: 3, waits },
            refresh: Duration::from_secs(30),
            group: "bench".into(),
        };
        let store: Arc<dyn Store> =
            remote::build(config, &tasks, Random::from_os(), remote::metrics::Metrics::register(&mut registry));
        let config =
            fill::Config { group: "bench".into(), claim_life: Duration::from_secs(10), in_flight_bytes: 16 << 20 };
        let filler = Filler::new(store, config, Random::from_os(), Metrics::register(&mut registry));
        let name = |text| Name::new(text).expect("a good name");
        let source: Arc<dyn Source> = Arc::new(Instantly(body()));
        let settings = Settings {
            catalog: Arc::new(Catalog::new(vec![entity()]).expect("one template")),
            switch: Switch::default(),
            sources: BTreeMap::from([(name("instant"), source)]),
        };
        Self { filler, settings: Arc::new(settings), next: AtomicUsize::new(0), _tasks: tasks }
    }

    async fn fill(&self, count: usize) {
        let end = self.next.load(Ordering::Relaxed) + count;
        let trace = TraceContext::start(&Random::from_seed(1));
        let worker = async |_| {
            loop {
                let n = self.next.fetch_add(1, Ordering::Relaxed);
                if n >= end {
                    return;
                }
                let params = [("id", n.to_string())].into_iter().collect();
                let job = Job {
                    settings: self.settings.clone(),
                    member: self.settings.catalog.member("user", params).expect("a good member"),
                    owner: None,
                    session: None,
                    mode: ClaimMode::Miss { renew_below: Duration::from_secs(60) },
                    untouched_for: None,
                    trace,
                    accepted: Instant::now(),
                    deadline: Instant::now() + Duration::from_secs(4),
                };
                let filled = self.filler.fill(job).await;
                assert_eq!(filled.outcome, Outcome::Filled, "{}", filled.reason);
            }
        };
        join_all((0..IN_FLIGHT).map(worker)).await;
        self.next.store(end, Ordering::Relaxed);
    }
}

fn entity() -> Entity {
    let allow = ["id", "name", "email", "roles", "bio"].map(str::to_owned).to_vec();
    let spec = Spec { allow, max_bytes: 1 << 20, ..Spec::default() };
    Entity::new(Draft {
        name: Name::new("user").expect("a good name"),
        key: Template::for_key("user:id:{id}").expect("a good template"),
        ids: Ids::Plain,
        aliases: Vec::new(),
        scope: Scope::Shared,
        class: Class::Reference,
        bind: BTreeMap::new(),
        follows: None,
        load: Some(Load::plain(
            Name::new("instant").expect("a good name"),
            Ask::Get(Template::parse("/users/{id}").expect("a good template")),
        )),
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

/// The least a client can do: packed bytes into a socket, replies counted out of it, two batches in flight.
struct Raw {
    socket: TcpStream,
    next: usize,
    inbox: Vec<u8>,
    owed: i64,
    refused: usize,
}

impl Raw {
    fn connect(redis: &Redis) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", redis.port)).expect("the server runs");
        socket.set_nodelay(true).expect("a TCP socket");
        Self { socket, next: 0, inbox: vec![0; 1 << 16], owed: 0, refused: 0 }
    }

    fn claim_and_commit(&mut self, count: usize) {
        let value = &body()[..VALUE_BYTES - 20];
        let mut waiting: Option<(usize, usize)> = None;
        let mut owed = 0;
        let mut left = count;
        loop {
            let mut bytes = Vec::with_capacity(IN_FLIGHT * 1_500);
            let mut replies = 0;
            // Claims of this batch, and commits of the batch whose claims were answered.
            let batch = left.min(IN_FLIGHT / 2);
            left -= batch;
            let range = (self.next, self.next + batch);
            self.next += batch;
            for n in range.0..range.1 {
                let (guard, key, token) = names(n);
                pack(&mut bytes, &[b"FCALL", b"hydrant_v3_claim", b"2", &guard, &key, &token, b"10000", b"60000"]);
            }
            if let Some((from, to)) = waiting {
                for n in from..to {
                    let (guard, key, token) = names(n);
                    pack(
                        &mut bytes,
                        &[b"FCALL", b"hydrant_v3_commit", b"2", &guard, &key, &token, b"", value, b"300000"],
                    );
                }
                replies += to - from;
            }
            replies += batch;
            self.socket.write_all(&bytes).expect("the server reads");
            self.replies(owed);
            owed = replies;
            waiting = (batch > 0).then_some(range);
            if batch == 0 && replies == 0 {
                return;
            }
        }
    }

    fn set(&mut self, count: usize) {
        let value = &body()[..VALUE_BYTES - 20];
        let (mut left, mut owed) = (count, 0);
        while left > 0 || owed > 0 {
            let batch = left.min(IN_FLIGHT / 2);
            left -= batch;
            let mut bytes = Vec::with_capacity(IN_FLIGHT * 1_500);
            for n in self.next..self.next + batch {
                pack(&mut bytes, &[b"SET", &names(n).1, value, b"PX", b"300000"]);
            }
            self.next += batch;
            self.socket.write_all(&bytes).expect("the server reads");
            self.replies(owed);
            owed = batch;
        }
    }

    /// Reads so many replies; what comes along of the next batch is counted for it. Ours are one line each, or an empty
    /// bulk string: `$0`, and a line end more.
    fn replies(&mut self, count: usize) {
        self.owed += count as i64;
        while self.owed > 0 {
            let read = self.socket.read(&mut self.inbox).expect("the server answers");
            assert!(read > 0, "the server hung up");
            for byte in &self.inbox[..read] {
                match byte {
                    b'$' => self.owed += 1,
                    b'\n' => self.owed -= 1,
                    b'-' => self.refused += 1,
                    _ => {}
                }
            }
        }
        // `-1` and the like: fresh, absent. None of them should come.
        assert_eq!(self.refused, 0, "the server refused");
    }
}

fn names(n: usize) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let key = format!("raw:id:{n}");
    let token = format!("c{n:016}10000");
    (format!("{{{key}}}:g").into_bytes(), key.into_bytes(), token.into_bytes())
}

fn pack(bytes: &mut Vec<u8>, parts: &[&[u8]]) {
    let _ = write!(bytes, "*{}\r\n", parts.len());
    for part in parts {
        let _ = write!(bytes, "${}\r\n", part.len());
        bytes.extend_from_slice(part);
        bytes.extend_from_slice(b"\r\n");
    }
}
