//! What a sidecar costs a pod that does nothing: memory when idle, and the time from its start to its first answer.
//! `cargo bench --bench footprint`. Targets: anonymous memory at most 8 MB (hoped for 6), all of it at most 20 MB; 50 ms.
//!
//! The idle memory is read after a login, connected to Redis, with the configuration followed and nothing exported.

#![expect(clippy::print_stdout, reason = "a bench reports on its standard output")]

mod support;

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hydrant::grpc::client::{Ask, Client, Mode, Stated, Who};
use support::Redis;
use tokio::runtime::Runtime;
use tokio::time::Instant;

fn main() {
    let starts = if support::is_quick() { 1 } else { 21 };
    let redis = Redis::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut times = Vec::new();
    let mut last = None;
    for _ in 0..starts {
        drop(last.take());
        let began = Instant::now();
        let sidecar = Sidecar::start(&redis, folder.path());
        runtime.block_on(sidecar.answers());
        times.push(began.elapsed().as_secs_f64() * 1e3);
        last = Some(sidecar);
    }
    let sidecar = last.expect("started at least once");
    runtime.block_on(log_in(&sidecar));
    let memory = sidecar.idle_memory(&runtime);
    println!("start to first answer: {:.1} ms, median of {starts} (target 50)", support::median(&mut times));
    println!("idle: {:.1} MB anonymous (target 8), {:.1} MB in all (target 20)", memory.anonymous, memory.resident);
    let size = std::fs::metadata(env!("CARGO_BIN_EXE_hydrant")).expect("it ran").len();
    println!("binary: {:.1} MB", size as f64 / 1e6);
}

struct Sidecar {
    child: Child,
    api: SocketAddr,
}

struct Memory {
    anonymous: f64,
    resident: f64,
}

impl Sidecar {
    fn start(redis: &Redis, folder: &Path) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
        let (api, probes) = (free(), free());
        let mut config =
            format!("group: bench\nredis: {{ mode: standalone, nodes: [\"redis://127.0.0.1:{}\"] }}\n", redis.port);
        config += "sources: { api: { http: { origin: \"http://127.0.0.1:9\" } } }\nentities:\n";
        for n in 0..20 {
            let _ = writeln!(
                config,
                "  e{n}: {{ key: \"e{n}:{{id}}\", scope: shared, load: {{ source: api, get: \"/e/{{id}}\" }}, ttl: 5m, fields: {{ allow: [id] }} }}"
            );
        }
        let _ = writeln!(config, "listen: {{ api: \"{api}\", probes: \"{probes}\" }}");
        let file = folder.join("hydrant.yaml");
        std::fs::write(&file, config).expect("writable");
        let child = Command::new(env!("CARGO_BIN_EXE_hydrant"))
            .args(["serve", "--config"])
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary runs");
        Self { child, api }
    }

    /// Returns at the first answer to a health check.
    async fn answers(&self) {
        loop {
            let asked = async { self.client().await.ok()?.is_healthy().await.ok() };
            match asked.await {
                Some(true) => return,
                // tidy: waits because it asks again and again until the answer comes
                _ => tokio::time::sleep(Duration::from_micros(500)).await,
            }
        }
    }

    async fn client(&self) -> Result<Client, hydrant::grpc::client::CallError> {
        Client::connect(&format!("http://{}", self.api), Duration::from_secs(1)).await
    }

    fn idle_memory(&self, runtime: &Runtime) -> Memory {
        // tidy: waits because idle is what is measured
        runtime.block_on(async { tokio::time::sleep(Duration::from_secs(2)).await });
        let rollup =
            std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id())).expect("Linux, and ours");
        let of = |field: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(field)).expect("a known field");
            line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<f64>().expect("a number") * 1024.0 / 1e6
        };
        Memory { anonymous: of("Anonymous:"), resident: of("Rss:") }
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A login of twenty items whose backend is away: every path of the process was walked once.
async fn log_in(sidecar: &Sidecar) {
    let members = (0..20).map(|n| hydrant::grpc::client::AskMember {
        entity: format!("e{n}"),
        params: [("id".to_owned(), "1".to_owned())].into(),
    });
    let who = Who::Stated(Stated { user: "1".into(), ..Stated::default() });
    let ask = Ask { members: members.collect(), mode: Mode::Completed, ..Ask::new(who) };
    let client = sidecar.client().await.expect("it answered before");
    client.prehydrate(ask).await.expect("served");
}
