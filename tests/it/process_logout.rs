//! A logout through the real binary, by the very cookie that the login came with.

use hydrant::domain::pseudonym::Pseudonym;
use hydrant::domain::secret::Secret;
use hydrant::grpc::client::Who;
use hydrant::grpc::client::invalidate::{Invalidation, Target};

use crate::support::cookies::{claims, jwt};
use crate::support::origin::Origin;
use crate::support::redis::RedisServer;
use crate::support::sidecar::{Sidecar, hydrant, login_of};
use crate::support::wait::until;

const KEY: &str = "key-of-the-login-service-0000001";

/// `user` is named by the user alone, `session` by the token, which a logout finds through the tag.
fn config(server: &RedisServer, origin: &Origin) -> String {
    format!(
        r#"
group: logout
redis: {{ mode: standalone, nodes: ["redis://127.0.0.1:{}"] }}
identity: {{ cookie: {{ name: session, session: sid, format: jwt, keys: {{ "1": {{ algorithm: HS256, secret: "{KEY}" }} }} }} }}
sources:
  api: {{ http: {{ origin: "{}", auth: {{ session: bearer }} }} }}
entities:
  user: {{ key: "l:user:{{id}}", load: {{ source: api, get: "/users/{{id}}" }}, ttl: 5m, fields: {{ allow: [name] }} }}
  session:
    key: "l:session:{{token}}"
    bind: {{ token: session }}
    secret: true
    load: {{ source: api, get: "/sessions" }}
    ttl: 5m
    fields: {{ allow: [theme] }}
prehydrate: {{ always: [user, session] }}
"#,
        server.port,
        origin.url()
    )
}

fn who(user: &str) -> Who {
    Who::CookieHeader(Secret::new(format!("theme=dark; session={}", jwt("1", KEY, &claims(user)))))
}

/// Logs in until everything of this user is cached and the visit is remembered.
async fn log_in(server: &RedisServer, sidecar: &Sidecar, user: &str) {
    until("the user is cached and remembered", async || {
        sidecar.client().await.prehydrate(login_of(who(user), &[])).await.expect("served");
        standing(server, user) == [true; 3]
    })
    .await;
}

/// Whether there is the user's own key, that of the session, and the history.
fn standing(server: &RedisServer, user: &str) -> [bool; 3] {
    let history = format!("hydrant:{{logout:{}}}:history", Pseudonym::new("logout", None, user));
    let keys = [format!("l:user:{user}"), format!("l:session:session-of-{user}"), history];
    keys.map(|key| server.command(&["EXISTS", &key]) == redis::Value::Int(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_logs_out_whom_it_speaks_of_and_forget_drops_the_history() {
    let (server, origin) = (RedisServer::start().await, Origin::start().await);
    origin.json("/users/*", r#"{"name":"Ada"}"#);
    origin.json("/sessions", r#"{"theme":"dark"}"#);
    let sidecar = Sidecar::start(&config(&server, &origin)).await;
    log_in(&server, &sidecar, "7").await;
    log_in(&server, &sidecar, "8").await;
    let log_out = async |forget| {
        let asked = Invalidation::of(vec![Target::Subject { who: who("7"), forget }]);
        let answer = sidecar.client().await.invalidate(asked).await.expect("served");
        assert_eq!(answer.status, "DONE", "{answer:?}");
    };
    log_out(false).await;
    assert_eq!(standing(&server, "7"), [false, false, true], "what is known of the user stays");
    log_in(&server, &sidecar, "7").await;
    log_out(true).await;
    assert_eq!(standing(&server, "7"), [false; 3]);
    assert_eq!(standing(&server, "8"), [true; 3], "nobody else has logged out");

    let endpoint = format!("http://{}", sidecar.api);
    let cookie = jwt("1", KEY, &claims("8"));
    let args = ["invalidate", "--endpoint", &endpoint, "--cookie", "--forget", "--reason", "logout"];
    let said = hydrant(&args, &[("HYDRANT_COOKIE", &cookie)]);
    assert_eq!(said.code, Some(0), "{} {}", said.text, said.errors);
    assert_eq!(standing(&server, "8"), [false; 3]);
}
