//! A plan that is shared: 1, 2 and 4 sidecars on one Redis finish it together; one that dies in the middle loses nothing,
//! and nothing is fetched twice but what it had under way.

use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use crate::support::origin::{Answer, Origin};
use crate::support::redis::RedisServer;
use crate::support::shop::standalone;
use crate::support::sidecar::{Said, Sidecar, hydrant};
use crate::support::wait::until;

const PARALLEL: usize = 4;
/// Twelve pages.
const MEMBERS: usize = 12 * 256;

struct Fleet {
    server: RedisServer,
    origin: Origin,
    sidecars: Vec<Sidecar>,
}

impl Fleet {
    async fn start(count: usize) -> Self {
        let (server, origin) = (RedisServer::start().await, Origin::start().await);
        let answer = Answer::Json(r#"{"id":"7"}"#.to_owned());
        origin.on("/users/*", Answer::After(Duration::from_millis(2), Box::new(answer)));
        let ids: Vec<String> = (1..=MEMBERS).map(|id| id.to_string()).collect();
        let config = format!(
            r#"
group: wide
{}
sources: {{ api: {{ http: {{ origin: "{}", timeout: 5s, retries: 0 }} }} }}
entities:
  user: {{ key: "user:{{id}}", scope: shared, load: {{ source: api, get: "/users/{{id}}" }}, ttl: 30m, fields: {{ allow: [id] }} }}
warmup:
  default:
    on_start: off
    shared: true
    timeout: 5s
    parallel: {PARALLEL}
    steps: {{ users: {{ entity: user, members: [{}] }} }}
"#,
            standalone(&server),
            origin.url(),
            ids.join(", ")
        );
        let mut sidecars = Vec::new();
        for number in 0..count {
            sidecars.push(Sidecar::start_with(&config, &[("POD_NAME", &format!("pod-{number}"))]).await);
        }
        Self { server, origin, sidecars }
    }

    fn run(&self) -> JoinHandle<Said> {
        let endpoint = format!("http://{}", self.sidecars[0].api);
        std::thread::spawn(move || hydrant(&["warm", "--json", "--endpoint", &endpoint], &[]))
    }

    fn keys(&self) -> usize {
        let keys: Vec<String> = redis::from_redis_value(self.server.command(&["KEYS", "user:*"])).expect("keys");
        keys.len()
    }
}

fn events(said: &Said) -> Vec<Value> {
    said.text.lines().map(|line| serde_json::from_str(line).expect("an event")).collect()
}

fn workers(events: &[Value]) -> u64 {
    events.iter().filter_map(|event| event["workers"].as_u64()).max().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_two_and_four_sidecars_finish_a_plan_and_fetch_nothing_twice() {
    for count in [1, 2, 4] {
        let fleet = Fleet::start(count).await;
        let said = fleet.run().join().expect("ran");
        assert_eq!(said.code, Some(0), "{count}: {}{}", said.text, said.errors);
        let events = events(&said);
        let end = events.iter().find(|event| event["event"] == "step_finished").expect("told");
        let expected: (Value, Value) = (MEMBERS.into(), 0.into());
        assert_eq!((end["keys_warmed"].clone(), end["failed"].clone()), expected, "{count}: {end}");
        assert_eq!(fleet.keys(), MEMBERS, "{count}");
        assert_eq!(fleet.origin.calls("/users/"), MEMBERS, "{count}");
        assert!(workers(&events) <= count as u64 && (count == 1 || workers(&events) > 1), "{count}: {events:?}");
        let left: Vec<String> = redis::from_redis_value(fleet.server.command(&["KEYS", "{*}:[sr]:*"])).expect("keys");
        assert!(left.is_empty(), "{left:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_in_the_middle_loses_nothing() {
    let mut fleet = Fleet::start(3).await;
    let running = fleet.run();
    until("a third of it", async || fleet.keys() > MEMBERS / 3).await;
    fleet.sidecars[2].signal("KILL");
    fleet.sidecars[2].ended().await;
    let said = running.join().expect("ran");
    assert_eq!(said.code, Some(0), "{}{}", said.text, said.errors);
    assert_eq!(fleet.keys(), MEMBERS);
    let calls = fleet.origin.calls("/users/");
    assert!(calls <= MEMBERS + PARALLEL, "{calls} requests for {MEMBERS} members");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_plan_whose_holder_dies_is_finished_by_the_next() {
    let mut fleet = Fleet::start(2).await;
    let running = fleet.run();
    until("a third of it", async || fleet.keys() > MEMBERS / 3).await;
    fleet.sidecars[0].signal("KILL");
    fleet.sidecars[0].ended().await;
    assert_eq!(running.join().expect("ran").code, Some(69));
    let endpoint = format!("http://{}", fleet.sidecars[1].api);
    let said = hydrant(&["warm", "--json", "--wait", "60", "--endpoint", &endpoint], &[]);
    assert_eq!(said.code, Some(0), "{}{}", said.text, said.errors);
    assert_eq!(events(&said)[0]["resumed"], true);
    assert_eq!(fleet.keys(), MEMBERS);
    let calls = fleet.origin.calls("/users/");
    assert!(calls <= MEMBERS + 2 * PARALLEL, "{calls} requests for {MEMBERS} members");
}
