//! The front door over real sockets: what callers are told, what peers that misbehave are allowed, how it closes.

use std::time::Duration;

use bytes::Bytes;
use hydrant::domain::key::Key;
use hydrant::domain::phase::Phase;
use hydrant::domain::store::Store;
use hydrant::grpc::Limits;
use hydrant::grpc::metrics::ConnectionEnd;
use hydrant::grpc::pb;
use hydrant::grpc::pb::cache_read_service_client::CacheReadServiceClient;
use hydrant::grpc::rpc::Rpc;
use hydrant::grpc::server::Drained;
use tokio::net::{TcpStream, UnixStream};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use crate::support::door::{Setup, login};
use crate::support::peer::{PREFACE, PREHYDRATE, Peer, frame, framed, headers, raw};
use crate::support::stub::StubSource;
use crate::support::wait::until;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

#[tokio::test]
async fn a_login_through_the_door_fills_the_apps_keys() {
    let door = Setup::default().start().await;
    door.source.found("/user/7", r#"{"name":"Ada"}"#);
    let mut request = Request::new(login());
    request.metadata_mut().insert("traceparent", PARENT.parse().expect("ascii"));
    let answer = door.client().await.prehydrate(request).await.expect("served").into_inner();
    assert_eq!(answer.status(), pb::PrehydrateStatus::Completed);
    assert_eq!(answer.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
    let [line] = &answer.outcomes[..] else { panic!("one resource: {answer:?}") };
    assert_eq!((line.key.as_str(), line.outcome()), ("user:7", pb::FillOutcome::Filled));
    let key = Key::new("user:7").expect("a good key");
    let held = door.store.read(&[key]).await.expect("memory answers").remove(0);
    assert_eq!(held.map(|held| held.value), Some(Bytes::from_static(br#"{"name":"Ada"}"#)));
    assert_eq!(door.metrics.calls(Rpc::Prehydrate, "OK"), 1);
}

#[tokio::test]
async fn what_is_not_built_says_so_with_a_stable_reason() {
    let door = Setup::default().start().await;
    let mut control = door.client().await;
    let mut read = CacheReadServiceClient::new(door.channel().await);
    let told = [
        control.stats(pb::StatsRequest::default()).await.map(drop),
        control.explain(pb::ExplainRequest::default()).await.map(drop),
        read.lookup(pb::LookupRequest::default()).await.map(drop),
        read.watch(pb::WatchRequest::default()).await.map(drop),
    ];
    for answer in told {
        let status = answer.expect_err("not built");
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unimplemented, "NOT_BUILT"));
    }
}

#[tokio::test]
async fn a_wrong_request_is_told_every_wrong_field() {
    let door = Setup::default().start().await;
    let mut control = door.client().await;
    let nobody = pb::PrehydrateRequest { mode: 77, ..Default::default() };
    let status = control.prehydrate(nobody).await.expect_err("refused");
    let bad = status.get_details_bad_request().expect("field violations");
    let paths: Vec<_> = bad.field_violations.iter().map(|v| v.field.as_str()).collect();
    assert_eq!((status.code(), paths), (Code::InvalidArgument, vec!["who", "mode"]));
    assert!(status.metadata().contains_key("hydrant-trace-id"));

    let stranger = pb::Member { entity: "stranger".into(), ..Default::default() };
    let status =
        control.prehydrate(pb::PrehydrateRequest { members: vec![stranger], ..login() }).await.expect_err("refused");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "UNKNOWN_ENTITY"));
}

#[tokio::test]
async fn bytes_that_are_no_message_are_the_callers_mistake() {
    let door = Setup::default().start().await;
    let mut peer = Peer::connect(door.address).await;
    let status = peer.call(PREHYDRATE, b"\xff\xff\xff").await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "MALFORMED_MESSAGE"));
    let status = peer.call("/hydrant.v1.CacheControlService/Nothing", b"").await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unimplemented, "NOT_BUILT"));
    let status = peer.call("/x.Y/Z", b"").await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unimplemented, "NOT_BUILT"));
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_before_it_is_here() {
    let door = Setup::default().start().await;
    let mut peer = Peer::connect(door.address).await;
    let mut call = peer.begin(PREHYDRATE, "localhost").await;
    // Its length alone; the rest never comes.
    call.body.send_data(framed(&vec![0; 64 * 1024 + 1]).slice(..5), false).expect("sent");
    let status = call.status().await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "TOO_LARGE"));

    let mut control = door.client().await;
    let large = pb::PrehydrateRequest {
        who: Some(pb::prehydrate_request::Who::CookieHeader("c".repeat(70_000))),
        ..Default::default()
    };
    let status = control.prehydrate(large).await.expect_err("refused");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "TOO_LARGE"));
    // The connection goes on.
    assert!(control.prehydrate(login()).await.is_ok());
}

#[tokio::test]
async fn a_flood_of_headers_is_refused() {
    let door = Setup::default().start().await;
    let mut control = door.client().await;
    let mut request = Request::new(login());
    request.metadata_mut().insert("x-flood", "f".repeat(32 * 1024).parse().expect("ascii"));
    control.prehydrate(request).await.expect_err("refused");
    assert!(control.prehydrate(login()).await.is_ok());
}

#[tokio::test]
async fn header_blocks_without_end_break_their_connection_only() {
    let door = Setup::default().start().await;
    let mut flood = [PREFACE, &frame(4, 0, 0, &[])].concat();
    // Never says END_HEADERS: each continuation adds to a block that is already over the limit.
    flood.extend(frame(1, 0, 1, &headers(PREHYDRATE)));
    let filler = [&[0x00, 0x01, b'a', 0x7f, 0x81, 0x7d][..], &vec![b'f'; 16_000]].concat();
    for _ in 0..64 {
        flood.extend(frame(9, 0, 1, &filler));
    }
    raw(door.address, &flood).await;
    assert!(door.client().await.prehydrate(login()).await.is_ok());
}

#[tokio::test]
async fn a_connection_too_many_is_closed_at_once_and_counted() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let door = Setup { limits, ..Setup::default() }.start().await;
    let mut first = door.client().await;
    first.prehydrate(login()).await.expect("served");
    let _second = Peer::connect(door.address).await;
    until("two connections", async || door.metrics.open_connections() == 2).await;
    assert_eq!(raw(door.address, PREFACE).await, b"");
    assert_eq!(door.metrics.connections_ended(ConnectionEnd::OverLimit), 1);
    assert!(first.prehydrate(login()).await.is_ok());
}

#[tokio::test]
async fn who_connects_and_says_nothing_is_cut_off() {
    let limits = Limits { handshake: Duration::from_millis(50), ..Limits::default() };
    let door = Setup { limits, ..Setup::default() }.start().await;
    // Ours to read are only the server's settings, and then the end.
    raw(door.address, b"PRI * HTTP").await;
    until("cut off", async || door.metrics.connections_ended(ConnectionEnd::Broken) == 1).await;
    assert_eq!(door.metrics.open_connections(), 0);
}

#[tokio::test]
async fn a_peer_that_resets_its_streams_in_a_row_is_sent_away() {
    let door = Setup::default().start().await;
    let mut storm = [PREFACE, &frame(4, 0, 0, &[])].concat();
    for stream in (1..4_000).step_by(2) {
        storm.extend(frame(1, 4, stream, &headers(PREHYDRATE)));
        storm.extend(frame(3, 0, stream, &8u32.to_be_bytes()));
    }
    // The last frame it is sent is GOAWAY, ENHANCE_YOUR_CALM; then it is closed.
    let answer = raw(door.address, &storm).await;
    assert!(answer.windows(4).any(|bytes| bytes == 11u32.to_be_bytes()), "{} bytes", answer.len());
    until("sent away", async || door.metrics.connections_ended(ConnectionEnd::Broken) == 1).await;
    assert!(door.client().await.prehydrate(login()).await.is_ok());
}

#[tokio::test]
async fn a_body_that_does_not_end_is_refused_in_time() {
    let limits = Limits { body: Duration::from_millis(50), ..Limits::default() };
    let door = Setup { limits, ..Setup::default() }.start().await;
    let mut peer = Peer::connect(door.address).await;
    let status = peer.begin(PREHYDRATE, "localhost").await.status().await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::DeadlineExceeded, "DEADLINE"));
}

#[tokio::test]
async fn a_waiting_caller_hears_what_is_done_before_its_deadline() {
    let door = Setup { source: StubSource::shut(), ..Setup::default() }.start().await;
    let mut request = Request::new(login());
    request.set_timeout(Duration::from_millis(500));
    let answer = door.client().await.prehydrate(request).await.expect("answered in time").into_inner();
    assert_eq!(answer.status(), pb::PrehydrateStatus::Partial);
    assert_eq!(answer.outcomes[0].outcome(), pb::FillOutcome::InFlight);
}

#[tokio::test]
async fn what_cannot_begin_soon_is_shed_with_a_time_to_come_back() {
    let limits = Limits { in_flight: 1, queue: Duration::from_millis(20), ..Limits::default() };
    let door = Setup { limits, source: StubSource::shut(), ..Setup::default() }.start().await;
    let mut busy = door.client().await;
    let waiting = door.tasks.until_stop(async move { drop(busy.prehydrate(login()).await) });
    until("the only place taken", async || door.metrics.calls_in_flight() == 1).await;
    let mut control = door.client().await;
    let status = control.prehydrate(login()).await.expect_err("shed");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "SHED"));
    assert!(status.get_details_retry_info().and_then(|info| info.retry_delay).is_some());
    // An invalidation has places of its own.
    let status = control.invalidate(pb::InvalidateRequest::default()).await.expect_err("names nothing");
    assert_eq!(reason(&status), "INVALID_FIELD");
    door.source.open_gate();
    waiting.await.expect("no panic");
}

#[tokio::test]
async fn a_socket_leads_to_the_same_services_whatever_the_authority_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("api.sock");
    let door = Setup { socket: Some(socket.clone()), ..Setup::default() }.start().await;
    door.source.found("/user/7", "{}");
    for authority in ["localhost", "hydrant.sock", "_", "0.0.0.0:0"] {
        let mut peer = Peer::over(UnixStream::connect(&socket).await.expect("listens")).await;
        let mut call = peer.begin(PREHYDRATE, authority).await;
        call.body.send_data(framed(&prost::Message::encode_to_vec(&login())), true).expect("sent");
        assert_eq!(call.status().await.code(), Code::Ok, "{authority}");
    }
    let endpoint = tonic::transport::Endpoint::from_shared(format!("unix:{}", socket.display())).expect("a path");
    let channel = endpoint.connect().await.expect("listens");
    let mut control = pb::cache_control_service_client::CacheControlServiceClient::new(channel);
    assert!(control.prehydrate(login()).await.is_ok());
    assert!(door.client().await.prehydrate(login()).await.is_ok());
    door.stop();
    assert_eq!(door.drained().await, Drained::Whole);
    assert!(!socket.exists());
}

#[tokio::test]
async fn calls_under_way_end_before_the_door_closes() {
    let door = Setup { source: StubSource::shut(), ..Setup::default() }.start().await;
    door.source.found("/user/7", "{}");
    let mut control = door.client().await;
    let under_way = door.tasks.finish(async move { control.prehydrate(login()).await });
    until("under way", async || !door.source.calls().is_empty()).await;
    door.stop();
    until("nobody new", async || TcpStream::connect(door.address).await.is_err()).await;
    assert_eq!(*door.phase.borrow(), Phase::Stopping);
    door.source.open_gate();
    let answer = under_way.await.expect("no panic").expect("answered").into_inner();
    assert_eq!(answer.status(), pb::PrehydrateStatus::Completed);
    assert_eq!(door.drained().await, Drained::Whole);
}

#[tokio::test]
async fn a_watcher_does_not_hold_the_door_open() {
    let door = Setup::default().start().await;
    let mut health = HealthClient::new(door.channel().await);
    let mut watching = health.watch(HealthCheckRequest::default()).await.expect("a stream").into_inner();
    let mut next = async || watching.message().await.expect("no error").map(|told| told.status());
    assert_eq!(next().await, Some(ServingStatus::Serving));
    door.stop();
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    assert_eq!(next().await, None);
    assert_eq!(door.drained().await, Drained::Whole);
}

#[tokio::test]
async fn what_does_not_end_is_cut_off_when_the_drain_is_over() {
    let limits = Limits { body: Duration::from_secs(600), ..Limits::default() };
    let setup = Setup { limits, drain: Duration::from_millis(50), ..Setup::default() };
    let door = setup.start().await;
    let mut peer = Peer::connect(door.address).await;
    let mut stalled = peer.begin(PREHYDRATE, "localhost").await;
    stalled.body.send_data(framed(&[0; 16]).slice(..5), false).expect("sent");
    until("under way", async || door.metrics.calls_in_flight() == 1).await;
    door.stop();
    let metrics = door.metrics.clone();
    assert_eq!(door.drained().await, Drained::Cut);
    assert_eq!(metrics.connections_ended(ConnectionEnd::Cut), 1);
    until("its call dropped", async || metrics.calls_in_flight() == 0).await;
    drop(stalled);
}

#[tokio::test]
async fn health_is_told_for_each_service() {
    let door = Setup::default().start().await;
    let mut health = HealthClient::new(door.channel().await);
    for (service, expected) in [
        ("", ServingStatus::Serving),
        ("hydrant.v1.CacheControlService", ServingStatus::Serving),
        ("hydrant.v1.CacheReadService", ServingStatus::NotServing),
    ] {
        let told = health.check(HealthCheckRequest { service: service.into() }).await.expect("known").into_inner();
        assert_eq!(told.status(), expected, "{service}");
    }
    let stranger = health.check(HealthCheckRequest { service: "x.Y".into() }).await.expect_err("unknown");
    assert_eq!(stranger.code(), Code::NotFound);
}

#[tokio::test]
async fn both_versions_of_reflection_list_the_services() {
    use tonic_reflection::pb::{v1, v1alpha};

    let door = Setup::default().start().await;
    let ask = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(door.channel().await);
    let mut answers = client.server_reflection_info(tokio_stream::iter([ask])).await.expect("served").into_inner();
    let answer = answers.message().await.expect("no error").and_then(|answer| answer.message_response);
    let Some(v1::server_reflection_response::MessageResponse::ListServicesResponse(list)) = answer else {
        panic!("no list")
    };
    let listed: Vec<String> = list.service.into_iter().map(|service| service.name).collect();

    let ask = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(door.channel().await);
    let mut answers = client.server_reflection_info(tokio_stream::iter([ask])).await.expect("served").into_inner();
    let answer = answers.message().await.expect("no error").and_then(|answer| answer.message_response);
    let Some(v1alpha::server_reflection_response::MessageResponse::ListServicesResponse(older)) = answer else {
        panic!("no list")
    };
    let listed_by_older: Vec<String> = older.service.into_iter().map(|service| service.name).collect();
    for service in ["hydrant.v1.CacheControlService", "hydrant.v1.CacheReadService", "grpc.health.v1.Health"] {
        assert!(listed.iter().any(|name| name == service), "{service} in {listed:?}");
        assert!(listed_by_older.iter().any(|name| name == service), "{service} in {listed_by_older:?}");
    }
}
