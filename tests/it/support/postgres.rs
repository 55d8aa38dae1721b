//! Real Postgres servers on a free port of loopback, data in a temporary folder, stopped by their pid when dropped.
//!
//! A server takes seconds to make, so the tests that do not break it share one, each with tables of its own. Postgres
//! refuses to run as root, who lends it another user.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Weak};

use hydrant::domain::secret::{Secret, SecretCell};
use hydrant::source::postgres::Config;
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio_postgres::{Client, NoTls};

use crate::support::certificates::Certificates;
use crate::support::wait::until;

/// With two roles: `app`, who may do everything and is trusted, and `reader`, who needs the password `s3cret`.
pub struct PostgresServer {
    pub port: u16,
    args: Vec<String>,
    owner: Option<(u32, u32)>,
    child: Child,
    dir: TempDir,
}

/// The server that tests share which do not break it; it ends with the last of them.
static SHARED: Mutex<Weak<PostgresServer>> = Mutex::const_new(Weak::new());

impl PostgresServer {
    pub async fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().await;
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Arc::new(Self::start().await);
        *shared = Arc::downgrade(&server);
        server
    }

    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    pub async fn start_with(certificates: Option<&Certificates>) -> Self {
        let (dir, owner) = (TempDir::new().expect("a temporary folder"), owner());
        let data = dir.path().join("data");
        own(dir.path(), owner, 0o755);
        let made = program("initdb", owner)
            .args(["-U", "app", "--auth=trust", "--no-sync", "--no-locale", "-E", "UTF8", "-D"])
            .arg(&data)
            .status();
        assert!(made.expect("initdb runs").success(), "initdb failed");
        let rules = "host all reader 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n";
        fs::write(data.join("pg_hba.conf"), rules).expect("writable");
        let mut args = vec!["-D".to_owned(), data.display().to_string()];
        let mut set = |setting: &str| args.extend(["-c".to_owned(), setting.to_owned()]);
        for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "max_connections=100"] {
            set(setting);
        }
        if let Some(certificates) = certificates {
            for (from, to) in certificates.server_files().iter().zip(["server.crt", "server.key"]) {
                fs::copy(from, data.join(to)).expect("copied");
                own(&data.join(to), owner, 0o600);
            }
            set("ssl=on");
        }
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        args.extend(["-p".to_owned(), port.to_string()]);
        let child = launch(&args, owner);
        let server = Self { port, args, owner, child, dir };
        server.wait_until_up().await;
        server.execute("create role reader login password 's3cret'; grant pg_read_all_data to reader").await;
        server
    }

    /// As a role, with what follows the database's name.
    pub fn url_of(&self, role: &str, rest: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/postgres{rest}", self.port)
    }

    /// As the trusted role.
    pub fn config(&self) -> Config {
        self.config_of(&self.url_of("app", ""))
    }

    pub fn config_of(&self, url: &str) -> Config {
        Config {
            url: SecretCell::new(Secret::new(url)),
            password: None,
            pool: 4,
            statement_timeout: std::time::Duration::from_secs(10),
            connect_timeout: std::time::Duration::from_secs(5),
            max_bytes: 1 << 20,
            tls: None,
        }
    }

    pub async fn execute(&self, sql: &str) {
        self.client().await.expect("it is up").batch_execute(sql).await.expect("good SQL");
    }

    /// A number that a query gives.
    pub async fn count(&self, sql: &str) -> i64 {
        self.client().await.expect("it is up").query_one(sql, &[]).await.expect("good SQL").get(0)
    }

    /// Stops it as a crash would, and starts it again on the same port.
    pub async fn restart(&mut self) {
        self.stop();
        self.child = launch(&self.args, self.owner);
        self.wait_until_up().await;
    }

    pub fn stop(&mut self) {
        // At once, its children too; a plain kill would leave those behind for a while.
        if let Ok(None) = self.child.try_wait() {
            let _ = Command::new("kill").args(["-QUIT", &self.child.id().to_string()]).status();
            let _ = self.child.wait();
        }
    }

    async fn wait_until_up(&self) {
        until("a Postgres that is up", async || self.client().await.is_ok()).await;
    }

    async fn client(&self) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::connect(&self.url_of("app", ""), NoTls).await?;
        let (tasks, _) = hydrant::tasks::Tasks::new();
        drop(tasks.until_end(async move { drop(connection.await) }));
        Ok(client)
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.stop();
        assert!(self.dir.path().exists(), "its data goes after it");
    }
}

/// Whom root lends to Postgres; nobody where that is not needed.
fn owner() -> Option<(u32, u32)> {
    let me = Command::new("id").arg("-u").output().expect("id runs").stdout;
    if String::from_utf8_lossy(&me).trim() != "0" {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("there are users");
    let user = ["postgres:", "nobody:"].iter().find_map(|name| users.lines().find(|line| line.starts_with(name)));
    let ids: Vec<u32> =
        user.expect("a user to lend").split(':').skip(2).take(2).filter_map(|id| id.parse().ok()).collect();
    Some((ids[0], ids[1]))
}

fn own(path: &Path, owner: Option<(u32, u32)>, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
    if let Some((user, group)) = owner {
        chown(path, Some(user), Some(group)).expect("root may");
    }
}

fn launch(args: &[String], owner: Option<(u32, u32)>) -> Child {
    program("postgres", owner).args(args).spawn().expect("postgres runs")
}

fn program(name: &str, owner: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(find(name));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
    if let Some((user, group)) = owner {
        command.uid(user).gid(group);
    }
    command
}

/// Debian keeps the server's programs off the PATH; `scripts/prepare test` looks in the same places.
fn find(name: &str) -> PathBuf {
    let mut homes: Vec<PathBuf> =
        fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|e| e.path()).collect();
    homes.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = homes.into_iter().rev().map(|home| home.join("bin")).chain(std::env::split_paths(&path));
    let found = folders.map(|folder| folder.join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is missing: `scripts/prepare test` installs it, or says how"))
}
