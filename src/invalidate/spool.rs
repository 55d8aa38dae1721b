//! Intents on this pod's disk, for when the journal cannot be written: a restart of the sidecar loses none of them.

use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub directory: PathBuf,
    /// Intents kept at once.
    pub files: usize,
    /// Their bytes in all.
    pub bytes: u64,
}
