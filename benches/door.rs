//! A Prehydrate (`ACCEPTED`) through the whole door against a bare tonic server that takes and gives the same messages:
//! two servers, one server thread, one client thread, calls in turn, so that both meet the same weather.
//!
//! `cargo bench --bench door`. Targets: p50 at most 1.3 times the echo's, p99 at most twice.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a bench tells its result and may end with a panic")]

#[path = "../tests/it/support"]
mod support {
    #![allow(dead_code, reason = "shared with the tests, which use more of it")]

    pub mod catalog;
    pub mod door;
    pub mod prehydration;
    pub mod stub;
}

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use hydrant::domain::random::Random;
use hydrant::grpc::pb;
use hydrant::grpc::pb::cache_control_service_client::CacheControlServiceClient;
use hydrant::grpc::pb::cache_control_service_server::{CacheControlService, CacheControlServiceServer};
use hydrant::telemetry::{self, LogFormat};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;
use tokio_stream::Empty;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};

use crate::support::door::{Setup, login};

const WARM_UP: usize = 2_000;
const ROUNDS: usize = 20_000;

fn main() {
    // Spans cost something only when somebody listens, as in a sidecar somebody does.
    let config = telemetry::Config { format: LogFormat::Json, level: "info".to_owned() };
    let built = telemetry::build(&config, &BTreeMap::new(), Random::from_os(), std::io::sink);
    let Ok((subscriber, _telemetry)) = built else { panic!("a good filter") };
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let (servers, clients) = (one_thread(), one_thread());
    let (door, echo) = servers.block_on(async {
        let door = Setup::default().start().await;
        door.source.found("/user/7", r#"{"name":"Ada"}"#);
        (door, start_echo().await)
    });
    let address = door.address;
    std::thread::spawn(move || servers.block_on(std::future::pending::<()>()));
    let (mut through, mut bare) = clients.block_on(measure(address, echo));
    let (through, bare) = (Quantiles::of(&mut through), Quantiles::of(&mut bare));
    println!("           p50        p99");
    println!("door  {:>8.1?} {:>10.1?}", through.p50, through.p99);
    println!("echo  {:>8.1?} {:>10.1?}", bare.p50, bare.p99);
    let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
    println!("ratio {:>8.2} {:>10.2}", ratio(through.p50, bare.p50), ratio(through.p99, bare.p99));
}

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

async fn measure(door: SocketAddr, echo: SocketAddr) -> (Vec<Duration>, Vec<Duration>) {
    let (mut door, mut echo) = (connect(door).await, connect(echo).await);
    let (mut through, mut bare) = (Vec::with_capacity(ROUNDS), Vec::with_capacity(ROUNDS));
    for round in 0..WARM_UP + ROUNDS {
        let (a, b) = (call(&mut door).await, call(&mut echo).await);
        if round >= WARM_UP {
            through.push(a);
            bare.push(b);
        }
    }
    (through, bare)
}

async fn call(client: &mut CacheControlServiceClient<Channel>) -> Duration {
    let request = pb::PrehydrateRequest { mode: pb::PrehydrateMode::Accepted.into(), ..login() };
    let began = Instant::now();
    client.prehydrate(request).await.unwrap();
    began.elapsed()
}

async fn connect(address: SocketAddr) -> CacheControlServiceClient<Channel> {
    let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
    CacheControlServiceClient::new(endpoint.connect().await.unwrap())
}

async fn start_echo() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tasks, _deaths) = hydrant::tasks::Tasks::new();
    drop(tasks.finish(async {
        let server = Server::builder().add_service(CacheControlServiceServer::new(Echo));
        drop(server.serve_with_incoming(TcpListenerStream::new(listener)).await);
    }));
    address
}

/// Answers what the door answers, without doing anything.
struct Echo;

#[tonic::async_trait]
impl CacheControlService for Echo {
    type WatchJobStream = Empty<Result<pb::WatchJobResponse, Status>>;
    type WarmUpStream = Empty<Result<pb::WarmUpResponse, Status>>;

    async fn prehydrate(&self, _: Request<pb::PrehydrateRequest>) -> Result<Response<pb::PrehydrateResponse>, Status> {
        Ok(Response::new(pb::PrehydrateResponse {
            trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".to_owned(),
            status: pb::PrehydrateStatus::Accepted.into(),
            elapsed: Some(prost_types::Duration { seconds: 0, nanos: 1_000 }),
            ..Default::default()
        }))
    }

    async fn invalidate(&self, _: Request<pb::InvalidateRequest>) -> Result<Response<pb::InvalidateResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_job(&self, _: Request<pb::GetJobRequest>) -> Result<Response<pb::GetJobResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn watch_job(&self, _: Request<pb::WatchJobRequest>) -> Result<Response<Self::WatchJobStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn warm_up(&self, _: Request<pb::WarmUpRequest>) -> Result<Response<Self::WarmUpStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn stats(&self, _: Request<pb::StatsRequest>) -> Result<Response<pb::StatsResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn explain(&self, _: Request<pb::ExplainRequest>) -> Result<Response<pb::ExplainResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

struct Quantiles {
    p50: Duration,
    p99: Duration,
}

impl Quantiles {
    fn of(times: &mut [Duration]) -> Self {
        times.sort_unstable();
        Self { p50: times[times.len() / 2], p99: times[times.len() * 99 / 100] }
    }
}
