//! What has been concerned so far, target by target, for whoever asks while the work goes on.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::catalog::Catalog;
use crate::domain::key::Key;
use crate::domain::shown;
use crate::invalidate::request::{Counts, MAX_SAMPLE};

/// Cloning shares it.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Held for one step, never across an await.
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    targets: Vec<Counts>,
    sample: BTreeSet<String>,
}

impl Tally {
    pub fn new(targets: usize) -> Self {
        let inner = Inner { targets: vec![Counts::default(); targets.max(1)], sample: BTreeSet::new() };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Changes the counts of one target.
    pub fn count(&self, target: usize, change: impl FnOnce(&mut Counts)) {
        let mut inner = self.lock();
        // An intent from elsewhere may speak of more targets than it says; its last one takes them.
        let last = inner.targets.len() - 1;
        change(&mut inner.targets[target.min(last)]);
    }

    /// Keeps a key for the sample, as long as there is room.
    pub fn show(&self, catalog: &Catalog, key: &Key) {
        let mut inner = self.lock();
        if inner.sample.len() < MAX_SAMPLE {
            inner.sample.insert(shown::any_key(catalog, key));
        }
    }

    pub fn targets(&self) -> Vec<Counts> {
        self.lock().targets.clone()
    }

    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.lock().targets.iter().for_each(|counts| total.add(counts));
        total
    }

    pub fn sample(&self) -> Vec<String> {
        self.lock().sample.iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
