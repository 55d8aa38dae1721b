//! Removing what only a scan can find: keys by pattern, and all keys of some entities.
//!
//! A scan passes by a key that is absent, a fill commits it, and the scan never sees it. So a sweep is done when a second
//! pass has ended that began at least one claim's life after the request: every fill that the first pass could have
//! missed has then ended, one way or the other.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::clock::Clock;
use crate::domain::entity::Name;
use crate::domain::random::Random;
use crate::domain::removal::Removal;
use crate::domain::store::{Refusal, StoreError};
use crate::fill::settings::Live;
use crate::invalidate::request::{Counts, Mode};

/// What to sweep. It stands in the intent, so that any sidecar can go on with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Globs, each checked to begin with the literal prefix of a declared template.
    pub patterns: Vec<String>,
    /// All keys of these entities, aliases too.
    #[serde(with = "names")]
    pub entities: Vec<Name>,
    pub mode: Mode,
    /// When it was asked for, in milliseconds since 1970: the second pass begins a claim's life after it at the earliest.
    pub requested: u64,
}

/// How far a sweep is. It is noted beside the intent, and whoever takes over goes on from there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Counted from 1; 0 before the first.
    pub pass: u32,
    pub scanned: u64,
    pub nodes_done: u32,
    pub nodes_total: u32,
    /// Keys a second, of late.
    pub rate: f64,
    pub counts: Counts,
    /// At most as many as an answer shows, as people may read them.
    pub sample: Vec<String>,
}

/// What a sweep works with.
#[derive(Clone)]
pub struct Tools {
    pub removal: Arc<dyn Removal>,
    /// Which entities there are, and so which keys are declared.
    pub live: Live,
    /// The longest life of a claim in the whole fleet.
    pub claim_life: Duration,
    pub clock: Clock,
    pub random: Random,
    /// Told of every key that was removed, for what this process remembers of it.
    pub forget: crate::invalidate::Forget,
}

/// Carries a sweep to its end, from where `resume` says that it was. Answers how it ended; an error leaves it to be
/// taken up again from what was reported last.
pub async fn run(
    _tools: &Tools,
    _spec: &Spec,
    _resume: Option<Progress>,
    _report: impl Fn(Progress),
) -> Result<Progress, StoreError> {
    // TODO(#4): the passes; until then a sweep stays pending, which is the truth.
    Err(StoreError::Refused(Refusal::Other))
}

/// Names as text.
mod names {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::domain::entity::Name;

    pub fn serialize<S: Serializer>(names: &[Name], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(names.iter().map(Name::as_str))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Name>, D::Error> {
        let names = Vec::<String>::deserialize(from)?;
        names.iter().map(|name| Name::new(name).ok_or_else(|| D::Error::custom("not a name"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_reads_back() {
        let entities = vec![Name::new("user").expect("a good name")];
        let spec = Spec { patterns: vec!["user:*".to_owned()], entities, mode: Mode::Refresh, requested: 7 };
        let text = serde_json::to_string(&spec).expect("it can be written");
        assert_eq!(serde_json::from_str::<Spec>(&text).expect("it can be read"), spec);
    }
}
