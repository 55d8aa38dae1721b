//! One `redis-server` of the cluster: a process that can be killed, stopped and started again on its old data, and that
//! the harness speaks to over a Unix socket, whatever happens to the network.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::{AsyncConnectionConfig, RedisResult, Value};
use tempfile::TempDir;

use crate::net::{Net, Place};
use crate::support::redis::free_port;
use crate::support::wait::until;

pub struct Node {
    pub number: usize,
    pub address: SocketAddr,
    bus: u16,
    net: Arc<Net>,
    folder: TempDir,
    child: Mutex<Option<Child>>,
}

/// A failover takes this long and about a second more. It is also how long a primary that is cut off goes on serving.
pub const NODE_TIMEOUT: Duration = Duration::from_secs(2);

impl Node {
    pub fn start(number: usize, net: Arc<Net>) -> Self {
        let ip = net.ip(Place::Node(number));
        // In a namespace all ports are free.
        let (port, bus) = if net.fallback().is_some() { (free_port(), free_port()) } else { (6379, 16379) };
        let folder = TempDir::new().expect("a temporary folder");
        let node = Self { number, address: SocketAddr::new(ip, port), bus, net, folder, child: Mutex::default() };
        node.launch();
        node
    }

    /// As `CLUSTER MEET` wants it.
    pub fn meeting_point(&self) -> [String; 3] {
        [self.address.ip().to_string(), self.address.port().to_string(), self.bus.to_string()]
    }

    /// Starts the process, on whatever data is there.
    pub fn launch(&self) {
        let args = self.args();
        let child = self.net.inside(Place::Node(self.number), || {
            let mut command = Command::new("redis-server");
            command.args(&args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().expect("redis-server is installed")
        });
        *self.child.lock().expect("unpoisoned") = Some(child);
    }

    fn args(&self) -> Vec<String> {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let timeout = NODE_TIMEOUT.as_millis().to_string();
        let (ip, port, bus) = (self.address.ip().to_string(), self.address.port().to_string(), self.bus.to_string());
        let (dir, log, socket) = (path(""), path("log"), self.socket().display().to_string());
        let words = [
            ["--port", &port],
            ["--bind", &ip],
            ["--protected-mode", "no"],
            ["--unixsocket", &socket],
            ["--dir", &dir],
            ["--logfile", &log],
            ["--save", ""],
            ["--appendonly", "no"],
            ["--enable-debug-command", "yes"],
            ["--cluster-enabled", "yes"],
            ["--cluster-port", &bus],
            ["--cluster-announce-ip", &ip],
            ["--cluster-node-timeout", &timeout],
            ["--cluster-require-full-coverage", "no"],
            ["--cluster-allow-replica-migration", "no"],
            // However long a replica was cut off, it stands for election: the harness is about what is lost then.
            ["--cluster-replica-validity-factor", "0"],
            ["--repl-diskless-sync-delay", "0"],
            ["--repl-diskless-load", "on-empty-db"],
            ["--repl-timeout", "10"],
        ];
        words.into_iter().flatten().map(str::to_owned).collect()
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// kill -9. What was in memory alone is lost.
    pub fn kill(&self) {
        if let Some(mut child) = self.child.lock().expect("unpoisoned").take() {
            // Already gone is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// What a resynchronisation or a fault has left there must not come back with the next start.
    pub fn forget_disk(&self) {
        // Not there is as good.
        let _ = std::fs::remove_file(self.folder.path().join("dump.rdb"));
    }

    pub fn is_running(&self) -> bool {
        self.child.lock().expect("unpoisoned").is_some()
    }

    pub async fn command<A: AsRef<[u8]>>(&self, parts: &[A]) -> RedisResult<Value> {
        self.command_within(parts, Duration::from_secs(3)).await
    }

    /// On a connection of its own.
    pub async fn command_within<A: AsRef<[u8]>>(&self, parts: &[A], limit: Duration) -> RedisResult<Value> {
        let client = redis::Client::open(format!("redis+unix://{}", self.socket().display()))?;
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(limit)).set_response_timeout(Some(limit));
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let mut command = redis::Cmd::new();
        for part in parts {
            command.arg(part.as_ref());
        }
        command.query_async(&mut connection).await
    }

    pub async fn text<A: AsRef<[u8]>>(&self, parts: &[A]) -> String {
        let value = self.command(parts).await.ok();
        value.and_then(|value| redis::from_redis_value(value).ok()).unwrap_or_default()
    }

    pub async fn wait_until_up(&self) {
        until("a server that answers PING", async || self.command(&["PING"]).await.is_ok()).await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}
