//! What nobody asks for: runs after the start of a sidecar, and at the ticks of the schedules.
//!
//! A tick is had by one sidecar of the fleet. It is told by the wall clock, which is looked at again and again: a machine
//! that slept or a clock that was set finds the last tick it passed, and the plan says whether that is made up for. A
//! clock that was set back finds ticks that somebody has had already.
//!
//! Whoever finds the lease of a run held stands by until that run has ended: if its sidecar dies, the rest is taken over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, sleep};

use crate::domain::backoff::Backoff;
use crate::domain::entity::Name;
use crate::domain::lease;
use crate::domain::trace::TraceContext;
use crate::warm::Warm;
use crate::warm::events::Sink;
use crate::warm::plan::{Missed, Plan, Plans};
use crate::warm::request::{Contention, Effect, Request, Skipped, Trigger};
use crate::warm::run::Ran;

/// The wall clock is looked at at least this often: it may be set.
const LOOK: Duration = Duration::from_secs(10);
/// A tick that is found later than this was missed.
const LATE: Duration = Duration::from_secs(5);
/// A clock that was set back by more than this is believed.
const SET_BACK: Duration = Duration::from_secs(60);
/// A tick is remembered at least this long, for sidecars whose clocks differ.
const REMEMBERED: Duration = Duration::from_secs(60);
/// After a lease should have ended, before it is looked at.
const SETTLE: Duration = Duration::from_millis(100);
/// Between tries while the store is away.
const TRIES: Backoff = match Backoff::new(Duration::from_secs(1), Duration::from_secs(30)) {
    Ok(backoff) => backoff,
    Err(_) => panic!("the first wait is the shorter one"),
};

/// Runs as long as the process.
pub(super) async fn keep(warm: Warm) {
    let mut changes = warm.0.plans.subscribe();
    let mut last: BTreeMap<Name, SystemTime> = BTreeMap::new();
    loop {
        let (now, plans) = (warm.0.tools.clock.wall(), changes.borrow_and_update().clone());
        let mut wait = LOOK;
        for plan in &plans.plans {
            let Some(schedule) = &plan.when.schedule else { continue };
            // What is found at the first look counts from now on.
            let seen = last.entry(plan.name.clone()).or_insert(now);
            if *seen > now + SET_BACK {
                *seen = now;
            }
            if let Some(tick) = schedule.last_at(now).filter(|tick| tick > seen) {
                *seen = now;
                fire(&warm, plan, tick, now);
            }
            if let Some(next) = schedule.next_after(now) {
                warm.0.tools.metrics.plan_due(&plan.name, next);
                wait = wait.min(next.duration_since(now).unwrap_or_default());
            }
        }
        tokio::select! {
            biased;
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = sleep(wait) => {}
        }
    }
}

/// After the start of a sidecar.
pub(super) fn start(warm: &Warm, plan: &Plan, after: Duration) {
    let (warm, name) = (warm.clone(), plan.name.clone());
    let tasks = warm.0.tools.tasks.clone();
    drop(tasks.finish(async move {
        if warm.rest(after).await {
            warm.run_unasked(&name, Trigger::Start, Patience::Endless).await;
        }
        warm.0.first_runs.send_modify(|pending| {
            pending.remove(&name);
        });
    }));
}

fn fire(warm: &Warm, plan: &Plan, tick: SystemTime, now: SystemTime) {
    let late = now.duration_since(tick).unwrap_or_default();
    if late > LATE && plan.when.missed == Missed::Skip {
        tracing::warn!(plan = %plan.name, ?late, "a tick was missed and is passed over");
        return;
    }
    let period = plan.when.schedule.as_ref().map_or(REMEMBERED, |schedule| schedule.period_after(tick));
    let (warm, name, when) = (warm.clone(), plan.name.clone(), plan.when.clone());
    let tasks = warm.0.tools.tasks.clone();
    drop(tasks.finish(async move {
        let put_off = when.jitter.mul_f64(warm.0.tools.random.unit());
        let patience = match when.missed {
            Missed::Skip => Patience::None,
            // The next tick has its own.
            Missed::Once => Patience::Until(Instant::now() + period),
        };
        if warm.rest(put_off).await && warm.has_tick(&name, tick, period.max(REMEMBERED) + when.jitter, patience).await
        {
            warm.run_unasked(&name, Trigger::Schedule, patience).await;
        }
    }));
}

/// How long a run waits for a store that is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    None,
    Until(Instant),
    Endless,
}

impl Patience {
    fn is_over(self) -> bool {
        match self {
            Self::None => true,
            Self::Until(end) => Instant::now() >= end,
            Self::Endless => false,
        }
    }
}

impl Warm {
    /// Whether this sidecar is the one to run the tick.
    async fn has_tick(&self, plan: &Name, tick: SystemTime, life: Duration, patience: Patience) -> bool {
        let seconds = tick.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let Ok(key) = lease::tick_key(&self.0.config.group, plan.as_str(), seconds) else { return false };
        for attempt in 0.. {
            match self.0.tools.leases.tick(&key, life).await {
                Ok(is_ours) => return is_ours,
                Err(error) if patience.is_over() => {
                    tracing::warn!(%plan, %error, "a tick is passed over: the store cannot be asked who has it");
                    self.0.tools.metrics.run_skipped(plan, &Skipped::StoreUnavailable);
                    return false;
                }
                Err(_) => {
                    if !self.rest(TRIES.jittered(attempt, self.0.tools.random.unit())).await {
                        return false;
                    }
                }
            }
        }
        false
    }

    /// Runs a plan for the clock's sake: again where its lease was lost, where who held it died, where the store was away.
    async fn run_unasked(&self, name: &Name, trigger: Trigger, patience: Patience) {
        for attempt in 0.. {
            let plans: Arc<Plans> = self.0.plans.borrow().clone();
            let Some(plan) = plans.named(name.as_str()) else { return };
            let request = Request {
                plans: Vec::new(),
                contention: Contention::Skip,
                effect: Effect::Run,
                trigger,
                reason: String::new(),
                trace: TraceContext::start(&self.0.tools.random),
            };
            let sink = Sink::silent(self.0.tools.clock);
            let wait = match self.0.run(&plans, plan, &request, &sink).await {
                Ran::Ended(end) if end.lease_lost => plan.lease.ttl,
                Ran::Skipped(Skipped::Held(holder) | Skipped::Waited(holder)) => holder.remaining,
                Ran::Skipped(Skipped::StoreUnavailable) if !patience.is_over() => {
                    if self.rest(TRIES.jittered(attempt, self.0.tools.random.unit())).await {
                        continue;
                    }
                    return;
                }
                Ran::Ended(_) | Ran::Skipped(_) => return,
            };
            // A store that cannot say what is left may have a run to go on with.
            if !self.rest(wait + SETTLE).await || matches!(self.0.left(plan).await, Ok(None)) {
                return;
            }
        }
    }

    /// Waits; false where the process stops meanwhile.
    async fn rest(&self, wait: Duration) -> bool {
        let stopping = self.0.tools.tasks.stopping();
        tokio::select! {
            biased;
            () = stopping.cancelled() => false,
            () = sleep(wait) => true,
        }
    }
}
