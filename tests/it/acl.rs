//! The Redis users that `hydrant acl` prints: each can do everything that it is for, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hydrant::domain::habits::{Habits, Update};
use hydrant::domain::journal::{Hold, Journal, Note};
use hydrant::domain::lease::{Acquired, LeaseAsk, Leases, Progress, tick_key};
use hydrant::domain::pseudonym::Pseudonym;
use hydrant::domain::random::Random;
use hydrant::domain::removal::{Removal, ScanStep};
use hydrant::domain::secret::{Secret, SecretCell};
use hydrant::domain::shards::{Done, Shards};
use hydrant::domain::store::Confirmed;
use hydrant::remote::journal::RemoteJournal;
use hydrant::remote::{Auth, Config, Mode};
use tempfile::TempDir;

use crate::removal_contract::the_contract_holds;
use crate::store_contract::{AppWrites, app_writes};
use crate::support::redis::{RedisCluster, RedisServer};
use crate::support::sidecar::{Said, hydrant};
use crate::support::store::{Rig, config, fill, key};
use crate::support::wait::until;

const PASSWORD: &str = "pw";

/// A configuration file of the group `test`, and what a command said to it.
struct Desk {
    _folder: TempDir,
    file: String,
}

impl Desk {
    fn new(redis: &str) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let file = folder.path().join("hydrant.yaml");
        let config = format!(
            r#"
group: test
redis: {redis}
sources: {{ api: {{ http: {{ origin: "http://127.0.0.1:1" }} }} }}
entities:
  removal: {{ key: "removal:{{id}}", scope: shared, aliases: {{ email: {{ key: "mail:{{email}}" }} }}, load: {{ source: api, get: "/{{id}}" }}, ttl: 5m, fields: {{ allow: [email] }} }}
  braced: {{ key: "{{{{shop}}}}:{{id}}", scope: shared, load: {{ source: api, get: "/{{id}}" }}, ttl: 5m, fields: {{ allow: [name] }} }}
  price: {{ key: "price:{{id}}", scope: shared, writers: shared, load: {{ source: api, get: "/{{id}}" }}, ttl: 5m, fields: {{ allow: [name] }} }}
warmup: {{ nightly: {{ steps: {{ prices: {{ entity: price, members: [1] }} }} }} }}
"#
        );
        std::fs::write(&file, config).expect("writable");
        Self { file: file.display().to_string(), _folder: folder }
    }

    fn standalone(server: &RedisServer) -> Self {
        Self::new(&format!("{{ mode: standalone, nodes: [\"redis://127.0.0.1:{}\"] }}", server.port))
    }

    fn cluster(cluster: &RedisCluster) -> Self {
        Self::new(&format!(
            "{{ mode: cluster, nodes: [\"redis://127.0.0.1:{}\"], replicas: 1 }}",
            cluster.nodes[0].port
        ))
    }

    fn run(&self, args: &[&str], user: Option<&str>) -> Said {
        let as_user = [("HYDRANT__REDIS__USERNAME", user.unwrap_or_default()), ("HYDRANT__REDIS__PASSWORD", PASSWORD)];
        let env = if user.is_some() { &as_user[..] } else { &[] };
        hydrant(&[args, &["--config", &self.file]].concat(), env)
    }

    /// Makes the users on a server as an operator would, with a password in the place for it.
    fn make_users(&self, servers: &[&RedisServer]) {
        let said = self.run(&["acl"], None);
        assert_eq!(said.code, Some(0), "{}", said.errors);
        assert_eq!(said.text.lines().count(), 4, "{}", said.text);
        for line in said.text.lines() {
            let line = line.replace("CHANGE_ME", PASSWORD);
            let rules: Vec<&str> = line.split(' ').skip(1).collect();
            for server in servers {
                server.command(&[&["ACL", "SETUSER"][..], &rules].concat());
            }
        }
    }
}

fn auth(user: &str) -> Option<Auth> {
    let password = SecretCell::new(Secret::new(PASSWORD));
    Some(Auth { username: Some(user.to_owned()), password })
}

/// One command as this user; what it was answered, or why it was refused.
fn as_user(server: &RedisServer, user: &str, command: &[&str]) -> Result<redis::Value, String> {
    let client =
        redis::Client::open(format!("redis://{user}:{PASSWORD}@127.0.0.1:{}", server.port)).expect("an address");
    let mut connection =
        client.get_connection_with_timeout(Duration::from_secs(2)).map_err(|error| error.to_string())?;
    let mut words = redis::Cmd::new();
    for word in command {
        words.arg(word);
    }
    words.query(&mut connection).map_err(|error| error.to_string())
}

fn may(server: &RedisServer, user: &str, commands: &[&[&str]]) {
    for command in commands {
        if let Err(error) = as_user(server, user, command) {
            assert!(!error.contains("NOPERM") && !error.contains("NoPerm"), "{user} {command:?}: {error}");
        }
    }
}

fn may_not(server: &RedisServer, user: &str, commands: &[&[&str]]) {
    for command in commands {
        let error = as_user(server, user, command).expect_err("refused");
        assert!(error.contains("permission") || error.contains("NOPERM"), "{user} {command:?}: {error}");
    }
}

/// What was refused, other than to those who were meant to be.
fn refusals(server: &RedisServer) -> String {
    format!("{:?}", redis::from_redis_value::<Vec<redis::Value>>(server.command(&["ACL", "LOG"])).expect("a list"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sidecars_user_can_do_everything_that_a_sidecar_does() {
    let cluster = Arc::new(RedisCluster::start().await);
    let desk = Desk::cluster(&cluster);
    desk.make_users(&cluster.nodes.iter().collect::<Vec<_>>());
    let installed = desk.run(&["functions", "install"], Some("hydrant-installer"));
    assert_eq!(installed.code, Some(0), "{}", installed.errors);

    let redis = config(Mode::Cluster { seeds: cluster.seeds() });
    let rig = Rig::up(Config { auth: auth("hydrant"), replicas: 1, ..redis }).await;
    let apps = cluster.clone();
    let app: AppWrites = Arc::new(move |key, value, ttl| {
        app_writes(&apps.nodes[apps.owner(key.as_bytes())], key, value, ttl);
    });
    the_contract_holds(rig.store.clone(), app, "removal").await;
    for text in ["mail:a@b.c", "{shop}:7", "price:7"] {
        fill(&*rig.store, &key(text), "v").await.expect("filled");
    }
    the_journal_works(&rig).await;
    a_lease_and_its_shards_work(&rig).await;
    let subject = Pseudonym::new("test", None, "7");
    let update = Update {
        from_scratch: false,
        set: vec![("f".into(), "v".into())],
        remove: vec!["g".into()],
        age: Duration::ZERO,
    };
    rig.store.write(subject, &update, Duration::from_secs(60)).await.expect("written");
    assert_eq!(rig.store.read(subject).await.expect("read").fields.len(), 1);
    rig.store.look(&key("price:7")).await.expect("asked");
    rig.store.trim(b"{removal:7}:x").await.expect("trimmed");
    for primary in rig.store.primaries() {
        let step = ScanStep { primary: &primary, cursor: 0, pattern: "*", count: 100 };
        rig.store.scan(step).await.expect("a page");
    }
    for node in &cluster.nodes {
        assert_eq!(refusals(node), "[]", "nothing was refused");
    }
}

async fn a_lease_and_its_shards_work(rig: &Rig) {
    let (lock, ttl) = (key("hydrant:{test:warm:nightly}:lock"), Duration::from_secs(10));
    let ask = LeaseAsk { lock: lock.clone(), holder: "a".to_owned(), pod: "pod-1".to_owned(), ttl };
    let mut fence = 0;
    until("a lease", async || match rig.store.acquire(&ask).await {
        Ok(Acquired::Granted(grant)) => {
            fence = grant.fence;
            true
        }
        Ok(Acquired::Held { .. }) | Err(_) => false,
    })
    .await;
    rig.store.renew(&ask, fence).await.expect("renewed");
    let progress = Progress { text: Bytes::from("half"), life: ttl };
    rig.store.note(&lock, fence, progress).await.expect("noted");
    assert_eq!(rig.store.noted(&lock).await, Ok(Some(Bytes::from("half"))));
    let tick = tick_key("test", "nightly", 60).expect("a good key");
    assert_eq!(rig.store.tick(&tick, ttl).await, Ok(true));

    rig.store.open(&lock).await.expect("opened");
    for shard in ["one", "two"] {
        rig.store.put(&lock, Bytes::from(shard)).await.expect("put");
    }
    let take = async |worker: &'static str, silent_for| {
        let taken = rig.store.take(&lock, worker, silent_for).await.expect("asked");
        taken.map(|taken| (taken.id, taken.shard))
    };
    let (first, shard) = take("a", ttl).await.expect("a shard");
    assert_eq!(shard, "one");
    let (second, _) = take("a", ttl).await.expect("a shard");
    rig.store.hold(&lock, "a", &first).await.expect("held");
    assert_eq!(take("b", ttl).await, None, "both are being worked on");
    // By the server's clock, in whole milliseconds.
    until("a silent worker", async || take("b", Duration::from_millis(1)).await.is_some()).await;
    let done = Done { done: 3, warmed: 2, fresh: 1, failed: 0 };
    for worker in ["a", "b"] {
        rig.store.finish(&lock, worker, &first, done).await.expect("finished");
    }
    let standing = rig.store.standing(&lock).await.expect("read");
    assert_eq!((standing.left, standing.done, standing.workers), (1, done, 1), "counted once");
    assert_eq!(standing.oldest.as_deref(), Some(&b"two"[..]));
    rig.store.finish(&lock, "a", &second, done).await.expect("finished");
    rig.store.close(&lock).await.expect("closed");
    assert_eq!(take("a", ttl).await, None);
    rig.store.release(&ask, fence).await.expect("released");
}

async fn the_journal_works(rig: &Rig) {
    let journal = RemoteJournal::new(rig.store.clone(), Random::from_seed(1)).expect("a good group");
    let note = || Note { text: Bytes::from("note"), life: Duration::from_secs(10) };
    until("a confirmed intent", async || {
        let recorded = journal.record(Bytes::from("intent")).await.expect("recorded");
        journal.note(&recorded.id, note()).await.expect("noted");
        assert!(journal.standing(&recorded.id).await.expect("read").note.is_some());
        journal.finish(&recorded.id, Some(note())).await.expect("finished");
        recorded.confirmation.await == Confirmed::Yes
    })
    .await;
    let nonce = Random::from_seed(2).nonce();
    for _ in 0..2 {
        assert_eq!(journal.hold(3, nonce, Duration::from_secs(10)).await, Ok(Hold::Held));
    }
    journal.due(3, None, Duration::ZERO, 10).await.expect("read");
    assert!(journal.backlog().await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn the_sidecars_user_and_the_installer_can_do_nothing_else() {
    let server = RedisServer::start().await;
    let desk = Desk::standalone(&server);
    desk.make_users(&[&server]);
    server.command(&[
        "MSET",
        "removal:1",
        "v",
        "price:1",
        "v",
        "foreign",
        "v",
        "{removal:1}:g",
        "c",
        "{price:1}:g",
        "c",
    ]);

    may_not(
        &server,
        "hydrant",
        &[
            &["GET", "foreign"],
            &["SET", "foreign", "v"],
            &["DEL", "foreign"],
            &["GET", "hydrant:{other:1}:tag"],
            &["KEYS", "*"],
            &["FLUSHALL"],
            &["CONFIG", "GET", "*"],
            &["ACL", "LIST"],
            &["EVAL", "return 1", "0"],
            &["FUNCTION", "LOAD", "#!lua name=x\nredis.register_function('x', function() end)"],
            &["FUNCTION", "FLUSH"],
            &["DEBUG", "SLEEP", "0"],
            &["CLUSTER", "RESET"],
            &["SHUTDOWN", "NOSAVE"],
            &["REPLICAOF", "NO", "ONE"],
            &["MONITOR"],
        ],
    );
    may(&server, "hydrant-installer", &[&["PING"], &["INFO", "server"]]);
    may_not(&server, "hydrant-installer", &[&["GET", "removal:1"], &["SCAN", "0"], &["FUNCTION", "DELETE", "x"]]);
}

#[tokio::test]
async fn applications_write_what_the_configuration_says_they_write() {
    let server = RedisServer::start().await;
    let desk = Desk::standalone(&server);
    desk.make_users(&[&server]);
    server.command(&[
        "MSET",
        "removal:1",
        "v",
        "price:1",
        "v",
        "foreign",
        "v",
        "{removal:1}:g",
        "c",
        "{price:1}:g",
        "c",
    ]);
    may(&server, "app-reader", &[&["GET", "removal:1"], &["MGET", "removal:1", "price:1"], &["TTL", "mail:x"]]);
    may_not(
        &server,
        "app-reader",
        &[
            &["SET", "removal:1", "v"],
            &["DEL", "removal:1"],
            &["GET", "foreign"],
            &["GET", "{removal:1}:g"],
            &["SCAN", "0"],
        ],
    );

    may(
        &server,
        "app-writer",
        &[&["GET", "removal:1"], &["SETEX", "price:1", "5", "v"], &["DEL", "price:1", "{price:1}:g"]],
    );
    may_not(
        &server,
        "app-writer",
        &[
            &["SET", "removal:1", "v"],
            &["DEL", "removal:1"],
            &["DEL", "{removal:1}:g"],
            &["SET", "mail:x", "v"],
            &["SET", "foreign", "v"],
            &["FLUSHALL"],
        ],
    );
    // Filling by itself is what the functions are for.
    desk.run(&["functions", "install"], Some("hydrant-installer"));
    let claim = ["FCALL", "hydrant_v3_claim", "2", "{price:9}:g", "price:9", "c0123456789abcdef10000", "10000", "0"];
    assert!(as_user(&server, "app-writer", &claim).is_ok());
    let claim =
        ["FCALL", "hydrant_v3_claim", "2", "{removal:9}:g", "removal:9", "c0123456789abcdef10000", "10000", "0"];
    may_not(&server, "app-writer", &[&claim]);
}

#[tokio::test]
async fn functions_are_installed_on_every_primary_and_replicated() {
    let cluster = RedisCluster::start().await;
    let desk = Desk::cluster(&cluster);
    let there = |node: &RedisServer| {
        redis::from_redis_value::<Vec<redis::Value>>(node.command(&["FUNCTION", "LIST"])).map_or(0, |list| list.len())
    };
    let said = desk.run(&["functions", "install"], None);
    assert_eq!((said.code, said.text.matches(" loaded\n").count()), (Some(0), 3), "{}{}", said.text, said.errors);
    for node in &cluster.nodes {
        until("the library, on replicas too", async || there(node) == 1).await;
    }
    let said = desk.run(&["functions", "install"], None);
    assert_eq!((said.code, said.text.matches(" was there\n").count()), (Some(0), 3), "{}{}", said.text, said.errors);
    let text = hydrant(&["functions", "print"], &[]).text;
    assert!(text.starts_with("#!lua name=hydrant_v"), "{text}");
}

#[tokio::test]
async fn an_installation_that_is_not_allowed_or_reaches_nobody_says_so() {
    let mut server = RedisServer::start().await;
    let desk = Desk::standalone(&server);
    desk.make_users(&[&server]);
    let said = desk.run(&["functions", "install"], Some("hydrant"));
    assert_eq!(said.code, Some(77), "{}{}", said.text, said.errors);
    server.kill();
    let said = desk.run(&["functions", "install", "--deadline-ms", "300"], None);
    assert_eq!(said.code, Some(69), "{}{}", said.text, said.errors);
}
