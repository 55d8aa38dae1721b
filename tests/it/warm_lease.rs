//! P5: a warm-up starts no new work once its lease could have been lost, and two runs overlap by one batch at most; by a
//! backend that counts requests by the run they belong to.

use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use crate::support::origin::{Answer, Origin, Seen};
use crate::support::redis::RedisServer;
use crate::support::shop::standalone;
use crate::support::sidecar::{Said, Sidecar, hydrant};
use crate::support::wait::until;

const PARALLEL: usize = 2;
const LOCK: &str = "cache:warmup:lock";

/// A lease of two seconds, and members for more.
fn config(server: &RedisServer, origin: &Origin, start: &str, members: usize) -> String {
    let ids: Vec<String> = (1..=members).map(|id| id.to_string()).collect();
    format!(
        r#"
group: lease
{}
sources: {{ api: {{ http: {{ origin: "{}", timeout: 1s, retries: 0 }} }} }}
fill: {{ claim_life: 1500ms }}
entities:
  user: {{ key: "user:{{id}}", scope: shared, load: {{ source: api, get: "/users/{{id}}" }}, ttl: 5m, fields: {{ allow: [id] }} }}
warmup:
  default:
    on_start: {start}
    lock: {{ key: "{LOCK}", ttl: 3s }}
    timeout: 600ms
    parallel: {PARALLEL}
    steps: {{ users: {{ entity: user, members: [{}] }} }}
"#,
        standalone(server),
        origin.url(),
        ids.join(", ")
    )
}

async fn slow_origin() -> Origin {
    let origin = Origin::start().await;
    let answer = Answer::Json(r#"{"id":"7"}"#.to_owned());
    origin.on("/users/*", Answer::After(Duration::from_millis(20), Box::new(answer)));
    origin
}

fn run(sidecar: &Sidecar, args: &[&str]) -> JoinHandle<Said> {
    let endpoint = format!("http://{}", sidecar.api);
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    std::thread::spawn(move || {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        hydrant(&[&["warm", "--json", "--endpoint", &endpoint], &args[..]].concat(), &[])
    })
}

fn events(said: &Said) -> Vec<Value> {
    said.text.lines().map(|line| serde_json::from_str(line).expect("an event")).collect()
}

fn is_of(seen: &Seen, trace: &str) -> bool {
    seen.headers["traceparent"].to_str().is_ok_and(|header| header.contains(trace))
}

fn holder(server: &RedisServer) -> Option<String> {
    redis::from_redis_value(server.command(&["GET", LOCK])).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_was_stopped_past_its_lease_starts_nothing_when_it_wakes() {
    let (server, origin) = (RedisServer::start().await, slow_origin().await);
    let config = config(&server, &origin, "off", 400);
    let (first, second) = (Sidecar::start(&config).await, Sidecar::start(&config).await);
    let running = run(&first, &[]);
    until("a first page", async || origin.calls("/users/") > 280).await;
    let first_trace = holder(&server).expect("held");
    first.signal("STOP");
    until("the end of the lease", async || holder(&server).is_none()).await;
    let next = run(&second, &["--wait", "20"]);
    until("requests of the second run", async || {
        origin.seen().iter().filter(|seen| !is_of(seen, &first_trace)).count() >= 4
    })
    .await;
    first.signal("CONT");
    let (first, second) = (events(&running.join().expect("ran")), events(&next.join().expect("ran")));

    let end = first.last().expect("an end");
    assert_eq!((&end["event"], &end["lease_lost"]), (&"finished".into(), &true.into()), "{end}");
    assert_eq!(first[0]["trace_id"], first_trace.as_str());
    assert!(second[0]["fence"].as_u64() > first[0]["fence"].as_u64());
    assert_eq!(second[0]["resumed"], true);
    assert_eq!(second.last().expect("an end")["result"], "SUCCESS");
    let seen = origin.seen();
    let begun = seen.iter().position(|seen| !is_of(seen, &first_trace)).expect("the second run asked");
    let late = seen[begun..].iter().filter(|seen| is_of(seen, &first_trace)).count();
    assert!(late <= PARALLEL, "{late} requests of a run whose lease was lost");
    // One page is looked at again, and what is fresh in it is not fetched.
    assert!(seen.len() <= 400 + 2 * PARALLEL, "{} requests", seen.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_run_of_a_holder_that_was_killed_is_gone_on_with() {
    let (server, origin) = (RedisServer::start().await, slow_origin().await);
    let config = config(&server, &origin, "10ms", 400);
    let mut first = Sidecar::start(&config).await;
    until("a first page", async || origin.calls("/users/") > 280).await;
    // It finds the lease held, and stands by.
    let second = Sidecar::start(&config).await;
    first.signal("KILL");
    first.ended().await;
    assert!(holder(&server).is_some(), "nobody has given it back");
    until("the end of the run", async || {
        ["a warm-up ends", "a warm-up ends well"].iter().any(|end| second.line(end).is_some())
    })
    .await;
    assert!(second.line("a warm-up ends").is_none(), "{:?}", second.line("a warm-up ends"));
    assert_eq!(second.line("a warm-up begins").expect("logged")["resumed"], true);
    let keys: Vec<String> = redis::from_redis_value(server.command(&["KEYS", "user:*"])).expect("keys");
    assert_eq!(keys.len(), 400);
    assert!(origin.calls("/users/") <= 400 + 2 * PARALLEL, "{} requests", origin.calls("/users/"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_hears_nothing_from_redis_ends_before_its_lock_does() {
    let (server, origin) = (RedisServer::start().await, slow_origin().await);
    let sidecar = Sidecar::start(&config(&server, &origin, "off", 400)).await;
    let running = run(&sidecar, &[]);
    until("some requests", async || origin.calls("/users/") > 20).await;
    server.hang();
    let events = events(&running.join().expect("ran"));
    server.resume();
    let end = events.last().expect("an end");
    assert_eq!((&end["event"], &end["lease_lost"]), (&"finished".into(), &true.into()), "{end}");
}
