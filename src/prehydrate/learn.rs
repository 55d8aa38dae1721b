//! What this sidecar knows of habits: one subject's, read at its login and written back after it; and everybody's, in
//! memory, for those who have none yet.
//!
//! A login never waits for more than the one read, and never fails for want of it: without a history the plan is what
//! the cohort reads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::domain::clock::Clock;
use crate::domain::entity::Name;
use crate::domain::habits::{Habits, Update};
use crate::domain::pseudonym::Pseudonym;
use crate::domain::subject::Subject;
use crate::prehydrate::history::{Config, History, Known};
use crate::prehydrate::metrics::Metrics;
use crate::prehydrate::usefulness::Usefulness;

/// How much one subject moves what is known of all: the last hundred or so count.
const SHARE: f64 = 0.02;
/// Before that many subjects, what they read is no custom.
const ENOUGH: u64 = 20;

/// Cloning shares it.
#[derive(Clone)]
pub struct Learner {
    habits: Arc<dyn Habits>,
    group: Arc<str>,
    clock: Clock,
    cohort: Arc<Mutex<Cohort>>,
    usefulness: Usefulness,
    metrics: Metrics,
}

/// Bounded by the entities that are declared: only those are predicted.
#[derive(Debug, Default)]
struct Cohort {
    subjects: u64,
    scores: BTreeMap<Name, f64>,
}

impl Learner {
    pub fn new(habits: Arc<dyn Habits>, group: &str, clock: Clock, metrics: Metrics) -> Self {
        let cohort = Arc::new(Mutex::new(Cohort::default()));
        Self { habits, group: group.into(), clock, cohort, usefulness: Usefulness::default(), metrics }
    }

    pub fn name_of(&self, subject: &Subject) -> Pseudonym {
        Pseudonym::of(&self.group, subject)
    }

    /// The wall clock, since 1970.
    pub fn now(&self) -> Duration {
        self.clock.unix()
    }

    pub fn group(&self) -> &str {
        &self.group
    }

    pub const fn usefulness(&self) -> &Usefulness {
        &self.usefulness
    }

    /// The subject's habits as they stand now; none where they cannot be read.
    pub async fn history(&self, subject: Pseudonym, config: &Config, known: &Known<'_>) -> Option<History> {
        let reading = match self.habits.read(subject).await {
            Ok(reading) => reading,
            // What is there is not known, so nothing of it must be changed.
            Err(error) => {
                tracing::debug!(%error, "a history could not be read");
                self.metrics.history_failed();
                return None;
            }
        };
        let mut history = History::at_login(&reading.fields, self.clock.unix(), config, known);
        if reading.is_flooded {
            history.foreign += 1;
            history.update.from_scratch = true;
        }
        self.metrics.history_read(history.scores.is_empty(), history.foreign);
        Some(history)
    }

    /// Writes back what the next login has to know, `age` after it was read, and counts the subject among all.
    pub async fn remember(&self, subject: Pseudonym, history: History, age: Duration, config: &Config) {
        if !history.scores.is_empty() {
            self.cohort.lock().unwrap_or_else(PoisonError::into_inner).count(&history);
        }
        if !history.update.set.is_empty() {
            self.write(subject, &Update { age, ..history.update }, config).await;
        }
    }

    /// Whether a marked value was read before it ended.
    pub fn ended(&self, entity: &Name, bytes: usize, was_read: bool) {
        self.usefulness.ended(entity, was_read);
        self.metrics.sample_ended(entity, self.usefulness.of(entity).precision, bytes, was_read);
    }

    /// Notes reads, for whoever was told of them.
    pub async fn write(&self, subject: Pseudonym, update: &Update, config: &Config) {
        if let Err(error) = self.habits.write(subject, update, config.life).await {
            tracing::debug!(%error, "a history could not be written");
            self.metrics.history_failed();
        }
    }

    /// What most subjects read; nothing before enough of them were seen.
    pub fn cohort(&self) -> BTreeMap<Name, f64> {
        let cohort = self.cohort.lock().unwrap_or_else(PoisonError::into_inner);
        if cohort.subjects < ENOUGH { BTreeMap::new() } else { cohort.scores.clone() }
    }
}

impl Cohort {
    fn count(&mut self, history: &History) {
        self.subjects += 1;
        let share = SHARE.max(1.0 / self.subjects as f64);
        self.scores.values_mut().for_each(|score| *score *= 1.0 - share);
        // What needs parameters of its own is one subject's affair.
        for (item, score) in history.scores.iter().filter(|(item, _)| item.params().is_empty()) {
            *self.scores.entry(item.entity().clone()).or_default() += share * score;
        }
        // An entity that is declared no more fades out.
        self.scores.retain(|_, score| *score > 0.001);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::future::{BoxFuture, ready};

    use super::*;
    use crate::domain::catalog::Catalog;
    use crate::domain::habits::{Reading, Sight};
    use crate::domain::key::Key;
    use crate::domain::store::StoreError;
    use crate::prehydrate::history::item::Item;

    #[test]
    fn what_most_subjects_read_is_the_cohorts() {
        let mut cohort = Cohort::default();
        for number in 0..200 {
            let mut history = History::default();
            history.scores.insert(Item::parse("profile").expect("an item"), 0.9);
            if number % 4 == 0 {
                history.scores.insert(Item::parse("orders").expect("an item"), 0.8);
            }
            history.scores.insert(Item::parse(&format!("product?sku={number}")).expect("an item"), 0.9);
            cohort.count(&history);
        }
        let score = |name: &str| cohort.scores[&Name::new(name).expect("a name")];
        assert!((score("profile") - 0.9).abs() < 0.05 && (score("orders") - 0.2).abs() < 0.1, "{:?}", cohort.scores);
        assert_eq!(cohort.scores.len(), 2);
    }
    /// It is there, and nobody can read it.
    struct Unread;

    impl Habits for Unread {
        fn read<'a>(&'a self, _: Pseudonym) -> BoxFuture<'a, Result<Reading, StoreError>> {
            ready(Err(StoreError::Timeout)).boxed()
        }

        fn write<'a>(&'a self, _: Pseudonym, _: &'a Update, _: Duration) -> BoxFuture<'a, Result<(), StoreError>> {
            ready(Ok(())).boxed()
        }

        fn look<'a>(&'a self, _: &'a Key) -> BoxFuture<'a, Result<Sight, StoreError>> {
            ready(Err(StoreError::Timeout)).boxed()
        }
    }

    #[tokio::test]
    async fn a_history_that_cannot_be_read_is_not_taken_for_an_empty_one() {
        let metrics = Metrics::register(&mut Default::default());
        let learner = Learner::new(Arc::new(Unread), "test", Clock::System, metrics);
        let day = Duration::from_secs(86_400);
        let config = Config { half_life: day, keep: 64, life: day, floor: 0.3 };
        let (catalog, usual) = (Catalog::new(Vec::new()).expect("no clash"), BTreeMap::new());
        let known = Known { catalog: &catalog, usual: &usual };
        assert!(learner.history(Pseudonym::new("test", None, "7"), &config, &known).await.is_none());
    }
}
