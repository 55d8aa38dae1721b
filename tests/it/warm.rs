//! Warm-ups of whole processes over a real Redis: at the start, by schedule, by call; one runner at a time; a step that
//! fails leaves the rest warm.

use std::time::Duration;

use serde_json::Value;

use crate::support::origin::{Answer, Origin};
use crate::support::redis::RedisServer;
use crate::support::shop::standalone;
use crate::support::sidecar::{Said, Sidecar, hydrant};
use crate::support::wait::until;

/// An origin of users and of what is broken, and a configuration with one plan.
struct Stage {
    server: RedisServer,
    origin: Origin,
}

impl Stage {
    async fn set() -> Self {
        let (server, origin) = (RedisServer::start().await, Origin::start().await);
        origin.json("/users/*", r#"{"id":"7","name":"Ada"}"#);
        origin.on("/broken/*", Answer::Status(400));
        Self { server, origin }
    }

    fn config(&self, warmup: &str) -> String {
        format!(
            r#"
group: warm
{}
sources: {{ api: {{ http: {{ origin: "{}", timeout: 2s, retries: 0 }} }} }}
entities:
  user: {{ key: "user:{{id}}", scope: shared, tags: ["team:a"], load: {{ source: api, get: "/users/{{id}}" }}, ttl: {{ base: 5m, jitter: 0% }}, fields: {{ allow: [id, name] }} }}
  broken: {{ key: "broken:{{id}}", scope: shared, load: {{ source: api, get: "/broken/{{id}}" }}, ttl: 5m, fields: {{ allow: [id] }} }}
warmup:
{warmup}
"#,
            standalone(&self.server),
            self.origin.url()
        )
    }

    fn keys(&self, prefix: &str) -> usize {
        let keys: Vec<String> =
            redis::from_redis_value(self.server.command(&["KEYS", &format!("{prefix}*")])).expect("keys");
        keys.len()
    }
}

/// `[1, 2, …]`
fn ids(count: usize) -> String {
    let ids: Vec<String> = (1..=count).map(|id| id.to_string()).collect();
    format!("[{}]", ids.join(", "))
}

fn warm(sidecar: &Sidecar, args: &[&str]) -> Said {
    let endpoint = format!("http://{}", sidecar.api);
    hydrant(&[&["warm", "--json", "--endpoint", &endpoint], args].concat(), &[])
}

fn events(said: &Said) -> Vec<Value> {
    said.text.lines().map(|line| serde_json::from_str(line).expect("an event")).collect()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    let kinds = events.iter().filter_map(|event| event["event"].as_str());
    kinds.filter(|kind| *kind != "progress").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_start_a_sidecar_warms_what_is_listed() {
    let stage = Stage::set().await;
    let plan = format!(
        "  default: {{ on_start: 50ms, lock: {{ key: \"cache:warmup:lock\" }}, steps: {{ pool: {{ connect: [api] }}, users: {{ entity: user, members: {} }} }} }}",
        ids(40)
    );
    let sidecar = Sidecar::start(&stage.config(&plan)).await;
    until("forty users", async || stage.keys("user:") == 40).await;
    until("the end of the run", async || sidecar.line("a warm-up ends well").is_some()).await;
    assert_eq!(stage.server.text(&["GET", "user:9"]), r#"{"id":"7","name":"Ada"}"#);
    let lives: Vec<i64> =
        (1..=40).map(|id| stage.server.text(&["PTTL", &format!("user:{id}")]).parse().expect("a number")).collect();
    assert!(lives.iter().all(|life| (240_000..=300_000).contains(life)), "{lives:?}");
    let spread = lives.iter().max().expect("some") - lives.iter().min().expect("some");
    assert!(spread > 5_000, "they end together: {lives:?}");

    let began = sidecar.line("a warm-up begins").expect("logged");
    let trace = began["trace_id"].as_str().expect("a trace id");
    assert_eq!(sidecar.line("a warm-up ends well").expect("logged")["trace_id"], trace);
    let fetched = stage.origin.seen();
    let header = |at: usize| fetched[at].headers["traceparent"].to_str().expect("text").to_owned();
    assert!((0..fetched.len()).filter(|at| fetched[*at].path != "/").all(|at| header(at).contains(trace)));
    assert_eq!(stage.server.command(&["EXISTS", "cache:warmup:lock"]), redis::Value::Int(0), "given back");

    let (_, metrics) = sidecar.probe("/metrics").await;
    for sample in [
        "cache_warmup_status{plan=\"default\"} 1",
        "cache_keys_warmed{plan=\"default\"} 40",
        "cache_warmup_duration_seconds_count{plan=\"default\"} 1",
        "hydrant_warm_runs_total{plan=\"default\",trigger=\"start\",result=\"success\"} 1",
    ] {
        assert!(metrics.contains(sample), "no {sample} in {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_fails_leaves_the_rest_warm() {
    let stage = Stage::set().await;
    let plan = "  default: { on_start: off, retries: 0, steps: { broken: { entity: broken, members: [1, 2] }, users: { entity: user, members: [1, 2, 3] } } }";
    let sidecar = Sidecar::start(&stage.config(plan)).await;
    let said = warm(&sidecar, &[]);
    assert_eq!(said.code, Some(2), "{}{}", said.text, said.errors);
    let events = events(&said);
    let order = ["started", "step_started", "step_finished", "step_started", "step_finished", "finished"];
    assert_eq!(kinds(&events), order);
    let ends: Vec<&Value> = events.iter().filter(|event| event["event"] == "step_finished").collect();
    assert_eq!((&ends[0]["result"], &ends[0]["failed"]), (&"FAILED".into(), &2.into()));
    assert!(ends[0]["message"].as_str().is_some_and(|why| why.contains("400")), "{}", ends[0]);
    assert_eq!((&ends[1]["result"], &ends[1]["keys_warmed"]), (&"SUCCESS".into(), &3.into()));
    let last = events.last().expect("finished");
    assert_eq!((&last["result"], &last["keys_warmed"]), (&"PARTIAL".into(), &3.into()));
    assert_eq!(stage.keys("user:"), 3);

    let job = events[0]["job_id"].as_str().expect("a job");
    let endpoint = format!("http://{}", sidecar.api);
    let asked = hydrant(&["job", job, "--watch", "--json", "--endpoint", &endpoint], &[]);
    let states: Vec<Value> = asked.text.lines().map(|line| serde_json::from_str(line).expect("a state")).collect();
    assert_eq!(states.len(), 1, "{}", asked.text);
    assert_eq!((&states[0]["kind"], &states[0]["state"]), (&"WARM_UP".into(), &"PARTIAL".into()));
    assert_eq!(states[0]["trace_id"], events[0]["trace_id"]);
    assert_eq!(states[0]["progress"]["failed"], 2);

    // What is fresh is not fetched again.
    let before = stage.origin.calls("/users/");
    let again = self::events(&warm(&sidecar, &["default"]));
    assert_eq!(
        again
            .iter()
            .find(|event| event["step"] == "users" && event["event"] == "step_finished")
            .map(|end| end["fresh"].clone()),
        Some(3.into())
    );
    assert_eq!(stage.origin.calls("/users/"), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_tried_again_after_a_while() {
    let stage = Stage::set().await;
    let shaky = Answer::InTurn(vec![Answer::Status(500), Answer::Json(r#"{"id":"7"}"#.to_owned())]);
    stage.origin.on("/users/2", shaky);
    let plan = "  default: { on_start: off, steps: { users: { entity: user, members: [1, 2, 3] } } }";
    let sidecar = Sidecar::start(&stage.config(plan)).await;
    let said = warm(&sidecar, &[]);
    assert_eq!(said.code, Some(0), "{}", said.text);
    let events = events(&said);
    let end = events.iter().find(|event| event["event"] == "step_finished").expect("told");
    assert_eq!((&end["attempts"], &end["keys_warmed"], &end["failed"]), (&2.into(), &3.into(), &0.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sidecar_at_a_time_runs_a_plan_and_the_other_says_who() {
    let stage = Stage::set().await;
    let slow = Answer::After(Duration::from_millis(400), Box::new(Answer::Json(r#"{"id":"7"}"#.to_owned())));
    stage.origin.on("/users/*", slow);
    let plan = format!(
        "  default: {{ on_start: off, parallel: 2, steps: {{ users: {{ entity: user, members: {} }} }} }}",
        ids(8)
    );
    let config = stage.config(&plan);
    let first = Sidecar::start_with(&config, &[("POD_NAME", "pod-1")]).await;
    let second = Sidecar::start_with(&config, &[("POD_NAME", "pod-2")]).await;
    let endpoint = format!("http://{}", first.api);
    let running = std::thread::spawn(move || hydrant(&["warm", "--json", "--endpoint", &endpoint], &[]));
    until("a fetch", async || stage.origin.calls("/users/") > 0).await;
    let skipped = warm(&second, &[]);
    assert_eq!(skipped.code, Some(75), "{}", skipped.text);
    let skipped = events(&skipped);
    assert_eq!(kinds(&skipped), ["skipped"]);
    assert_eq!((&skipped[0]["reason"], &skipped[0]["holder"]), (&"HELD".into(), &"pod-1".into()));
    let waited = warm(&second, &["--wait", "30"]);
    assert_eq!(waited.code, Some(0), "{}", waited.text);
    let (first, second) = (events(&running.join().expect("ran")), events(&waited));
    assert_eq!(skipped[0]["holder_trace_id"], first[0]["trace_id"]);
    assert!(second[0]["fence"].as_u64() > first[0]["fence"].as_u64());
    assert_eq!(stage.origin.calls("/users/"), 8, "the second found all of it fresh");
    assert_eq!(stage.origin.most_in_flight(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tick_is_run_by_one_sidecar_of_the_fleet() {
    let stage = Stage::set().await;
    let plan = "  default: { on_start: off, cron: \"* * * * * *\", steps: { users: { entity: user, members: [1] } } }";
    let config = stage.config(plan);
    let fleet = [Sidecar::start(&config).await, Sidecar::start(&config).await, Sidecar::start(&config).await];
    let runs = || -> Vec<String> {
        let lines = fleet.iter().flat_map(|sidecar| sidecar.log().lines().map(str::to_owned).collect::<Vec<_>>());
        let lines = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        let begun = lines.filter(|line| line["message"] == "a warm-up begins");
        // To the second in which it began.
        begun.filter_map(|line| Some(line["ts"].as_str()?.get(..19)?.to_owned())).collect()
    };
    until("four ticks", async || runs().len() >= 4).await;
    let mut seconds = runs();
    let count = seconds.len();
    seconds.sort();
    seconds.dedup();
    assert_eq!(seconds.len(), count, "a second with two runs");
    assert_eq!(stage.origin.calls("/users/"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_is_ready_once_its_first_warm_up_has_ended_or_taken_too_long() {
    let stage = Stage::set().await;
    let slow = Answer::After(Duration::from_millis(700), Box::new(Answer::Json(r#"{"id":"7"}"#.to_owned())));
    stage.origin.on("/users/*", slow);
    let plan = "  default: { on_start: 0ms, before_ready: true, steps: { users: { entity: user, members: [1] } } }";
    let sidecar = Sidecar::start(&stage.config(plan)).await;
    assert_eq!(sidecar.probe("/readyz").await.0, 503);
    until("a sidecar that is ready", async || sidecar.probe("/readyz").await.0 == 200).await;
    assert_eq!(stage.keys("user:1"), 1, "it was ready too early");

    stage.origin.on("/users/*", Answer::Hang);
    let endless = "  default: { on_start: 0ms, before_ready: true, longest_wait: 1s, steps: { users: { entity: user, members: [2] } } }";
    let sidecar = Sidecar::start(&stage.config(endless)).await;
    until("a sidecar that is ready", async || sidecar.probe("/readyz").await.0 == 200).await;
    assert_eq!(stage.keys("user:2"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_what_would_be_warmed_and_writes_nothing() {
    let stage = Stage::set().await;
    let plan = "  default: { on_start: off, steps: { pool: { connect: [api] }, users: { entity: user, members: [1, 2] } } }\n  again: { on_start: off, steps: { team: { entity: user, tag: \"team:a\" } } }";
    let sidecar = Sidecar::start(&stage.config(plan)).await;
    let said = warm(&sidecar, &["--dry-run", "default"]);
    assert_eq!(said.code, Some(0), "{}{}", said.text, said.errors);
    let planned = events(&said);
    assert_eq!(kinds(&planned), ["step_planned", "step_planned", "finished"]);
    assert_eq!(
        (&planned[1]["total"], &planned[1]["sample_keys"]),
        (&2.into(), &serde_json::json!(["user:1", "user:2"]))
    );
    assert_eq!((stage.keys("user:"), stage.origin.calls("/users/")), (0, 0));

    let unknown = warm(&sidecar, &["default", "nightly"]);
    assert_eq!(unknown.code, Some(64));
    assert!(unknown.errors.contains("plans[1]"), "{}", unknown.errors);
    // What carries a tag is listed by it, once something does.
    assert_eq!(warm(&sidecar, &["default"]).code, Some(0));
    let tagged = events(&warm(&sidecar, &["--dry-run", "again"]));
    assert_eq!(tagged[0]["sample_keys"].as_array().map(Vec::len), Some(2), "{tagged:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_follow_the_configuration_while_hydrant_runs() {
    let stage = Stage::set().await;
    let plan =
        |ids: &str| format!("  default: {{ on_start: off, steps: {{ users: {{ entity: user, members: {ids} }} }} }}");
    let sidecar = Sidecar::start(&stage.config(&plan("[1]"))).await;
    assert_eq!(warm(&sidecar, &[]).code, Some(0));
    sidecar.reconfigure(&stage.config(&plan("[1, 2, 3]")));
    until("the new plan", async || {
        warm(&sidecar, &[]);
        stage.keys("user:") == 3
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_memory_is_warmed_as_well() {
    let stage = Stage::set().await;
    let plan = "  default: { on_start: off, steps: { users: { entity: user, members: [1, 2] } } }";
    let config = stage.config(plan).replace(&standalone(&stage.server), "store: memory");
    let sidecar = Sidecar::start(&config).await;
    let said = warm(&sidecar, &[]);
    assert_eq!((said.code, stage.origin.calls("/users/")), (Some(0), 2), "{}", said.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_ends_gives_its_lease_back_and_another_goes_on_where_it_was() {
    let stage = Stage::set().await;
    let slow = Answer::After(Duration::from_millis(50), Box::new(Answer::Json(r#"{"id":"7"}"#.to_owned())));
    stage.origin.on("/users/*", slow);
    let plan = format!(
        "  default: {{ on_start: 10ms, parallel: 4, steps: {{ users: {{ entity: user, members: {} }} }} }}",
        ids(600)
    );
    let config = stage.config(&plan);
    let mut first = Sidecar::start(&config).await;
    // The first page is done, the second is not.
    until("some hundred users", async || stage.keys("user:") > 300).await;
    first.signal("TERM");
    first.ended().await;
    let held: Option<String> =
        redis::from_redis_value(stage.server.command(&["GET", "hydrant:{warm:warm:default}:lock"])).expect("text");
    assert_eq!(held, None);
    let second = Sidecar::start(&config).await;
    until("the end of the run", async || second.line("a warm-up ends well").is_some()).await;
    assert_eq!(second.line("a warm-up begins").expect("logged")["resumed"], true);
    assert_eq!(stage.keys("user:"), 600);
    assert!(stage.origin.calls("/users/") <= 600 + 4, "{}", stage.origin.calls("/users/"));
}
