//! How long other clients of a Redis wait while an invalidation goes over many keys: a sweep over a million, and a tag of a
//! hundred thousand. Beside them the same by the two commands that one is tempted to use, `KEYS` and one `DEL` of
//! everything. `cargo bench --bench pauses`.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a bench reports on its standard output, and measures real time on real threads"
)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hydrant::domain::backoff::Backoff;
use hydrant::domain::breaker;
use hydrant::domain::catalog::Catalog;
use hydrant::domain::key::Key;
use hydrant::domain::random::Random;
use hydrant::domain::removal::{Erasure, Removal, TagPlace};
use hydrant::domain::store::{Store, StoreState};
use hydrant::domain::switch::Switch;
use hydrant::domain::tag::Tag;
use hydrant::fill::settings::{Live, Settings};
use hydrant::invalidate::metrics::Metrics;
use hydrant::invalidate::recent::Recent;
use hydrant::invalidate::sweep::pace::{Paces, Rates};
use hydrant::invalidate::sweep::{self, Spec};
use hydrant::remote::store::Remote;
use hydrant::remote::{self, Address, Mode};
use hydrant::tasks::Tasks;
use support::Redis;

const GROUP: &str = "bench";
/// As the flow removes them.
const CHUNK: usize = 256;

/// What a client next to the work saw.
struct Seen {
    what: &'static str,
    took: Duration,
    longest: Duration,
    /// Of a thousand of its requests, one took longer.
    slow: Duration,
    /// The server's own count of commands that took it longer than five milliseconds.
    long_commands: usize,
}

fn main() {
    let (keys, found, tagged) = if support::is_quick() { (20_000, 500, 2_000) } else { (1_000_000, 20_000, 100_000) };
    let redis = Redis::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (tasks, _deaths) = Tasks::new();
    let store = runtime.block_on(async { connect(&redis, &tasks).await });

    fill(&redis, "other:", keys);
    // tidy: waits because it measures what happens while nothing does
    let mut seen = vec![watch(&redis, "nothing", || thread::sleep(Duration::from_secs(3)))];
    fill(&redis, "order:", found);
    seen.push(watch(&redis, "a sweep", || runtime.block_on(sweep(&store))));
    let tag = tag(&redis, tagged);
    seen.push(watch(&redis, "a tag", || runtime.block_on(untag(&store, &tag))));
    fill(&redis, "order:", found);
    seen.push(watch(&redis, "KEYS", || drop(strings(&redis, &["KEYS", "order:*"]))));
    let all: Vec<String> = (0..tagged).map(|number| format!("tagged:{number}")).collect();
    fill(&redis, "tagged:", tagged);
    let del: Vec<&str> = ["DEL"].into_iter().chain(all.iter().map(String::as_str)).collect();
    seen.push(watch(&redis, "one DEL", || run(&redis, &del)));

    println!("{keys} keys, of which a sweep removes {found}; a tag of {tagged}");
    println!("{:<10} {:>8} {:>12} {:>12} {:>16}", "", "took s", "longest ms", "1 in 1000 ms", "commands > 5 ms");
    for Seen { what, took, longest, slow, long_commands } in &seen {
        let millis = |time: &Duration| time.as_secs_f64() * 1e3;
        let (took, longest, slow) = (took.as_secs_f64(), millis(longest), millis(slow));
        println!("{what:<10} {took:>8.1} {longest:>12.2} {slow:>12.3} {long_commands:>16}");
    }
    let ratio = |one: usize, other: usize| seen[one].longest.as_secs_f64() / seen[other].longest.as_secs_f64();
    println!("longest wait, a sweep against KEYS:   {:.3}", ratio(1, 3));
    println!("longest wait, a tag against one DEL:  {:.3}", ratio(2, 4));
}

async fn connect(redis: &Redis, tasks: &Tasks) -> Arc<Remote> {
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
        group: GROUP.into(),
    };
    let store =
        remote::build(config, tasks, Random::from_os(), remote::metrics::Metrics::register(&mut Default::default()));
    while store.state() != StoreState::Up {
        tokio::task::yield_now().await;
    }
    store
}

async fn sweep(store: &Arc<Remote>) {
    let catalog = Arc::new(Catalog::default());
    let tools = sweep::Tools {
        removal: store.clone(),
        live: Live::new(Settings { catalog, switch: Switch::default(), sources: BTreeMap::new() }),
        claim_life: Duration::from_secs(1),
        paces: Paces::new(Rates::default()),
        random: Random::from_os(),
        recent: Recent::new(Metrics::register(&mut Default::default())),
        forget: Arc::new(|_| {}),
        reload: Arc::new(|_| {}),
    };
    let spec = Spec { patterns: vec!["order:*".to_owned()], ..Spec::default() };
    sweep::run(&tools, &spec, None, |_| {}).await.expect("it ends");
}

/// Registers that many keys under a tag, as fills do.
fn tag(redis: &Redis, count: usize) -> Tag {
    fill(redis, "tagged:", count);
    let tag = Tag::declared("tenant:7").expect("a good tag");
    let mut connection = redis.connect().expect("the server runs");
    for first in (0..count).step_by(10_000) {
        let mut pipe = redis::pipe();
        for number in first..(first + 10_000).min(count) {
            let key = Key::new(format!("tagged:{number}")).expect("a good key");
            let set = tag.key(GROUP, tag.shard_of(&key)).expect("a good tag");
            pipe.zadd(set.as_bytes().as_ref(), key.as_bytes().as_ref(), 9_999_999_999_999_u64);
        }
        pipe.exec(&mut connection).expect("added");
    }
    tag
}

async fn untag(store: &Remote, tag: &Tag) {
    let mut place = Some(TagPlace::default());
    while let Some(from) = place {
        let page = store.tagged(tag, from).await.expect("a page");
        for keys in page.keys.chunks(CHUNK) {
            let erasure = |key: &Key| Erasure { key: key.clone(), has_index: true, mark: None };
            let erased = store.erase(&keys.iter().map(erasure).collect::<Vec<_>>()).await;
            assert!(erased.keys.iter().all(Result::is_ok));
        }
        place = page.next;
    }
}

/// A client that asks for one small key all the time, beside the work.
fn watch(redis: &Redis, what: &'static str, work: impl FnOnce()) -> Seen {
    run(redis, &["CONFIG", "SET", "slowlog-log-slower-than", "5000"]);
    run(redis, &["SLOWLOG", "RESET"]);
    let stop = AtomicBool::new(false);
    let begun = Instant::now();
    let mut waits = thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut connection = redis.connect().expect("the server runs");
            let mut waits = Vec::new();
            loop {
                let asked = Instant::now();
                redis::cmd("GET").arg("small").exec(&mut connection).expect("answered");
                waits.push(asked.elapsed());
                if stop.load(Ordering::Relaxed) {
                    return waits;
                }
                // tidy: waits because it asks now and then, as an application does
                thread::sleep(Duration::from_micros(200));
            }
        });
        work();
        stop.store(true, Ordering::Relaxed);
        asking.join().expect("it answered all along")
    });
    let took = begun.elapsed();
    let long_commands: usize =
        redis::cmd("SLOWLOG").arg("LEN").query(&mut redis.connect().expect("the server runs")).expect("a number");
    waits.sort();
    let (longest, slow) = (waits[waits.len() - 1], waits[waits.len() - 1 - waits.len() / 1_000]);
    Seen { what, took, longest, slow, long_commands }
}

fn fill(redis: &Redis, prefix: &str, count: usize) {
    let script = "for i = ARGV[2], ARGV[3] do redis.call('SET', ARGV[1] .. i, 'a value of some bytes') end";
    for first in (0..count).step_by(10_000) {
        let (first, last) = (first.to_string(), (first + 10_000).min(count) - 1);
        run(redis, &["EVAL", script, "0", prefix, &first, &last.to_string()]);
    }
}

fn run(redis: &Redis, words: &[&str]) {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(word);
    }
    command.exec(&mut redis.connect().expect("the server runs")).expect("accepted");
}

fn strings(redis: &Redis, words: &[&str]) -> Vec<String> {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(word);
    }
    command.query(&mut redis.connect().expect("the server runs")).expect("a list")
}
