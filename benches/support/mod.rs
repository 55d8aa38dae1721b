//! What the benches share: a Redis of their own, processor time, and how figures are printed.
//!
//! Every figure that is quoted is a ratio of two things measured in turn in one run, as the median over rounds: a machine
//! that is slow today is slow for both.

#![allow(dead_code, reason = "each bench uses its part")]

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub struct Redis {
    server: Child,
    pub port: u16,
}

impl Redis {
    pub fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let server = Command::new("redis-server")
            .args([
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
                "--dir",
                "/tmp",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed (scripts/prepare installs it)");
        let redis = Self { server, port };
        while redis.connect().is_err() {
            std::thread::yield_now();
        }
        redis
    }

    pub fn connect(&self) -> redis::RedisResult<redis::Connection> {
        redis::Client::open(format!("redis://127.0.0.1:{}", self.port))?.get_connection()
    }

    pub fn flush(&self) {
        let mut connection = self.connect().expect("the server runs");
        redis::cmd("FLUSHALL").exec(&mut connection).expect("may flush its own server");
    }

    /// Processor time the server has used.
    pub fn cpu(&self) -> Duration {
        cpu_of(&self.server.id().to_string())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Processor time this process has used.
pub fn cpu() -> Duration {
    cpu_of("self")
}

fn cpu_of(process: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("Linux");
    let after_name = stat.rsplit(") ").next().expect("a stat line");
    let ticks: u64 = after_name.split(' ').skip(11).take(2).map(|n| n.parse::<u64>().expect("a number")).sum();
    // A tick is 10 ms on every Linux that Rust supports.
    Duration::from_millis(ticks * 10)
}

pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// `--quick` makes a bench short: for seeing that it runs, not for figures.
pub fn is_quick() -> bool {
    std::env::args().any(|arg| arg == "--quick")
}
