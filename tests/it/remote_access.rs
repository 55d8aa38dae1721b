//! Who may connect and what they may do: passwords, ACL users, TLS.

use hydrant::domain::secret::{Secret, SecretCell};
use hydrant::domain::store::{Committed, Refusal, Store, StoreError, StoreState};
use hydrant::remote::{Auth, Config, Mode, Tls};

use crate::support::certificates::Certificates;
use crate::support::redis::{RedisCluster, RedisServer};
use crate::support::store::{Rig, claim_error, config, fill, key, miss, value};
use crate::support::wait::until;

fn password(text: &str) -> SecretCell {
    SecretCell::new(Secret::new(text))
}

fn standalone(server: &RedisServer, auth: Auth) -> Config {
    Config { auth: Some(auth), ..config(Mode::Standalone { address: server.address() }) }
}

#[tokio::test]
async fn a_wrong_password_is_named_and_a_new_one_is_followed() {
    let server = RedisServer::start_with_password("right", &[]).await;
    let cell = password("wrong");
    let rig = Rig::new(standalone(&server, Auth { username: None, password: cell.clone() }));
    let wrong = StoreError::Refused(Refusal::BadCredentials);
    until("a named trouble", async || claim_error(&*rig.store, miss(&key("k"))).await == Some(wrong)).await;
    assert_eq!(rig.store.state(), StoreState::Down);
    cell.set(Secret::new("right"));
    rig.wait_until_up().await;
    assert_eq!(fill(&*rig.store, &key("k"), "v").await, Ok(Committed::Written));
}

#[tokio::test]
async fn a_rotated_password_is_followed_at_the_next_connect() {
    let server = RedisServer::start().await;
    server.command(&["ACL", "SETUSER", "app", "on", ">old", "~*", "+@all"]);
    let cell = password("old");
    let rig = Rig::up(standalone(&server, Auth { username: Some("app".to_owned()), password: cell.clone() })).await;
    server.command(&["ACL", "SETUSER", "app", "resetpass", ">new"]);
    cell.set(Secret::new("new"));
    assert_eq!(fill(&*rig.store, &key("k"), "v").await, Ok(Committed::Written), "the old connection lives on");
    server.command(&["CLIENT", "KILL", "USER", "app"]);
    until("a new connection", async || value_or_none(&rig).await.as_deref() == Some("v")).await;
}

async fn value_or_none(rig: &Rig) -> Option<String> {
    let held = rig.store.read(&[key("k")]).await.ok()?.pop()??;
    Some(String::from_utf8_lossy(&held.value).into_owned())
}

/// What the sidecar's own user needs for fills, reads and invalidations on a single server. A function may do only what its
/// caller may, so the commands inside count too.
pub const RIGHTS: [&str; 24] = [
    "on",
    ">pw",
    "~*",
    "-@all",
    "+fcall",
    "+get",
    "+set",
    "+del",
    "+exists",
    "+pttl",
    "+pexpire",
    "+ping",
    "+info",
    "+time",
    "+wait",
    "+zadd",
    "+zcard",
    "+zcount",
    "+zrange",
    "+zrangebyscore",
    "+zrem",
    "+zremrangebyscore",
    "+zscan",
    "+zscore",
];

#[tokio::test]
async fn a_user_that_may_not_load_functions_uses_installed_ones() {
    let server = RedisServer::start().await;
    server.command(&[&["ACL", "SETUSER", "sidecar"][..], &RIGHTS].concat());
    let auth = Auth { username: Some("sidecar".to_owned()), password: password("pw") };
    let rig = Rig::up(standalone(&server, auth)).await;
    let key = key("k");

    let none = StoreError::Refused(Refusal::NoFunctions);
    assert_eq!(claim_error(&*rig.store, miss(&key)).await, Some(none));
    assert_eq!(claim_error(&*rig.store, miss(&key)).await, Some(none));
    assert!(rig.store.health()[0].functions_missing);
    server.command(&["SET", "k", "the app's"]);
    assert_eq!(rig.store.remove(std::slice::from_ref(&key)).await, Ok(1), "removal goes on");
    assert_eq!(rig.store.state(), StoreState::Up);

    // Somebody who may load them does.
    let operator = Rig::up(config(Mode::Standalone { address: server.address() })).await;
    fill(&*operator.store, &crate::support::store::key("other"), "v").await.expect("filled");
    assert_eq!(fill(&*rig.store, &key, "v").await, Ok(Committed::Written));
    assert_eq!(value(&*rig.store, &key).await.as_deref(), Some("v"));
}

#[tokio::test]
async fn a_user_that_may_not_call_functions_is_told() {
    let server = RedisServer::start().await;
    server.command(&["ACL", "SETUSER", "sidecar", "on", ">pw", "~*", "+@all", "-fcall"]);
    let auth = Auth { username: Some("sidecar".to_owned()), password: password("pw") };
    let rig = Rig::up(standalone(&server, auth)).await;
    assert_eq!(claim_error(&*rig.store, miss(&key("k"))).await, Some(StoreError::Refused(Refusal::NotAllowed)));
    assert_eq!(rig.store.remove(&[key("k")]).await, Ok(0));
    assert_eq!(rig.store.state(), StoreState::Up);
}

#[tokio::test]
async fn tls_to_a_single_server() {
    let certs = Certificates::new();
    let server = RedisServer::start_with_tls(&certs, &[]).await;
    let mode = Mode::Standalone { address: server.tls_address() };
    let rig = Rig::up(Config { tls: Some(certs.redis_client()), ..config(mode.clone()) }).await;
    assert_eq!(fill(&*rig.store, &key("k"), "v").await, Ok(Committed::Written));
    let large = "x".repeat(2 * 1024 * 1024);
    assert_eq!(fill(&*rig.store, &key("large"), &large).await, Ok(Committed::Written));
    assert_eq!(value(&*rig.store, &key("large")).await.map(|value| value.len()), Some(large.len()));

    let stranger = Certificates::new();
    let without = Tls { client: None, ..certs.redis_client() };
    for tls in [stranger.redis_client(), without] {
        let rig = Rig::new(Config { tls: Some(tls), ..config(mode.clone()) });
        until("a breaker that is open", async || rig.metric("hydrant_redis_breaker_opened_total") > 0).await;
        assert_eq!(claim_error(&*rig.store, miss(&key("k"))).await, Some(StoreError::Unreachable));
    }
}

#[tokio::test]
async fn tls_to_a_cluster() {
    let certs = Certificates::new();
    let cluster = RedisCluster::start_with_tls(&certs).await;
    let seeds = vec![cluster.nodes[0].tls_address()];
    let rig = Rig::up(Config { tls: Some(certs.redis_client()), ..config(Mode::Cluster { seeds }) }).await;
    assert_eq!(rig.store.health().len(), 3);
    for primary in 0..3 {
        let key = key(cluster.key_of(primary, "tls:"));
        assert_eq!(fill(&*rig.store, &key, "v").await, Ok(Committed::Written));
        assert_eq!(value(&*rig.store, &key).await.as_deref(), Some("v"));
    }
}
