//! Holds the simulated server against a real `redis-server`: the same random commands, the same answers, and in the end the
//! same keys. What a simulation finds is worth as much as this.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hydrant::domain::key::{Key, Sibling};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use redis::Value;
use tempfile::TempDir;

use crate::faults;
use crate::redis::lua::Engine;
use crate::redis::server::Server;
use crate::redis::wire::Words;
use crate::runs::FILLS;
use crate::world::{self, Scenario};

/// Command sequences of so many commands each.
const SEQUENCES: u64 = 40;
const LENGTH: usize = 250;
const LIBRARY: &str = "hydrant_v3";
/// Histories are no part of the protocol, and not simulated.
const NOT_SIMULATED: [&str; 2] = ["recall", "remember"];
const FUNCTIONS: &[&str] = &[
    "claim",
    "commit",
    "commit_ruled",
    "absent",
    "abort",
    "register",
    "replace",
    "weed",
    "acquire",
    "renew",
    "release",
    "note",
];
/// Two clocks, and the time that a command is under way.
const CLOCKS: i64 = 2_000;

#[test]
fn the_simulated_server_answers_as_a_real_one() {
    let real = RealServer::start();
    for seed in 0..SEQUENCES {
        compare(seed, &mut real.connect());
    }
}

#[test]
fn every_function_that_ships_is_compared() {
    let library = Engine::new().compiled(&shipped_library()).expect("a good library");
    let mut shipped: Vec<String> = library.functions.into_keys().collect();
    let known = FUNCTIONS.iter().chain(&NOT_SIMULATED);
    let mut compared: Vec<String> = known.map(|name| format!("{}_{name}", library.name)).collect();
    shipped.sort();
    compared.sort();
    assert_eq!(shipped, compared);
}

fn compare(seed: u64, real: &mut Connection) {
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut fake, mut engine) = (Server::default(), Engine::new());
    let library = shipped_library();
    let mut log = Vec::new();
    let first =
        [words(&["FLUSHALL"]), words(&["FUNCTION", "FLUSH"]), [words(&["FUNCTION", "LOAD"]), vec![library]].concat()];
    let random = std::iter::repeat_with(|| random_command(&mut rng)).take(LENGTH);
    let last = KEYS.iter().flat_map(|key| dump(key));
    for command in first.into_iter().chain(random).chain(last) {
        fake.keys.now = unix_millis();
        let theirs = by_name(real.ask(&command));
        let mut ours = Vec::new();
        fake.execute(&mut engine, &command).expect("a command that is known").encode(&mut ours);
        let ours = by_name(redis::parse_redis_value(&ours).expect("a good reply"));
        let shown = command.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" ");
        log.push(shown);
        let story = || log.iter().rev().take(12).rev().cloned().collect::<Vec<_>>().join("\n");
        assert!(alike(&command, &ours, &theirs), "seed {seed}\n{}\nsimulated: {ours:?}\nreal: {theirs:?}", story());
    }
}

/// The library as a sidecar loads it.
fn shipped_library() -> Vec<u8> {
    world::loaded_library(Scenario { faults: faults::NONE, ..FILLS })
}

/// Keys of every type, so that commands also meet the wrong one.
const KEYS: &[&str] = &["k1", "k2", "k3", "user:1"];

fn dump(key: &str) -> Vec<Words> {
    let [guard, index, tombstone] = [Sibling::Guard, Sibling::Index, Sibling::Tombstone].map(|kind| sibling(key, kind));
    [
        vec!["TYPE", key],
        vec!["GET", key],
        vec!["PTTL", key],
        vec!["GET", &guard],
        vec!["ZRANGE", &index, "0", "-1", "WITHSCORES"],
        vec!["ZRANGE", &tombstone, "0", "-1", "WITHSCORES"],
        vec!["ZRANGE", "tag", "0", "-1", "WITHSCORES"],
        vec!["HGETALL", key],
        vec!["HGETALL", "book"],
        vec!["GET", "note"],
        vec!["ZRANGE", key, "0", "-1", "WITHSCORES"],
        vec!["XRANGE", key, "-", "+"],
    ]
    .map(|command| words(&command))
    .to_vec()
}

fn random_command(rng: &mut StdRng) -> Words {
    let key = KEYS[rng.random_range(0..KEYS.len())];
    let of = |rng: &mut StdRng, choices: &[&str]| choices[rng.random_range(0..choices.len())].to_owned();
    let value = |rng: &mut StdRng| of(rng, &["a", "b", "7", "", "{\"version\":1}"]);
    let member = |rng: &mut StdRng| of(rng, &["m1", "m2", "m3", "m4"]);
    let score = |rng: &mut StdRng| of(rng, &["1", "2", "2.5", "-3", "1e3", "no number"]);
    let bound = |rng: &mut StdRng| of(rng, &["-inf", "+inf", "1", "(1", "2.5", "(2.5", "-3"]);
    let life = |rng: &mut StdRng| of(rng, &["100000", "500000"]);
    let key = key.to_owned();
    let command: Vec<String> = match rng.random_range(0..36) {
        0 => vec!["SET".into(), key, value(rng)],
        1 => vec!["SET".into(), key, value(rng), of(rng, &["NX", "XX", "KEEPTTL", "GET"])],
        2 => vec!["SET".into(), key, value(rng), of(rng, &["NX", "XX"]), "PX".into(), life(rng)],
        3 => vec!["GET".into(), key],
        4 | 5 => vec![of(rng, &["DEL", "UNLINK", "EXISTS"]), key, of(rng, KEYS)],
        6 => vec![of(rng, &["PTTL", "TYPE", "PERSIST", "STRLEN", "INCR", "ZCARD", "XLEN", "HLEN"]), key],
        7 => vec![of(rng, &["PEXPIRE"]), key, life(rng)],
        // Never the same twice: which of two equal lives ends first is a matter of the millisecond.
        8 => {
            let life = rng.random_range(200_000..900_000).to_string();
            vec!["PEXPIRE".into(), key, life, of(rng, &["NX", "XX", "GT", "LT"])]
        }
        9 => vec!["HSET".into(), key, member(rng), value(rng), member(rng), value(rng)],
        10 => vec![of(rng, &["HGET", "HDEL", "HEXISTS", "HMGET"]), key, member(rng)],
        11 => vec!["HGETALL".into(), key],
        12 | 13 => vec!["ZADD".into(), key, score(rng), member(rng), score(rng), member(rng)],
        14 => vec!["ZADD".into(), key, of(rng, &["GT", "LT", "NX", "XX", "CH"]), score(rng), member(rng)],
        15 => vec!["ZADD".into(), key, "GT".into(), "CH".into(), score(rng), member(rng)],
        16 => vec![of(rng, &["ZREM", "ZSCORE"]), key, member(rng)],
        17 => vec!["ZRANGE".into(), key, of(rng, &["0", "1", "-2", "5"]), of(rng, &["-1", "0", "1", "9"])],
        18 => vec!["ZRANGE".into(), key, bound(rng), bound(rng), "BYSCORE".into(), "WITHSCORES".into()],
        19 => vec![of(rng, &["ZREMRANGEBYSCORE", "ZCOUNT", "ZRANGEBYSCORE"]), key, bound(rng), bound(rng)],
        20 => vec![
            "ZSCAN".into(),
            key,
            "0".into(),
            "MATCH".into(),
            of(rng, &["m*", "m[12]", "?1"]),
            "COUNT".into(),
            "100".into(),
        ],
        21 => vec!["XADD".into(), key, of(rng, &["1-1", "1-2", "2-0", "5-5", "5", "0-0"]), "f".into(), value(rng)],
        22 => vec!["XRANGE".into(), key, of(rng, &["-", "1-2", "(1-1", "2"]), of(rng, &["+", "2", "(2-0"])],
        23 => vec!["XRANGE".into(), key, "-".into(), "+".into(), "COUNT".into(), "1".into()],
        24 => vec!["XDEL".into(), key, of(rng, &["1-1", "2-0", "9-9"])],
        25 => vec![
            "SCAN".into(),
            "0".into(),
            "MATCH".into(),
            of(rng, &["*", "k*", "{*}:g", "k[^1]"]),
            "COUNT".into(),
            "1000".into(),
        ],
        26 => return random_mark(rng, &key),
        _ => return random_function(rng, &key),
    };
    command.into_iter().map(String::into_bytes).collect()
}

/// A function of the library with arguments that often belong together.
fn random_function(rng: &mut StdRng, key: &str) -> Words {
    let [guard, index, tombstone] = [Sibling::Guard, Sibling::Index, Sibling::Tombstone].map(|kind| sibling(key, kind));
    let mut of = |choices: &[&str]| choices[rng.random_range(0..choices.len())].to_owned();
    let token = of(&["caaaaaaaaaaaaaaaa100000", "cbbbbbbbbbbbbbbbb100000"]);
    let stood = of(&["", &crate::redis::lua::sha1_hex(b"a"), &crate::redis::lua::sha1_hex(b"7")]);
    let (value, life) = (of(&["a", "b", "7"]), "100000");
    let (version, flag, lag) = (of(&["", "1", "2"]), of(&["", "1"]), of(&["", "50000", "200000"]));
    let mark = of(&["nnnnnnnnnnnnnnnn", "mmmmmmmmmmmmmmmm"]);
    let (holder, fence) = (of(&["a", "b", "7"]), of(&["1", "2", "3"]));
    let name = FUNCTIONS[rng.random_range(0..FUNCTIONS.len())];
    let rest: Vec<&str> = match name {
        "claim" => vec!["2", &guard, key, &token, life, ["-1", "0", "300000"][rng.random_range(0..3)]],
        "commit" => vec!["2", &guard, key, &token, &stood, &value, life],
        "commit_ruled" => vec![
            "4", &guard, key, &index, &tombstone, &token, &stood, &value, life, &version, &flag, &lag, "1", life, "3",
            "60000", "2", "", "alias:1", "alias:2", "alias:3", "alias:4",
        ],
        "absent" => vec!["3", &guard, key, &tombstone, &token, &stood, life, &flag, &lag],
        "abort" => vec!["1", &guard, &token],
        "register" => vec!["2", "tag", "gone", key, life, "60000", "16"],
        "replace" => vec!["3", key, &guard, &tombstone, &value, life, "2", &mark, life],
        "weed" => vec!["3", key, &guard, &tombstone, &mark],
        "acquire" => vec!["2", key, "book", &holder, life, "pod"],
        "renew" => vec!["2", key, "book", &holder, &version, life],
        "release" => vec!["2", key, "book", &holder, &version],
        "note" => vec!["2", "book", "note", &fence, &value, life],
        name => panic!("say with which arguments to compare {name}"),
    };
    words(&[&["FCALL", &format!("{LIBRARY}_{name}")], &rest[..]].concat())
}

/// The marks that an invalidation leaves, as plain commands.
fn random_mark(rng: &mut StdRng, key: &str) -> Words {
    let tombstone = sibling(key, Sibling::Tombstone);
    let commands: [&[&str]; 6] = [
        &["ZREMRANGEBYSCORE", &tombstone, "-1", "-1"],
        &["ZADD", &tombstone, "100000", "l", "-1", "nnnnnnnnnnnnnnnnn"],
        &["ZADD", &tombstone, "100000", "l", "-1", "nmmmmmmmmmmmmmmmm", "-2", "u"],
        &["ZADD", &tombstone, "GT", "2", "f"],
        &["PEXPIRE", &tombstone, "100000"],
        &["DEL", &tombstone],
    ];
    words(commands[rng.random_range(0..commands.len())])
}

fn sibling(key: &str, kind: Sibling) -> String {
    String::from_utf8(Key::new(key.to_owned()).expect("a good key").sibling(kind)).expect("text")
}

/// Equal but for what two clocks, an unordered answer or the words of an error may differ in.
fn alike(command: &Words, ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::ServerError(ours), Value::ServerError(theirs)) => ours.code() == theirs.code(),
        (Value::Int(ours), Value::Int(theirs)) => {
            let is_time = matches!(command[0].as_slice(), b"PTTL" | b"FCALL") && *ours > 2 && *theirs > 2;
            ours == theirs || (is_time && (ours - theirs).abs() < CLOCKS) || is_an_age(command, *ours, *theirs)
        }
        // A score that is a time.
        (Value::Double(ours), Value::Double(theirs)) => {
            ours == theirs || (*ours > 1e12 && (ours - theirs).abs() < CLOCKS as f64)
        }
        (Value::Array(_), Value::Array(_)) if command[0].ends_with(b"SCAN") => sorted(ours) == sorted(theirs),
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| alike(command, ours, theirs))
        }
        _ => ours == theirs,
    }
}

/// Members whose scores are times, by name: two servers may put those of one millisecond in either order.
fn by_name(reply: Value) -> Value {
    let is_timed = |member: &Value| matches!(member, Value::Array(pair) if matches!(pair[..], [_, Value::Double(time)] if time > 1e12));
    match reply {
        Value::Array(mut members) if members.iter().any(is_timed) => {
            members.sort_by_key(|member| format!("{member:?}").split(',').next().map(str::to_owned));
            Value::Array(members)
        }
        reply => reply,
    }
}

/// How long ago another claim was taken: a few milliseconds in one, none in the other.
fn is_an_age(command: &Words, ours: i64, theirs: i64) -> bool {
    let is_claim = command.get(1).is_some_and(|name| name.ends_with(b"_claim"));
    is_claim && (0..CLOCKS).contains(&ours) && (0..CLOCKS).contains(&theirs)
}

fn sorted(page: &Value) -> Vec<String> {
    let Value::Array(parts) = page else { return Vec::new() };
    let Some(Value::Array(items)) = parts.get(1) else { return Vec::new() };
    let mut items: Vec<String> = items.iter().map(|item| format!("{item:?}")).collect();
    items.sort();
    items
}

fn words(parts: &[&str]) -> Words {
    parts.iter().map(|part| part.as_bytes().to_vec()).collect()
}

fn unix_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

/// A `redis-server` on a free port, killed by its pid when dropped.
struct RealServer {
    port: u16,
    child: Child,
    _dir: TempDir,
}

struct Connection {
    stream: TcpStream,
    inbox: Vec<u8>,
}

impl RealServer {
    fn start() -> Self {
        let dir = TempDir::new().expect("a temporary folder");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a free port").port();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--dir", &dir.path().display().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        Self { port, child, _dir: dir }
    }

    /// As soon as it listens.
    fn connect(&self) -> Connection {
        let end = SystemTime::now() + Duration::from_secs(30);
        loop {
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", self.port)) {
                let mut connection = Connection { stream, inbox: Vec::new() };
                connection.ask(&words(&["HELLO", "3"]));
                return connection;
            }
            assert!(SystemTime::now() < end, "redis-server does not listen");
            std::thread::yield_now();
        }
    }
}

impl Drop for RealServer {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Connection {
    fn ask(&mut self, command: &Words) -> Value {
        let mut request = redis::Cmd::new();
        command.iter().for_each(|word| {
            request.arg(word.as_slice());
        });
        self.stream.write_all(&request.get_packed_command()).expect("sent");
        let mut buffer = [0; 16 * 1024];
        loop {
            // The whole reply is there when it can be read; nothing is sent ahead.
            if let Ok(value) = redis::parse_redis_value(&self.inbox) {
                self.inbox.clear();
                return value;
            }
            let count = self.stream.read(&mut buffer).expect("a reply");
            assert!(count > 0, "the server hung up");
            self.inbox.extend_from_slice(&buffer[..count]);
        }
    }
}
