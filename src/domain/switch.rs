//! The hot switch: whether fills run at all, for which entities, and for how large a share of the subjects.
//!
//! Off means no fills. Invalidation always runs: a cache that is being rolled back must still be emptied.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use crate::domain::entity::{Entity, Name};
use crate::domain::subject::Subject;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    pub all: bool,
    /// The share of subjects served, 0 to 100. A subject stays in or out as long as the share does, on every pod.
    pub percent: u8,
    /// Entities not named here are on.
    pub entities: BTreeMap<Name, bool>,
}

impl Default for Switch {
    fn default() -> Self {
        Self { all: true, percent: 100, entities: BTreeMap::new() }
    }
}

impl Switch {
    pub fn serves(&self, subject: &Subject) -> bool {
        self.all && xxh3_64(subject.user().as_bytes()) % 100 < u64::from(self.percent)
    }

    pub fn fills(&self, entity: &Entity) -> bool {
        self.all && self.entities.get(entity.name()).copied().unwrap_or(true)
    }
}
