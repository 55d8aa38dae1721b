//! The keys of one server: strings, hashes, sorted sets and streams, with their ends.
//!
//! Time is set from outside. Whatever a command changes is noted by key, so that replication copies whole entries and
//! need not know commands. Ordered maps throughout: the same commands leave the same bytes.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, Default)]
pub struct Keyspace {
    /// Milliseconds since 1970, by this server's clock.
    pub now: u64,
    /// Keys that one step of a scan answers at most, whatever it is asked for: a large keyspace in small.
    pub page: Option<usize>,
    entries: BTreeMap<Vec<u8>, Entry>,
    changed: BTreeSet<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub data: Data,
    pub ends: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    Text(Vec<u8>),
    /// In the order in which the fields came: small hashes answer so.
    Hash(Vec<(Vec<u8>, Vec<u8>)>),
    Scored(BTreeMap<Vec<u8>, f64>),
    Stream(Stream),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stream {
    pub entries: BTreeMap<(u64, u64), Vec<Vec<u8>>>,
    pub last: (u64, u64),
}

/// Why a command was refused, as it goes over the wire.
pub type Refused = String;

pub const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

impl Keyspace {
    /// What stands at the key, if it has not ended. An ended key is removed, which replicas have to be told.
    pub fn get(&mut self, key: &[u8]) -> Option<&Entry> {
        if self.entries.get(key)?.has_ended(self.now) {
            self.remove(key);
            return None;
        }
        self.entries.get(key)
    }

    /// The same for somebody who only looks.
    pub fn peek(&self, key: &[u8]) -> Option<&Entry> {
        self.entries.get(key).filter(|entry| !entry.has_ended(self.now))
    }

    /// What somebody finds there at that time.
    pub fn peek_at(&self, key: &[u8], now: u64) -> Option<&Data> {
        self.entries.get(key).filter(|entry| !entry.has_ended(now)).map(|entry| &entry.data)
    }

    pub fn put(&mut self, key: &[u8], entry: Entry) {
        self.changed.insert(key.to_vec());
        self.entries.insert(key.to_vec(), entry);
    }

    pub fn remove(&mut self, key: &[u8]) -> Option<Entry> {
        let gone = self.entries.remove(key)?;
        self.changed.insert(key.to_vec());
        Some(gone).filter(|gone| !gone.has_ended(self.now))
    }

    pub fn set_end(&mut self, key: &[u8], ends: Option<u64>) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.ends = ends;
            self.changed.insert(key.to_vec());
        }
    }

    pub fn text(&mut self, key: &[u8]) -> Result<Option<&Vec<u8>>, Refused> {
        match self.get(key).map(|entry| &entry.data) {
            None => Ok(None),
            Some(Data::Text(text)) => Ok(Some(text)),
            Some(_) => Err(WRONG_TYPE.to_owned()),
        }
    }

    /// Works on what stands at the key, or on `new`; notes a change where `work` says that there was one, and removes a
    /// collection that was left empty (streams stay).
    pub fn edit<T>(
        &mut self,
        key: &[u8],
        new: Option<Data>,
        work: impl FnOnce(&mut Data) -> Result<(T, bool), Refused>,
    ) -> Result<Option<T>, Refused> {
        let kept = self.get(key).cloned();
        let Some(mut entry) = kept.or(new.map(|data| Entry { data, ends: None })) else { return Ok(None) };
        let (result, has_changed) = work(&mut entry.data)?;
        if has_changed {
            if entry.data.is_empty() {
                self.remove(key);
            } else {
                self.put(key, entry);
            }
        }
        Ok(Some(result))
    }

    pub fn clear(&mut self) {
        let keys: Vec<Vec<u8>> = self.entries.keys().cloned().collect();
        self.changed.extend(keys);
        self.entries.clear();
    }

    /// Every key that has not ended.
    pub fn keys(&self) -> impl Iterator<Item = (&Vec<u8>, &Entry)> {
        self.entries.iter().filter(|(_, entry)| !entry.has_ended(self.now))
    }

    /// What changed since the last call: each key with what stands there now.
    pub fn take_changes(&mut self) -> Vec<(Vec<u8>, Option<Entry>)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|key| (key.clone(), self.entries.get(&key).cloned())).collect()
    }

    /// What a replica does with its primary's changes.
    pub fn apply(&mut self, changes: &[(Vec<u8>, Option<Entry>)]) {
        for (key, entry) in changes {
            match entry {
                Some(entry) => self.entries.insert(key.clone(), entry.clone()),
                None => self.entries.remove(key),
            };
        }
    }
}

impl Entry {
    fn has_ended(&self, now: u64) -> bool {
        self.ends.is_some_and(|ends| ends <= now)
    }
}

impl Data {
    fn is_empty(&self) -> bool {
        match self {
            Self::Text(_) | Self::Stream(_) => false,
            Self::Hash(fields) => fields.is_empty(),
            Self::Scored(members) => members.is_empty(),
        }
    }

    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "string",
            Self::Hash(_) => "hash",
            Self::Scored(_) => "zset",
            Self::Stream(_) => "stream",
        }
    }
}
