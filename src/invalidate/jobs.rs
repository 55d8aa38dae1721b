//! What became of an invalidation that was pending: the words that `GetJob` and `WatchJob` answer with.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::domain::journal::JobId;
use crate::invalidate::request::{Cause, Counts, Durability, Mode};

#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub id: JobId,
    pub state: JobState,
    /// Of the call that caused it, as 32 hexadecimal digits.
    pub trace: String,
    pub created: SystemTime,
    /// When it last made progress.
    pub updated: SystemTime,
    pub finished: Option<SystemTime>,
    /// How often it was tried, the first time included.
    pub attempts: u32,
    /// Only while it waits.
    pub next_attempt: Option<SystemTime>,
    /// The pod that works on it; empty if none does.
    pub holder: String,
    pub durability: Durability,
    pub reason: String,
    /// The tenants that it stays within; empty where nobody knows.
    pub within: Vec<String>,
    /// For people.
    pub message: String,
    pub mode: Mode,
    pub counts: Counts,
    pub detail: Detail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Recorded, not begun.
    Queued,
    Running,
    /// Tried, not finished, and to be tried again.
    Waiting,
    /// All of it is done. Invalidations have no other end: they are repeated until they are done.
    Succeeded,
}

/// What only one kind of job has.
#[derive(Clone, Debug, PartialEq)]
pub enum Detail {
    Invalidation {
        cause: Cause,
    },
    Sweep {
        /// Empty if entities are swept.
        pattern: String,
        entities: Vec<String>,
        pass: u32,
        scanned: u64,
        nodes_done: u32,
        nodes_total: u32,
        /// Keys a second, of late.
        rate: f64,
    },
}

/// A job ended longer ago is no longer known.
pub const KEPT: Duration = Duration::from_secs(3_600);

impl JobState {
    pub const fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Running | Self::Waiting => false,
            Self::Succeeded => true,
        }
    }
}
