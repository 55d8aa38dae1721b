//! A warm-up as it is asked for, and what is told of it while it runs.

use std::time::{Duration, SystemTime};

use crate::domain::entity::Name;
use crate::domain::journal::JobId;
use crate::domain::trace::{TraceContext, TraceId};

#[derive(Clone, Debug)]
pub struct Request {
    /// By their names; none are all.
    pub plans: Vec<String>,
    pub contention: Contention,
    pub effect: Effect,
    pub trigger: Trigger,
    pub reason: String,
    pub trace: TraceContext,
}

/// What to do where another run holds a plan's lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contention {
    Skip,
    Wait { longest: Duration },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Run,
    /// Only tell what each step would do.
    Preview,
}

/// What caused a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    Start,
    Schedule,
    Call,
}

#[derive(Clone, Debug)]
pub struct Event {
    pub plan: Name,
    pub time: SystemTime,
    pub what: Happened,
}

#[derive(Clone, Debug)]
pub enum Happened {
    Started { trace: TraceId, fence: u64, job: Option<JobId>, steps: Vec<Name>, resumed: bool },
    Skipped(Skipped),
    StepStarted { step: Name, index: usize, total: u64 },
    Progress(Progress),
    StepFinished(StepEnd),
    Finished(PlanEnd),
    StepPlanned(StepPlanned),
}

/// Why a plan is not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Skipped {
    Held(Holder),
    /// The lease was waited for in vain.
    Waited(Holder),
    /// Fills are switched off.
    Disabled,
    StoreUnavailable,
    ShuttingDown,
}

/// Who holds a lease, and for how long unless it is renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub trace: String,
    pub pod: String,
    pub remaining: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    pub step: Name,
    pub counts: Counts,
    /// Keys finished per second, of late.
    pub rate: f64,
    pub workers: u32,
}

/// Keys of a step, or of a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Finished: written, fresh, absent or failed.
    pub done: u64,
    /// In all, or a guess; 0 if nobody knows.
    pub total: u64,
    pub warmed: u64,
    pub fresh: u64,
    pub failed: u64,
}

/// How a step or a plan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Success,
    /// A part failed; the rest is warm.
    Partial,
    /// Nothing was warmed, because of errors.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepEnd {
    pub step: Name,
    pub ended: Ended,
    /// How often it was tried, the first time included.
    pub attempts: u32,
    pub counts: Counts,
    pub elapsed: Duration,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanEnd {
    pub ended: Ended,
    pub counts: Counts,
    pub elapsed: Duration,
    /// It stopped early because its lease was lost, or could have been.
    pub lease_lost: bool,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepPlanned {
    pub step: Name,
    pub index: usize,
    /// None for a step that only connects.
    pub entity: Option<Name>,
    pub origin: String,
    pub total: u64,
    pub sample_keys: Vec<String>,
}

impl Trigger {
    pub const ALL: [Self; 3] = [Self::Start, Self::Schedule, Self::Call];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Schedule => "schedule",
            Self::Call => "call",
        }
    }
}

impl Skipped {
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Held(_) => "held",
            Self::Waited(_) => "waited",
            Self::Disabled => "disabled",
            Self::StoreUnavailable => "store_unavailable",
            Self::ShuttingDown => "shutting_down",
        }
    }
}

impl Ended {
    pub const ALL: [Self; 3] = [Self::Success, Self::Partial, Self::Failed];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Partial => "partial",
            Self::Failed => "failed",
        }
    }

    /// Of several steps: all well, all lost, or something between.
    pub fn of(steps: impl Iterator<Item = Self>) -> Self {
        let ends: Vec<Self> = steps.collect();
        match () {
            () if ends.iter().all(|end| *end == Self::Success) => Self::Success,
            () if ends.iter().all(|end| *end == Self::Failed) => Self::Failed,
            () => Self::Partial,
        }
    }
}

impl Counts {
    pub fn add(&mut self, other: &Self) {
        self.done += other.done;
        self.total += other.total;
        self.warmed += other.warmed;
        self.fresh += other.fresh;
        self.failed += other.failed;
    }
}
