//! What a login fills of its own accord: histories as they are kept, and what follows from them in the whole process.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hydrant::domain::habits::{self, Fields, Habits, MAX_FIELDS, Sight, Touched, Update};
use hydrant::domain::pseudonym::Pseudonym;
use hydrant::grpc::client::invalidate::{Invalidation, Target};
use hydrant::grpc::client::{Answer, Ask, Mode as Answering};
use hydrant::grpc::pb;
use hydrant::grpc::pb::cache_read_service_client::CacheReadServiceClient;
use hydrant::local::habits::MemoryHabits;
use hydrant::remote::Mode;
use tonic::transport::Channel;

use crate::support::origin::{Answer as Served, Origin};
use crate::support::redis::{RedisCluster, RedisServer};
use crate::support::sidecar::{Sidecar, login};
use crate::support::store::{Rig, config, key};
use crate::support::wait::until;

const LIFE: Duration = Duration::from_secs(60);

fn fields(fields: &Fields) -> BTreeMap<String, String> {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    fields.iter().map(|(name, value)| (text(name), text(value))).collect()
}

fn set(pairs: &[(&str, &str)]) -> Update {
    let set = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Update { set, ..Update::default() }
}

/// One conformance suite for every place where histories are kept.
async fn keeps_histories(habits: &dyn Habits) {
    let (ann, bob) = (Pseudonym::new("test", None, "ann"), Pseudonym::new("test", Some("acme"), "ann"));
    let read = async |subject| habits.read(subject).await.expect("read");
    let write = async |update: &Update| habits.write(ann, update, LIFE).await.expect("written");
    assert_eq!(read(ann).await.fields, []);

    write(&set(&[("r:profile", "1"), ("r:orders", "2")])).await;
    write(&set(&[("r:orders", "3")])).await;
    assert_eq!(
        fields(&read(ann).await.fields),
        BTreeMap::from([("r:orders".into(), "3".into()), ("r:profile".into(), "1".into())])
    );
    assert_eq!(read(bob).await.fields, [], "another tenant's");

    write(&Update { remove: vec!["r:profile".into()], ..Update::default() }).await;
    assert_eq!(fields(&read(ann).await.fields), BTreeMap::from([("r:orders".into(), "3".into())]));

    let reads: Vec<(String, String)> =
        (0..4 * MAX_FIELDS).map(|n| (format!("r:product?sku={n}"), "1".into())).collect();
    write(&Update { set: reads, ..Update::default() }).await;
    write(&set(&[("r:orders", "4"), ("r:late", "4")])).await;
    let full = read(ann).await;
    assert_eq!((full.fields.len(), full.is_flooded), (MAX_FIELDS, false));
    let full = fields(&full.fields);
    assert_eq!(
        (full.get("r:orders").map(String::as_str), full.get("r:late")),
        (Some("4"), None),
        "no room for new ones"
    );
    write(&Update { from_scratch: true, ..set(&[("login", "9")]) }).await;
    assert_eq!(fields(&read(ann).await.fields), BTreeMap::from([("login".into(), "9".into())]));
}

#[tokio::test]
async fn memory_keeps_histories() {
    keeps_histories(&MemoryHabits::default()).await;
}

#[tokio::test]
async fn redis_keeps_histories_and_lets_them_end() {
    let server = RedisServer::start().await;
    let rig = Rig::up(config(Mode::Standalone { address: server.address() })).await;
    keeps_histories(&*rig.store).await;
    let history = habits::key("test", Pseudonym::new("test", None, "ann")).expect("a key");
    let left: u64 = server.text(&["PTTL".as_bytes(), history.as_bytes()]).parse().expect("a life");
    assert!((1..=60_000).contains(&left), "{left}");
}

#[tokio::test]
async fn what_others_wrote_into_a_history_costs_a_bounded_reply_and_hides_no_habit() {
    let server = RedisServer::start().await;
    let rig = Rig::up(config(Mode::Standalone { address: server.address() })).await;
    let ann = Pseudonym::new("test", None, "ann");
    let history = habits::key("test", ann).expect("a key").to_string();
    server.command(&["HSET", &history, "s:profile", "0.9", "login", "7", "fat", &"x".repeat(1 << 20)]);
    server.command(&["HSET", &history, &"n".repeat(1 << 20), "1"]);
    for page in 0..4 {
        let junk = (0..MAX_FIELDS).flat_map(|n| [format!("r:junk?n={page}-{n}"), "1".to_owned()]);
        let command: Vec<String> = ["HSET".to_owned(), history.clone()].into_iter().chain(junk).collect();
        server.command(&command);
    }
    let reading = rig.store.read(ann).await.expect("read");
    assert!(reading.is_flooded && reading.fields.len() <= MAX_FIELDS, "{} fields", reading.fields.len());
    let told = fields(&reading.fields);
    assert_eq!(
        (told.get("s:profile").map(String::as_str), told.get("login").map(String::as_str)),
        (Some("0.9"), Some("7"))
    );
    assert!(told.iter().all(|(name, value)| name.len() < 300 && value.len() < 33));

    server.command(&["DEL", &history]);
    server.command(&["SET", &history, "no hash"]);
    let reading = rig.store.read(ann).await.expect("read");
    assert!(reading.is_flooded && reading.fields.is_empty());
    assert!(rig.store.write(ann, &set(&[("r:profile", "1")]), LIFE).await.is_err(), "it is no hash");
    assert_eq!(server.text(&["PTTL", &history]), "-1", "and is not kept longer");
    let afresh = Update { from_scratch: true, ..set(&[("login", "9")]) };
    rig.store.write(ann, &afresh, LIFE).await.expect("written");
    assert_eq!(server.text(&["HGET", &history, "login"]), "9");
}

#[tokio::test]
async fn a_cluster_keeps_histories() {
    let cluster = RedisCluster::shared().await;
    let rig = Rig::up(config(Mode::Cluster { seeds: cluster.seeds() })).await;
    keeps_histories(&*rig.store).await;
}

#[tokio::test]
async fn a_key_tells_when_it_was_touched_and_asking_does_not_count() {
    let server = RedisServer::start().await;
    let rig = Rig::up(config(Mode::Standalone { address: server.address() })).await;
    server.command(&["SET", "t:a", "v"]);
    let dumped = server.command(&["DUMP", "t:a"]);
    let redis::Value::BulkString(dumped) = dumped else { panic!("{dumped:?}") };
    server.command(&[&b"RESTORE"[..], b"t:b", b"60000", &dumped, b"REPLACE", b"IDLETIME", b"3600"]);
    let touched = async |name: &str| rig.store.look(&key(name)).await.expect("asked").touched;
    for _ in 0..2 {
        assert!(matches!(touched("t:b").await, Touched::Idle(idle) if idle >= Duration::from_secs(3_600)));
    }
    server.command(&["GET", "t:b"]);
    assert!(matches!(touched("t:b").await, Touched::Idle(idle) if idle < Duration::from_secs(60)));
    assert_eq!(rig.store.look(&key("t:none")).await.expect("asked"), Sight::NOTHING);
    let left = rig.store.look(&key("t:b")).await.expect("asked").left.expect("it ends");
    assert!((Duration::from_secs(30)..=Duration::from_secs(60)).contains(&left), "{left:?}");
    assert_eq!(rig.store.look(&key("t:a")).await.expect("asked").left, None, "it never ends");
    server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lfu"]);
    server.command(&["SET", "t:c", "v"]);
    assert!(matches!(touched("t:c").await, Touched::Frequency(_)));
}

/// Five things of a user's, of which only `profile` is always filled.
fn shop(server: &RedisServer, origin: &Origin) -> String {
    let entities: String = ["profile", "orders", "wishlist", "news", "offers"]
        .map(|name| {
            format!(
                "  {name}: {{ key: \"h:{name}:{{id}}\", load: {{ source: api, get: \"/{name}/{{id}}\" }}, ttl: 5m, fields: {{ allow: [\"*\"] }} }}\n"
            )
        })
        .concat();
    format!(
        "group: habits\nredis: {{ mode: standalone, nodes: [\"redis://127.0.0.1:{}\"] }}\nsources:\n  api: {{ http: {{ origin: \"{}\", auth: {{ session: bearer }} }} }}\nentities:\n{entities}  product: {{ key: \"h:product:{{sku}}\", scope: shared, load: {{ source: api, get: \"/product/{{sku}}\", credential: service }}, ttl: 5m, fields: {{ allow: [\"*\"] }} }}\nprehydrate: {{ always: [profile], plan: {{ cohort: [news] }} }}\n",
        server.port,
        origin.url()
    )
}

fn filled(answer: &Answer) -> Vec<&str> {
    let mut keys: Vec<&str> = answer.resources.iter().map(|line| line.key.as_str()).collect();
    keys.sort_unstable();
    keys
}

async fn record(sidecar: &Sidecar, accesses: Vec<pb::Access>) -> pb::RecordResponse {
    let channel: Channel = sidecar.channel().await;
    let messages = tokio_stream::iter([pb::RecordRequest { accesses }]);
    CacheReadServiceClient::new(channel).record(messages).await.expect("recorded").into_inner()
}

fn access(user: &str, what: pb::access::What) -> pb::Access {
    let subject = Some(pb::access::Subject::UserId(user.to_owned()));
    pb::Access { subject, what: Some(what), result: pb::AccessResult::Miss.into(), ..pb::Access::default() }
}

fn named(entity: &str, params: &[(&str, &str)]) -> pb::access::What {
    let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    pb::access::What::Member(pb::Member { entity: entity.to_owned(), alias: String::new(), params })
}

#[tokio::test]
async fn what_a_user_reads_is_filled_at_the_next_logins_and_what_nobody_reads_is_not() {
    let (server, origin) = (RedisServer::start().await, Origin::start().await);
    for name in ["profile", "orders", "wishlist", "news", "offers", "product"] {
        origin.json(&format!("/{name}/*"), r#"{"ok":true}"#);
    }
    let sidecar = Sidecar::start(&shop(&server, &origin)).await;
    let history = format!("hydrant:{{habits:{}}}:history", Pseudonym::new("habits", None, "7"));
    assert_eq!(
        filled(&sidecar.login("7", &[]).await),
        ["h:news:7", "h:profile:7"],
        "not known yet: what is for everybody"
    );

    for _visit in 0..3 {
        let reads = ["r:orders", "r:wishlist", "r:product?sku=A-1"];
        reads.iter().for_each(|field| drop(server.command(&["HDEL", &history, field])));
        let told = record(
            &sidecar,
            vec![
                access("7", named("orders", &[])),
                access("7", named("product", &[("sku", "A-1")])),
                access("7", pb::access::What::Key("h:wishlist:7".to_owned())),
                access("7", pb::access::What::Key("h:offers:8".to_owned())),
                access("7", named("nothing", &[])),
                access("7", pb::access::What::Key("elsewhere".to_owned())),
            ],
        )
        .await;
        assert_eq!((told.accepted, told.refused), (4, 2), "{told:?}");
        let reasons: Vec<(&str, &str)> = told.refusals.iter().map(|r| (r.field.as_str(), r.reason.as_str())).collect();
        assert_eq!(reasons, [("accesses[4].member.entity", "UNKNOWN_ENTITY"), ("accesses[5].key", "FOREIGN_KEY")]);
        until("the reads are in the history", async || {
            reads.iter().all(|field| server.text(&["HEXISTS", &history, field]) == "1")
        })
        .await;
        sidecar.login("7", &[]).await;
    }
    server.command(&["DEL", "h:orders:7", "h:wishlist:7", "h:product:A-1", "h:profile:7"]);
    let known = sidecar.login("7", &[]).await;
    assert_eq!(filled(&known), ["h:orders:7", "h:product:A-1", "h:profile:7", "h:wishlist:7"], "{known:?}");
    assert_eq!(origin.calls("/offers"), 0, "another's was read, not the reader's own");
    assert_eq!(server.text(&["HEXISTS", &history, "r:offers"]), "0");
}

#[tokio::test]
async fn an_app_may_write_the_history_itself() {
    let (server, origin) = (RedisServer::start().await, Origin::start().await);
    for name in ["profile", "offers", "news"] {
        origin.json(&format!("/{name}/*"), r#"{"ok":true}"#);
    }
    let sidecar = Sidecar::start(&shop(&server, &origin)).await;
    let history = format!("hydrant:{{habits:{}}}:history", Pseudonym::new("habits", None, "8"));
    server.command(&["HSET", &history, "s:offers", "0.9", "r:offers", "12", "hello", "world"]);
    let answer = sidecar.login("8", &[]).await;
    assert_eq!(filled(&answer), ["h:offers:8", "h:profile:8"], "{answer:?}");
    until("the foreign field is gone", async || server.text(&["HEXISTS", &history, "hello"]) == "0").await;
}

#[tokio::test]
async fn a_login_is_filled_as_well_as_can_be_where_the_history_is_no_hash() {
    let (server, origin) = (RedisServer::start().await, Origin::start().await);
    for name in ["profile", "news"] {
        origin.json(&format!("/{name}/*"), r#"{"ok":true}"#);
    }
    let sidecar = Sidecar::start(&shop(&server, &origin)).await;
    server.command(&["SET", &format!("hydrant:{{habits:{}}}:history", Pseudonym::new("habits", None, "9")), "x"]);
    let history = format!("hydrant:{{habits:{}}}:history", Pseudonym::new("habits", None, "9"));
    assert_eq!(filled(&sidecar.login("9", &[]).await), ["h:news:9", "h:profile:9"]);
    until("it is repaired", async || server.text(&["TYPE", &history]) == "hash").await;
}

#[tokio::test]
async fn who_was_forgotten_is_not_remembered_by_what_was_under_way() {
    let (server, origin) = (RedisServer::start().await, Origin::start().await);
    origin.json("/profile/*", r#"{"ok":true}"#);
    origin.on(
        "/orders/*",
        Served::After(Duration::from_millis(700), Box::new(Served::Json(r#"{"ok":true}"#.to_owned()))),
    );
    let sidecar = Sidecar::start(&shop(&server, &origin)).await;
    let history = format!("hydrant:{{habits:{}}}:history", Pseudonym::new("habits", None, "7"));
    server.command(&["HSET", &history, "s:orders", "0.9", "r:orders", "12"]);
    let ask = Ask { mode: Answering::Accepted, ..login("7", &[]) };
    sidecar.client().await.prehydrate(ask).await.expect("accepted");
    until("the plan is under way", async || origin.calls("/orders") == 1).await;

    let who = login("7", &[]).who;
    let forget = Invalidation::of(vec![Target::Subject { who, forget: true }]);
    sidecar.client().await.invalidate(forget).await.expect("forgotten");
    assert_eq!(server.text(&["EXISTS", &history]), "0");
    until("the plan has ended", async || {
        let (_, page) = sidecar.probe("/metrics").await;
        page.contains("hydrant_prehydrate_plans_in_flight 0\n")
    })
    .await;
    let minute_ago = SystemTime::now() - Duration::from_secs(60);
    let late = pb::Access { time: Some(minute_ago.into()), ..access("7", named("orders", &[])) };
    record(&sidecar, vec![late]).await;
    for user in ["8", "9"] {
        // The second of them is in a later batch than what was told late.
        record(&sidecar, vec![access(user, named("orders", &[]))]).await;
        let other = format!("hydrant:{{habits:{}}}:history", Pseudonym::new("habits", None, user));
        until("another's read is remembered", async || server.text(&["EXISTS", &other]) == "1").await;
    }
    assert_eq!(server.text(&["EXISTS", &history]), "0", "neither the plan nor the late report brings it back");

    until("a new read is remembered", async || {
        record(&sidecar, vec![access("7", named("orders", &[]))]).await;
        server.text(&["HEXISTS", &history, "r:orders"]) == "1"
    })
    .await;
}

#[tokio::test]
async fn a_history_that_is_switched_off_is_not_written_any_more() {
    let (server, origin) = (RedisServer::start().await, Origin::start().await);
    origin.json("/profile/*", r#"{"ok":true}"#);
    let config = shop(&server, &origin);
    let sidecar = Sidecar::start(&config).await;
    let history = |user| format!("hydrant:{{habits:{}}}:history", Pseudonym::new("habits", None, user));
    let told = async |user| record(&sidecar, vec![access(user, named("orders", &[]))]).await.accepted;
    assert_eq!(told("1").await, 1);
    until("it is written", async || server.text(&["EXISTS", &history("1")]) == "1").await;

    let off = config.replace("prehydrate: {", "prehydrate: { history: { enabled: false },");
    sidecar.reconfigure(&off);
    until("it is off", async || !planned_news(&sidecar).await).await;
    assert_eq!(told("2").await, 1);
    sidecar.reconfigure(&config);
    until("it is on", async || planned_news(&sidecar).await).await;
    assert_eq!(told("3").await, 1);
    until("it is written again", async || server.text(&["EXISTS", &history("3")]) == "1").await;
    assert_eq!(server.text(&["EXISTS", &history("2")]), "0");
}

/// Whether what is tried with everybody is planned, as it is where histories are kept.
async fn planned_news(sidecar: &Sidecar) -> bool {
    let ask = Ask { mode: Answering::DryRun, ..login("99", &[]) };
    let plan = sidecar.client().await.prehydrate(ask).await.expect("planned").resources;
    plan.iter().any(|item| item.key == "h:news:99")
}

#[tokio::test]
async fn a_dry_run_tells_the_score_and_the_reason_of_every_item() {
    let (server, origin) = (RedisServer::start().await, Origin::start().await);
    let sidecar = Sidecar::start(&shop(&server, &origin)).await;
    let history = format!("hydrant:{{habits:{}}}:history", Pseudonym::new("habits", None, "7"));
    server.command(&["HSET", &history, "s:orders", "0.9", "s:offers", "0.1"]);
    let ask = Ask { mode: Answering::DryRun, ..login("7", &[]) };
    let plan = sidecar.client().await.prehydrate(ask).await.expect("planned").resources;
    let tenths = |score: f64| (score * 10.0).round() / 10.0;
    let lines: Vec<(String, f64, String, String)> =
        plan.into_iter().map(|item| (item.key, tenths(item.score), item.why, item.outcome)).collect();
    let line = |key: &str, score, why: &str, fate: &str| (key.to_owned(), score, why.to_owned(), fate.to_owned());
    assert_eq!(
        lines,
        [
            line("h:profile:7", 1.0, "ALWAYS", "PLANNED"),
            line("h:orders:7", 0.9, "HISTORY", "PLANNED"),
            line("h:news:7", 0.5, "COHORT", "PLANNED"),
            line("h:offers:7", 0.1, "HISTORY", "BELOW_FLOOR"),
        ]
    );
    assert_eq!(origin.seen().len(), 0);
}
