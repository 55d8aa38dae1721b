//! Whether invalidations hold, checked in the running system: by a sidecar that looks again, and by `hydrant verify`.

use std::collections::BTreeMap;

use hydrant::domain::secret::Secret;
use hydrant::grpc::client::invalidate::{Invalidation, MemberTarget, Target};
use hydrant::grpc::client::{Ask, AskMember, Mode, Stated, Who};
use serde_json::Value;

use crate::support::origin::Answer;
use crate::support::redis::RedisServer;
use crate::support::shop::{Shop, standalone};
use crate::support::sidecar::{Said, Sidecar, hydrant};
use crate::support::wait::until;

const QUICK: &str = "verify: { enabled: true, per_minute: 6000 }";
const BYRON: &str = r#"{"id":"7","email":"ada@x.org","name":"Byron","version":2}"#;

fn params(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

async fn fill(sidecar: &Sidecar) {
    until("redis is reached", async || sidecar.probe("/readyz").await.1.contains("store: up")).await;
    let members = vec![AskMember { entity: "user".into(), params: params(&[("id", "7")]) }];
    let session = Some(Secret::new("session-of-7".to_owned()));
    let who = Who::Stated(Stated { user: "7".into(), session, ..Stated::default() });
    let ask = Ask { members, mode: Mode::Completed, ..Ask::new(who) };
    sidecar.client().await.prehydrate(ask).await.expect("served");
}

async fn invalidate(sidecar: &Sidecar) {
    let user = MemberTarget::of("user", params(&[("id", "7")]));
    let asked = Invalidation::of(vec![Target::Member(Box::new(user))]);
    let answer = sidecar.client().await.invalidate(asked).await.expect("served");
    assert_eq!(answer.status, "DONE", "{answer:?}");
}

/// What a counter has come to; nothing where it has not begun.
async fn count(sidecar: &Sidecar, sample: &str) -> u64 {
    let text = sidecar.probe("/metrics").await.1;
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.map_or(0, |count| count.parse().expect("a number"))
}

const FIRST: &str = r#"hydrant_verify_violations_total{entity="user",after="1"}"#;

#[tokio::test]
async fn a_sidecar_finds_what_outlived_an_invalidation_and_tells_its_age() {
    let (server, shop) = (RedisServer::start().await, Shop::open("va").await);
    let sidecar = Sidecar::start(&shop.config(&standalone(&server), QUICK)).await;
    fill(&sidecar).await;
    invalidate(&sidecar).await;
    // As a fill would that lost its claim and wrote all the same.
    server.command(&["SET", &shop.key("user:7"), BYRON, "EX", "300"]);
    until("it is found", async || count(&sidecar, FIRST).await == 1).await;
    let line = sidecar.line("a value is read that is older than what an invalidation removed").expect("told");
    let age = line["age_ms"].as_u64().expect("an age");
    assert!((3_000..60_000).contains(&age), "{line}");
    assert_eq!((line["entity"].as_str(), line["after"].as_u64()), (Some("user"), Some(1)), "{line}");
    assert!(!line.to_string().contains("user:7"), "{line}");
    assert_eq!(count(&sidecar, "hydrant_verify_violation_age_seconds_count").await, 1);
}

#[tokio::test]
async fn a_healthy_sidecar_finds_what_is_true_and_a_new_change_voids_the_check() {
    let (server, shop) = (RedisServer::start().await, Shop::open("vh").await);
    let sidecar = Sidecar::start(&shop.config(&standalone(&server), QUICK)).await;
    fill(&sidecar).await;
    invalidate(&sidecar).await;
    fill(&sidecar).await;
    let is_true = r#"hydrant_verify_checks_total{entity="user",result="true"}"#;
    until("it is looked at", async || count(&sidecar, is_true).await == 1).await;
    // The source changes and says so: what was cached before is gone, and what is looked at next is right.
    shop.origin.json("/users/*", r#"{"id":"7","email":"ada@x.org","name":"Ada King","version":4}"#);
    invalidate(&sidecar).await;
    fill(&sidecar).await;
    until("it is looked at again", async || count(&sidecar, is_true).await == 2).await;
    assert_eq!(count(&sidecar, FIRST).await, 0);
    until("the older check is void", async || count(&sidecar, "hydrant_verify_voided_total").await == 1).await;
}

#[tokio::test]
async fn it_is_off_by_default_and_switched_on_by_a_reload() {
    let (server, shop) = (RedisServer::start().await, Shop::open("vo").await);
    let config = shop.config(&standalone(&server), "");
    let sidecar = Sidecar::start(&config).await;
    fill(&sidecar).await;
    let asked = shop.origin.calls("/users");
    invalidate(&sidecar).await;
    sidecar.reconfigure(&format!("{config}\n{QUICK}\n"));
    until("it is in force", async || sidecar.line("the new configuration is in force").is_some()).await;
    assert_eq!(shop.origin.calls("/users"), asked, "nobody has compared anything");
    invalidate(&sidecar).await;
    until("it is asked", async || shop.origin.calls("/users") > asked).await;
}

/// `hydrant verify` with the configuration of a sidecar that need not run.
fn verify(config: &std::path::Path, args: &[&str]) -> Said {
    let config = config.to_str().expect("text");
    hydrant(&[&["verify", "--config", config], args].concat(), &[])
}

#[tokio::test(flavor = "multi_thread")]
async fn on_demand_a_sample_is_compared_and_what_differs_is_named() {
    let (server, shop) = (RedisServer::start().await, Shop::open("vs").await);
    let sidecar = Sidecar::start(&shop.config(&standalone(&server), "")).await;
    fill(&sidecar).await;
    let config = sidecar.config_path();
    let healthy = verify(&config, &[]);
    assert_eq!(healthy.code, Some(0), "{} {}", healthy.text, healthy.errors);
    assert!(healthy.errors.contains("nothing differs"), "{}", healthy.errors);
    // `mine` is the user's own: nobody else can ask for it, and it is said.
    assert!(healthy.text.lines().any(|line| line.starts_with("mine") && line.ends_with('1')), "{}", healthy.text);

    server.command(&["SET", &shop.key("user:7"), BYRON, "EX", "300"]);
    server.command(&["SET", &shop.key("user:email:old@x.org"), "7", "EX", "300"]);
    let said = verify(&config, &["--json", "--entity", "user"]);
    assert_eq!(said.code, Some(1), "{} {}", said.text, said.errors);
    let told: Value = serde_json::from_str(&said.text).expect("JSON");
    let differs = &told["differs"][0];
    let keys: Vec<&str> = differs["keys"].as_array().expect("keys").iter().filter_map(Value::as_str).collect();
    assert_eq!(keys, [shop.key("user:7"), shop.key("user:email:old@x.org")], "{told}");
    assert!(differs["age_ms"].as_u64().expect("an age") >= 2_000, "{told}");
    let left = differs["left_ms"].as_u64().expect("a time");
    assert!((200_000..300_000).contains(&left), "{told}");
    assert_eq!(told["entities"]["user"]["differs"], 1, "one member, whatever its keys: {told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_demand_members_and_keys_are_compared_by_name() {
    let (server, shop) = (RedisServer::start().await, Shop::open("vn").await);
    let sidecar = Sidecar::start(&shop.config(&standalone(&server), "")).await;
    fill(&sidecar).await;
    let config = sidecar.config_path();
    let named = verify(&config, &["--member", "user:id=7", "--key", &shop.key("user:email:ada@x.org")]);
    assert_eq!(named.code, Some(0), "{} {}", named.text, named.errors);
    // A member that is gone at its source must be gone here.
    shop.origin.on("/users/*", Answer::Status(404));
    let gone = verify(&config, &["--member", "user:id=7"]);
    assert_eq!(gone.code, Some(1), "{} {}", gone.text, gone.errors);
    shop.origin.on("/users/*", Answer::Status(500));
    let away = verify(&config, &["--member", "user:id=7"]);
    assert_eq!(away.code, Some(2), "{} {}", away.text, away.errors);
    for wrong in [&["--member", "nobody:id=7"][..], &["--key", "foreign"], &["--entity", "nobody"]] {
        assert_eq!(verify(&config, wrong).code, Some(64), "{wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_nothing_is_compared_and_the_exit_says_so() {
    let (mut server, shop) = (RedisServer::start().await, Shop::open("vr").await);
    let sidecar = Sidecar::start(&shop.config(&standalone(&server), "")).await;
    server.kill();
    let said = verify(&sidecar.config_path(), &["--deadline-ms", "200"]);
    assert_eq!(said.code, Some(69), "{} {}", said.text, said.errors);
}
