//! Whole logins through a real sidecar, over gRPC, HTTP backends and Redis (alone, then three primaries with replicas):
//! how much longer a plan takes than the slowest backend it needs, how often it goes to Redis, and how many logins a
//! second two cores carry before one is shed.
//!
//! `cargo bench --bench login`. Targets: the slowest backend + 5 ms at p50, + 20 ms at p99, with 200 logins a second.
//! That backend is called beside every login by a plain client: the figures are differences between the two.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a bench tells its result, may end with a panic, and has threads of its own"
)]

#[path = "../tests/it/support"]
mod support {
    #![allow(dead_code, reason = "shared with the tests, which use more of it")]

    pub mod certificates;
    pub mod redis;
    pub mod sidecar;
    pub mod wait;
}

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hydrant::grpc::pb;
use hydrant::grpc::pb::cache_control_service_client::CacheControlServiceClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tonic::transport::Channel;

use crate::support::redis::{RedisCluster, RedisServer};
use crate::support::sidecar::Sidecar;

/// How long each of the five backends takes, in milliseconds; one entity each.
const BACKENDS: [u64; 5] = [20, 40, 60, 80, 100];
const SLOWEST: &str = "/100/x";
const RATE: u64 = 200;
/// More than one, or the frames of all logins stand in one line.
const CHANNELS: usize = 8;

type Client = CacheControlServiceClient<Channel>;

fn main() {
    let is_quick = std::env::args().any(|arg| arg == "--quick");
    let seconds = if is_quick { 2 } else { 15 };
    let (servers, clients) = (one_thread(), one_thread());
    let origin = servers.block_on(start_origin());
    std::thread::spawn(move || servers.block_on(std::future::pending::<()>()));
    clients.block_on(async {
        let server = RedisServer::start().await;
        let redis = format!("{{ mode: standalone, nodes: [\"redis://127.0.0.1:{}\"] }}", server.port);
        println!("one Redis");
        measure(&redis, origin, seconds, &[&server]).await;
        drop(server);
        let cluster = RedisCluster::start().await;
        let nodes: Vec<String> =
            cluster.seeds().iter().map(|seed| format!("\"redis://{}:{}\"", seed.host, seed.port)).collect();
        println!("\na cluster of three primaries and three replicas");
        let primaries: Vec<&RedisServer> = cluster.nodes.iter().take(3).collect();
        measure(&format!("{{ mode: cluster, nodes: [{}] }}", nodes.join(", ")), origin, seconds, &primaries).await;
    });
}

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

async fn measure(redis: &str, origin: SocketAddr, seconds: u64, primaries: &[&RedisServer]) {
    let sidecar = Sidecar::start(&config(redis, origin)).await;
    let mut channels = Vec::new();
    for _ in 0..CHANNELS {
        channels.push(CacheControlServiceClient::new(sidecar.channel().await));
    }
    let users = AtomicU64::new(0);
    let load = Load { channels, origin, users: &users };
    load.run(RATE, Duration::from_secs(2)).await;

    println!("  {:<34} {:>6.1}", "requests to Redis for a login", load.requests(primaries).await);
    let beside = load.run(RATE, Duration::from_secs(seconds)).await;
    assert_eq!(beside.lost, 0, "a login was shed, or a resource was not filled");
    let [(mid, last), (plain_mid, plain_last)] = [beside.logins, beside.plain].map(quantiles);
    println!("  at {RATE} logins/s, {} resources each      p50       p99", BACKENDS.len());
    println!("  {:<34} {mid:>6.1}    {last:>6.1} ms", "a login, COMPLETED");
    println!("  {:<34} {plain_mid:>6.1}    {plain_last:>6.1} ms", "its slowest backend, plainly");
    println!("  {:<34} {:>6.1}    {:>6.1} ms (targets 5, 20)", "more", mid - plain_mid, last - plain_last);
    println!("  {:<34} {:>6}", "logins/s before one is lost", load.most(seconds).await);
}

/// What is always filled, and what everybody is predicted: each a backend.
fn config(redis: &str, origin: SocketAddr) -> String {
    let entity = |ms: &u64| {
        format!(
            "  e{ms}: {{ key: \"bench:e{ms}:{{id}}\", load: {{ source: s{ms}, get: \"/{ms}/{{id}}\" }}, ttl: 5m, fields: {{ allow: [\"*\"] }} }}\n"
        )
    };
    let source = |ms: &u64| {
        format!(
            "  s{ms}: {{ http: {{ origin: \"http://{origin}\", concurrency: 4096, auth: {{ session: bearer }} }} }}\n"
        )
    };
    let (entities, sources): (String, String) =
        (BACKENDS.iter().map(entity).collect(), BACKENDS.iter().map(source).collect());
    format!(
        "group: bench\nredis: {redis}\nsources:\n{sources}entities:\n{entities}prehydrate: {{ always: [e20, e100], plan: {{ cohort: [e40, e60, e80] }} }}\nlog: {{ level: \"warn,hydrant::app=info\" }}\n"
    )
}

struct Load<'a> {
    channels: Vec<Client>,
    origin: SocketAddr,
    users: &'a AtomicU64,
}

/// Times in milliseconds.
#[derive(Default)]
struct Beside {
    logins: Vec<f64>,
    plain: Vec<f64>,
    /// Logins that were shed, or not filled as a whole.
    lost: u64,
}

impl Load<'_> {
    /// So many logins a second, whether or not the last one has ended, and beside each a plain call of the slowest backend.
    async fn run(&self, rate: u64, time: Duration) -> Beside {
        let mut ticks = interval(Duration::from_secs(1) / u32::try_from(rate).unwrap());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let (mut logins, mut plain) = (JoinSet::new(), JoinSet::new());
        let until = Instant::now() + time;
        while Instant::now() < until {
            ticks.tick().await;
            let (client, user) = self.next();
            logins.spawn(login(client, user));
            if plain.len() < CHANNELS * 8 {
                plain.spawn(call(self.origin));
            }
        }
        let mut beside = Beside { plain: plain.join_all().await, ..Beside::default() };
        for login in logins.join_all().await {
            match login {
                Some(took) => beside.logins.push(took),
                None => beside.lost += 1,
            }
        }
        beside
    }

    fn next(&self) -> (Client, u64) {
        let user = self.users.fetch_add(1, Ordering::Relaxed);
        (self.channels[user as usize % CHANNELS].clone(), user)
    }

    /// Reads of its sockets that Redis counts for one login at a time: what is sent together counts once for each node.
    async fn requests(&self, primaries: &[&RedisServer]) -> f64 {
        let count = || -> u64 { primaries.iter().map(|primary| reads(primary)).sum() };
        let logins = 50;
        let before = count();
        for _ in 0..logins {
            let (client, user) = self.next();
            assert!(login(client, user).await.is_some());
        }
        // Asking is a request as well, one for each.
        (count() - before - primaries.len() as u64) as f64 / f64::from(logins)
    }

    /// The rate at which none was lost, in steps of a quarter.
    async fn most(&self, seconds: u64) -> u64 {
        let mut carried = 0;
        let mut rate = RATE;
        while self.run(rate, Duration::from_secs(seconds.min(4))).await.lost == 0 && rate < 20_000 {
            carried = rate;
            rate += rate / 4;
            // tidy: waits because what was late has to end before the next step, so as not to count against it
            sleep(Duration::from_millis(500)).await;
        }
        carried
    }
}

fn reads(server: &RedisServer) -> u64 {
    let info = server.text(&["INFO", "stats"]);
    let line = info.lines().find_map(|line| line.strip_prefix("total_reads_processed:"));
    line.unwrap().trim().parse().unwrap()
}

/// How long it took, if everything was filled.
async fn login(mut client: Client, user: u64) -> Option<f64> {
    let subject = pb::Subject { user_id: user.to_string(), session_token: format!("s{user}"), ..Default::default() };
    let request = pb::PrehydrateRequest {
        who: Some(pb::prehydrate_request::Who::Subject(subject)),
        mode: pb::PrehydrateMode::Completed.into(),
        ..Default::default()
    };
    let began = Instant::now();
    let answer = client.prehydrate(request).await.ok()?.into_inner();
    let took = began.elapsed().as_secs_f64() * 1e3;
    let filled = answer.outcomes.iter().filter(|outcome| outcome.outcome() == pb::FillOutcome::Filled).count();
    (filled == BACKENDS.len()).then_some(took)
}

/// The same backend by the least of clients.
async fn call(origin: SocketAddr) -> f64 {
    let began = Instant::now();
    let mut socket = TcpStream::connect(origin).await.unwrap();
    socket.set_nodelay(true).unwrap();
    socket.write_all(format!("GET {SLOWEST} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut inbox = [0; 4_096];
    assert!(socket.read(&mut inbox).await.unwrap() > 0);
    began.elapsed().as_secs_f64() * 1e3
}

/// `/100/…` is answered after 100 ms.
async fn start_origin() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(answer(socket));
        }
    });
    address
}

async fn answer(mut socket: TcpStream) -> Option<()> {
    socket.set_nodelay(true).ok()?;
    let body = format!(r#"{{"name":"Ada Lovelace","text":"{}"}}"#, "x".repeat(900));
    let reply =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let (mut inbox, mut held) = ([0; 4_096], Vec::new());
    loop {
        let read = socket.read(&mut inbox).await.ok()?;
        held.extend_from_slice(&inbox[..read]);
        if read == 0 {
            return None;
        }
        // A client waits for the answer before it asks again.
        if held.ends_with(b"\r\n\r\n") {
            let path = std::str::from_utf8(&held).ok()?.split('/').nth(1)?.to_owned();
            held.clear();
            // tidy: waits because a backend that takes so long is what is asked for
            sleep(Duration::from_millis(path.parse().ok()?)).await;
            socket.write_all(reply.as_bytes()).await.ok()?;
        }
    }
}

fn quantiles(mut times: Vec<f64>) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times[times.len() * 99 / 100])
}
