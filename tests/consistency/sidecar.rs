//! One real `hydrant serve` in a place of its own: it can be stopped, killed and started again. Its API is reached over
//! a Unix socket, so that only its own way to Redis is ever cut.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use hydrant::grpc::pb::cache_control_service_client::CacheControlServiceClient;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use crate::net::{Net, Place};
use crate::support::wait::until;

pub struct Sidecar {
    pub number: usize,
    net: Arc<Net>,
    folder: TempDir,
    mutant: Option<String>,
    child: Mutex<Option<Child>>,
    channel: Channel,
}

const BINARY: &str = env!("CARGO_BIN_EXE_hydrant");

impl Sidecar {
    pub fn new(number: usize, net: Arc<Net>, config: &str, mutant: Option<String>) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        std::fs::write(folder.path().join("hydrant.yaml"), config).expect("writable");
        let endpoint = format!("unix:{}", folder.path().join("api").display());
        let channel = Endpoint::from_shared(endpoint).expect("a path").connect_lazy();
        Self { number, net, folder, mutant, child: Mutex::default(), channel }
    }

    pub fn client(&self) -> CacheControlServiceClient<Channel> {
        CacheControlServiceClient::new(self.channel.clone())
    }

    /// Starts the process; it serves when `wait_until_serving` says so.
    pub fn launch(&self) {
        let log = File::options().create(true).append(true).open(self.path("log")).expect("writable");
        // The socket of one that was killed would stand in the way.
        let _ = std::fs::remove_file(self.path("api"));
        let mut command = Command::new(BINARY);
        command
            .args(["serve", "--config"])
            .arg(self.path("hydrant.yaml"))
            .env_clear()
            .env("HYDRANT__LISTEN__API", "127.0.0.1:0")
            .env("HYDRANT__LISTEN__SOCKET", self.path("api"))
            .env("HYDRANT__LISTEN__PROBES", "127.0.0.1:0")
            .envs(self.mutant.iter().map(|mutant| ("HYDRANT_MUTANT", mutant)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = self.net.inside(Place::Sidecar(self.number), || command.spawn().expect("the binary runs"));
        *self.child.lock().expect("unpoisoned") = Some(child);
    }

    pub async fn wait_until_serving(&self) {
        until("the sidecar serves", async || {
            let has_ended = self
                .child
                .lock()
                .expect("unpoisoned")
                .as_mut()
                .is_none_or(|child| child.try_wait().is_ok_and(|ended| ended.is_some()));
            assert!(!has_ended, "sidecar {} did not start:\n{}", self.number, self.log());
            std::os::unix::net::UnixStream::connect(self.path("api")).is_ok()
        })
        .await;
    }

    /// kill -9.
    pub fn kill(&self) {
        if let Some(mut child) = self.child.lock().expect("unpoisoned").take() {
            // A process that is stopped can be killed as well.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn signal(&self, name: &str) {
        let Some(pid) = self.child.lock().expect("unpoisoned").as_ref().map(Child::id) else { return };
        let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name}");
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.kill();
    }
}
