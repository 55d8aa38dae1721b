//! Logins by cookie through the real binary: who is let in, who is not, and how keys are changed under way.

use hydrant::domain::secret::Secret;
use hydrant::grpc::client::{CallError, Fault, Who};

use crate::support::cookies::{claims, encrypted, jwt};
use crate::support::origin::Origin;
use crate::support::redis::RedisServer;
use crate::support::sidecar::{Sidecar, hydrant, login_of};
use crate::support::wait::until;

const KEY: &str = "canary-key-of-the-login-service-0001";
const NEXT: &str = "canary-key-of-the-login-service-0002";
const SEAL: &str = "canary-seal-of-thirty-two-bytes!";

/// Fills `user` at every login, for whomever the cookie `session` speaks of.
fn config(server: &RedisServer, origin: &Origin, cookie: &str) -> String {
    format!(
        r#"
group: test
redis: {{ mode: standalone, nodes: ["redis://127.0.0.1:{}"] }}
identity: {{ cookie: {{ name: session, session: sid, {cookie} }} }}
sources:
  api: {{ http: {{ origin: "{}", auth: {{ session: bearer }} }} }}
entities:
  user: {{ key: "k:user:{{id}}", load: {{ source: api, get: "/users/{{id}}" }}, ttl: 5m, fields: {{ allow: [name] }} }}
prehydrate: {{ always: [user] }}
"#,
        server.port,
        origin.url()
    )
}

fn jwt_keys(keys: &[(&str, &str)]) -> String {
    let key = |(id, secret): &(&str, &str)| format!("\"{id}\": {{ algorithm: HS256, secret: \"{secret}\" }}");
    format!("format: jwt, keys: {{ {} }}", keys.iter().map(key).collect::<Vec<_>>().join(", "))
}

async fn backend() -> (RedisServer, Origin) {
    let (server, origin) = (RedisServer::start().await, Origin::start().await);
    origin.json("/users/*", r#"{"name":"Ada"}"#);
    (server, origin)
}

fn header(cookie: &str) -> Who {
    Who::CookieHeader(Secret::new(format!("theme=dark; session={cookie}; lang=en")))
}

fn value(cookie: &str) -> Who {
    Who::CookieValue(Secret::new(cookie))
}

async fn status(sidecar: &Sidecar, who: Who) -> Result<String, CallError> {
    sidecar.client().await.prehydrate(login_of(who, &[])).await.map(|answer| answer.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_logs_its_user_in_with_the_session_it_carries() {
    let (server, origin) = backend().await;
    let sidecar = Sidecar::start(&config(&server, &origin, &jwt_keys(&[("1", KEY)]))).await;
    let answer = status(&sidecar, header(&jwt("1", KEY, &claims("7")))).await.expect("accepted");
    assert_eq!(answer, "COMPLETED");
    assert_eq!(origin.seen()[0].headers["authorization"], "Bearer session-of-7");
    assert!(server.dump().contains("k:user:7"));
    let endpoint = format!("http://{}", sidecar.api);
    let cookie = jwt("1", KEY, &claims("8"));
    let given = hydrant(&["prehydrate", "--endpoint", &endpoint, "--cookie", &cookie, "--wait"], &[]);
    assert!(given.text.contains("k:user:8  FILLED"), "{} {}", given.text, given.errors);
    let from_environment = hydrant(&["prehydrate", "--endpoint", &endpoint, "--wait"], &[("HYDRANT_COOKIE", &cookie)]);
    assert!(from_environment.text.contains("k:user:8  FRESH"), "{}", from_environment.text);
    let nobody = hydrant(&["prehydrate", "--endpoint", &endpoint], &[]);
    assert_eq!(nobody.code, Some(64));
    assert!(nobody.errors.contains("--cookie"), "{}", nobody.errors);
}

#[tokio::test]
async fn a_sealed_cookie_logs_its_user_in() {
    let (server, origin) = backend().await;
    let cookie = format!("format: encrypted, keys: {{ a: \"{SEAL}\" }}");
    let sidecar = Sidecar::start(&config(&server, &origin, &cookie)).await;
    assert_eq!(status(&sidecar, value(&encrypted("a", SEAL, &claims("7")))).await.expect("accepted"), "COMPLETED");
    assert_eq!(origin.seen()[0].headers["authorization"], "Bearer session-of-7");
    assert!(server.dump().contains("k:user:7"));
}

#[tokio::test]
async fn a_forged_cookie_is_refused_and_leaves_no_trace() {
    let (server, origin) = backend().await;
    let sidecar = Sidecar::start(&config(&server, &origin, &jwt_keys(&[("1", KEY)]))).await;
    let mut expired = claims("7");
    expired["exp"] = 1_000_000_000.into();
    let forged = [
        header(&jwt("1", NEXT, &claims("7"))),
        header(&jwt("2", KEY, &claims("7"))),
        header(&jwt("1", KEY, &expired)),
        value("nonsense"),
        Who::CookieHeader(Secret::new("theme=dark")),
    ];
    let mut told = Vec::new();
    for who in forged {
        let error = status(&sidecar, who).await.expect_err("refused");
        assert_eq!(error.fault(), Fault::NotAllowed, "{error}");
        told.push(error.to_string());
    }
    told.dedup();
    assert_eq!(told, ["UNAUTHENTICATED: the caller, or the cookie it passed on, was not accepted"]);
    let metrics = sidecar.probe("/metrics").await.1;
    for result in ["signature", "unknown_key", "expired", "malformed", "missing"] {
        assert!(metrics.contains(&format!("hydrant_prehydrate_cookies_total{{result=\"{result}\"}} 1")), "{result}");
    }
    // A sidecar at rest holds its parts of the journal, and nothing else.
    let keys: Vec<String> = redis::from_redis_value(server.command(&["KEYS", "*"])).expect("keys");
    let left: Vec<&String> = keys.iter().filter(|key| !key.starts_with("hydrant:{test:journal:")).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(origin.seen().is_empty());
}

#[tokio::test]
async fn keys_are_changed_while_logins_run_and_none_is_refused() {
    let (server, origin) = backend().await;
    let at = |keys: &[(&str, &str)]| config(&server, &origin, &jwt_keys(keys));
    let sidecar = Sidecar::start(&at(&[("5", KEY)])).await;
    let accepted = async |cookie: &str| status(&sidecar, header(cookie)).await.is_ok();
    let (old, new) = (jwt("5", KEY, &claims("7")), jwt("4", NEXT, &claims("8")));
    assert!(accepted(&old).await && !accepted(&new).await);

    // The new key comes first in the order of ids, so that every other key moves.
    let client = sidecar.client().await;
    let running = async {
        until("the new key is in", async || {
            client.prehydrate(login_of(header(&old), &[])).await.expect("the old cookie holds throughout");
            accepted(&new).await
        })
        .await;
        for _ in 0..100 {
            client.prehydrate(login_of(header(&old), &[])).await.expect("the old cookie holds as well");
            client.prehydrate(login_of(header(&new), &[])).await.expect("the new cookie holds from then on");
        }
    };
    let reload = async { sidecar.reconfigure(&at(&[("4", NEXT), ("5", KEY)])) };
    tokio::join!(running, reload);

    sidecar.reconfigure(&at(&[("4", NEXT)]));
    until("the old key is out", async || {
        client.prehydrate(login_of(header(&new), &[])).await.expect("the new cookie holds throughout");
        !accepted(&old).await
    })
    .await;
}

#[tokio::test]
async fn nothing_of_a_cookie_is_told_to_logs_or_metrics() {
    let (server, origin) = backend().await;
    let config = config(&server, &origin, &jwt_keys(&[("1", "${COOKIE_KEY}")]));
    let env = [("COOKIE_KEY", KEY), ("HYDRANT__LOG__LEVEL", "trace")];
    let sidecar = Sidecar::start_with(&config, &env).await;
    let good = jwt("1", KEY, &claims("canary-user"));
    let forged = jwt("1", NEXT, &claims("canary-forger"));
    status(&sidecar, header(&good)).await.expect("accepted");
    status(&sidecar, value(&good)).await.expect("accepted");
    for who in [header(&forged), value(&forged), value("canary-nonsense")] {
        status(&sidecar, who).await.expect_err("refused");
    }
    until("the refusal is told by its cause", async || sidecar.log().contains(r#""why":"signature""#)).await;
    let told = [sidecar.log(), sidecar.probe("/metrics").await.1].concat();
    let parts = good.split('.').chain(forged.split('.'));
    for canary in parts.chain(["canary", "session-of-"]) {
        assert!(!told.contains(canary), "{canary} was told:\n{told}");
    }
}

#[tokio::test]
async fn a_cookie_where_none_is_configured_is_told_so() {
    let (server, origin) = backend().await;
    let all = config(&server, &origin, "format: jwt");
    let without: Vec<&str> = all.lines().filter(|line| !line.starts_with("identity:")).collect();
    let sidecar = Sidecar::start(&without.join("\n")).await;
    let error = status(&sidecar, value("a.b.c")).await.expect_err("refused");
    assert_eq!(error.fault(), Fault::No);
    assert!(error.to_string().contains("cookie_value: no cookie is configured"), "{error}");
}
