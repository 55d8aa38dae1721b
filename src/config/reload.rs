//! Follows the configuration while the process runs.
//!
//! What is watched is the *directories* of the file and of every secret file it names: Kubernetes replaces a mounted file
//! by swapping a symlink beside it, which a watch on the file itself never sees. A change that passes every check takes
//! effect; one that does not leaves everything as it was, secrets included, and says so in the log and a metric. A slow
//! look from time to time catches what a watch missed; where there are no watches at all it is a quicker one.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use super::effective::Effective;
use super::metrics::Metrics;
use super::secrets::Secrets;
use super::{Accepted, Config, Live, Loaded, Reading, read_and_parse};
use crate::domain::clock::Clock;
use crate::tasks::Tasks;

/// What is followed, and with what.
#[derive(Clone, Debug)]
pub struct Settings {
    pub path: PathBuf,
    pub env: BTreeMap<String, String>,
    pub metrics: Metrics,
    pub clock: Clock,
    pub pace: Pace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// A change is read once nothing more has changed for so long: editors and kubelets write in several steps.
    pub quiet: Duration,
    /// Between looks where watches work.
    pub watched: Duration,
    /// Between looks where they do not.
    pub unwatched: Duration,
}

/// Sections that take effect while the process runs. Everything else needs a restart.
const LIVE: [&str; 11] = [
    "enabled",
    "entities",
    "identity",
    "listen.pod",
    "listen.remote.callers",
    "listen.remote.jwt",
    "listen.remote.limits",
    "prehydrate",
    "sources",
    "verify",
    "warmup",
];

/// Keys of those sections that do not: how many plans run at once is settled at the start.
const AT_START: [&str; 2] = ["prehydrate.in_flight", "prehydrate.queue"];

/// Directory changes without end are read in between all the same.
const MAX_QUIET_ROUNDS: usize = 20;

impl Default for Pace {
    fn default() -> Self {
        Self {
            quiet: Duration::from_millis(100),
            watched: Duration::from_secs(60),
            // As long as a kubelet takes anyway, on average.
            unwatched: Duration::from_secs(5),
        }
    }
}

/// Follows the file for as long as the process lives. The receiver sees a new `Live` for every change that was accepted
/// and concerns it; rotated secrets show in their cells instead.
pub fn watch(tasks: &Tasks, settings: Settings, loaded: &Loaded) -> watch::Receiver<Live> {
    let (follower, receiver) = Follower::new(settings, loaded);
    tasks.live("configuration", follower.run());
    receiver
}

struct Follower {
    settings: Settings,
    watches: Watches,
    changed: Arc<Notify>,
    live: watch::Sender<Live>,
    /// As the process started with it: what the static parts still run by.
    started: Effective,
    /// As of the last file that was accepted.
    current: Effective,
    secrets: Secrets,
    files: BTreeSet<PathBuf>,
    fingerprint: u64,
}

impl Follower {
    fn new(settings: Settings, loaded: &Loaded) -> (Self, watch::Receiver<Live>) {
        let (live, receiver) = watch::channel(loaded.config.live.clone());
        settings.metrics.started(settings.clock.unix());
        let changed = Arc::new(Notify::new());
        let follower = Self {
            watches: Watches::new(changed.clone()),
            changed,
            live,
            started: loaded.effective.clone(),
            current: loaded.effective.clone(),
            secrets: loaded.secrets.clone(),
            files: loaded.files.clone(),
            fingerprint: loaded.fingerprint,
            settings,
        };
        (follower, receiver)
    }

    async fn run(mut self) {
        loop {
            let all_watched = self.watches.follow(self.files.iter().chain([&self.settings.path]));
            // Between the last read and this moment nobody was watching new directories.
            self.look();
            let pace = self.settings.pace;
            let period = if all_watched { pace.watched } else { pace.unwatched };
            tokio::select! {
                biased;
                () = self.changed.notified() => self.until_quiet().await,
                () = sleep(period) => {}
            }
            self.look();
        }
    }

    /// Every round takes its time, so that a directory in which something is always written costs a look now and then.
    async fn until_quiet(&self) {
        for _ in 0..MAX_QUIET_ROUNDS {
            sleep(self.settings.pace.quiet).await;
            if self.changed.notified().now_or_never().is_none() {
                return;
            }
        }
    }

    /// Reads everything again, and acts if anything is new. The files are small and in memory (ConfigMaps and secrets are
    /// tmpfs), so this does not go to a thread of its own.
    fn look(&mut self) {
        let Reading { result, files, fingerprint } =
            read_and_parse(&self.settings.path, &self.settings.env, &self.secrets);
        if fingerprint == self.fingerprint {
            return;
        }
        self.fingerprint = fingerprint;
        match result {
            Ok(accepted) => {
                self.files = files;
                self.accept(accepted);
            }
            Err(problems) => {
                // A secret that the new file names and that is missing may yet be mounted.
                self.files.extend(files);
                self.settings.metrics.refused();
                tracing::error!(
                    file = %problems.file.display(),
                    problems = problems.list.len(),
                    "the configuration has changed and is refused; the one before stays in force: {}",
                    problems.brief()
                );
            }
        }
    }

    fn accept(&mut self, accepted: Accepted) {
        let Accepted { config, warnings, effective, staged } = accepted;
        let changes = self.current.changes(&effective);
        let rotated = self.secrets.adopt(staged);
        let restart: Vec<String> = self.started.changes(&effective).into_iter().filter(|path| !is_live(path)).collect();
        self.current = effective;
        self.settings.metrics.accepted(self.settings.clock.unix());

        let Config { live, .. } = config;
        if changes.iter().any(|path| is_live(path)) {
            self.live.send_replace(live);
        }
        tracing::info!(
            changed = changes.join(" "),
            rotated = rotated.join(" "),
            warnings = warnings.len(),
            "the configuration was read again and is accepted"
        );
        if !restart.is_empty() {
            tracing::warn!(paths = restart.join(" "), "these changes need a restart to take effect");
        }
    }
}

fn is_live(path: &str) -> bool {
    !AT_START.contains(&path)
        && LIVE
            .iter()
            .any(|section| path.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// Where the files are named, and where they really are: either may be what changes.
fn places<'a>(files: impl Iterator<Item = &'a PathBuf>) -> BTreeSet<PathBuf> {
    files.flat_map(|file| [Some(file.clone()), file.canonicalize().ok()]).flatten().collect()
}

fn directory(file: &Path) -> Option<PathBuf> {
    match file.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Some(PathBuf::from(".")),
        parent => parent.map(Path::to_owned),
    }
}

/// Being read is not a change: our own reads would wake us for ever.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => true,
    }
}

/// Whether an event may concern files of these names. Others in the same directory do not: a log that is written there
/// would wake us with every line. A kubelet swaps links whose names begin with two dots; an event without a path is one
/// that says that others were lost, and one about a directory itself has the name of that.
fn concerns(paths: &[PathBuf], names: &BTreeSet<OsString>) -> bool {
    let ours = |path: &PathBuf| {
        path.file_name().is_none_or(|name| names.contains(name) || name.as_encoded_bytes().starts_with(b".."))
            || path.is_dir()
    };
    paths.is_empty() || paths.iter().any(ours)
}

/// Held for a look, on the watcher's thread and on ours.
fn locked(names: &Mutex<BTreeSet<OsString>>) -> MutexGuard<'_, BTreeSet<OsString>> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The operating system's watches; the crate that brings them keeps a thread of its own for them.
struct Watches {
    watcher: Option<RecommendedWatcher>,
    /// What the files are called.
    of_interest: Arc<Mutex<BTreeSet<OsString>>>,
    directories: BTreeSet<PathBuf>,
}

impl Watches {
    fn new(changed: Arc<Notify>) -> Self {
        let of_interest = Arc::new(Mutex::new(BTreeSet::new()));
        let names = of_interest.clone();
        let on_event = move |event: notify::Result<notify::Event>| {
            let relevant = event.map_or(true, |event| is_change(event.kind) && concerns(&event.paths, &locked(&names)));
            if relevant {
                changed.notify_one();
            }
        };
        let watcher = notify::recommended_watcher(on_event)
            .inspect_err(|error| tracing::warn!(%error, "files cannot be watched here; the configuration is looked at now and then"))
            .ok();
        Self { watcher, of_interest, directories: BTreeSet::new() }
    }

    /// Watches the directories of these files and no others; answers whether all of them are watched. Each is asked for
    /// again every time, since a directory that was made anew has lost its watch.
    fn follow<'a>(&mut self, files: impl Iterator<Item = &'a PathBuf>) -> bool {
        let places = places(files);
        *locked(&self.of_interest) = places.iter().filter_map(|file| file.file_name()).map(OsString::from).collect();
        let directories: BTreeSet<PathBuf> = places.iter().filter_map(|file| directory(file)).collect();
        let Some(watcher) = &mut self.watcher else { return false };
        for gone in self.directories.difference(&directories) {
            // It may be gone from the disk as well.
            let _ = watcher.unwatch(gone);
        }
        let mut watched = BTreeSet::new();
        for directory in &directories {
            if watcher.watch(directory, RecursiveMode::NonRecursive).is_ok() {
                watched.insert(directory.clone());
            }
        }
        self.directories = watched;
        self.directories.len() == directories.len()
    }
}

#[cfg(test)]
mod tests;
