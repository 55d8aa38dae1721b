//! A real `hydrant serve`: the binary, a configuration file, free ports. Ended by its pid when it is dropped.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use hydrant::domain::secret::Secret;
use hydrant::grpc::client::{Answer, Ask, AskMember, Client, Mode, Stated, Who};
use serde_json::Value;
use tempfile::TempDir;

use tonic::transport::Channel;

use crate::support::wait::until;

pub const BINARY: &str = env!("CARGO_BIN_EXE_hydrant");

pub struct Sidecar {
    pub api: SocketAddr,
    pub probes: SocketAddr,
    child: Child,
    folder: TempDir,
}

/// What a run of a command said, and how it ended.
pub struct Said {
    pub code: Option<i32>,
    pub text: String,
    pub errors: String,
}

impl Sidecar {
    /// Starts with this configuration, on free ports, and waits until it says that it serves.
    pub async fn start(config: &str) -> Self {
        Self::start_with(config, &[]).await
    }

    pub async fn start_with(config: &str, env: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        std::fs::write(folder.path().join("hydrant.yaml"), config).expect("writable");
        let log = std::fs::File::create(folder.path().join("log")).expect("writable");
        let child = Command::new(BINARY)
            .args(["serve", "--config"])
            .arg(folder.path().join("hydrant.yaml"))
            .env_clear()
            .envs(env.iter().copied())
            .env("HYDRANT__LISTEN__API", "127.0.0.1:0")
            .env("HYDRANT__LISTEN__PROBES", "127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary runs");
        let none = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut sidecar = Self { api: none, probes: none, child, folder };
        until("the sidecar serves", async || sidecar.line("serving").is_some() || sidecar.has_ended()).await;
        let line = sidecar.line("serving").unwrap_or_else(|| panic!("it did not start:\n{}", sidecar.log()));
        let address = |field: &str| line[field].as_str().and_then(|text| text.parse().ok()).expect("an address");
        (sidecar.api, sidecar.probes) = (address("api"), address("probes"));
        sidecar
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The first log line with this message.
    pub fn line(&self, message: &str) -> Option<Value> {
        self.log()
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .find(|line: &Value| line["message"] == message)
    }

    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("hydrant.yaml")
    }

    /// Replaces the configuration file as an editor does: a new file under the old name.
    pub fn reconfigure(&self, config: &str) {
        let next = self.folder.path().join("next");
        std::fs::write(&next, config).expect("writable");
        std::fs::rename(next, self.config_path()).expect("the same folder");
    }

    pub async fn client(&self) -> Client {
        Client::connect(&format!("http://{}", self.api), Duration::from_secs(10)).await.expect("the door is open")
    }

    /// For the calls that the client has no words for.
    pub async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.api)).expect("an address");
        endpoint.connect().await.expect("the door is open")
    }

    /// A login that waits for its outcomes.
    pub async fn login(&self, user: &str, members: &[(&str, &str)]) -> Answer {
        self.client().await.prehydrate(login(user, members)).await.expect("served")
    }

    /// What the probe port answers: the code and the text.
    pub async fn probe(&self, path: &str) -> (u16, String) {
        let answer = reqwest::get(format!("http://{}{path}", self.probes)).await.expect("the probe port answers");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    pub async fn ended(&mut self) -> ExitStatus {
        until("the sidecar ends", async || self.has_ended()).await;
        self.child.wait().expect("it was ours")
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it was ours").is_some()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn login(user: &str, members: &[(&str, &str)]) -> Ask {
    let session = Some(Secret::new(format!("session-of-{user}")));
    login_of(Who::Stated(Stated { user: user.to_owned(), session, ..Stated::default() }), members)
}

/// The same for whomever a cookie speaks of.
pub fn login_of(who: Who, members: &[(&str, &str)]) -> Ask {
    let member = |(entity, id): &(&str, &str)| AskMember {
        entity: (*entity).to_owned(),
        params: [("id".to_owned(), (*id).to_owned())].into(),
    };
    Ask { members: members.iter().map(member).collect(), mode: Mode::Completed, ..Ask::new(who) }
}

/// Runs a command to its end.
pub fn hydrant(args: &[&str], env: &[(&str, &str)]) -> Said {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let out = Command::new(BINARY)
        .args(args)
        .env_clear()
        .env("PATH", path)
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Said { code: out.status.code(), text: text(out.stdout), errors: text(out.stderr) }
}
