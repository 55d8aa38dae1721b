//! The same person logs in twice at once, and the two calls reach different pods: two real sidecars, one Redis.

use std::time::Duration;

use futures_util::future::join;
use hydrant::grpc::client::Answer;

use crate::support::origin::{Answer as Says, Origin};
use crate::support::redis::{RedisCluster, RedisServer};
use crate::support::sidecar::Sidecar;
use crate::support::wait::until;

const PARTS: [&str; 3] = ["profile", "orders", "news"];

fn pod(redis: &str, origin: &Origin) -> String {
    let entity = |name: &str| {
        format!(
            "  {name}: {{ key: \"pods:{name}:{{id}}\", load: {{ source: api, get: \"/{name}/{{id}}\" }}, ttl: 5m, fields: {{ allow: [\"*\"] }} }}\n"
        )
    };
    let entities: String = PARTS.iter().map(|name| entity(name)).collect();
    format!(
        "group: pods\nredis: {redis}\nsources:\n  api: {{ http: {{ origin: \"{}\", auth: {{ session: bearer }} }} }}\nentities:\n{entities}prehydrate: {{ always: [profile], plan: {{ cohort: [orders, news] }} }}\n",
        origin.url()
    )
}

/// Slow enough for the second login to find the first one under way.
fn slowly(origin: &Origin) {
    for name in PARTS {
        let answer = Says::After(Duration::from_millis(300), Box::new(Says::Json(r#"{"ok":true}"#.to_owned())));
        origin.on(&format!("/{name}/*"), answer);
    }
}

fn outcomes(answer: &Answer) -> Vec<&str> {
    let mut outcomes: Vec<&str> = answer.resources.iter().map(|line| line.outcome.as_str()).collect();
    outcomes.sort_unstable();
    outcomes
}

/// Whoever claims a key fills it; the other waits for that fill and finds the value.
async fn share_their_fills(redis: &str, user: &str) {
    let origin = Origin::start().await;
    slowly(&origin);
    let (one, two) = join(Sidecar::start(&pod(redis, &origin)), Sidecar::start(&pod(redis, &origin))).await;
    let (first, second) = join(one.login(user, &[]), two.login(user, &[])).await;
    for name in PARTS {
        assert_eq!(origin.calls(&format!("/{name}/")), 1, "{name}: {first:?} {second:?}");
    }
    let mut both: Vec<&str> = [outcomes(&first), outcomes(&second)].concat();
    both.sort_unstable();
    assert_eq!(both, ["FILLED", "FILLED", "FILLED", "FRESH", "FRESH", "FRESH"], "{first:?} {second:?}");
    assert_eq!([first.status.as_str(), second.status.as_str()], ["COMPLETED"; 2]);
}

#[tokio::test]
async fn two_pods_with_the_same_login_ask_each_backend_once() {
    let server = RedisServer::start().await;
    let redis = format!("{{ mode: standalone, nodes: [\"redis://127.0.0.1:{}\"] }}", server.port);
    share_their_fills(&redis, "7").await;
}

#[tokio::test]
async fn two_pods_on_a_cluster_with_the_same_login_ask_each_backend_once() {
    let cluster = RedisCluster::shared().await;
    let nodes: Vec<String> =
        cluster.seeds().iter().map(|seed| format!("\"redis://{}:{}\"", seed.host, seed.port)).collect();
    share_their_fills(&format!("{{ mode: cluster, nodes: [{}] }}", nodes.join(", ")), "two-pods").await;
}

#[tokio::test]
async fn a_pod_that_dies_in_the_middle_is_taken_over_when_its_claims_end() {
    let (server, origin) = (RedisServer::start().await, Origin::start().await);
    origin.on("/profile/*", Says::Hang);
    let redis = format!("{{ mode: standalone, nodes: [\"redis://127.0.0.1:{}\"] }}", server.port);
    let short = |origin: &Origin| {
        format!("{}fill: {{ claim_life: 1s }}\n", pod(&redis, origin).replace("auth:", "timeout: 800ms, auth:"))
    };
    let (one, two) = join(Sidecar::start(&short(&origin)), Sidecar::start(&short(&origin))).await;
    let client = one.client().await;
    let ask = hydrant::grpc::client::Ask {
        mode: hydrant::grpc::client::Mode::Accepted,
        ..crate::support::sidecar::login("7", &[("profile", "7")])
    };
    client.prehydrate(ask).await.expect("accepted");
    until("the first pod is at it", async || origin.calls("/profile/") == 1).await;
    drop(one);
    origin.json("/profile/*", r#"{"ok":true}"#);
    let answer = two.login("7", &[("profile", "7")]).await;
    assert_eq!(outcomes(&answer), ["FILLED"], "{answer:?}");
    assert_eq!(origin.calls("/profile/"), 2);
}
