//! Histories in this process's memory, for `store: memory`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use tokio::time::Instant;

use crate::domain::habits::{Fields, Habits, MAX_FIELDS, Reading, Sight, Update};
use crate::domain::key::Key;
use crate::domain::pseudonym::Pseudonym;
use crate::domain::store::StoreError;

/// Subjects remembered; a demo and a test suite have fewer. The one written longest ago makes room.
const SUBJECTS: usize = 4_096;

#[derive(Debug, Default)]
pub struct MemoryHabits {
    /// Held for one step, never across an await.
    subjects: Mutex<HashMap<Pseudonym, Hash>>,
}

#[derive(Debug)]
struct Hash {
    fields: BTreeMap<Bytes, Bytes>,
    written: Instant,
    end: Instant,
}

impl Habits for MemoryHabits {
    fn read<'a>(&'a self, subject: Pseudonym) -> BoxFuture<'a, Result<Reading, StoreError>> {
        let subjects = self.subjects.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = subjects.get(&subject).filter(|hash| hash.end > Instant::now());
        let fields: Fields = hash.iter().flat_map(|hash| hash.fields.clone()).take(MAX_FIELDS).collect();
        let is_flooded = hash.is_some_and(|hash| hash.fields.len() > MAX_FIELDS);
        ready(Ok(Reading { fields, is_flooded })).boxed()
    }

    fn write<'a>(
        &'a self,
        subject: Pseudonym,
        update: &'a Update,
        life: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let now = Instant::now();
        let mut subjects = self.subjects.lock().unwrap_or_else(PoisonError::into_inner);
        if subjects.len() >= SUBJECTS && !subjects.contains_key(&subject) {
            let oldest = subjects.iter().min_by_key(|(name, hash)| (hash.written, **name)).map(|(name, _)| *name);
            oldest.map(|oldest| subjects.remove(&oldest));
        }
        let empty = || Hash { fields: BTreeMap::new(), written: now, end: now };
        let hash = subjects.entry(subject).or_insert_with(empty);
        if update.from_scratch || hash.end <= now {
            hash.fields.clear();
        }
        update.remove.iter().for_each(|field| drop(hash.fields.remove(field)));
        for (field, value) in &update.set {
            let (field, value) = (Bytes::from(field.clone()), Bytes::from(value.clone()));
            if hash.fields.len() < MAX_FIELDS || hash.fields.contains_key(&field) {
                hash.fields.insert(field, value);
            }
        }
        (hash.written, hash.end) = (now, now + life);
        ready(Ok(())).boxed()
    }

    /// This memory keeps no such clock.
    fn look<'a>(&'a self, _key: &'a Key) -> BoxFuture<'a, Result<Sight, StoreError>> {
        ready(Ok(Sight::NOTHING)).boxed()
    }
}
