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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::template::Params;

    fn subject(n: u32) -> Subject {
        Subject::new(format!("user-{n}"), None, None, Params::default()).expect("a good subject")
    }

    #[test]
    fn a_share_is_about_as_large_as_it_says_and_a_larger_share_keeps_the_smaller_one() {
        let share = |percent| Switch { percent, ..Switch::default() };
        let served = |switch: &Switch| (0..2_000).filter(|n| switch.serves(&subject(*n))).count();
        assert_eq!(served(&share(0)), 0);
        assert_eq!(served(&share(100)), 2_000);
        assert!((400..600).contains(&served(&share(25))));
        for n in 0..2_000 {
            assert!(!share(25).serves(&subject(n)) || share(50).serves(&subject(n)));
        }
    }
}
