//! Reloads on real files with real watches; the slow looks are so far apart that only a watch can be what noticed.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;
use tracing::subscriber::DefaultGuard;

use tokio::time::timeout;

use super::*;
use crate::config::{Store, load};

const NEVER: Duration = Duration::from_secs(3600);
/// A watch answers in milliseconds; a busy machine takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

const FIRST: &str = "\
group: shop
redis: { mode: cluster, nodes: [a], password: \"${file:SECRETS/redis}\" }
sources:
  api: { http: { origin: \"https://api.internal\", auth: { service: { bearer: \"${file:SECRETS/api}\" } } } }
entities:
  user: { key: \"user:{id}\", load: { source: api, get: \"/users/{id}\" }, ttl: 5m, fields: { allow: [id] } }
";

struct Setting {
    dir: TempDir,
    _tasks: Tasks,
    loaded: Loaded,
    live: watch::Receiver<Live>,
    metrics: Metrics,
    log: Log,
    _logging: DefaultGuard,
}

/// What was logged, as one text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Setting {
    fn new() -> Self {
        Self::start(|dir| fs::write(dir.join("hydrant.yaml"), text(dir, FIRST)), |_| {}, NEVER)
    }

    /// `alter` may take the watches away; `unwatched` is the time between looks then.
    fn start(
        write: impl FnOnce(&Path) -> std::io::Result<()>,
        alter: impl FnOnce(&mut Follower),
        unwatched: Duration,
    ) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("secrets")).expect("creates");
        for name in ["redis", "api"] {
            fs::write(dir.path().join("secrets").join(name), "old\n").expect("writes");
        }
        write(dir.path()).expect("writes");
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let logging = tracing::subscriber::set_default(subscriber);

        let (path, env) = (dir.path().join("hydrant.yaml"), BTreeMap::new());
        let loaded = load(&path, &env).unwrap_or_else(|problems| panic!("{problems}"));
        let metrics = Metrics::register(&mut Default::default());
        let pace = Pace { quiet: Duration::from_millis(10), watched: NEVER, unwatched };
        let settings = Settings { path, env, metrics: metrics.clone(), clock: Clock::System, pace };
        let (mut follower, live) = Follower::new(settings, &loaded);
        alter(&mut follower);
        let (tasks, _deaths) = Tasks::new();
        tasks.live("configuration", follower.run());
        Self { dir, _tasks: tasks, loaded, live, metrics, log, _logging: logging }
    }

    /// At once, as editors and deployments do: nobody reads half a file.
    fn write(&self, name: &str, contents: &str) {
        let (path, half) = (self.dir.path().join(name), self.dir.path().join(".half"));
        fs::write(&half, text(self.dir.path(), contents)).and_then(|()| fs::rename(half, path)).expect("writes");
    }

    async fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let wait = async {
            while !done(self) {
                // tidy: waits because the operating system tells of changes in its own time.
                sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = timeout(PATIENCE, wait).await.is_ok();
        assert!(in_time, "waited in vain for {what}: {:?}\n{}", self.metrics.told(), self.log.text());
    }

    fn ttl(&self) -> u64 {
        self.live.borrow().catalog.entity("user").map_or(0, |user| user.ttl().base().as_secs())
    }

    fn redis_password(&self) -> String {
        let Store::Redis(redis) = &self.loaded.config.store else { panic!("redis") };
        redis.auth.as_ref().expect("a password").password.get().expose().to_owned()
    }
}

fn text(dir: &Path, text: &str) -> String {
    text.replace("SECRETS", dir.join("secrets").to_str().expect("UTF-8"))
}

#[tokio::test]
async fn a_good_change_takes_effect() {
    let setting = Setting::new();
    assert_eq!(setting.ttl(), 300);
    setting.write("hydrant.yaml", &FIRST.replace("5m", "10m"));
    setting.until("the new ttl", |s| s.ttl() == 600).await;
    setting.until("the metric", |s| s.metrics.told() == (1, 0, false)).await;
    assert!(setting.log.text().contains("entities.user.ttl.base"), "{}", setting.log.text());
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_says_everything_in_one_line() {
    let setting = Setting::new();
    fs::write(setting.dir.path().join("secrets/redis"), "new").expect("writes");
    setting.write("hydrant.yaml", &FIRST.replace("5m", "5x").replace("group: shop", "group: a b"));
    setting.until("the refusal", |s| s.metrics.told().1 > 0 && s.log.text().contains("group")).await;
    assert!(setting.metrics.told().2, "stale");
    assert_eq!(setting.ttl(), 300);
    let log = setting.log.text();
    let line = log.lines().rfind(|line| line.contains("ERROR")).expect("an error");
    assert!(line.contains("line 1: group: ") && line.contains("line 6: entities.user.ttl.base: "), "{line}");

    setting.write("hydrant.yaml", &FIRST.replace("5m", "7m"));
    setting.until("the recovery", |s| s.ttl() == 420 && !s.metrics.told().2).await;
    assert_eq!(setting.redis_password(), "new");
}

#[tokio::test]
async fn a_file_that_is_gone_keeps_what_is_in_force() {
    let setting = Setting::new();
    fs::remove_file(setting.dir.path().join("hydrant.yaml")).expect("removes");
    setting.until("the refusal", |s| s.metrics.told() == (0, 1, true)).await;
    setting.write("hydrant.yaml", FIRST);
    setting.until("the recovery", |s| !s.metrics.told().2).await;
    assert_eq!(setting.ttl(), 300);
}

#[tokio::test]
async fn a_rotated_secret_shows_in_its_cell_and_nowhere_else() {
    let setting = Setting::new();
    assert_eq!(setting.redis_password(), "old");
    fs::write(setting.dir.path().join("secrets/redis"), "hunter2").expect("writes");
    setting.until("the new secret", |s| s.redis_password() == "hunter2").await;
    setting.until("the log", |s| s.log.text().contains("rotated=\"redis.password\"")).await;
    assert!(!setting.live.has_changed().expect("open"), "nothing else has changed");
    assert!(!setting.log.text().contains("hunter2"));
}

/// As Kubernetes does it: `hydrant.yaml → ..data/hydrant.yaml`, `..data → ..2024`, and the second link is replaced.
#[tokio::test]
async fn a_swapped_symlink_is_noticed() {
    fn publish(dir: &Path, version: &str, contents: &str) -> std::io::Result<()> {
        fs::create_dir(dir.join(version))?;
        fs::write(dir.join(version).join("hydrant.yaml"), text(dir, contents))?;
        symlink(version, dir.join("..tmp"))?;
        fs::rename(dir.join("..tmp"), dir.join("..data"))
    }
    let mount = |dir: &Path| {
        publish(dir, "..1", FIRST)?;
        symlink("..data/hydrant.yaml", dir.join("hydrant.yaml"))
    };
    let setting = Setting::start(mount, |_| {}, NEVER);
    for (version, ttl, seconds) in [("..2", "10m", 600), ("..3", "20m", 1200)] {
        publish(setting.dir.path(), version, &FIRST.replace("5m", ttl)).expect("publishes");
        setting.until("the new version", |s| s.ttl() == seconds).await;
    }
}

#[tokio::test]
async fn what_needs_a_restart_is_told_by_its_path_until_it_is_undone() {
    let setting = Setting::new();
    setting.write("hydrant.yaml", &FIRST.replace("nodes: [a]", "nodes: [b]").replace("5m", "6m"));
    setting.until("the new ttl", |s| s.ttl() == 360).await;
    let told = |s: &Setting| s.log.text().matches("need a restart to take effect paths=\"redis.nodes\"").count();
    setting.until("the warning", |s| told(s) == 1).await;
    setting.write("hydrant.yaml", &FIRST.replace("5m", "7m"));
    setting.until("the next ttl", |s| s.ttl() == 420).await;
    assert_eq!(told(&setting), 1);
}

#[tokio::test]
async fn without_watches_the_file_is_looked_at_now_and_then() {
    let blind = |follower: &mut Follower| follower.watches = Watches { watcher: None, ..Watches::new(Arc::default()) };
    let write = |dir: &Path| fs::write(dir.join("hydrant.yaml"), text(dir, FIRST));
    let setting = Setting::start(write, blind, Duration::from_millis(10));
    setting.write("hydrant.yaml", &FIRST.replace("5m", "10m"));
    setting.until("the new ttl", |s| s.ttl() == 600).await;
}

#[tokio::test]
async fn a_change_between_the_first_read_and_the_first_watch_is_not_lost() {
    let write = |dir: &Path| fs::write(dir.join("hydrant.yaml"), text(dir, FIRST));
    let change = |follower: &mut Follower| {
        let path = &follower.settings.path;
        let dir = path.parent().expect("a parent");
        fs::write(path, text(dir, &FIRST.replace("5m", "10m"))).expect("writes");
    };
    let setting = Setting::start(write, change, NEVER);
    setting.until("the new ttl", |s| s.ttl() == 600).await;
}

#[test]
fn live_and_static_paths_are_told_apart() {
    for (path, live) in
        [("entities.user.ttl.base", true), ("enabled", true), ("sources", true), ("prehydrate.items", true)]
    {
        assert_eq!(is_live(path), live, "{path}");
    }
    for path in ["redis.nodes", "listen.api", "enabledness", "workers"] {
        assert!(!is_live(path), "{path}");
    }
}

#[test]
fn what_else_is_written_in_the_directory_is_no_concern_of_ours() {
    let names = BTreeSet::from(["hydrant.yaml".into(), "redis-password".into()]);
    let about = |path: &str| concerns(&[PathBuf::from(path)], &names);
    assert!(about("/etc/hydrant/hydrant.yaml") && about("/run/secrets/redis-password"));
    assert!(about("/etc/hydrant/..data"), "a mounted ConfigMap is swapped so");
    assert!(!about("/etc/hydrant/log") && !about("/etc/hydrant/hydrant.yaml.swp"));
    assert!(concerns(&[], &names), "events that were lost may have been ours");
}
