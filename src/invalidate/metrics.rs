//! What invalidations are counted by.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::domain::outcome::Outcome;
use crate::domain::removal::Gone;
use crate::invalidate::request::Mode;

#[derive(Clone, Debug)]
pub struct Metrics {
    calls: Family<CallLabels, Counter>,
    seconds: Histogram,
    removed: Counter,
    fenced: Counter,
    pending: Gauge,
    taken_over: Counter,
    backlog: Gauge,
    oldest: Family<PartLabels, Gauge>,
    spool_files: Gauge,
    spool_bytes: Gauge,
    repeated: Counter,
    forgotten: Counter,
    weeded: Counter,
    refills: Family<RefillLabels, Counter>,
    abandoned: Counter,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Done,
    PendingFleet,
    PendingPod,
    Preview,
    /// Neither finished nor recorded.
    Unavailable,
    /// Wrong in itself; nothing was done.
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    mode: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefillLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartLabels {
    part: u8,
}

impl Metrics {
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            calls: Family::default(),
            // From 0.25 ms to 1 s, ten times the usual deadline.
            seconds: Histogram::new(exponential_buckets(0.000_25, 2.0, 13)),
            removed: Counter::default(),
            fenced: Counter::default(),
            pending: Gauge::default(),
            taken_over: Counter::default(),
            backlog: Gauge::default(),
            oldest: Family::default(),
            spool_files: Gauge::default(),
            spool_bytes: Gauge::default(),
            repeated: Counter::default(),
            forgotten: Counter::default(),
            weeded: Counter::default(),
            refills: Family::default(),
            abandoned: Counter::default(),
        };
        metrics.begin_with_zeroes();
        metrics.name(registry.sub_registry_with_prefix("hydrant_invalidate"));
        metrics
    }

    /// What never came is a zero, not a hole.
    fn begin_with_zeroes(&self) {
        for mode in Mode::ALL.map(Mode::as_str) {
            for outcome in Ended::ALL.map(Ended::as_str) {
                let _ = self.calls.get_or_create(&CallLabels { mode, outcome });
            }
        }
        for outcome in Outcome::ALL.map(Outcome::as_str) {
            let _ = self.refills.get_or_create(&RefillLabels { outcome });
        }
    }

    fn name(&self, registry: &mut Registry) {
        registry.register("calls", "Invalidate calls, by mode and by how they ended", self.calls.clone());
        let help = "Time from an Invalidate call to its answer";
        registry.register_with_unit("duration", help, Unit::Seconds, self.seconds.clone());
        registry.register("keys_removed", "Keys that held a value and were removed", self.removed.clone());
        registry.register("fills_fenced", "Fills in flight that were voided", self.fenced.clone());
        registry.register("pending", "Invalidations this sidecar works on after their answer", self.pending.clone());
        let help = "Invalidations of other sidecars that this one carried out";
        registry.register("taken_over", help, self.taken_over.clone());
        let help = "Intents in the journal of the group; told by the sidecar that looks after its first part";
        registry.register("journal_backlog", help, self.backlog.clone());
        let help = "Age of the oldest intent in the parts of the journal that this sidecar looks after";
        registry.register_with_unit("journal_oldest", help, Unit::Seconds, self.oldest.clone());
        registry.register("spool_files", "Intents on this pod's disk", self.spool_files.clone());
        registry.register_with_unit("spool", "Size of them", Unit::Bytes, self.spool_bytes.clone());
        let help = "Keys removed again because their slots moved or a primary restarted";
        registry.register("repeated", help, self.repeated.clone());
        let help = "Removals that were too many to remember for such a repetition";
        registry.register("forgotten", help, self.forgotten.clone());
        registry.register("weeded", "Stale values that applications wrote back, removed again", self.weeded.clone());
        registry.register("refills", "Keys loaded again after an invalidation", self.refills.clone());
        let help = "Invalidations that no journal took and that were too many to keep in memory";
        registry.register("abandoned", help, self.abandoned.clone());
    }

    pub fn call_answered(&self, mode: Mode, ended: Ended, elapsed: Duration) {
        self.calls.get_or_create(&CallLabels { mode: mode.as_str(), outcome: ended.as_str() }).inc();
        self.seconds.observe(elapsed.as_secs_f64());
    }

    pub fn key_erased(&self, gone: &Gone) {
        self.removed.inc_by(u64::from(gone.held));
        self.fenced.inc_by(u64::from(gone.fenced));
    }

    pub fn work_goes_on(&self) -> Counted {
        Counted::by(&self.pending)
    }

    pub fn intent_taken_over(&self) {
        self.taken_over.inc();
    }

    pub fn journal_holds(&self, intents: u64) {
        self.backlog.set(i64::try_from(intents).unwrap_or(i64::MAX));
    }

    /// Of one part; nothing of those that others look after.
    pub fn journal_oldest(&self, part: u8, age: Duration) {
        let seconds = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
        self.oldest.get_or_create(&PartLabels { part }).set(seconds);
    }

    pub fn spool_holds(&self, files: usize, bytes: u64) {
        self.spool_files.set(i64::try_from(files).unwrap_or(i64::MAX));
        self.spool_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub fn keys_repeated(&self, keys: usize) {
        self.repeated.inc_by(keys as u64);
    }

    pub fn recent_dropped(&self, erasures: usize) {
        self.forgotten.inc_by(erasures as u64);
    }

    pub fn key_weeded(&self) {
        self.weeded.inc();
    }

    pub fn refilled(&self, outcome: Outcome) {
        self.refills.get_or_create(&RefillLabels { outcome: outcome.as_str() }).inc();
    }

    pub fn work_abandoned(&self) {
        self.abandoned.inc();
    }
}

impl Ended {
    pub const ALL: [Self; 6] =
        [Self::Done, Self::PendingFleet, Self::PendingPod, Self::Preview, Self::Unavailable, Self::Refused];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::PendingFleet => "pending_fleet",
            Self::PendingPod => "pending_pod",
            Self::Preview => "preview",
            Self::Unavailable => "unavailable",
            Self::Refused => "refused",
        }
    }
}

/// Something that counts as under way until it is dropped, however it ends.
pub struct Counted(Gauge);

impl Counted {
    fn by(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
