//! What a single server can do to us, beside keeping the contract.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hydrant::domain::random::Random;
use hydrant::domain::store::{Claimed, Committed, Refusal, Store, StoreError, StoreState};
use hydrant::remote::connect::{Dial, Network, Stream};
use hydrant::remote::error::ConnectError;
use hydrant::remote::metrics::Metrics;
use hydrant::remote::{Address, Mode, build_over};
use hydrant::tasks::Tasks;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::remote_removal::everything;
use crate::support::redis::RedisServer;
use crate::support::store::{Rig, TTL, claim, claim_error, commit, config, fill, key, miss, value};
use crate::support::wait::until;

async fn rig(server: &RedisServer) -> Rig {
    Rig::up(config(Mode::Standalone { address: server.address() })).await
}

#[tokio::test]
async fn a_reconnect_voids_the_claim() {
    let server = RedisServer::start().await;
    let rig = rig(&server).await;
    let key = key("k");
    let held = claim(&*rig.store, miss(&key)).await;
    server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    // The guard still stands and the server is well: only the connection is another.
    until("a new connection", async || rig.store.read(std::slice::from_ref(&key)).await.is_ok()).await;
    until("the old one noticed", async || rig.metric("hydrant_redis_connections_lost_total") == 1).await;
    assert_eq!(commit(held, "v", TTL).await, Ok(Committed::Fenced));
    assert_eq!(value(&*rig.store, &key).await, None);
    assert!(matches!(rig.store.claim(miss(&key)).await, Ok(Claimed::InFlight { .. })));
}

#[tokio::test]
async fn a_server_that_appears_later_is_found() {
    let mut server = RedisServer::start().await;
    server.kill();
    let rig = Rig::new(config(Mode::Standalone { address: server.address() }));
    assert_eq!(rig.store.state(), StoreState::Down);
    assert_eq!(claim_error(&*rig.store, miss(&key("k"))).await, Some(StoreError::Unreachable));
    until("a breaker that is open", async || rig.metric("hydrant_redis_breaker_opened_total") > 0).await;
    let health = rig.store.health();
    assert_eq!(health.len(), 1);
    assert_eq!(health[0].trouble, Some(StoreError::Unreachable));

    server.restart().await;
    rig.wait_until_up().await;
    assert_eq!(fill(&*rig.store, &key("k"), "v").await, Ok(Committed::Written));
}

#[tokio::test]
async fn a_full_server_refuses_fills_and_takes_removals() {
    let server = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]).await;
    let rig = rig(&server).await;
    let (filled, other, held) = (key("filled"), key("other"), key("held"));
    fill(&*rig.store, &filled, "v").await.expect("filled");
    let (first, second) = (claim(&*rig.store, miss(&held)).await, claim(&*rig.store, miss(&other)).await);

    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let full = StoreError::Refused(Refusal::OutOfMemory);
    assert_eq!(claim_error(&*rig.store, miss(&key("new"))).await, Some(full));
    assert_eq!(commit(first, "v", TTL).await, Err(full));
    assert_eq!(second.abort().await, Ok(()));
    assert_eq!(rig.store.remove(&[filled, held.clone()]).await, Ok(1));
    assert_eq!(rig.store.state(), StoreState::Up);

    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    for key in [held, other] {
        assert_eq!(fill(&*rig.store, &key, "v").await, Ok(Committed::Written));
    }
}

#[tokio::test]
async fn functions_lost_to_a_flush_are_loaded_again() {
    let server = RedisServer::start().await;
    let rig = rig(&server).await;
    let key = key("k");
    let held = claim(&*rig.store, miss(&key)).await;
    server.command(&["FUNCTION", "FLUSH"]);
    assert_eq!(commit(held, "v", TTL).await, Ok(Committed::Written));
    assert_eq!(value(&*rig.store, &key).await.as_deref(), Some("v"));
}

#[tokio::test]
async fn functions_that_cannot_be_loaded_are_told() {
    let server = RedisServer::start().await;
    // Two libraries of one server cannot have functions of one name.
    let other = "#!lua name=other\nredis.register_function('hydrant_v3_commit', function() return 1 end)";
    server.command(&["FUNCTION", "LOAD", other]);
    let rig = rig(&server).await;
    let missing = StoreError::Refused(Refusal::NoFunctions);
    assert_eq!(claim_error(&*rig.store, miss(&key("k"))).await, Some(missing));
    assert!(rig.store.health()[0].functions_missing);
    let loads = || server.text(&["INFO", "commandstats"]).matches("cmdstat_function|load:calls=2,").count();
    assert_eq!(claim_error(&*rig.store, miss(&key("k"))).await, Some(missing));
    assert_eq!(loads(), 1, "ours was tried once, and then left for a while");
}

#[tokio::test]
async fn a_key_of_another_type_is_refused() {
    let server = RedisServer::start().await;
    let rig = rig(&server).await;
    let key = key("list");
    server.command(&["LPUSH", "list", "x"]);
    server.command(&["EXPIRE", "list", "5"]);
    let wrong = StoreError::Refused(Refusal::WrongType);
    assert_eq!(claim_error(&*rig.store, crate::support::store::refresh(&key)).await, Some(wrong));
    assert_eq!(server.text(&["EXISTS", "{list}:g"]), "0", "no claim is left behind");
    assert_eq!(rig.store.read(std::slice::from_ref(&key)).await, Err(wrong));
    assert_eq!(rig.store.remove(&[key]).await, Ok(1));
}

/// Makes a server look like one from before functions.
struct Older(Network, Tasks);

impl Dial for Older {
    fn dial<'a>(&'a self, to: &'a Address) -> BoxFuture<'a, Result<Box<dyn Stream>, ConnectError>> {
        async move {
            let mut server = self.0.dial(to).await?;
            let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
            self.1.until_stop(async move {
                let (mut up, mut down) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
                loop {
                    tokio::select! {
                        biased;
                        read = server.read(&mut down) => {
                            let Ok(count @ 1..) = read else { return };
                            let mut bytes = down[..count].to_vec();
                            if let Some(at) = bytes.windows(9).position(|seen| seen == b"version\r\n") {
                                // "$6\r\n7.0.15\r\n": the major number is four bytes further on.
                                let digit = bytes[at..].iter().position(|byte| *byte == b'.').map(|dot| at + dot - 1);
                                bytes[digit.expect("a version")] = b'6';
                            }
                            if theirs.write_all(&bytes).await.is_err() { return }
                        }
                        read = theirs.read(&mut up) => {
                            let Ok(count @ 1..) = read else { return };
                            if server.write_all(&up[..count]).await.is_err() { return }
                        }
                    }
                }
            });
            Ok(Box::new(ours) as Box<dyn Stream>)
        }
        .boxed()
    }
}

#[tokio::test]
async fn a_server_without_functions_gets_scripts() {
    let server = RedisServer::start().await;
    let (tasks, _deaths) = Tasks::new();
    let dial = Arc::new(Older(Network { tls: None }, tasks.clone()));
    let config = config(Mode::Standalone { address: server.address() });
    let store = build_over(dial, config, &tasks, Random::from_seed(1), Metrics::register(&mut Registry::default()));
    let key = key("k");
    let held = claim(&*store, miss(&key)).await;
    server.command(&["SCRIPT", "FLUSH"]);
    assert_eq!(commit(held, "v", TTL).await, Ok(Committed::Written));
    assert!(server.text(&["INFO", "commandstats"]).contains("cmdstat_evalsha"));
    assert!(!server.text(&["INFO", "commandstats"]).contains("cmdstat_fcall"));
    assert_eq!(store.remove(&[key]).await, Ok(1));
    everything(&store, &server).await;
    assert!(!server.text(&["INFO", "commandstats"]).contains("cmdstat_fcall"));
}

#[tokio::test]
async fn a_server_that_hangs_is_left_alone_and_comes_back() {
    let server = RedisServer::start().await;
    let rig = rig(&server).await;
    server.hang();
    until("a store that is down", async || {
        let _ = rig.store.read(&[key("k")]).await;
        rig.store.state() == StoreState::Down
    })
    .await;
    let started = tokio::time::Instant::now();
    rig.store.read(&[key("k")]).await.expect_err("left alone");
    assert!(started.elapsed() < Duration::from_millis(200), "refused at once: {:?}", started.elapsed());
    server.resume();
    rig.wait_until_up().await;
    assert_eq!(fill(&*rig.store, &key("k"), "v").await, Ok(Committed::Written));
}
