//! Invalidation by the real binary over real Redis: each target and mode, and what happens while Redis is away.

use std::collections::BTreeMap;

use hydrant::domain::secret::Secret;
use hydrant::grpc::client::invalidate::{
    Invalidated, Invalidation, KnownAlias, MemberTarget, Mode, Replacement, Target, Version,
};
use hydrant::grpc::client::job::Job;
use hydrant::grpc::client::{Ask, AskMember, CallError, Client, Fault, Stated, Who};

use tokio::time::timeout;

use crate::support::redis::{RedisCluster, RedisServer};
use crate::support::shop::{Shop, clustered, standalone};
use crate::support::sidecar::{Sidecar, hydrant};
use crate::support::wait::{LONGEST, until};

fn params(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn user(id: &str) -> MemberTarget {
    MemberTarget::of("user", params(&[("id", id)]))
}

fn by_email(email: &str) -> MemberTarget {
    MemberTarget { alias: Some("email".into()), ..MemberTarget::of("user", params(&[("email", email)])) }
}

fn member(member: MemberTarget) -> Target {
    Target::Member(Box::new(member))
}

fn stated(user: &str) -> Who {
    let session = Some(Secret::new(format!("session-of-{user}")));
    Who::Stated(Stated { user: user.to_owned(), session, ..Stated::default() })
}

/// Fills the user 7 under both keys, two items of one kind, one of another, and the caller's own.
async fn fill(sidecar: &Sidecar) {
    until("redis is reached", async || sidecar.probe("/readyz").await.1.contains("store: up")).await;
    let item = |kind, id| AskMember { entity: "item".into(), params: params(&[("kind", kind), ("id", id)]) };
    let members = vec![
        AskMember { entity: "user".into(), params: params(&[("id", "7")]) },
        item("book", "1"),
        item("book", "2"),
        item("song", "1"),
    ];
    let ask = Ask { members, mode: hydrant::grpc::client::Mode::Completed, ..Ask::new(stated("7")) };
    // A busy machine may make the store shed one; the login after it fills what is missing.
    until("all of it is filled", async || {
        sidecar.client().await.prehydrate(ask.clone()).await.expect("served").is_settled()
    })
    .await;
}

async fn invalidate(sidecar: &Sidecar, target: Target) -> Invalidated {
    let client = sidecar.client().await;
    client.invalidate(Invalidation::of(vec![target])).await.expect("served")
}

/// Follows a pending answer to its end.
async fn finished(client: &Client, answer: &Invalidated) -> Option<Job> {
    let pending = answer.pending.as_ref()?;
    let mut watch = client.watch_job(&pending.job_id).await.expect("known");
    let mut last = None;
    let to_the_end = async {
        while let Some(job) = watch.next().await.expect("told") {
            last = Some(job);
        }
    };
    timeout(LONGEST, to_the_end).await.expect("a job ends");
    last
}

fn keys(server: &RedisServer, shop: &Shop) -> Vec<String> {
    let begin = format!("{}:", shop.prefix);
    let dump: Vec<String> = redis::from_redis_value(server.command(&["KEYS", &format!("{begin}*")])).expect("keys");
    let mut keys: Vec<String> = dump.iter().filter_map(|key| key.strip_prefix(&begin)).map(str::to_owned).collect();
    keys.sort_unstable();
    keys
}

const ALL: [&str; 6] = ["item:book:1", "item:book:2", "item:song:1", "mine:7", "user:7", "user:email:ada@x.org"];

fn without(gone: &[&str]) -> Vec<String> {
    ALL.iter().filter(|key| !gone.contains(key)).map(|key| (*key).to_owned()).collect()
}

#[tokio::test]
async fn each_target_removes_what_it_names_and_nothing_else() {
    let (server, shop) = (RedisServer::start().await, Shop::open("t").await);
    let sidecar = Sidecar::start(&shop.config(&standalone(&server), "")).await;
    let known = KnownAlias { alias: "email".into(), params: params(&[("email", "old@x.org")]) };
    let everything_of = |user| Target::Subject { who: stated(user), forget: false };
    for (target, gone) in [
        (member(user("7")), &["user:7", "user:email:ada@x.org"][..]),
        (member(by_email("ada@x.org")), &["user:7", "user:email:ada@x.org"]),
        (member(MemberTarget { known_aliases: vec![known], ..user("7") }), &["user:7", "user:email:ada@x.org"]),
        (Target::Keys(vec![shop.key("user:email:ada@x.org")]), &["user:7", "user:email:ada@x.org"]),
        (Target::Keys(vec![shop.key("item:book:1"), shop.key("item:song:1")]), &["item:book:1", "item:song:1"]),
        (Target::Tag("kind:book".into()), &["item:book:1", "item:book:2"]),
        (everything_of("7"), &["mine:7"]),
        (everything_of("8"), &[]),
    ] {
        fill(&sidecar).await;
        // Nobody but the caller knows of this one.
        server.command(&["SET", &shop.key("user:email:old@x.org"), "7"]);
        let shown = format!("{target:?}");
        let names_old = shown.contains("old@x.org");
        let answer = invalidate(&sidecar, target).await;
        assert_eq!(answer.status, "DONE", "{shown} {answer:?}");
        let mut left = without(gone);
        if !names_old {
            left.push("user:email:old@x.org".to_owned());
        }
        assert_eq!(keys(&server, &shop), left, "{shown}");
        assert_eq!(answer.counts.removed, gone.len() as u64 + u64::from(names_old), "{shown} {answer:?}");
        // A subject that was told to be gone is filled again by a login that comes after it.
        fill(&sidecar).await;
        assert!(ALL.iter().all(|key| keys(&server, &shop).contains(&(*key).to_owned())), "{shown}");
        server.command(&["DEL", &shop.key("user:email:old@x.org")]);
    }
}

#[tokio::test]
async fn a_pattern_and_all_are_swept_to_their_end() {
    let (server, shop) = (RedisServer::start().await, Shop::open("s").await);
    let sidecar = Sidecar::start(&shop.config(&standalone(&server), "fill: { claim_life: 1s }")).await;
    for (target, gone) in [
        (Target::Pattern(shop.key("item:b*")), &["item:book:1", "item:book:2"][..]),
        (
            Target::All { entities: vec!["item".into(), "user".into()] },
            &["item:book:1", "item:book:2", "item:song:1", "user:7", "user:email:ada@x.org"],
        ),
        (Target::All { entities: vec![] }, &ALL),
    ] {
        fill(&sidecar).await;
        server.command(&["SET", "somebody:elses", "1"]);
        let answer = invalidate(&sidecar, target).await;
        assert_eq!(answer.status, "PENDING", "{answer:?}");
        let client = sidecar.client().await;
        let job = finished(&client, &answer).await.expect("a job");
        assert_eq!((job.kind.as_str(), job.state.as_str()), ("SWEEP", "SUCCEEDED"), "{job:?}");
        assert_eq!(keys(&server, &shop), without(gone));
        assert!(job.sweep.is_some_and(|sweep| sweep.pass >= 2));
        assert_eq!(server.text(&["GET", "somebody:elses"]), "1");
    }
}

#[tokio::test]
async fn refresh_loads_again_what_was_cached() {
    let (server, shop) = (RedisServer::start().await, Shop::open("f").await);
    let sidecar = Sidecar::start(&shop.config(&standalone(&server), "")).await;
    fill(&sidecar).await;
    shop.origin.json("/users/*", r#"{"id":"7","email":"ada@y.org","name":"Ada King","version":4}"#);
    let refresh = Invalidation { mode: Mode::Refresh, ..Invalidation::of(vec![member(user("7"))]) };
    let answer = sidecar.client().await.invalidate(refresh).await.expect("served");
    assert_eq!(answer.status, "DONE", "{answer:?}");
    until("it is loaded again", async || keys(&server, &shop).contains(&"user:email:ada@y.org".to_owned())).await;
    assert!(server.text(&["GET", &shop.key("user:7")]).contains("Ada King"));
    assert!(!keys(&server, &shop).contains(&"user:email:ada@x.org".to_owned()));
}

#[tokio::test]
async fn replace_writes_a_newer_value_and_drops_the_copies() {
    let (server, shop) = (RedisServer::start().await, Shop::open("r").await);
    let sidecar = Sidecar::start(&shop.config(&standalone(&server), "")).await;
    fill(&sidecar).await;
    let client = sidecar.client().await;
    let replace = async |version, name: &str| {
        let value = format!(r#"{{"id":"7","email":"ada@y.org","name":"{name}","version":{version},"password":"x"}}"#);
        let replacement = Some(Replacement { value: value.into(), version: Some(Version::number(version)) });
        let target = member(MemberTarget { replacement, ..user("7") });
        let asked = Invalidation { mode: Mode::Replace, ..Invalidation::of(vec![target]) };
        client.invalidate(asked).await.expect("served")
    };
    let newer = replace(5, "Ada King").await;
    assert_eq!((newer.status.as_str(), newer.counts.replaced), ("DONE", 1), "{newer:?}");
    let value = server.text(&["GET", &shop.key("user:7")]);
    assert!(value.contains("Ada King") && !value.contains("password"), "{value}");
    assert!(!keys(&server, &shop).contains(&"user:email:ada@x.org".to_owned()));
    let older = replace(4, "Ada Byron").await;
    assert_eq!((older.status.as_str(), older.counts.superseded), ("DONE", 1), "{older:?}");
    assert!(!keys(&server, &shop).contains(&"user:7".to_owned()));
}

#[tokio::test]
async fn below_the_oldest_version_nothing_is_cached() {
    let (server, shop) = (RedisServer::start().await, Shop::open("m").await);
    let sidecar = Sidecar::start(&shop.config(&standalone(&server), "")).await;
    fill(&sidecar).await;
    let target = member(MemberTarget { min_version: Some(Version::number(4)), ..user("7") });
    assert_eq!(invalidate(&sidecar, target).await.status, "DONE");
    let login = async || {
        let members = vec![AskMember { entity: "user".into(), params: params(&[("id", "7")]) }];
        let ask = Ask { members, mode: hydrant::grpc::client::Mode::Completed, ..Ask::new(stated("7")) };
        sidecar.client().await.prehydrate(ask).await.expect("served")
    };
    // The source lags: it still answers version 3.
    login().await;
    assert!(!keys(&server, &shop).contains(&"user:7".to_owned()));
    shop.origin.json("/users/*", r#"{"id":"7","email":"ada@x.org","name":"Ada","version":4}"#);
    until("the newer one is cached", async || {
        login().await;
        keys(&server, &shop).contains(&"user:7".to_owned())
    })
    .await;
}

#[tokio::test]
async fn soft_shortens_and_loads_again() {
    let (server, shop) = (RedisServer::start().await, Shop::open("g").await);
    let sidecar = Sidecar::start(&shop.config(&standalone(&server), "")).await;
    fill(&sidecar).await;
    shop.origin.json("/users/*", r#"{"id":"7","email":"ada@x.org","name":"Ada King","version":4}"#);
    let soft = Invalidation { mode: Mode::Soft, ..Invalidation::of(vec![member(user("7"))]) };
    let answer = sidecar.client().await.invalidate(soft).await.expect("served");
    assert_eq!(answer.status, "DONE", "{answer:?}");
    until("it is loaded again", async || server.text(&["GET", &shop.key("user:7")]).contains("Ada King")).await;
}

#[tokio::test]
async fn a_reload_removes_what_it_makes_wrong_and_nothing_else() {
    const SWEPT: &str = "what the old configuration filled is gone, or another sidecar sees to it";
    let (server, shop) = (RedisServer::start().await, Shop::open("e").await);
    let config = shop.config(&standalone(&server), "fill: { claim_life: 1s }");
    let sidecar = Sidecar::start(&config).await;
    fill(&sidecar).await;
    server.command(&["SET", &shop.key("userland"), "an app's own"]);
    let narrower = config.replace("allow: [id, email, name, version]", "allow: [id, email, version]");
    sidecar.reconfigure(&narrower);
    until("what holds a name is gone", async || !keys(&server, &shop).contains(&"user:7".to_owned())).await;
    until("the sweep has ended", async || sidecar.line(SWEPT).is_some()).await;
    let mut left = without(&["user:7", "user:email:ada@x.org"]);
    left.push("userland".to_owned());
    assert_eq!(keys(&server, &shop), left);
    fill(&sidecar).await;
    assert!(!server.text(&["GET", &shop.key("user:7")]).contains("Ada"));

    let renamed = narrower.replace("e:item:{kind}:{id}", "e:thing:{kind}:{id}");
    sidecar.reconfigure(&renamed);
    until("the old keys are gone", async || !keys(&server, &shop).iter().any(|key| key.starts_with("item"))).await;
    assert!(keys(&server, &shop).contains(&"user:7".to_owned()));
    assert_eq!(server.text(&["GET", &shop.key("userland")]), "an app's own");
}

#[tokio::test]
async fn a_dry_run_counts_and_changes_nothing() {
    let (server, shop) = (RedisServer::start().await, Shop::open("d").await);
    let sidecar = Sidecar::start(&shop.config(&standalone(&server), "")).await;
    fill(&sidecar).await;
    let targets = vec![member(user("7")), Target::Tag("kind:book".into())];
    let dry = Invalidation { dry_run: true, ..Invalidation::of(targets) };
    let answer = sidecar.client().await.invalidate(dry).await.expect("served");
    assert_eq!(answer.status, "PREVIEW", "{answer:?}");
    let removed: Vec<u64> = answer.target_counts.iter().map(|counts| counts.removed).collect();
    // The registered alias is met by the removal alone; until then it is not counted, and the answer says so.
    assert_eq!((removed, answer.estimated), (vec![1, 2], true), "{answer:?}");
    assert!(answer.sample_keys.contains(&shop.key("user:7")), "{answer:?}");
    assert_eq!(keys(&server, &shop), without(&[]));
}

#[tokio::test]
async fn in_a_cluster_the_replicas_know_before_it_is_done() {
    let (cluster, shop) = (RedisCluster::shared().await, Shop::open("c").await);
    let sidecar = Sidecar::start(&shop.config(&clustered(&cluster), "")).await;
    let of_user = ["user:7", "user:email:ada@x.org"];
    for (target, gone) in [
        (member(user("7")), of_user),
        (member(by_email("ada@x.org")), of_user),
        (Target::Tag("kind:book".into()), ["item:book:1", "item:book:2"]),
    ] {
        fill(&sidecar).await;
        let answer = invalidate(&sidecar, target).await;
        // On a busy machine the replicas may be late; then it is finished behind the answer.
        if answer.status != "DONE" {
            let job = finished(&sidecar.client().await, &answer).await.expect("a job");
            assert_eq!(job.state, "SUCCEEDED", "{job:?}");
        }
        for key in gone {
            assert_eq!(cluster.get(&shop.key(key)), None, "{key}");
        }
        assert!(cluster.get(&shop.key("item:song:1")).is_some());
    }
}

#[tokio::test]
async fn another_sidecar_tells_of_a_job() {
    let (server, shop) = (RedisServer::start().await, Shop::open("o").await);
    let config = shop.config(&standalone(&server), "fill: { claim_life: 1s }");
    let (one, two) = tokio::join!(Sidecar::start(&config), Sidecar::start(&config));
    fill(&one).await;
    let answer = invalidate(&one, Target::Pattern(shop.key("item:*"))).await;
    let pending = answer.pending.clone().expect("pending");
    assert_eq!(pending.durability, "FLEET");
    let client = two.client().await;
    assert_eq!(client.get_job(&pending.job_id).await.expect("known").job_id, pending.job_id);
    let job = finished(&client, &answer).await.expect("a job");
    assert_eq!(job.state, "SUCCEEDED", "{job:?}");
    assert!(!keys(&server, &shop).iter().any(|key| key.starts_with("item")));
}

#[tokio::test]
async fn without_a_place_to_write_nothing_is_promised_while_redis_is_away() {
    let (mut server, shop) = (RedisServer::start().await, Shop::open("u").await);
    let sidecar = Sidecar::start(&shop.config(&standalone(&server), "")).await;
    fill(&sidecar).await;
    server.kill();
    let client = sidecar.client().await;
    let refused = client.invalidate(Invalidation::of(vec![member(user("7"))])).await.expect_err("never DONE");
    assert_eq!(refused.fault(), Fault::Unreachable, "{refused}");
    assert!(matches!(refused, CallError::Refused(_)), "{refused}");
}

#[tokio::test]
async fn what_was_written_to_the_spool_is_carried_out_after_a_restart() {
    let (mut server, shop) = (RedisServer::start().await, Shop::open("w").await);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let spool = format!("invalidate: {{ spool: {} }}", folder.path().join("spool").display());
    let config = shop.config(&standalone(&server), &spool);
    let mut sidecar = Sidecar::start(&config).await;
    fill(&sidecar).await;
    server.kill();
    let client = sidecar.client().await;
    let answer = client.invalidate(Invalidation::of(vec![member(user("7"))])).await.expect("taken");
    let pending = answer.pending.clone().expect("pending");
    assert_eq!((answer.status.as_str(), pending.durability.as_str()), ("PENDING", "POD"), "{answer:?}");
    sidecar.signal("KILL");
    sidecar.ended().await;

    // It comes back with what it had: the old value.
    server.restart().await;
    server.command(&["SET", &shop.key("user:7"), "old"]);
    let sidecar = Sidecar::start(&config).await;
    until("it is carried out", async || !keys(&server, &shop).contains(&"user:7".to_owned())).await;
    let job = finished(&sidecar.client().await, &answer).await.expect("a job");
    assert_eq!(job.state, "SUCCEEDED", "{job:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_follows_a_job_to_its_end() {
    let (server, shop) = (RedisServer::start().await, Shop::open("l").await);
    let sidecar = Sidecar::start(&shop.config(&standalone(&server), "fill: { claim_life: 1s }")).await;
    fill(&sidecar).await;
    let endpoint = format!("http://{}", sidecar.api);
    let call = |args: &[&str]| hydrant(args, &[("HYDRANT_ENDPOINT", &endpoint)]);
    let done = call(&["invalidate", "--member", "user", "id=7", "--reason", "renamed"]);
    assert_eq!(done.code, Some(0), "{}", done.errors);
    assert!(done.text.starts_with("DONE in ") && done.text.contains("2 removed"), "{}", done.text);

    let pattern = shop.key("item:*");
    let pending = call(&["invalidate", "--pattern", &pattern, "--json"]);
    assert_eq!(pending.code, Some(2), "{}", pending.errors);
    let answer: serde_json::Value = serde_json::from_str(&pending.text).expect("JSON");
    let id = answer["pending"]["job_id"].as_str().expect("a job").to_owned();
    let watched = call(&["job", &id, "--watch"]);
    assert_eq!(watched.code, Some(0), "{} {}", watched.text, watched.errors);
    assert!(watched.text.lines().last().expect("a line").starts_with("SWEEP SUCCEEDED"), "{}", watched.text);
    assert_eq!(call(&["job", &id]).code, Some(0));
    let waited = call(&["invalidate", "--all", "--wait"]);
    assert_eq!(waited.code, Some(0), "{}", waited.errors);
    assert!(waited.errors.contains("SWEEP"), "{}", waited.errors);

    let refused = call(&["invalidate", "--pattern", "*"]);
    assert_eq!(refused.code, Some(64));
    assert!(refused.errors.contains("targets[0].pattern.pattern"), "{}", refused.errors);
    assert_eq!(call(&["job", "0-4711"]).code, Some(64));
    assert!(keys(&server, &shop).is_empty());
}

#[tokio::test]
async fn no_id_value_or_token_is_told_to_logs_metrics_or_errors() {
    let (mut server, shop) = (RedisServer::start().await, Shop::open("n").await);
    shop.origin.json("/users/*", r#"{"id":"canary-user","email":"canary@x.org","name":"canary-name"}"#);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let spool = format!("invalidate: {{ spool: {} }}", folder.path().join("spool").display());
    let config = shop.config(&standalone(&server), &spool);
    let sidecar = Sidecar::start_with(&config, &[("HYDRANT__LOG__LEVEL", "trace")]).await;
    fill(&sidecar).await;
    let client = sidecar.client().await;
    let known = KnownAlias { alias: "email".into(), params: params(&[("email", "canary-old@x.org")]) };
    let targets = || {
        vec![
            member(MemberTarget { known_aliases: vec![known.clone()], ..user("canary-user") }),
            Target::Keys(vec![shop.key("user:canary-key")]),
            Target::Tag("kind:canary-kind".into()),
            Target::Subject { who: stated("canary-subject"), forget: true },
        ]
    };
    client.invalidate(Invalidation::of(targets())).await.expect("served");
    let mut errors = String::new();
    for wrong in
        [member(user("canary{id")), Target::Keys(vec!["canary-foreign".into()]), Target::Pattern("canary*".into())]
    {
        errors += &client.invalidate(Invalidation::of(vec![wrong])).await.expect_err("refused").to_string();
    }
    server.kill();
    client.invalidate(Invalidation::of(targets())).await.expect("spooled");
    server.restart().await;
    until("what was spooled is done", async || {
        std::fs::read_dir(folder.path().join("spool")).expect("a folder").count() == 0
    })
    .await;
    let told = [sidecar.log(), sidecar.probe("/metrics").await.1, errors].concat();
    for line in told.lines() {
        assert!(!line.contains("canary"), "{line}");
    }
}
