//! The promise: once an invalidation has been acknowledged, no read from a primary answers an older value.
//!
//! It is not sampled. Whenever what an app would read at a key may have changed, the cluster shows it here.

use std::collections::BTreeMap;

use crate::log::Log;
use crate::redis::keyspace::Data;

#[derive(Default)]
pub struct Checker {
    keys: BTreeMap<Vec<u8>, Watched>,
    pub violations: Vec<String>,
    /// Values seen to appear.
    pub seen: u64,
    pub acknowledged: u64,
}

#[derive(Default)]
struct Watched {
    /// The newest version whose invalidation was acknowledged.
    acknowledged: u64,
}

/// The field of every value that says how new it is.
const FIELD: &[u8] = b"\"version\":";

impl Checker {
    pub fn watch(&mut self, key: &[u8]) {
        self.keys.entry(key.to_vec()).or_default();
    }

    pub fn watches(&self, key: &[u8]) -> bool {
        self.keys.contains_key(key)
    }

    pub fn watched(&self) -> Vec<Vec<u8>> {
        self.keys.keys().cloned().collect()
    }

    /// From now on nothing older may be read at these keys.
    pub fn acknowledge(&mut self, key: &[u8], version: u64) {
        let watched = self.keys.entry(key.to_vec()).or_default();
        watched.acknowledged = watched.acknowledged.max(version);
        self.acknowledged += 1;
    }

    pub fn saw(&mut self, log: &mut Log, at: u64, key: &[u8], found: Option<&Data>) {
        let Some(Data::Text(value)) = found else { return };
        let Some(watched) = self.keys.get(key) else { return };
        self.seen += 1;
        let version = version_of(value);
        if version < watched.acknowledged {
            let key = String::from_utf8_lossy(key);
            let what = format!("VIOLATION: {key} holds version {version}, {} was acknowledged", watched.acknowledged);
            log.note(at, || what.clone());
            self.violations.push(format!("{key}: version {version} after {} was acknowledged", watched.acknowledged));
        }
    }
}

pub fn version_of(value: &[u8]) -> u64 {
    let Some(at) = value.windows(FIELD.len()).position(|part| part == FIELD) else { return 0 };
    let digits = value[at + FIELD.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}
