//! Intents on this pod's disk, for when the journal cannot be written: a restart of the sidecar loses none of them.
//!
//! One file an intent. It is written under another name, synced, renamed, and its directory synced: what is found under
//! its own name is whole, and what was promised is found. The spool is bounded in files and bytes; a full one refuses,
//! and then nothing is promised.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::fs::{self, File, OpenOptions};
use tokio::io::AsyncWriteExt;

use crate::domain::journal::JobId;
use crate::domain::random::Nonce;
use crate::invalidate::metrics::Metrics;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub directory: PathBuf,
    /// Intents kept at once.
    pub files: usize,
    /// Their bytes in all.
    pub bytes: u64,
}

/// Cloning shares it.
#[derive(Clone)]
pub struct Spool {
    config: Config,
    /// The size of each file. Held for one step, never across an await.
    sizes: Arc<Mutex<BTreeMap<JobId, u64>>>,
    metrics: Metrics,
}

#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("the spool is full")]
    Full,
    #[error("the spool cannot be written or read: {0}")]
    Io(#[from] io::Error),
}

/// What the spool's files begin with, and so the jobs that stand in it.
const PREFIX: &str = "pod-";
const WHOLE: &str = "intent";
const BEGUN: &str = "begun";
/// Written and removed at the start; one that is left over goes like any that was only begun.
const PROBE: &str = "pod-probe.begun";

impl Spool {
    pub fn new(config: Config, metrics: Metrics) -> Self {
        Self { config, sizes: Arc::default(), metrics }
    }

    /// Writes an intent. When this has answered, a crash of the process or of the machine does not lose it.
    pub async fn write(&self, nonce: Nonce, intent: Bytes) -> Result<JobId, SpoolError> {
        let name = format!("{PREFIX}{:032x}", u128::from_be_bytes(*nonce.as_bytes()));
        let id = JobId::new(name).ok_or_else(|| io::Error::other("not a job's name"))?;
        self.reserve(&id, intent.len() as u64)?;
        let written = self.write_synced(&id, &intent).await;
        if written.is_err() {
            // It is promised to nobody and counted no more, so no part of it must stay.
            for form in [BEGUN, WHOLE] {
                let _ = fs::remove_file(self.path(&id, form)).await;
            }
            self.release(&id);
        }
        Ok(written.map(|()| id)?)
    }

    /// What was left by the process before this one, the oldest first. Files that are no whole intents are left alone;
    /// those that were only begun were promised to nobody, and go.
    pub async fn load(&self) -> Result<Vec<(JobId, Bytes)>, SpoolError> {
        fs::create_dir_all(&self.config.directory).await?;
        self.probe().await?;
        let mut entries = fs::read_dir(&self.config.directory).await?;
        let mut found = Vec::new();
        while let Some(entry) = entries.next_entry().await? {
            let path = entry.path();
            let Some((id, form)) = name_of(&path) else { continue };
            match form {
                BEGUN => fs::remove_file(&path).await?,
                _ => {
                    let written = entry.metadata().await?.modified()?;
                    let intent = Bytes::from(fs::read(&path).await?);
                    found.push((written, id, intent));
                }
            }
        }
        found.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        let mut sizes = self.lock();
        sizes.extend(found.iter().map(|(_, id, intent)| (id.clone(), intent.len() as u64)));
        self.report(&sizes);
        Ok(found.into_iter().map(|(_, id, intent)| (id, intent)).collect())
    }

    /// Takes an intent off. That a crash brings it back does no harm: it is repeated.
    pub async fn remove(&self, id: &JobId) -> Result<(), SpoolError> {
        match fs::remove_file(self.path(id, WHOLE)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        self.release(id);
        Ok(())
    }

    /// A folder that cannot be written is found now, and not when Redis is away. One that is only full is no reason to leave
    /// what it holds undone.
    async fn probe(&self) -> io::Result<()> {
        let path = self.config.directory.join(PROBE);
        let written = fs::write(&path, PROBE).await;
        let removed = fs::remove_file(&path).await;
        match written.and(removed) {
            Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                tracing::error!(%error, "the spool takes nothing for now");
                Ok(())
            }
            probed => probed,
        }
    }

    async fn write_synced(&self, id: &JobId, intent: &[u8]) -> io::Result<()> {
        let (begun, whole) = (self.path(id, BEGUN), self.path(id, WHOLE));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        // Keys may hold session tokens: for this user only.
        #[cfg(unix)]
        options.mode(0o600);
        let mut file = match options.open(&begun).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(&self.config.directory).await?;
                options.open(&begun).await?
            }
            opened => opened?,
        };
        file.write_all(intent).await?;
        file.sync_all().await?;
        fs::rename(&begun, &whole).await?;
        File::open(&self.config.directory).await?.sync_all().await
    }

    fn reserve(&self, id: &JobId, bytes: u64) -> Result<(), SpoolError> {
        let mut sizes = self.lock();
        let total: u64 = sizes.values().sum();
        if sizes.len() >= self.config.files || total + bytes > self.config.bytes {
            return Err(SpoolError::Full);
        }
        sizes.insert(id.clone(), bytes);
        self.report(&sizes);
        Ok(())
    }

    fn release(&self, id: &JobId) {
        let mut sizes = self.lock();
        sizes.remove(id);
        self.report(&sizes);
    }

    fn report(&self, sizes: &BTreeMap<JobId, u64>) {
        self.metrics.spool_holds(sizes.len(), sizes.values().sum());
    }

    fn path(&self, id: &JobId, form: &str) -> PathBuf {
        self.config.directory.join(format!("{id}.{form}"))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<JobId, u64>> {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which intent a file is, and whether it is whole; none for what is not ours.
fn name_of(path: &Path) -> Option<(JobId, &'static str)> {
    let form = match path.extension()?.to_str()? {
        WHOLE => WHOLE,
        BEGUN => BEGUN,
        _ => return None,
    };
    let stem = path.file_stem()?.to_str()?;
    stem.starts_with(PREFIX).then(|| JobId::new(stem)).flatten().map(|id| (id, form))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::random::Random;

    fn spool(directory: &Path, files: usize) -> Spool {
        let config = Config { directory: directory.join("spool"), files, bytes: 100 };
        Spool::new(config, Metrics::register(&mut Default::default()))
    }

    #[tokio::test]
    async fn what_was_written_is_found_after_a_restart_and_gone_once_removed() {
        let home = tempfile::tempdir().expect("a directory");
        let random = Random::from_seed(1);
        let before = spool(home.path(), 8);
        assert!(before.load().await.expect("an empty one").is_empty());
        let id = before.write(random.nonce(), "one".into()).await.expect("room");
        before.write(random.nonce(), "two".into()).await.expect("room");

        let after = spool(home.path(), 8);
        let mut found = after.load().await.expect("readable");
        found.sort_by(|a, b| a.1.cmp(&b.1));
        assert_eq!(found.iter().map(|(_, intent)| &intent[..]).collect::<Vec<_>>(), [b"one", b"two"]);
        after.remove(&id).await.expect("removed");
        after.remove(&id).await.expect("not there is as good");
        assert_eq!(spool(home.path(), 8).load().await.expect("readable").len(), 1);
    }

    #[tokio::test]
    async fn a_full_spool_refuses_and_has_room_again_when_one_is_removed() {
        let home = tempfile::tempdir().expect("a directory");
        let random = Random::from_seed(1);
        let spool = spool(home.path(), 2);
        let first = spool.write(random.nonce(), "1".into()).await.expect("room");
        assert!(matches!(spool.write(random.nonce(), vec![b'x'; 100].into()).await, Err(SpoolError::Full)));
        spool.write(random.nonce(), "2".into()).await.expect("room");
        assert!(matches!(spool.write(random.nonce(), "3".into()).await, Err(SpoolError::Full)));
        spool.remove(&first).await.expect("removed");
        spool.write(random.nonce(), "3".into()).await.expect("room again");
    }

    /// Nobody can make files there, whoever runs the test.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_folder_that_cannot_be_written_is_found_at_the_start() {
        let config = Config { directory: "/proc/self".into(), files: 8, bytes: 100 };
        let spool = Spool::new(config, Metrics::register(&mut Default::default()));
        assert!(matches!(spool.load().await, Err(SpoolError::Io(_))));
    }

    #[tokio::test]
    async fn files_that_were_only_begun_go_and_strangers_stay() {
        let home = tempfile::tempdir().expect("a directory");
        let spool = spool(home.path(), 8);
        spool.load().await.expect("made");
        let place = home.path().join("spool");
        std::fs::write(place.join("pod-1.begun"), "x").expect("written");
        std::fs::write(place.join("notes.txt"), "x").expect("written");
        assert!(spool.load().await.expect("readable").is_empty());
        assert!(!place.join("pod-1.begun").exists());
        assert!(place.join("notes.txt").exists());
    }
}
