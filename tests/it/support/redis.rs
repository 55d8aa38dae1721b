//! Real Redis servers: one, a cluster of three primaries and three replicas, a Sentinel group. Free ports, data in a
//! temporary folder, killed by their pid when dropped.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use hydrant::domain::key::{SLOTS, slot_of};
use hydrant::remote::Address;
use redis::Value;
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::support::certificates::Certificates;
use crate::support::wait::until;

/// A `redis-server` process.
pub struct RedisServer {
    pub port: u16,
    pub tls_port: Option<u16>,
    args: Vec<String>,
    password: Option<String>,
    child: Child,
    _dir: TempDir,
}

pub struct RedisCluster {
    /// Three primaries, then their replicas in the same order.
    pub nodes: Vec<RedisServer>,
}

/// A primary, a replica, and three sentinels that agree by two.
pub struct SentinelGroup {
    pub servers: Vec<RedisServer>,
    pub sentinels: Vec<RedisServer>,
}

/// The cluster that tests share which do not break it; it ends with the last of them.
static SHARED: Mutex<Weak<RedisCluster>> = Mutex::const_new(Weak::new());

const PRIMARIES: usize = 3;

impl RedisServer {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub async fn start_with(args: &[&str]) -> Self {
        let server = Self::spawn(args, None, None);
        server.wait_until_up().await;
        server
    }

    /// `requirepass`: also what our own commands to it use.
    pub async fn start_with_password(password: &str, args: &[&str]) -> Self {
        let server = Self::spawn(&[args, &["--requirepass", password]].concat(), Some(password), None);
        server.wait_until_up().await;
        server
    }

    /// A TLS port beside the plain one, which only we use.
    pub async fn start_with_tls(certs: &Certificates, args: &[&str]) -> Self {
        let server = Self::spawn(args, None, Some(certs));
        server.wait_until_up().await;
        server
    }

    fn spawn(args: &[&str], password: Option<&str>, certs: Option<&Certificates>) -> Self {
        let dir = TempDir::new().expect("a temporary folder");
        let port = free_port();
        let tls_port = certs.map(|_| free_port());
        let mut all: Vec<String> = if args.first() == Some(&"--sentinel") {
            let conf = dir.path().join("sentinel.conf");
            std::fs::write(&conf, "sentinel resolve-hostnames no\n").expect("writable");
            vec![conf.display().to_string(), "--sentinel".to_owned()]
        } else {
            ["--save", "", "--appendonly", "no", "--enable-debug-command", "yes"].map(str::to_owned).to_vec()
        };
        let own = [
            ("--port", port.to_string()),
            ("--bind", "127.0.0.1".to_owned()),
            ("--dir", dir.path().display().to_string()),
            ("--logfile", dir.path().join("log").display().to_string()),
        ];
        all.extend(own.into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
        if let (Some(certs), Some(tls_port)) = (certs, tls_port) {
            all.extend(["--tls-port".to_owned(), tls_port.to_string()]);
            all.extend(certs.redis_args());
        }
        all.extend(args.iter().filter(|arg| **arg != "--sentinel").map(|arg| (*arg).to_owned()));
        let child = launch(&all);
        Self { port, tls_port, args: all, password: password.map(str::to_owned), child, _dir: dir }
    }

    pub fn address(&self) -> Address {
        Address { host: "127.0.0.1".to_owned(), port: self.port }
    }

    pub fn tls_address(&self) -> Address {
        Address { host: "127.0.0.1".to_owned(), port: self.tls_port.expect("started with TLS") }
    }

    /// One command on a connection of its own, as an app would send it.
    pub fn try_command<A: AsRef<[u8]>>(&self, parts: &[A]) -> redis::RedisResult<Value> {
        let auth = self.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        let client = redis::Client::open(format!("redis://{auth}127.0.0.1:{}", self.port))?;
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(2))?;
        connection.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut command = redis::Cmd::new();
        for part in parts {
            command.arg(part.as_ref());
        }
        command.query(&mut connection)
    }

    pub fn command<A: AsRef<[u8]>>(&self, parts: &[A]) -> Value {
        let words = || parts.iter().map(|part| String::from_utf8_lossy(part.as_ref()).into_owned()).collect::<Vec<_>>();
        self.try_command(parts).unwrap_or_else(|error| panic!("{:?}: {error}", words()))
    }

    pub fn text<A: AsRef<[u8]>>(&self, parts: &[A]) -> String {
        redis::from_redis_value(self.command(parts)).expect("text")
    }

    /// What a hash, a sorted set or a stream holds; nothing where there is no such key any more.
    fn fields(&self, key: &str) -> Option<Value> {
        let read: &[&str] = match self.text(&["TYPE", key]).as_str() {
            "hash" => &["HGETALL", key],
            "zset" => &["ZRANGE", key, "0", "-1", "WITHSCORES"],
            _ => &["XRANGE", key, "-", "+"],
        };
        self.try_command(read).ok()
    }

    /// Every key and its value, one a line.
    pub fn dump(&self) -> String {
        let Value::Array(keys) = self.command(&["KEYS", "*"]) else { return String::new() };
        let mut lines: Vec<String> = keys
            .into_iter()
            .filter_map(|key| redis::from_redis_value::<String>(key).ok())
            .map(|key| match self.try_command(&["GET", &key]) {
                Ok(Value::BulkString(value)) => format!("{key}={}\n", String::from_utf8_lossy(&value)),
                // A structure of hydrant's own (histories, indexes, tags), or a key that has just ended.
                _ => format!("{key}={:?}\n", self.fields(&key)),
            })
            .collect();
        lines.sort();
        lines.concat()
    }

    /// It follows its primary, or its replica follows it. A primary counts a replica for `WAIT` only when that has
    /// acknowledged something, up to a second after the replica says that its link is up.
    pub fn replicates(&self) -> bool {
        let info = self.text(&["INFO", "replication"]);
        match info.contains("role:master") {
            true => info.contains("state=online"),
            false => info.contains("master_link_status:up"),
        }
    }

    pub async fn wait_until_up(&self) {
        until("a server that answers PING", async || self.try_command(&["PING"]).is_ok()).await;
    }

    /// kill -9.
    pub fn kill(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The same server on the same ports, after `kill`.
    pub async fn restart(&mut self) {
        self.child = launch(&self.args);
        self.wait_until_up().await;
    }

    /// The same server on other ports, after `kill`: as a pod that comes back.
    pub async fn restart_elsewhere(&mut self) {
        let (port, bus) = (free_port(), free_port());
        for (name, value) in [("--port", port), ("--cluster-port", bus)] {
            if let Some(at) = self.args.iter().position(|arg| arg == name) {
                self.args[at + 1] = value.to_string();
            }
        }
        self.port = port;
        self.restart().await;
    }

    /// SIGSTOP: the kernel goes on accepting, nobody answers.
    pub fn hang(&self) {
        self.signal("-STOP");
    }

    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill {signal}");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where a primary's share of the slots begins.
fn first_slot(primary: usize) -> usize {
    usize::from(SLOTS) * primary / PRIMARIES
}

impl RedisCluster {
    pub async fn start() -> Self {
        Self::start_over(None).await
    }

    pub async fn start_with_tls(certs: &Certificates) -> Self {
        Self::start_over(Some(certs)).await
    }

    pub async fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().await;
        if let Some(cluster) = shared.upgrade() {
            return cluster;
        }
        let cluster = Arc::new(Self::start().await);
        *shared = Arc::downgrade(&cluster);
        cluster
    }

    async fn start_over(certs: Option<&Certificates>) -> Self {
        let nodes: Vec<(RedisServer, String)> = (0..2 * PRIMARIES).map(|_| Self::spawn_node(certs)).collect();
        for (node, _) in &nodes {
            node.wait_until_up().await;
        }
        for (index, (node, _)) in nodes.iter().enumerate() {
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
            if index < PRIMARIES {
                let (first, last) = (first_slot(index).to_string(), (first_slot(index + 1) - 1).to_string());
                node.command(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
            }
        }
        for (node, bus) in &nodes[1..] {
            let port = if certs.is_some() { node.tls_port.expect("with TLS") } else { node.port };
            nodes[0].0.command(&["CLUSTER", "MEET", "127.0.0.1", &port.to_string(), bus]);
        }
        let cluster = Self { nodes: nodes.into_iter().map(|(node, _)| node).collect() };
        for node in &cluster.nodes {
            until("everybody knows everybody", async || node.text(&["CLUSTER", "INFO"]).contains("known_nodes:6"))
                .await;
        }
        for index in PRIMARIES..2 * PRIMARIES {
            let primary = cluster.nodes[index - PRIMARIES].text(&["CLUSTER", "MYID"]);
            until("a node that may replicate", async || {
                cluster.nodes[index].try_command(&["CLUSTER", "REPLICATE", &primary]).is_ok()
            })
            .await;
        }
        cluster.wait_until_well().await;
        cluster
    }

    fn spawn_node(certs: Option<&Certificates>) -> (RedisServer, String) {
        let bus = free_port().to_string();
        let mut args = vec![
            "--cluster-enabled",
            "yes",
            "--cluster-require-full-coverage",
            "no",
            "--cluster-node-timeout",
            "2000",
            "--cluster-port",
            &bus,
        ];
        args.extend(["--repl-diskless-sync-delay", "0", "--repl-diskless-load", "on-empty-db"]);
        if certs.is_some() {
            args.extend(["--tls-cluster", "yes", "--tls-replication", "yes"]);
        }
        (RedisServer::spawn(&args, None, certs), bus)
    }

    /// Every node says that the cluster is up, sees three primaries in charge, and their replicas follow and are counted.
    pub async fn wait_until_well(&self) {
        for node in &self.nodes {
            until("a cluster that is up", async || node.text(&["CLUSTER", "INFO"]).contains("cluster_state:ok")).await;
        }
        for node in &self.nodes {
            until("replication that goes on", async || node.replicates()).await;
        }
        for node in &self.nodes {
            until("a replica for every primary", async || {
                let slots: Vec<Vec<Value>> =
                    redis::from_redis_value(node.command(&["CLUSTER", "SLOTS"])).expect("slots");
                slots.len() == PRIMARIES && slots.iter().all(|range| range.len() == 4)
            })
            .await;
        }
    }

    /// The value at a key, read from the primary that owns it as an app would.
    pub fn get(&self, key: &str) -> Option<String> {
        redis::from_redis_value(self.nodes[self.owner(key)].command(&["GET", key])).expect("a string or nothing")
    }

    pub fn seeds(&self) -> Vec<Address> {
        self.nodes.iter().map(RedisServer::address).collect()
    }

    /// The node that owned the key when the cluster started.
    pub fn owner(&self, key: impl AsRef<[u8]>) -> usize {
        let slot = usize::from(slot_of(key.as_ref()));
        (0..PRIMARIES).rfind(|node| first_slot(*node) <= slot).expect("the first node has the first slot")
    }

    /// A key with this beginning whose slot the given primary was given.
    pub fn key_of(&self, primary: usize, prefix: &str) -> String {
        let mut keys = (0..).map(|number| format!("{prefix}{number}"));
        keys.find(|key| self.owner(key) == primary).expect("every primary has keys")
    }
}

impl SentinelGroup {
    pub async fn start() -> Self {
        Self::start_over(None).await
    }

    pub async fn start_with_tls(certs: &Certificates) -> Self {
        Self::start_over(Some(certs)).await
    }

    async fn start_over(certs: Option<&Certificates>) -> Self {
        let tls = ["--tls-replication", "yes"];
        let tls: &[&str] = if certs.is_some() { &tls } else { &[] };
        let fast: &[&str] = &["--repl-diskless-sync-delay", "0"];
        let primary = RedisServer::spawn(&[fast, tls].concat(), None, certs);
        let port = if certs.is_some() { primary.tls_port.expect("with TLS") } else { primary.port }.to_string();
        let follow: &[&str] = &["--replicaof", "127.0.0.1", &port];
        let replica = RedisServer::spawn(&[fast, tls, follow].concat(), None, certs);
        for server in [&primary, &replica] {
            server.wait_until_up().await;
        }
        let group = Self {
            servers: vec![primary, replica],
            sentinels: (0..3).map(|_| RedisServer::spawn(&[&["--sentinel"], tls].concat(), None, certs)).collect(),
        };
        for server in &group.servers {
            until("replication that goes on", async || server.replicates()).await;
        }
        for sentinel in &group.sentinels {
            sentinel.wait_until_up().await;
            sentinel.command(&["SENTINEL", "MONITOR", "main", "127.0.0.1", &port, "2"]);
            sentinel.command(&[
                "SENTINEL",
                "SET",
                "main",
                "down-after-milliseconds",
                "1000",
                "failover-timeout",
                "5000",
            ]);
        }
        for sentinel in &group.sentinels {
            until("sentinels that know each other and the replica", async || {
                let fields: Vec<String> =
                    redis::from_redis_value(sentinel.command(&["SENTINEL", "MASTER", "main"])).expect("fields");
                let is = |name: &str, value: &str| fields.windows(2).any(|pair| pair[0] == name && pair[1] == value);
                is("num-other-sentinels", "2") && is("num-slaves", "1") && is("flags", "master")
            })
            .await;
        }
        group
    }

    pub fn addresses(&self) -> Vec<Address> {
        self.sentinels.iter().map(RedisServer::address).collect()
    }
}

fn launch(args: &[String]) -> Child {
    Command::new("redis-server")
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}

/// A port that nobody has, nor the one 10,000 above it, where a cluster's nodes talk among themselves. Both lie below what
/// the kernel gives to connections, so none can take it before the server does; and no two tests are given the same.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(97);
    loop {
        let port = 10_000 + (start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000) as u16;
        let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if is_free(port) && is_free(port + 10_000) {
            return port;
        }
    }
}
