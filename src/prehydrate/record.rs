//! What applications tell of their reads, gathered and written to histories in batches.
//!
//! Taking a report costs the caller next to nothing: it goes into a bounded line, and what does not fit is dropped and
//! counted. One task empties the line; the same item of the same subject is written once a batch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::domain::habits::Update;
use crate::domain::pseudonym::Pseudonym;
use crate::prehydrate::Config;
use crate::prehydrate::history::item::Item;
use crate::prehydrate::history::told;
use crate::prehydrate::learn::Learner;
use crate::prehydrate::metrics::Metrics;
use crate::tasks::Tasks;

/// Reports that wait: at a thousand a second, the batches of several seconds in which Redis does not answer.
const LINE: usize = 8_192;
/// A batch is written when it has so many reports, or is so old.
const BATCH: usize = 1_024;
const PATIENCE: Duration = Duration::from_millis(250);
/// Histories written at once, so that a batch does not crowd out a login.
const AT_ONCE: usize = 32;

/// Somebody read something, at some Unix second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    pub subject: Pseudonym,
    pub item: Item,
    pub at: u64,
}

/// Cloning shares the line.
#[derive(Clone)]
pub struct Recorder {
    line: mpsc::Sender<Read>,
    metrics: Metrics,
}

impl Recorder {
    pub fn start(learner: Learner, config: Arc<ArcSwap<Config>>, metrics: Metrics, tasks: &Tasks) -> Self {
        let (line, reads) = mpsc::channel(LINE);
        tasks.until_end(write_batches(learner, config, reads));
        Self { line, metrics }
    }

    /// Whether there was room for it.
    pub fn offer(&self, read: Read) -> bool {
        let taken = self.line.try_send(read).is_ok();
        self.metrics.read_told(taken);
        taken
    }
}

async fn write_batches(learner: Learner, config: Arc<ArcSwap<Config>>, mut reads: mpsc::Receiver<Read>) {
    while let Some(first) = reads.recv().await {
        let mut batch = Batch::default();
        batch.add(first);
        let until = Instant::now() + PATIENCE;
        while batch.reads < BATCH {
            match timeout_at(until, reads.recv()).await {
                Ok(Some(read)) => batch.add(read),
                Ok(None) | Err(_) => break,
            }
        }
        // Nothing is to be remembered any more.
        let Some(history) = config.load().history else { continue };
        let write = async |(subject, update): (Pseudonym, Update)| learner.write(subject, &update, &history).await;
        stream::iter(batch.into_updates(learner.now())).map(write).buffer_unordered(AT_ONCE).collect::<()>().await;
    }
}

#[derive(Default)]
struct Batch {
    subjects: BTreeMap<Pseudonym, BTreeMap<Item, u64>>,
    reads: usize,
}

impl Batch {
    fn add(&mut self, Read { subject, item, at }: Read) {
        self.reads += 1;
        let latest = self.subjects.entry(subject).or_default().entry(item).or_default();
        *latest = at.max(*latest);
    }

    /// What is told is as old as the oldest of it: better to lose a read than to remember somebody who was forgotten.
    fn into_updates(self, now: Duration) -> impl Iterator<Item = (Pseudonym, Update)> {
        self.subjects.into_iter().map(move |(subject, items)| {
            let oldest = items.values().min().copied().unwrap_or_default();
            let age = now.saturating_sub(Duration::from_secs(oldest));
            let set = items.into_iter().map(|(item, at)| told(&item, at)).collect();
            (subject, Update { set, age, ..Update::default() })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_read_told_twice_is_written_once_with_its_latest_time() {
        let (ann, bob) = (Pseudonym::new("shop", None, "ann"), Pseudonym::new("shop", None, "bob"));
        let item = Item::parse("profile").expect("an item");
        let mut batch = Batch::default();
        for (subject, at) in [(ann, 5), (ann, 9), (ann, 7), (bob, 1)] {
            batch.add(Read { subject, item: item.clone(), at });
        }
        let updates: BTreeMap<Pseudonym, Update> = batch.into_updates(Duration::from_secs(10)).collect();
        assert_eq!(updates[&ann].set, [("r:profile".to_owned(), "9".to_owned())]);
        assert_eq!(updates[&bob].set, [("r:profile".to_owned(), "1".to_owned())]);
        assert_eq!((updates[&ann].age, updates[&bob].age), (Duration::from_secs(1), Duration::from_secs(9)));
    }
}
