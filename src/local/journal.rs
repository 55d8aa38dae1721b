//! The journal of a store in memory: it lives and dies with the values that it speaks of, so nothing is lost with it.
//!
//! One part, one process, no replicas. What it is for: a pattern takes its time here too, and an application's own tests
//! follow a job as they will in production.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use tokio::time::Instant;

use crate::domain::journal::{Due, Hold, JobId, Journal, Note, Recorded, Standing};
use crate::domain::random::Nonce;
use crate::domain::store::{Confirmation, StoreError};

/// More than one process of tests ever has waiting.
const MOST: usize = 4_096;

/// Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct MemoryJournal {
    /// Held for one step, never across an await.
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    /// By number, so the oldest first.
    intents: BTreeMap<u64, (Instant, Bytes)>,
    notes: HashMap<u64, (Instant, Bytes)>,
    held: Option<(Nonce, Instant)>,
}

impl MemoryJournal {
    fn step<T: Send + 'static>(&self, step: impl FnOnce(&mut Inner, Instant) -> T) -> BoxFuture<'static, T> {
        let now = Instant::now();
        let mut inner = self.lock();
        inner.notes.retain(|_, (end, _)| *end > now);
        ready(step(&mut inner, now)).boxed()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Beyond the most that are kept the newest is not noted: it is only told less of.
    fn note(&mut self, number: u64, note: Note, now: Instant) {
        if self.notes.len() < MOST || self.notes.contains_key(&number) {
            self.notes.insert(number, (now + note.life, note.text));
        }
    }
}

impl Journal for MemoryJournal {
    fn record<'a>(&'a self, intent: Bytes) -> BoxFuture<'a, Result<Recorded, StoreError>> {
        self.step(|inner, now| {
            if inner.intents.len() >= MOST {
                return Err(StoreError::Overloaded);
            }
            inner.next += 1;
            let id = JobId::new(format!("0-{}", inner.next)).ok_or(StoreError::Overloaded)?;
            inner.intents.insert(inner.next, (now, intent));
            Ok(Recorded { id, confirmation: Confirmation::given() })
        })
    }

    fn finish<'a>(&'a self, id: &'a JobId, note: Option<Note>) -> BoxFuture<'a, Result<(), StoreError>> {
        let Some(number) = number(id) else { return ready(Ok(())).boxed() };
        self.step(move |inner, now| {
            inner.intents.remove(&number);
            if let Some(note) = note {
                inner.note(number, note, now);
            }
            Ok(())
        })
    }

    fn note<'a>(&'a self, id: &'a JobId, note: Note) -> BoxFuture<'a, Result<(), StoreError>> {
        let Some(number) = number(id) else { return ready(Ok(())).boxed() };
        self.step(move |inner, now| {
            inner.note(number, note, now);
            Ok(())
        })
    }

    fn standing<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, Result<Standing, StoreError>> {
        let number = number(id);
        self.step(move |inner, _| {
            let intent = number.and_then(|number| inner.intents.get(&number)).map(|(_, intent)| intent.clone());
            let note = number.and_then(|number| inner.notes.get(&number)).map(|(_, note)| note.clone());
            Ok(Standing { intent, note })
        })
    }

    fn parts(&self) -> u8 {
        1
    }

    fn hold<'a>(&'a self, _part: u8, holder: Nonce, life: Duration) -> BoxFuture<'a, Result<Hold, StoreError>> {
        self.step(move |inner, now| match inner.held {
            Some((other, end)) if other != holder && end > now => Ok(Hold::Taken { left: end - now }),
            _ => {
                inner.held = Some((holder, now + life));
                Ok(Hold::Held)
            }
        })
    }

    fn due<'a>(
        &'a self,
        _part: u8,
        after: Option<&'a JobId>,
        older_than: Duration,
        limit: u16,
    ) -> BoxFuture<'a, Result<Vec<Due>, StoreError>> {
        let first = after.and_then(number).map_or(0, |number| number + 1);
        self.step(move |inner, now| {
            let due = |(number, (since, intent)): (&u64, &(Instant, Bytes))| {
                let age = now - *since;
                let id = JobId::new(format!("0-{number}")).filter(|_| age > older_than)?;
                Some(Due { id, intent: intent.clone(), age })
            };
            Ok(inner.intents.range(first..).filter_map(due).take(usize::from(limit)).collect())
        })
    }

    fn backlog<'a>(&'a self) -> BoxFuture<'a, Vec<Result<u64, StoreError>>> {
        self.step(|inner, _| vec![Ok(inner.intents.len() as u64)])
    }
}

fn number(id: &JobId) -> Option<u64> {
    id.as_str().strip_prefix("0-")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::random::Random;

    fn note(text: &'static str) -> Note {
        Note { text: Bytes::from_static(text.as_bytes()), life: Duration::from_secs(10) }
    }

    async fn record(journal: &MemoryJournal, intent: &'static str) -> JobId {
        journal.record(Bytes::from_static(intent.as_bytes())).await.expect("room").id
    }

    #[tokio::test(start_paused = true)]
    async fn an_intent_stands_until_it_is_finished_and_its_note_for_a_while_longer() {
        let journal = MemoryJournal::default();
        let id = record(&journal, "one").await;
        let standing = async || journal.standing(&id).await.expect("memory answers");
        assert_eq!(standing().await, Standing { intent: Some(Bytes::from_static(b"one")), note: None });
        journal.finish(&id, Some(note("done"))).await.expect("memory answers");
        assert_eq!(standing().await, Standing { intent: None, note: Some(Bytes::from_static(b"done")) });
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(standing().await, Standing { intent: None, note: None });
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_are_due_first_and_young_ones_are_not() {
        let journal = MemoryJournal::default();
        let (first, second) = (record(&journal, "1").await, record(&journal, "2").await);
        tokio::time::advance(Duration::from_secs(3)).await;
        record(&journal, "3").await;
        let due = async |limit| journal.due(0, None, Duration::from_secs(2), limit).await.expect("memory answers");
        let ids: Vec<JobId> = due(9).await.into_iter().map(|due| due.id).collect();
        assert_eq!(ids, [first, second]);
        assert_eq!(due(1).await.len(), 1);
        assert_eq!(journal.backlog().await, [Ok(3)]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_holds_it() {
        let (journal, random) = (MemoryJournal::default(), Random::from_seed(1));
        let (one, two) = (random.nonce(), random.nonce());
        let hold = async |holder| journal.hold(0, holder, Duration::from_secs(5)).await.expect("memory answers");
        assert_eq!(hold(one).await, Hold::Held);
        assert_eq!(hold(one).await, Hold::Held);
        assert_eq!(hold(two).await, Hold::Taken { left: Duration::from_secs(5) });
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(hold(two).await, Hold::Held);
    }
}
