//! What a source's word against somebody ends: a session that it refuses, an answer about somebody else.

use std::time::Duration;

use futures_util::future::join;
use hydrant::grpc::client::Answer;

use crate::support::origin::{Answer as Says, Origin};
use crate::support::redis::RedisServer;
use crate::support::sidecar::{Sidecar, login};
use crate::support::wait::until;

/// Three things of a user's, one under two keys and one that names its owner, and one that is everybody's.
fn shop(server: &RedisServer, origin: &Origin) -> String {
    format!(
        r#"
group: refused
redis: {{ mode: standalone, nodes: ["redis://127.0.0.1:{}"] }}
sources:
  api: {{ http: {{ origin: "{}", auth: {{ session: bearer }} }} }}
entities:
  profile:
    key: "r:profile:{{id}}"
    aliases: {{ email: {{ key: "r:mail:{{email}}" }} }}
    load: {{ source: api, get: "/profile/{{id}}" }}
    ttl: 5m
    fields: {{ allow: ["*"] }}
  orders: {{ key: "r:orders:{{id}}", load: {{ source: api, get: "/orders/{{id}}" }}, ttl: 5m, fields: {{ allow: ["*"] }} }}
  wishlist: {{ key: "r:wishlist:{{id}}", load: {{ source: api, get: "/wishlist/{{id}}" }}, ttl: 5m, fields: {{ allow: ["*"] }} }}
  account:
    key: "r:account:{{id}}"
    owner: $.user.id
    load: {{ source: api, get: "/account/{{id}}" }}
    ttl: 5m
    fields: {{ allow: [plan] }}
  session:
    key: "r:session:{{token}}"
    bind: {{ token: session }}
    secret: true
    owner: $.userId
    load: {{ source: api, get: "/session" }}
    ttl: 5m
    fields: {{ allow: [roles] }}
  product:
    key: "r:product:{{id}}"
    scope: shared
    load: {{ source: api, get: "/product/{{id}}", credential: service }}
    ttl: 5m
    fields: {{ allow: ["*"] }}
"#,
        server.port,
        origin.url()
    )
}

fn outcomes(answer: &Answer) -> Vec<(&str, &str)> {
    let mut lines: Vec<(&str, &str)> =
        answer.resources.iter().map(|line| (line.key.as_str(), line.outcome.as_str())).collect();
    lines.sort_unstable();
    lines
}

#[tokio::test]
async fn a_refused_session_ends_its_plan_and_what_the_plan_wrote_goes() {
    let (server, origin) = (RedisServer::start().await, Origin::start().await);
    origin.json("/profile/*", r#"{"email":"ann@x.org"}"#);
    origin.json("/product/*", r#"{"name":"lamp"}"#);
    origin.on("/wishlist/*", Says::Hang);
    origin.on("/orders/*", Says::After(Duration::from_millis(700), Box::new(Says::Status(401))));
    let sidecar = Sidecar::start(&shop(&server, &origin)).await;
    let members = [("profile", "7"), ("orders", "7"), ("wishlist", "7"), ("product", "1")];
    let exists = |key: &str| server.text(&["EXISTS", key]) == "1";

    let written = async {
        until("the first answers are written", async || exists("r:profile:7") && exists("r:mail:ann@x.org")).await;
    };
    let (answer, ()) = join(sidecar.login("7", &members), written).await;
    assert_eq!(
        outcomes(&answer),
        [("r:orders:7", "DENIED"), ("r:product:1", "FILLED"), ("r:profile:7", "DENIED"), ("r:wishlist:7", "DENIED"),]
    );
    for key in ["r:profile:7", "r:mail:ann@x.org", "r:orders:7", "r:wishlist:7"] {
        assert!(!exists(key), "{key}");
    }
    assert!(exists("r:product:1"), "it was loaded without the session");

    origin.json("/orders/*", "{}");
    origin.json("/wishlist/*", "{}");
    let again = sidecar.login("7", &members).await;
    assert_eq!(again.resources.iter().filter(|line| line.outcome == "FILLED").count(), 3, "{:?}", again.resources);
    assert!(exists("r:mail:ann@x.org") && exists("r:wishlist:7"));
}

#[tokio::test]
async fn a_credential_of_the_sidecars_own_that_is_refused_costs_only_its_entry() {
    let (server, origin) = (RedisServer::start().await, Origin::start().await);
    origin.json("/profile/*", r#"{"email":"ann@x.org"}"#);
    origin.on("/product/*", Says::Status(403));
    let sidecar = Sidecar::start(&shop(&server, &origin)).await;
    let answer = sidecar.login("7", &[("profile", "7"), ("product", "1")]).await;
    assert_eq!(outcomes(&answer), [("r:product:1", "DENIED"), ("r:profile:7", "FILLED")]);
}

#[tokio::test]
async fn an_answer_about_somebody_else_is_not_kept() {
    let (server, origin) = (RedisServer::start().await, Origin::start().await);
    let sidecar = Sidecar::start(&shop(&server, &origin)).await;
    for (answer, outcome) in [
        (r#"{"user":{"id":"8"},"plan":"gold"}"#, "DENIED"),
        (r#"{"user":{},"plan":"gold"}"#, "DENIED"),
        (r#"{"user":{"id":"7"},"user":{"id":"8"},"plan":"gold"}"#, "DENIED"),
        (r#"{"user":{"id":7},"plan":"gold"}"#, "FILLED"),
    ] {
        origin.json("/account/*", answer);
        assert_eq!(outcomes(&sidecar.login("7", &[("account", "7")]).await), [("r:account:7", outcome)], "{answer}");
        assert_eq!(server.text(&["EXISTS", "r:account:7"]) == "1", outcome == "FILLED", "{answer}");
    }
    assert_eq!(server.text(&["GET", "r:account:7"]), r#"{"plan":"gold"}"#);
}

#[tokio::test]
async fn where_the_key_does_not_tell_whose_it_is_the_login_does() {
    let (server, origin) = (RedisServer::start().await, Origin::start().await);
    let sidecar = Sidecar::start(&shop(&server, &origin)).await;
    let ask = || {
        let mut ask = login("7", &[("session", "x")]);
        ask.members.iter_mut().for_each(|member| member.params.clear());
        ask
    };
    for (answer, outcome) in
        [(r#"{"userId":"8","roles":["admin"]}"#, "DENIED"), (r#"{"userId":"7","roles":["reader"]}"#, "FILLED")]
    {
        origin.json("/session", answer);
        let said = sidecar.client().await.prehydrate(ask()).await.expect("served");
        assert_eq!(said.resources.iter().map(|line| line.outcome.as_str()).collect::<Vec<_>>(), [outcome]);
    }
    assert_eq!(server.text(&["GET", "r:session:session-of-7"]), r#"{"roles":["reader"]}"#);
}
