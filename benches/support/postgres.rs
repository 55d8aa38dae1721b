//! A Postgres for the benches, with a table of users. Root lends it another user, since it refuses to run as root.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

pub struct Postgres {
    pub url: String,
    server: Child,
    _dir: TempDir,
}

impl Postgres {
    /// With so many users, each a row of about so many bytes.
    pub async fn start(users: usize, bytes: usize) -> Self {
        let dir = TempDir::new().expect("a temporary folder");
        let owner = owner();
        if let Some((user, group)) = owner {
            std::os::unix::fs::chown(dir.path(), Some(user), Some(group)).expect("root may");
        }
        let data = dir.path().join("data").display().to_string();
        let made = program("initdb", owner)
            .args(["-U", "app", "--auth=trust", "--no-sync", "--no-locale", "-E", "UTF8", "-D", &data])
            .status();
        assert!(made.expect("initdb is installed (scripts/prepare installs it)").success());
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let server = program("postgres", owner)
            .args(["-D", &data, "-p", &port.to_string(), "-c", "unix_socket_directories=", "-c", "fsync=off"])
            .spawn()
            .expect("postgres runs");
        let postgres = Self { url: format!("postgres://app@127.0.0.1:{port}/postgres"), server, _dir: dir };
        let client = loop {
            match tokio_postgres::connect(&postgres.url, tokio_postgres::NoTls).await {
                Ok((client, connection)) => {
                    let (tasks, _) = hydrant::tasks::Tasks::new();
                    drop(tasks.until_end(async move { drop(connection.await) }));
                    break client;
                }
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let fill = format!(
            "create unlogged table users (id int primary key, name text, bio text); \
             insert into users select n, 'Ada', repeat('x', {}) from generate_series(0, {}) n; analyze users",
            bytes - 40,
            users - 1
        );
        client.batch_execute(&fill).await.expect("good SQL");
        postgres
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-QUIT", &self.server.id().to_string()]).status();
        let _ = self.server.wait();
    }
}

fn owner() -> Option<(u32, u32)> {
    let me = Command::new("id").arg("-u").output().expect("id runs").stdout;
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = users.lines().find(|line| line.starts_with("postgres:"))?;
    let mut ids = line.split(':').skip(2).map_while(|id| id.parse().ok());
    (String::from_utf8_lossy(&me).trim() == "0").then_some((ids.next()?, ids.next()?))
}

/// Debian keeps the server's programs off the PATH.
fn program(name: &str, owner: Option<(u32, u32)>) -> Command {
    let homes = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = homes.map(|home| home.path().join("bin").join(name)).filter(|path| path.exists()).max();
    let mut command = Command::new(found.unwrap_or_else(|| PathBuf::from(name)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
    if let Some((user, group)) = owner {
        command.uid(user).gid(group);
    }
    command
}
