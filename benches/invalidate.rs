//! An invalidation of a member with three aliases, on three primaries with a replica each, against the commands that it
//! cannot do without, sent by hand in the same three dependent rounds: the intent and its `WAIT`; the member's key with
//! its claim, and then its index; the aliases with theirs, and a `WAIT` wherever something went. In process and over gRPC
//! to a real sidecar, one at a time and 64 at a time. `cargo bench --bench invalidate`. Target: p50 at most 1.5 times.

#![expect(clippy::print_stdout, reason = "a bench reports on its standard output")]

#[path = "support/mod.rs"]
mod figures;
#[path = "../tests/it/support"]
mod support {
    #![allow(dead_code, reason = "shared with the tests, which use more of it")]

    pub mod catalog;
    pub mod certificates;
    pub mod redis;
    pub mod sidecar;
    pub mod wait;
}

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::future::join_all;
use hydrant::domain::backoff::Backoff;
use hydrant::domain::breaker;
use hydrant::domain::clock::Clock;
use hydrant::domain::entity::{Alias, AliasValue, Draft};
use hydrant::domain::journal::Journal;
use hydrant::domain::key::{Key, Sibling};
use hydrant::domain::random::Random;
use hydrant::domain::store::{Store, StoreState};
use hydrant::domain::switch::Switch;
use hydrant::domain::template::Template;
use hydrant::domain::trace::TraceContext;
use hydrant::fill::settings::{Live, Settings};
use hydrant::fill::{self, Filler};
use hydrant::grpc::client::{self, Client};
use hydrant::invalidate::request::{Effect, MemberTarget, Mode, Request, State, Target};
use hydrant::invalidate::sweep::pace::Rates;
use hydrant::invalidate::{self, Hands, Invalidate, Means};
use hydrant::remote::journal::RemoteJournal;
use hydrant::remote::{self, request};
use hydrant::tasks::{Deaths, Tasks};
use prometheus_client::registry::Registry;
use redis::{Value, ValueCodec};
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tokio_util::codec::Decoder;

use crate::support::catalog::{catalog, draft, name};
use crate::support::redis::RedisCluster;
use crate::support::sidecar::Sidecar;

const MEMBERS: usize = 1_000;
const ALIASES: [&str; 3] = ["email", "phone", "handle"];
/// Under way at once: what a busy pod's writers ask for.
const AT_ONCE: usize = 64;
/// As many bytes as the intent of such an invalidation has.
const INTENT: [u8; 256] = [b'x'; 256];

fn main() {
    let (warm_up, calls, rounds, count) = if figures::is_quick() { (20, 100, 1, 640) } else { (500, 5_000, 7, 6_400) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let cluster = runtime.block_on(RedisCluster::start());
    let mut raw = Raw::connect(&cluster);
    raw.register();
    let inside = runtime.block_on(Inside::build(&cluster));
    let outside = runtime.block_on(Outside::start(&cluster));

    let (mut times, mut late): ([Vec<f64>; 3], usize) = Default::default();
    for call in 0..warm_up + calls {
        let id = call % MEMBERS;
        let mut one = |timed: &mut dyn FnMut(&mut Raw) -> usize| {
            raw.write(&[id]);
            let begun = Instant::now();
            late += timed(&mut raw);
            let elapsed = begun.elapsed();
            // What is left after the answer: the intent is taken off.
            raw.take_off();
            runtime.block_on(inside.is_quiet());
            elapsed.as_secs_f64() * 1e6
        };
        let measured = [
            one(&mut |raw| raw.invalidate(&[id])),
            one(&mut |_| runtime.block_on(inside.invalidate(id))),
            one(&mut |_| runtime.block_on(outside.invalidate(id))),
        ];
        if call >= warm_up {
            times.iter_mut().zip(measured).for_each(|(times, time)| times.push(time));
        }
    }
    report_times(times);

    let mut rates: [Vec<f64>; 3] = Default::default();
    // The first round warms up.
    for round in 0..=rounds {
        let mut rate = |work: &mut dyn FnMut(&mut Raw) -> usize| {
            raw.write(&(0..MEMBERS).collect::<Vec<_>>());
            let begun = Instant::now();
            late += work(&mut raw);
            count as f64 / begun.elapsed().as_secs_f64()
        };
        let measured = [
            rate(&mut |raw| (0..count / AT_ONCE).map(|batch| raw.invalidate(&ids(batch))).sum()),
            rate(&mut |_| at_once(&runtime, count, |id| inside.invalidate(id))),
            rate(&mut |_| at_once(&runtime, count, |id| outside.invalidate(id))),
        ];
        raw.take_off();
        if round > 0 {
            rates.iter_mut().zip(measured).for_each(|(rates, rate)| rates.push(rate));
        }
    }
    report_rates(rates, rounds);
    println!("not done at once, because the machine was busy: {late}");
}

fn report_times(mut times: [Vec<f64>; 3]) {
    println!("one invalidation at a time, a member with {} aliases, 3 primaries and 3 replicas", ALIASES.len());
    println!("{:<24} {:>10} {:>10}", "", "p50 µs", "p99 µs");
    let [by_hand, inside, outside] = times.each_mut().map(|times| {
        times.sort_by(f64::total_cmp);
        [times[times.len() / 2], times[times.len() * 99 / 100]]
    });
    for (what, [p50, p99]) in [("by hand", by_hand), ("hydrant, in process", inside), ("hydrant, over gRPC", outside)] {
        println!("{what:<24} {p50:>10.0} {p99:>10.0}");
    }
    for (what, [p50, p99]) in [("in process (target 1.5)", inside), ("over gRPC", outside)] {
        println!("ratio {what:<24} {:>8.2} {:>8.2}", p50 / by_hand[0], p99 / by_hand[1]);
    }
}

fn report_rates(mut rates: [Vec<f64>; 3], rounds: usize) {
    let ratios = [1, 2].map(|which| {
        let mut pairs: Vec<f64> = rates[which].iter().zip(&rates[0]).map(|(ours, theirs)| ours / theirs).collect();
        figures::median(&mut pairs)
    });
    let [by_hand, inside, outside] = rates.each_mut().map(|rates| figures::median(rates));
    println!("{AT_ONCE} at a time, median of {rounds} rounds");
    println!("by hand, in batches of {AT_ONCE}: {by_hand:>8.0} a second");
    println!("hydrant, in process:     {inside:>8.0} a second, ratio {:.2}", ratios[0]);
    println!("hydrant, over gRPC:      {outside:>8.0} a second, ratio {:.2}", ratios[1]);
}

/// How many of them were late.
fn at_once<F: Future<Output = usize>>(runtime: &Runtime, count: usize, call: impl Fn(usize) -> F) -> usize {
    let worker = async |first: usize| {
        let mut late = 0;
        for batch in 0..count / AT_ONCE {
            late += call(ids(batch)[first]).await;
        }
        late
    };
    runtime.block_on(join_all((0..AT_ONCE).map(worker))).into_iter().sum()
}

/// Who is invalidated at once: different members.
fn ids(batch: usize) -> [usize; AT_ONCE] {
    std::array::from_fn(|n| (batch * AT_ONCE + n) % MEMBERS)
}

fn key(id: usize) -> Key {
    Key::new(format!("user:{id}")).expect("a good key")
}

fn aliases(id: usize) -> [Key; 3] {
    ALIASES.map(|alias| Key::new(format!("user:{alias}:{id}@example.org")).expect("a good key"))
}

/// The flow on the store and the journal as the process builds them, and nothing above it.
struct Inside {
    invalidate: Invalidate,
    journal: Arc<RemoteJournal>,
    trace: TraceContext,
    _tasks: (Tasks, Deaths),
}

impl Inside {
    async fn build(cluster: &RedisCluster) -> Self {
        let (tasks, deaths) = Tasks::new();
        let (random, mut registry) = (Random::from_os(), Registry::default());
        let waits = Backoff::new(Duration::from_secs(2), Duration::from_secs(60)).expect("a good backoff");
        let config = remote::Config {
            mode: remote::Mode::Cluster { seeds: cluster.seeds() },
            auth: None,
            tls: None,
            replicas: 1,
            deadline: Duration::from_millis(250),
            connect_timeout: Duration::from_secs(1),
            breaker: breaker::Config { failures: 3, waits },
            refresh: Duration::from_secs(30),
            group: "inside".into(),
        };
        let metrics = remote::metrics::Metrics::register(&mut registry);
        let store = remote::build(config, &tasks, random.clone(), metrics);
        while store.state() != StoreState::Up {
            tokio::task::yield_now().await;
        }
        let claim_life = Duration::from_secs(10);
        let fills = fill::Config { group: "inside".into(), claim_life, in_flight_bytes: 1 << 20 };
        let metrics = fill::metrics::Metrics::register(&mut registry);
        let filler = Filler::new(store.clone(), fills, random.clone(), metrics);
        let alias = |alias: &str| {
            let key = Template::for_key(&format!("user:{alias}:{{{alias}}}")).expect("a good template");
            Alias { name: name(alias), key, value: AliasValue::Id, from: None }
        };
        let user = Draft { aliases: ALIASES.map(alias).to_vec(), ..draft("user") };
        let settings =
            Settings { catalog: Arc::new(catalog(vec![user])), switch: Switch::default(), sources: BTreeMap::new() };
        let journal = Arc::new(RemoteJournal::new(store.clone(), random.clone()).expect("a good group"));
        let hands = Hands { store: store.clone(), removal: store, journal: journal.clone(), filler };
        let metrics = invalidate::metrics::Metrics::register(&mut registry);
        let trace = TraceContext::start(&random);
        let means = Means { live: Live::new(settings), tasks: tasks.clone(), clock: Clock::System, random, metrics };
        let config = invalidate::Config {
            group: "inside".into(),
            pod: "bench".into(),
            claim_life,
            rates: Rates::default(),
            refreshes: 16,
            spool: None,
        };
        let invalidate = Invalidate::new(config, hands, means, Arc::new(|_| {}));
        Self { invalidate, journal, trace, _tasks: (tasks, deaths) }
    }

    async fn invalidate(&self, id: usize) -> usize {
        let member = MemberTarget {
            entity: "user".to_owned(),
            alias: None,
            params: [("id", id.to_string())].into_iter().collect(),
            known_aliases: Vec::new(),
            min_version: None,
            replacement: None,
        };
        let request = Request {
            targets: vec![Target::Member(member)],
            mode: Mode::Remove,
            effect: Effect::Real,
            within: Vec::new(),
            reason: String::new(),
            trace: self.trace,
            until: Instant::now() + Duration::from_secs(1),
        };
        let answer = self.invalidate.run(request).await.expect("served");
        let is_done = matches!(answer.state, State::Done { .. });
        assert!(!is_done || answer.counts.matched == 4, "{answer:?}");
        usize::from(!is_done)
    }

    /// Returns when everything that follows an answer has ended.
    async fn is_quiet(&self) {
        while self.journal.backlog().await.iter().any(|count| *count != Ok(0)) {}
    }
}

/// A sidecar as it ships.
struct Outside {
    client: Client,
    _sidecar: Sidecar,
}

impl Outside {
    async fn start(cluster: &RedisCluster) -> Self {
        let aliases = ALIASES.map(|alias| format!("{alias}: {{ key: \"user:{alias}:{{{alias}}}\" }}")).join(", ");
        let config = format!(
            r#"
group: outside
redis: {{ mode: cluster, nodes: ["redis://127.0.0.1:{}"], replicas: 1 }}
sources: {{ api: {{ http: {{ origin: "http://127.0.0.1:9", auth: {{ service: {{ bearer: x }} }} }} }} }}
entities:
  user:
    key: "user:{{id}}"
    aliases: {{ {aliases} }}
    scope: shared
    load: {{ source: api, get: "/users/{{id}}", credential: service }}
    ttl: 5m
    fields: {{ allow: [id, email, phone, handle] }}
"#,
            cluster.nodes[0].port
        );
        let sidecar = Sidecar::start(&config).await;
        Self { client: sidecar.client().await, _sidecar: sidecar }
    }

    async fn invalidate(&self, id: usize) -> usize {
        let params = [("id".to_owned(), id.to_string())].into();
        let target = client::invalidate::Target::Member(Box::new(client::invalidate::MemberTarget::of("user", params)));
        let answer = self.client.invalidate(client::invalidate::Invalidation::of(vec![target])).await;
        let answer = answer.expect("served");
        let is_done = answer.status == "DONE";
        assert!(!is_done || answer.counts.matched == 4, "{answer:?}");
        usize::from(!is_done)
    }
}

/// The least a client can do: one socket a primary, and everything that may go at once in one write.
struct Raw {
    wires: Vec<Wire>,
    streams: Vec<Key>,
    next: usize,
    /// Intents that are written down.
    kept: Vec<(usize, Vec<u8>)>,
}

struct Wire {
    socket: TcpStream,
    codec: ValueCodec,
    inbox: BytesMut,
}

impl Raw {
    fn connect(cluster: &RedisCluster) -> Self {
        let wires = cluster.nodes[..3].iter().map(|node| {
            let socket = TcpStream::connect(("127.0.0.1", node.port)).expect("the server runs");
            socket.set_nodelay(true).expect("a TCP socket");
            Wire { socket, codec: ValueCodec::default(), inbox: BytesMut::new() }
        });
        let streams = (0..16).map(|part| Key::new(format!("raw:{part}:intents")).expect("a good key"));
        Self { wires: wires.collect(), streams: streams.collect(), next: 0, kept: Vec::new() }
    }

    /// The members' indexes, as fills leave them.
    fn register(&mut self) {
        let mut round = Round::default();
        for id in 0..MEMBERS {
            let (key, index) = (key(id), key(id).sibling(Sibling::Index));
            for alias in aliases(id) {
                round.push(&key, &[b"ZADD", &index, b"9999999999999", alias.as_bytes()]);
            }
        }
        self.exchange(round);
    }

    /// The members' values, as fills leave them.
    fn write(&mut self, ids: &[usize]) {
        let mut round = Round::default();
        for id in ids {
            let value = format!(r#"{{"id":{id},"name":"Ada Lovelace","email":"{id}@example.org"}}"#);
            round.push(&key(*id), &[b"SET", key(*id).as_bytes(), value.as_bytes(), b"PX", b"300000"]);
            for alias in aliases(*id) {
                round.push(&alias, &[b"SET", alias.as_bytes(), id.to_string().as_bytes(), b"PX", b"300000"]);
            }
        }
        self.exchange(round);
    }

    /// Answers whether replicas were late.
    fn invalidate(&mut self, ids: &[usize]) -> usize {
        let mut intents = self.taking_off();
        let mut written = [const { Vec::new() }; 3];
        for _ in ids {
            self.next = (self.next + 1) % self.streams.len();
            let stream = &self.streams[self.next];
            intents.push(stream, &[b"XADD", stream.as_bytes(), b"*", b"i", &INTENT]);
            written[owner(stream)].push(self.next);
        }
        let mut answers = self.exchange(intents.wait());
        let mut late = unconfirmed(&mut answers);
        for (answers, streams) in answers.into_iter().zip(written) {
            // The ones before took others off.
            let added = answers.len() - streams.len();
            let names = answers.into_iter().skip(added).map(|answer| match answer {
                Value::BulkString(name) => name,
                other => panic!("not written down: {other:?}"),
            });
            self.kept.extend(streams.into_iter().zip(names));
        }

        let mut members = Round::default();
        for id in ids {
            let key = key(*id);
            members.push(&key, &[b"DEL", key.as_bytes(), &key.sibling(Sibling::Guard)]);
            members.push(&key, &[b"ZRANGE", &key.sibling(Sibling::Index), b"0", b"-1"]);
        }
        let mut last = Round { wrote: members.wrote.clone(), ..Round::default() };
        for answer in self.exchange(members).into_iter().flatten() {
            let Value::Array(found) = answer else { continue };
            for alias in found {
                let Value::BulkString(alias) = alias else { panic!("no name: {alias:?}") };
                let alias = Key::new(alias).expect("a good key");
                last.push(&alias, &[b"DEL", alias.as_bytes(), &alias.sibling(Sibling::Guard)]);
            }
        }
        late += unconfirmed(&mut self.exchange(last.wait()));
        late.min(1)
    }

    /// It is not waited for: it goes with whatever comes next.
    fn taking_off(&mut self) -> Round {
        let mut round = Round::default();
        for (stream, name) in self.kept.drain(..) {
            let stream = &self.streams[stream];
            round.push(stream, &[b"XDEL", stream.as_bytes(), &name]);
        }
        round
    }

    fn take_off(&mut self) {
        let round = self.taking_off();
        self.exchange(round);
    }

    /// Everything is on its way before the first answer is read.
    fn exchange(&mut self, round: Round) -> [Vec<Value>; 3] {
        for (wire, request) in self.wires.iter_mut().zip(&round.requests) {
            if request.replies() > 0 {
                wire.socket.write_all(request.bytes()).expect("the server reads");
            }
        }
        std::array::from_fn(|node| self.wires[node].replies(round.requests[node].replies()))
    }
}

impl Wire {
    fn replies(&mut self, count: usize) -> Vec<Value> {
        let (mut replies, mut chunk) = (Vec::with_capacity(count), [0; 1 << 14]);
        while replies.len() < count {
            match self.codec.decode(&mut self.inbox).expect("the server speaks its protocol") {
                Some(Value::ServerError(error)) => panic!("refused: {error:?}"),
                Some(reply) => replies.push(reply),
                None => {
                    let read = self.socket.read(&mut chunk).expect("the server answers");
                    assert!(read > 0, "the server hung up");
                    self.inbox.extend_from_slice(&chunk[..read]);
                }
            }
        }
        replies
    }
}

/// What goes to the primaries at once.
#[derive(Default)]
struct Round {
    requests: [request::Request; 3],
    wrote: BTreeSet<usize>,
}

impl Round {
    fn push(&mut self, key: &Key, command: &[&[u8]]) {
        self.requests[owner(key)].push(command);
        self.wrote.insert(owner(key));
    }

    /// With a `WAIT` wherever something was written.
    fn wait(mut self) -> Self {
        for node in &self.wrote {
            self.requests[*node].push(&[b"WAIT", b"1", b"50"]);
        }
        self
    }
}

/// Takes off the answers to `WAIT`, and counts those that are short.
fn unconfirmed(answers: &mut [Vec<Value>; 3]) -> usize {
    let waited = answers.iter_mut().filter_map(Vec::pop);
    waited.filter(|waited| !matches!(waited, Value::Int(1..))).count()
}

fn owner(key: &Key) -> usize {
    // Shares are rounded down, so the slot at a border is the first of the next.
    (usize::from(key.slot()) * 3 + 2) / usize::from(hydrant::domain::key::SLOTS)
}
