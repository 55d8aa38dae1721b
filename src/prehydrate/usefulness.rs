//! What came of what was filled: how often it was read before it ended, what it cost, how large it was. Per entity, from
//! samples; no clock and no store in here.
//!
//! An entity that is hardly ever read drops out of predicted plans, and now and then one is filled all the same: habits
//! of all subjects together change as well, and what is never filled can never be seen to be read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::entity::Name;
use crate::prehydrate::ending::Reason;
use crate::prehydrate::request::{Expected, Why};

/// How much one sample moves a figure: the last few dozen count.
const SHARE: f64 = 0.05;
/// What was read in most visits needs no proof each time. Above the floor by so much that a habit has been proved anew
/// before time alone could end it.
const CERTAIN: f64 = 0.7;
/// Fewer samples than this prove nothing against an entity.
const ENOUGH: u64 = 20;

/// How many values are looked at, and how often.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// The share of prehydrated values.
    pub share: f64,
    /// The share of them that is written so that even an early read shows, beside all that are not certain to be read.
    pub marked: f64,
    /// Looks a second, at most.
    pub per_second: u32,
}

/// Cloning shares it. Bounded by the entities that are declared.
#[derive(Clone, Debug, Default)]
pub struct Usefulness {
    /// Held for one look-up, never across an await.
    entities: Arc<Mutex<BTreeMap<Name, Figures>>>,
}

/// What is known of one entity.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Samples of fills whose end was seen.
    pub samples: u64,
    /// The share of them that was read, of late.
    pub precision: f64,
    /// Of values, as written.
    pub bytes: f64,
    /// Of fetches, in seconds.
    pub elapsed: f64,
    fills: u64,
}

/// Whether a value is written so that its first read shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Not,
    /// For this subject's history: what is not certain to be read is worth the proof.
    Own,
    /// One of the share that stands for all values of its entity.
    Fair,
}

/// Whether other items of the plan follow from an item. Then Hydrant reads its value itself, and a look at it could not
/// tell whether anybody else has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    ByOthers,
    ByNobody,
}

impl Sampling {
    /// `draw` is from 0 to 1. Where the share is nothing, nothing is marked at all.
    pub fn mark(&self, why: Why, draw: f64) -> Mark {
        let is_uncertain = match why.reason {
            // Of an entity that is not predicted any more this is all that is seen.
            Reason::Exploration if self.marked > 0.0 => return Mark::Fair,
            Reason::Exploration | Reason::Cohort => true,
            Reason::Requested | Reason::Always | Reason::History | Reason::Dependent => why.score < CERTAIN,
        };
        if draw < self.marked {
            Mark::Fair
        } else if is_uncertain && self.marked > 0.0 {
            Mark::Own
        } else {
            Mark::Not
        }
    }
}

impl Usefulness {
    /// A fill wrote so many bytes, in such a time.
    pub fn filled(&self, entity: &Name, bytes: usize, elapsed: Duration) {
        let mut entities = self.lock();
        let figures = entities.entry(entity.clone()).or_default();
        let share = if figures.fills == 0 { 1.0 } else { SHARE };
        figures.fills += 1;
        figures.bytes += share * (bytes as f64 - figures.bytes);
        figures.elapsed += share * (elapsed.as_secs_f64() - figures.elapsed);
    }

    /// A sampled value ended, read or not.
    pub fn ended(&self, entity: &Name, was_read: bool) {
        let mut entities = self.lock();
        let figures = entities.entry(entity.clone()).or_default();
        // The first few count fully, so that the figure does not creep up from nothing.
        let share = SHARE.max(1.0 / (figures.samples + 1) as f64);
        figures.samples += 1;
        figures.precision += share * (f64::from(u8::from(was_read)) - figures.precision);
    }

    pub fn of(&self, entity: &Name) -> Figures {
        self.lock().get(entity).copied().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, Figures>> {
        self.entities.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Figures {
    /// Whether enough was seen to say that it is hardly ever read.
    pub fn is_unused(&self, floor: f64) -> bool {
        self.samples >= ENOUGH && self.precision < floor
    }

    /// What the next fill will cost.
    pub fn expected(&self) -> Expected {
        match self.fills {
            0 => Expected::default(),
            _ => Expected {
                bytes: Some(self.bytes.round() as u64),
                elapsed: Some(Duration::from_secs_f64(self.elapsed)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).expect("a name")
    }

    #[test]
    fn an_entity_is_unused_only_after_enough_samples() {
        let (usefulness, ads) = (Usefulness::default(), name("ads"));
        for _ in 1..ENOUGH {
            usefulness.ended(&ads, false);
        }
        assert!(!usefulness.of(&ads).is_unused(0.1));
        usefulness.ended(&ads, false);
        assert!(usefulness.of(&ads).is_unused(0.1));
    }

    #[test]
    fn an_entity_that_is_read_again_comes_back() {
        let (usefulness, ads) = (Usefulness::default(), name("ads"));
        (0..100).for_each(|_| usefulness.ended(&ads, false));
        (0..5).for_each(|_| usefulness.ended(&ads, true));
        assert!(!usefulness.of(&ads).is_unused(0.1), "{:?}", usefulness.of(&ads));
    }

    #[test]
    fn sizes_and_times_follow_what_is_seen() {
        let (usefulness, user) = (Usefulness::default(), name("user"));
        usefulness.filled(&user, 1_000, Duration::from_millis(50));
        (0..200).for_each(|_| usefulness.filled(&user, 3_000, Duration::from_millis(100)));
        let figures = usefulness.of(&user);
        assert!((figures.bytes - 3_000.0).abs() < 10.0 && (figures.elapsed - 0.1).abs() < 0.001, "{figures:?}");
    }
}
