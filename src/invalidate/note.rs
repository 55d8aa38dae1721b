//! How a job stands, as it is noted beside its intent for those who ask elsewhere, and for whoever takes it over.
//!
//! A note outlives its intent, so it holds all that an answer needs; but no keys, other than a sweep's pattern.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::domain::entity::Name;
use crate::domain::journal::{self, JobId};
use crate::invalidate::intent::Intent;
use crate::invalidate::jobs::{Detail, Job, JobState, KEPT};
use crate::invalidate::request::{Cause, Counts, Durability, Mode};
use crate::invalidate::sweep::Progress;

/// A worker that has noted nothing for so long has gone: whoever looks after the journal takes its job over.
/// A sweep is silent for a claim's life between its passes.
pub const SILENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Noted {
    pub state: JobState,
    pub trace: String,
    pub reason: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub within: Vec<String>,
    pub mode: Mode,
    pub created: SystemTime,
    pub updated: SystemTime,
    pub finished: Option<SystemTime>,
    pub attempts: u32,
    pub next_attempt: Option<SystemTime>,
    pub holder: String,
    pub cause: Cause,
    pub counts: Counts,
    /// Only of a sweep.
    pub swept: Option<Swept>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Swept {
    pub patterns: Vec<String>,
    pub entities: Vec<String>,
    pub progress: Progress,
}

impl Noted {
    /// Of a job that nobody has noted anything about.
    pub fn queued(intent: &Intent) -> Self {
        let created = SystemTime::UNIX_EPOCH + Duration::from_millis(intent.requested);
        let swept = intent.sweep.as_ref().map(|sweep| Swept {
            patterns: sweep.spec.patterns.clone(),
            entities: sweep.spec.entities.iter().map(Name::to_string).collect(),
            progress: Progress::default(),
        });
        Self {
            state: JobState::Queued,
            trace: intent.trace.clone(),
            reason: intent.reason.clone(),
            within: intent.within.clone(),
            mode: intent.mode,
            created,
            updated: created,
            finished: None,
            attempts: 0,
            next_attempt: None,
            holder: String::new(),
            cause: if intent.sweep.is_some() { Cause::Sweep } else { Cause::Deadline },
            counts: Counts::default(),
            swept,
        }
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub fn to_note(&self) -> Option<journal::Note> {
        let text = Bytes::from(serde_json::to_vec(self).ok()?);
        Some(journal::Note { text, life: KEPT })
    }

    pub fn sweep_stands(&mut self, progress: &Progress) {
        if let Some(swept) = &mut self.swept {
            swept.progress = progress.clone();
        }
    }

    /// Somebody works on it, or was about to a moment ago.
    pub fn is_alive(&self, now: SystemTime) -> bool {
        let quiet_since = self.next_attempt.map_or(self.updated, |next| next.max(self.updated));
        now.duration_since(quiet_since).unwrap_or_default() < SILENCE
    }

    pub fn job(&self, id: JobId, durability: Durability) -> Job {
        let progress = self.swept.as_ref().map(|swept| &swept.progress);
        let mut counts = self.counts;
        progress.iter().for_each(|progress| counts.add(&progress.counts));
        let detail = match &self.swept {
            None => Detail::Invalidation { cause: self.cause },
            Some(Swept { patterns, entities, progress }) => Detail::Sweep {
                pattern: patterns.join(" "),
                entities: entities.clone(),
                pass: progress.pass,
                scanned: progress.scanned,
                nodes_done: progress.nodes_done,
                nodes_total: progress.nodes_total,
                rate: progress.rate,
            },
        };
        Job {
            id,
            state: self.state,
            trace: self.trace.clone(),
            created: self.created,
            updated: self.updated,
            finished: self.finished,
            attempts: self.attempts,
            next_attempt: self.next_attempt,
            holder: self.holder.clone(),
            durability,
            reason: self.reason.clone(),
            within: self.within.clone(),
            message: self.message().to_owned(),
            mode: self.mode,
            counts,
            detail,
        }
    }

    fn message(&self) -> &'static str {
        match (self.state, self.cause) {
            (JobState::Succeeded, _) => "done",
            (JobState::Queued, _) => "recorded, and not begun by anybody who said so",
            (_, Cause::NodeUnavailable) => "a redis node that holds keys of it cannot be reached, or refuses",
            (_, Cause::ReplicasLate) => "gone from the primary, but not enough replicas have confirmed it",
            (_, Cause::Topology) => "slots are moving between nodes",
            (_, Cause::Sweep) => "redis is being scanned",
            (_, Cause::Deadline) => "under way",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::random::Random;

    #[test]
    fn a_note_reads_back_and_tells_whether_its_worker_lives() {
        let nonce = Random::from_seed(1).nonce();
        let intent = Intent::new(Mode::Remove, nonce, "0".repeat(32), "why".into(), Duration::from_secs(1_000));
        let noted = Noted::queued(&intent);
        let text = noted.to_note().expect("it can be written").text;
        assert_eq!(Noted::from_bytes(&text), Some(noted.clone()));
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert!(noted.is_alive(at(1_029)));
        assert!(!noted.is_alive(at(1_030)));
        let waiting = Noted { next_attempt: Some(at(1_030)), ..noted };
        assert!(waiting.is_alive(at(1_059)), "it waits for its next try");
    }
}
