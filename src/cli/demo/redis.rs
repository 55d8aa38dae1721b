//! A Redis of the demo's own, where the machine has one: on a free port of loopback, without persistence, gone with the
//! demo.

use std::ffi::OsStr;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

pub struct Redis {
    server: Child,
    pub address: SocketAddr,
}

/// Where `redis-server` is, if it is on the PATH.
pub fn find(path: &str) -> Option<PathBuf> {
    std::env::split_paths(OsStr::new(path)).map(|folder| folder.join("redis-server")).find(|file| file.is_file())
}

impl Redis {
    pub async fn start(binary: &PathBuf) -> anyhow::Result<Self> {
        // Free now; should another process take it in between, the server ends and the demo says so.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let port = address.port().to_string();
        let server = Command::new(binary)
            .args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no", "--dir", "/tmp"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut redis = Self { server, address };
        timeout(Duration::from_secs(5), redis.accepts()).await??;
        Ok(redis)
    }

    async fn accepts(&mut self) -> anyhow::Result<()> {
        while TcpStream::connect(self.address).await.is_err() {
            if let Some(status) = self.server.try_wait()? {
                anyhow::bail!("redis-server ended at once ({status})");
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Ours by its handle; it may have ended by itself.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
