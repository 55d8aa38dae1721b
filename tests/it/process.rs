//! The process as a whole: the real binary, real Redis, real HTTP backends, a client generated from the contract.

use std::time::Duration;

use hydrant::grpc::client::{Ask, CallError, Client, Fault, Mode};

use crate::support::origin::{Answer, Origin};
use crate::support::redis::{RedisCluster, RedisServer};
use crate::support::sidecar::{Sidecar, login};
use crate::support::wait::until;

/// Entities `user` (the subject's own, with its session), `role` and `slow` (everybody's) at this backend; the test
/// names the store.
fn config(store: &str, origin: &Origin) -> String {
    format!(
        r#"
group: test
{store}
sources:
  api: {{ http: {{ origin: "{}", timeout: 500ms, auth: {{ session: bearer }} }} }}
entities:
  user: {{ key: "p:user:{{id}}", scope: subject, load: {{ source: api, get: "/users/{{id}}" }}, ttl: 5m, fields: {{ allow: [id, name] }} }}
  role: {{ key: "p:role:{{id}}", scope: shared, load: {{ source: api, get: "/roles/{{id}}", credential: service }}, ttl: 60, fields: {{ allow: ["*"] }}, tags: ["roles"] }}
  slow: {{ key: "p:slow:{{id}}", scope: shared, load: {{ source: api, get: "/slow/{{id}}", credential: service }}, ttl: 60, fields: {{ allow: ["*"] }} }}
prehydrate: {{ always: [user] }}
log: {{ format: json, level: "info,hydrant=debug" }}
"#,
        origin.url()
    )
}

fn redis(server: &RedisServer) -> String {
    format!("redis: {{ mode: standalone, nodes: [\"redis://127.0.0.1:{}\"] }}", server.port)
}

async fn backend() -> Origin {
    let origin = Origin::start().await;
    origin.json("/users/*", r#"{"id":7,"name":"Ada","hashed_password":"$2b$12$abcdefghijklmnopqrstuv"}"#);
    origin.json("/roles/*", r#"["admin",1.0,12345678901234567890]"#);
    origin
}

fn outcomes(answer: &hydrant::grpc::client::Answer) -> Vec<(&str, &str)> {
    answer.resources.iter().map(|line| (line.key.as_str(), line.outcome.as_str())).collect()
}

#[tokio::test]
async fn a_login_leaves_plain_values_at_the_apps_keys_in_a_cluster() {
    let (cluster, origin) = (RedisCluster::shared().await, backend().await);
    let seed = &cluster.nodes[0];
    let store = format!("redis: {{ mode: cluster, nodes: [\"redis://127.0.0.1:{}\"], replicas: 1 }}", seed.port);
    let mut sidecar = Sidecar::start(&config(&store, &origin)).await;
    let answer = sidecar.login("7", &[("role", "1"), ("role", "2"), ("role", "3")]).await;
    assert_eq!(answer.status, "COMPLETED", "{answer:?}");
    assert_eq!(cluster.get("p:user:7").as_deref(), Some(r#"{"id":7,"name":"Ada"}"#));
    for id in 1..=3 {
        assert_eq!(cluster.get(&format!("p:role:{id}")).as_deref(), Some(r#"["admin",1.0,12345678901234567890]"#));
    }
    let user = origin.seen().into_iter().find(|seen| seen.path == "/users/7").expect("asked");
    assert_eq!(user.headers["authorization"], "Bearer session-of-7");
    assert!(user.headers["traceparent"].to_str().expect("text").contains(&answer.trace_id));
    assert!(
        origin
            .seen()
            .iter()
            .filter(|seen| seen.path != "/users/7")
            .all(|seen| !seen.headers.contains_key("authorization"))
    );
    sidecar.signal("TERM");
    assert_eq!(sidecar.ended().await.code(), Some(0));
}

#[tokio::test]
async fn backends_that_misbehave_cost_only_their_own_entries() {
    let (server, origin) = (RedisServer::start().await, backend().await);
    origin.on("/slow/hang", Answer::Hang);
    origin.on("/slow/500", Answer::Status(500));
    origin.on("/slow/garbage", Answer::Json("{not json".to_owned()));
    origin.on("/slow/large", Answer::Large(10 << 20));
    origin.on("/slow/secret", Answer::Json(r#"{"card":"4111 1111 1111 1111"}"#.to_owned()));
    let sidecar = Sidecar::start(&config(&redis(&server), &origin)).await;
    let bad = ["hang", "500", "garbage", "large", "secret"].map(|id| ("slow", id));
    let answer = sidecar.login("7", &bad).await;
    assert_eq!(answer.status, "PARTIAL");
    let expected = [
        ("p:slow:hang", "TIMEOUT"),
        ("p:slow:500", "FAILED"),
        ("p:slow:garbage", "FAILED"),
        ("p:slow:large", "TOO_LARGE"),
        ("p:slow:secret", "DENIED"),
        ("p:user:7", "FILLED"),
    ];
    assert_eq!(outcomes(&answer), expected);
}

#[tokio::test]
async fn two_sidecars_ask_the_backend_once() {
    let (server, origin) = (RedisServer::start().await, backend().await);
    origin.on("/users/7", Answer::After(Duration::from_millis(200), Box::new(Answer::Json(r#"{"id":7}"#.to_owned()))));
    let config = config(&redis(&server), &origin);
    let (one, two) = tokio::join!(Sidecar::start(&config), Sidecar::start(&config));
    let (first, second) = tokio::join!(one.login("7", &[]), two.login("7", &[]));
    let mut both = [outcomes(&first), outcomes(&second)].concat();
    both.sort_unstable();
    assert_eq!(both, [("p:user:7", "FILLED"), ("p:user:7", "FRESH")]);
    assert_eq!(origin.calls("/users/"), 1);
}

#[tokio::test]
async fn a_redis_that_is_away_at_the_start_is_a_state_and_not_an_error() {
    let (mut server, origin) = (RedisServer::start().await, backend().await);
    server.kill();
    let store = format!(
        "redis: {{ mode: standalone, nodes: [\"redis://127.0.0.1:{}\"], breaker: {{ first_wait: 50ms, longest_wait: 100ms }} }}",
        server.port
    );
    let sidecar = Sidecar::start(&config(&store, &origin)).await;
    assert_eq!(sidecar.probe("/livez").await.0, 200);
    until("health says that redis is away", async || sidecar.probe("/readyz").await.1.contains("store: down")).await;
    let answer = sidecar.login("7", &[]).await;
    assert_eq!(outcomes(&answer), [("p:user:7", "FAILED")]);
    server.restart().await;
    until("redis is back", async || sidecar.login("7", &[]).await.status == "COMPLETED").await;
    assert!(sidecar.probe("/readyz").await.1.contains("store: up"));
}

#[tokio::test]
async fn a_reload_takes_effect_and_a_bad_one_does_not() {
    let origin = backend().await;
    let good = config("store: memory", &origin);
    let sidecar = Sidecar::start(&good).await;
    assert_eq!(sidecar.login("7", &[]).await.status, "COMPLETED");

    sidecar.reconfigure("entities: [nonsense");
    until("the bad file is told", async || sidecar.probe("/metrics").await.1.contains("hydrant_config_stale 1")).await;
    assert_eq!(sidecar.login("8", &[]).await.status, "COMPLETED");

    sidecar.reconfigure(&format!("{good}\nenabled: {{ all: false }}\n"));
    until("the switch is off", async || sidecar.login("9", &[]).await.status == "DISABLED").await;
    until("the good file is told", async || sidecar.probe("/metrics").await.1.contains("hydrant_config_stale 0")).await;
}

#[tokio::test]
async fn a_stop_lets_calls_end_and_a_second_signal_does_not() {
    let origin = backend().await;
    let slow = Answer::After(Duration::from_millis(400), Box::new(Answer::Json("1".to_owned())));
    origin.on("/slow/*", slow);
    let mut sidecar = Sidecar::start(&config("store: memory", &origin)).await;
    let client = sidecar.client().await;
    let ask = login("7", &[("slow", "1")]);
    let call = async { client.prehydrate(ask).await.expect("served to its end").status };
    let stop = async {
        until("the call is under way", async || origin.calls("/slow/") == 1).await;
        sidecar.signal("TERM");
        sidecar.ended().await.code()
    };
    assert_eq!(tokio::join!(call, stop), ("COMPLETED".to_owned(), Some(0)));

    origin.on("/slow/*", Answer::Hang);
    let mut sidecar = Sidecar::start(&config("store: memory", &origin)).await;
    let client = sidecar.client().await;
    let call = client.prehydrate(login("7", &[("slow", "2")]));
    let cut = async {
        until("the call is under way", async || origin.calls("/slow/2") == 1).await;
        sidecar.signal("TERM");
        until("it drains", async || sidecar.line("stopping").is_some()).await;
        sidecar.signal("TERM");
        sidecar.ended().await.code()
    };
    let (answer, code) = tokio::join!(call, cut);
    assert_eq!(code, Some(143));
    assert_eq!(answer.expect_err("cut off").fault(), Fault::Unreachable);
}

#[tokio::test]
async fn no_secret_is_told_to_logs_or_metrics() {
    let (server, origin) = (RedisServer::start_with_password("canary-password", &[]).await, backend().await);
    let store = format!(
        "redis: {{ mode: standalone, nodes: [\"redis://127.0.0.1:{}\"], password: \"${{REDIS_PASSWORD}}\" }}",
        server.port
    );
    let env = [("REDIS_PASSWORD", "canary-password"), ("HYDRANT__LOG__LEVEL", "trace")];
    let sidecar = Sidecar::start_with(&config(&store, &origin), &env).await;
    assert_eq!(sidecar.login("canary-user", &[("role", "canary-role")]).await.status, "COMPLETED");
    let told = [sidecar.log(), sidecar.probe("/metrics").await.1, sidecar.probe("/readyz").await.1].concat();
    for canary in ["canary-password", "session-of-canary-user", "canary-user", "canary-role", "Ada", "hashed_password"]
    {
        assert!(!told.contains(canary), "{canary} was told:\n{told}");
    }
    let dump = server.dump();
    for canary in ["session-of-canary-user", "hashed_password", "$2b$12$"] {
        assert!(!dump.contains(canary), "{canary} is in redis");
    }
}

#[tokio::test]
async fn a_unix_socket_serves_beside_tcp() {
    let (origin, folder) = (backend().await, tempfile::tempdir().expect("a temporary folder"));
    let socket = folder.path().join("hydrant.sock");
    let config = format!("{}\nlisten: {{ socket: \"{}\" }}\n", config("store: memory", &origin), socket.display());
    let sidecar = Sidecar::start(&config).await;
    let unix = Client::connect(&format!("unix:{}", socket.display()), Duration::from_secs(5))
        .await
        .expect("the socket answers");
    let ask = |mode| Ask { mode, ..login("7", &[]) };
    assert_eq!(unix.prehydrate(ask(Mode::Completed)).await.expect("served").status, "COMPLETED");
    assert_eq!(outcomes(&sidecar.login("7", &[]).await), [("p:user:7", "FRESH")]);
}

#[tokio::test]
async fn bad_requests_name_the_field_and_write_nothing() {
    let (server, origin) = (RedisServer::start().await, backend().await);
    let sidecar = Sidecar::start(&config(&redis(&server), &origin)).await;
    let refused = |members: &'static [(&'static str, &'static str)]| {
        let sidecar = &sidecar;
        async move { sidecar.client().await.prehydrate(login("7", members)).await.expect_err("refused") }
    };
    for (members, path) in [
        (&[("role", "a{b")][..], "members[0].params.id"),
        (&[("role", "1"), ("nobody", "1")][..], "members[1].entity"),
        (&[("role", "")][..], "members[0].params.id"),
        (&[("role", "a\nb")][..], "members[0].params.id"),
    ] {
        let error = refused(members).await;
        assert_eq!(error.fault(), Fault::Caller, "{error}");
        assert!(error.to_string().contains(path), "{error}");
    }
    let huge = "x".repeat(70 * 1024);
    let error = sidecar.client().await.prehydrate(login(&huge, &[])).await.expect_err("refused");
    assert!(matches!(error, CallError::Refused(_)), "{error}");
    let dump = server.dump();
    // The journal's parts are held from the start.
    let left: Vec<&str> = dump.lines().filter(|line| line.starts_with("p:") || line.starts_with("{p:")).collect();
    assert_eq!(left, [""; 0]);
    assert!(origin.seen().is_empty());
}

#[tokio::test]
async fn a_reload_that_does_not_concern_a_source_leaves_its_connections_alone() {
    let origin = backend().await;
    let good = config("store: memory", &origin);
    let sidecar = Sidecar::start(&good).await;
    sidecar.login("7", &[]).await;
    sidecar.reconfigure(&format!("{good}\nenabled: {{ entities: {{ slow: false }} }}\n"));
    until("the switch is off", async || {
        outcomes(&sidecar.login("7", &[("slow", "1")]).await).contains(&("p:slow:1", "DISABLED"))
    })
    .await;
    sidecar.login("8", &[]).await;
    assert_eq!(origin.connections(), 1);
}
