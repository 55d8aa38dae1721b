//! The probe port: what it answers, that it answers while everything else is stuck, and nothing beside it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use hydrant::admin::metrics::Page;
use hydrant::admin::{self, Admin, Probes};
use hydrant::domain::clock::Clock;
use hydrant::domain::phase::{self, Phase};
use hydrant::domain::random::Random;
use hydrant::grpc::health;
use hydrant::local;
use hydrant::local::memory::MemoryStore;
use hydrant::telemetry;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::support::door::{Setup, login};
use crate::support::wait::LONGEST;

fn start(phase: watch::Receiver<Phase>, registry: Registry) -> Admin {
    let store = Arc::new(MemoryStore::new(local::Config { bytes: 1 << 10, items: 10 }, Random::from_seed(1)));
    let config = admin::Config { probes: SocketAddr::from(([127, 0, 0, 1], 0)) };
    let probes = Probes { phase: phase.clone(), store: store.clone() };
    admin::start(config, probes, Page::new(registry, store), health::routes(phase)).expect("a free port")
}

/// One request over a plain socket: no runtime is needed to probe.
fn get(address: SocketAddr, path: &str) -> String {
    ask(address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
}

fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("listens");
    stream.set_read_timeout(Some(LONGEST)).expect("a time");
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn code(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test]
async fn probes_follow_the_process_through_its_life() {
    let (set, phase) = phase::channel();
    let admin = start(phase, Registry::default());
    for (now, ready, started) in
        [(Phase::Starting, "503", "503"), (Phase::Serving, "200", "200"), (Phase::Stopping, "503", "200")]
    {
        set.send_replace(now);
        assert_eq!(code(&get(admin.address(), "/livez")), "200", "{now:?}");
        assert_eq!(code(&get(admin.address(), "/readyz")), ready, "{now:?}");
        assert_eq!(code(&get(admin.address(), "/startupz")), started, "{now:?}");
    }
    assert!(get(admin.address(), "/readyz").ends_with("stopping\nstore: up\n"));
    admin.stop().await;
}

#[tokio::test]
async fn nothing_else_is_served() {
    let (_set, phase) = phase::channel();
    let admin = start(phase, Registry::default());
    for path in ["/", "/metrics/", "/debug", "/hydrant.v1.CacheControlService/Prehydrate"] {
        assert_eq!(code(&get(admin.address(), path)), "404", "{path}");
    }
    assert_eq!(code(&ask(admin.address(), "POST /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")), "405");
    let flood = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx-flood: {}\r\n\r\n", "f".repeat(64 * 1024));
    assert_ne!(code(&ask(admin.address(), &flood)), "200");
    assert_eq!(code(&get(admin.address(), "/livez")), "200");
}

#[tokio::test]
async fn the_port_closes_when_it_is_stopped() {
    let (_set, phase) = phase::channel();
    let admin = start(phase, Registry::default());
    let address = admin.address();
    admin.stop().await;
    assert!(TcpStream::connect(address).is_err());
}

#[tokio::test]
async fn grpc_health_is_told_on_the_probe_port_too() {
    let (set, phase) = phase::channel();
    let admin = start(phase, Registry::default());
    let endpoint = Channel::from_shared(format!("http://{}", admin.address())).expect("an address");
    let mut health = HealthClient::new(endpoint.connect().await.expect("listens"));
    for (now, expected) in [(Phase::Starting, ServingStatus::NotServing), (Phase::Serving, ServingStatus::Serving)] {
        set.send_replace(now);
        let told = health.check(HealthCheckRequest::default()).await.expect("served").into_inner();
        assert_eq!(told.status(), expected);
    }
    admin.stop().await;
}

#[test]
fn probes_answer_while_the_main_runtime_is_stuck() {
    let (set, phase) = phase::channel();
    set.send_replace(Phase::Serving);
    let admin = start(phase, Registry::default());
    let main = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let (stuck, is_stuck) = mpsc::channel();
    let (free, wait) = mpsc::channel::<()>();
    main.block_on(async {
        let (tasks, _deaths) = hydrant::tasks::Tasks::new();
        drop(tasks.finish(async move {
            stuck.send(()).expect("heard");
            // Holds the only worker until the test lets go.
            let _ = wait.recv_timeout(LONGEST);
        }));
    });
    is_stuck.recv_timeout(LONGEST).expect("the worker took the task");
    for path in ["/livez", "/readyz", "/startupz", "/metrics"] {
        assert_eq!(code(&get(admin.address(), path)), "200", "{path}");
    }
    free.send(()).expect("still waiting");
    main.shutdown_timeout(Duration::from_secs(5));
}

#[tokio::test]
async fn what_was_counted_is_scraped() {
    let mut door = Setup::default().start().await;
    door.client().await.prehydrate(login()).await.expect("served");
    let mut registry = telemetry::metrics::registry(Clock::System);
    hydrant::grpc::metrics::Metrics::register(&mut registry);
    let registry = door.registry.take().unwrap_or(registry);
    let admin = start(door.phase.subscribe(), registry);
    let page = get(admin.address(), "/metrics");
    assert!(page.contains("content-type: application/openmetrics-text; version=1.0.0"), "{page}");
    for line in [
        "hydrant_grpc_calls_total{rpc=\"Prehydrate\",code=\"OK\"} 1",
        "hydrant_grpc_call_duration_seconds_count{rpc=\"Prehydrate\"} 1",
        "hydrant_grpc_connections 1",
        "hydrant_store_state{state=\"up\"} 1",
        "# EOF",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} in\n{page}");
    }
    admin.stop().await;
}
