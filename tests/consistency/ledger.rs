//! What was seen in one run: reads and what they found, invalidations and how they were answered, and every value that
//! was older than what had been acknowledged before it was asked for.
//!
//! Not every old value breaks a promise: some faults are outside of one by name (docs/consistency.md), and a value that an
//! application wrote itself may be read until the next sweep. Such reads are counted apart, by their reason.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::truth::{Entity, Found, State};

#[derive(Default)]
pub struct Ledger {
    pub reads: AtomicU64,
    pub hits: AtomicU64,
    pub read_errors: AtomicU64,
    pub app_writes: AtomicU64,
    calls: Mutex<Calls>,
    stale: Mutex<BTreeMap<&'static str, Stale>>,
}

/// What an old value means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// A promise is broken.
    Violation,
    /// Within what the promises leave open: by this fault's name, or for a time that is not over.
    Open,
}

/// Old values that were found, all for one reason.
#[derive(Clone, Debug, Serialize)]
pub struct Stale {
    pub verdict: Verdict,
    pub count: u64,
    pub oldest_ms: u64,
    /// The first few, whole.
    pub examples: Vec<Example>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Example {
    pub key: String,
    pub value: String,
    pub acked_version: u64,
    pub age_ms: u64,
    pub at_ms: u64,
}

#[derive(Clone, Debug, Default)]
struct Calls {
    invalidations: BTreeMap<String, u64>,
    fills: BTreeMap<String, u64>,
    call_ms: Vec<f64>,
    pending_ms: Vec<f64>,
    unfinished: u64,
}

/// A ledger when its run is over.
#[derive(Clone, Debug, Serialize)]
pub struct Sums {
    pub reads: u64,
    pub hits: u64,
    pub hit_rate: f64,
    pub read_errors: u64,
    pub app_writes: u64,
    pub invalidations: BTreeMap<String, u64>,
    pub invalidate_p50_ms: f64,
    pub invalidate_p99_ms: f64,
    pub pending_p50_ms: f64,
    pub pending_longest_ms: f64,
    pub fills: BTreeMap<String, u64>,
    /// Jobs that nobody had finished when they were given up on.
    pub unfinished: u64,
    pub stale: BTreeMap<&'static str, Stale>,
    /// With none found in n hits the rate is below this, at 95 %: 3/n.
    pub bound: f64,
}

const EXAMPLES: usize = 5;
/// More are a rate, not a distribution.
const TIMES: usize = 100_000;

impl Ledger {
    pub fn read(&self, hit: bool) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.hits.fetch_add(u64::from(hit), Ordering::Relaxed);
    }

    pub fn found_stale(&self, verdict: Verdict, why: &'static str, example: Example) {
        let mut stale = self.stale.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Stale { verdict, count: 0, oldest_ms: 0, examples: Vec::new() };
        let entry = stale.entry(why).or_insert_with(fresh);
        entry.count += 1;
        entry.oldest_ms = entry.oldest_ms.max(example.age_ms);
        let is_known = entry.examples.iter().any(|known| known.key == example.key && known.value == example.value);
        if entry.examples.len() < EXAMPLES && !is_known {
            entry.examples.push(example);
        }
    }

    pub fn has_violations(&self) -> bool {
        let stale = self.stale.lock().unwrap_or_else(PoisonError::into_inner);
        stale.values().any(|stale| stale.verdict == Verdict::Violation)
    }

    /// One answer to an invalidation: `DONE`, `PENDING`, or why it failed.
    pub fn answered(&self, how: &str, took: Duration) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        *calls.invalidations.entry(how.to_owned()).or_default() += 1;
        if calls.call_ms.len() < TIMES {
            calls.call_ms.push(took.as_secs_f64() * 1e3);
        }
    }

    pub fn job_finished(&self, took: Duration) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.pending_ms.len() < TIMES {
            calls.pending_ms.push(took.as_secs_f64() * 1e3);
        }
    }

    pub fn job_was_not_finished(&self) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).unfinished += 1;
    }

    pub fn filled(&self, outcome: &str) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        *calls.fills.entry(outcome.to_owned()).or_default() += 1;
    }

    pub fn sums(&self) -> Sums {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (reads, hits) = (load(&self.reads), load(&self.hits));
        Sums {
            reads,
            hits,
            hit_rate: hits as f64 / reads.max(1) as f64,
            read_errors: load(&self.read_errors),
            app_writes: load(&self.app_writes),
            invalidate_p50_ms: quantile(&calls.call_ms, 0.5),
            invalidate_p99_ms: quantile(&calls.call_ms, 0.99),
            pending_p50_ms: quantile(&calls.pending_ms, 0.5),
            pending_longest_ms: quantile(&calls.pending_ms, 1.0),
            unfinished: calls.unfinished,
            invalidations: calls.invalidations,
            fills: calls.fills,
            stale: self.stale.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            bound: 3.0 / hits.max(1) as f64,
        }
    }
}

impl Example {
    pub fn new(entity: Entity, key: &str, found: &Found, value: &[u8], acked: State) -> Self {
        let value = match found {
            Found::Version(_) => String::from_utf8_lossy(value).into_owned(),
            Found::Epoch(epoch) => format!("{} epoch {epoch}: {}", entity.name(), String::from_utf8_lossy(value)),
        };
        Self { key: key.to_owned(), value, acked_version: acked.version, age_ms: 0, at_ms: 0 }
    }
}

fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
}
