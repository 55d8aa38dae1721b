//! The lease that decides who runs a schedule (P5): no new work is started once the lease could have been lost.
//!
//! Steps of the protocol: ACQUIRE and RENEW as one script, valid from the moment of *sending* for the lock's life; the
//! check before each batch; the fence on progress; RELEASE by its owner only, which may arrive late. One clock, in ticks,
//! for all: drift is what the protocol's margin is for, and is not modelled. With a failover the lock is only held once
//! `WAIT` has answered for it, renewals included; else the lock comes back shorter, or not at all.

use crate::world::{Case, Marked, Sent, Shard, Steps, Who, World};

#[derive(Clone, Copy)]
pub struct Lease {
    pub failovers: u8,
    pub protocol: Protocol,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    AsPromised,
    /// The same, and a success counts only once a replica has it.
    WithWait,
    /// M14.
    ValidFromReply,
    /// M15.
    ReleaseUnasked,
    NoFence,
}

/// A lock lives so many ticks, and the world ends after so many.
const LIFE: u8 = 2;
const END: u8 = 5;
/// Calls that each runner makes: an acquisition and, the first one, a renewal or another try.
const CALLS: [u8; 2] = [2, 1];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    now: u8,
    lock: Shard<Lock>,
    /// The fence of the last progress written; 0 is none.
    progress: u8,
    runners: [Runner; 2],
    failovers: u8,
    broken: Broken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Lock {
    owner: Option<usize>,
    until: u8,
    fence: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Runner {
    call: Call,
    calls: u8,
    valid_until: u8,
    fence: u8,
    batch: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Call {
    None,
    Sent { at: u8 },
    Granted { at: u8, fence: u8, sent: Sent },
    Release,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Broken {
    No,
    StartedWithoutLock,
    ProgressWentBack,
}

impl World for Lease {
    type State = State;

    fn start(&self) -> State {
        let runner = |calls| Runner { call: Call::None, calls, valid_until: 0, fence: 0, batch: None };
        State {
            now: 0,
            lock: Shard::new(Lock { owner: None, until: 0, fence: 0 }),
            progress: 0,
            runners: CALLS.map(runner),
            failovers: self.failovers,
            broken: Broken::No,
        }
    }

    fn steps(&self, now: &State, steps: &mut Steps<State>) {
        if now.now < END {
            let mut next = State { now: now.now + 1, ..*now };
            for lock in [&mut next.lock.live, &mut next.lock.copy] {
                lock.owner = lock.owner.filter(|_| lock.until > next.now);
            }
            steps.add(Who::Redis, "a tick", next);
        }
        (0..now.runners.len()).for_each(|i| {
            self.call(i, now, steps);
            self.work(i, now, steps);
        });
        if self.failovers > 0 {
            let mut next = *now;
            next.lock.replicate();
            for runner in &mut next.runners {
                if let Call::Granted { sent, .. } = &mut runner.call {
                    sent.catch_up(now.lock.epoch);
                }
            }
            steps.add(Who::Redis, "the replica catches up", next);
        }
        if now.failovers > 0 {
            let mut next = State { failovers: now.failovers - 1, ..*now };
            next.lock.fail_over();
            steps.add(Who::Redis, "failover", next);
        }
    }

    fn broken(&self, now: &State) -> Option<&'static str> {
        match now.broken {
            Broken::No => None,
            Broken::StartedWithoutLock => Some("a batch was started by one who no longer holds the lock"),
            Broken::ProgressWentBack => Some("an older holder overwrote newer progress"),
        }
    }

    fn worked(&self, now: &State) -> bool {
        now.progress > 1
    }
}

impl Lease {
    fn call(&self, i: usize, now: &State, steps: &mut Steps<State>) {
        let (who, runner) = (Who::Runner(i), now.runners[i]);
        let mut next = *now;
        match runner.call {
            Call::None => {
                if runner.calls > 0 {
                    next.runners[i] = Runner { call: Call::Sent { at: now.now }, calls: runner.calls - 1, ..runner };
                    steps.add(who, "asks for the lock", next);
                }
                if runner.valid_until > now.now && runner.batch.is_none() {
                    next.runners[i] = Runner { call: Call::Release, calls: 0, valid_until: 0, ..runner };
                    steps.add(who, "sends a release", next);
                }
            }
            Call::Sent { at } => {
                next.runners[i].call = Call::None;
                let Lock { owner, fence, .. } = now.lock.live;
                if owner.is_none_or(|owner| owner == i) {
                    // A renewal keeps its fence.
                    let fence = if owner.is_some() { fence } else { fence + 1 };
                    let lock = Lock { owner: Some(i), until: now.now + LIFE, fence };
                    let sent = next.lock.write(Marked::Yes, |held| *held = lock);
                    next.runners[i].call = Call::Granted { at, fence, sent };
                }
                steps.add(who, "is served", next);
            }
            Call::Granted { at, fence, sent } => {
                let lost = sent.epoch != now.lock.epoch;
                let counts = self.protocol != Protocol::WithWait || now.lock.waited(sent);
                let from = if self.protocol == Protocol::ValidFromReply { now.now } else { at };
                if counts && !lost {
                    next.runners[i] = Runner { call: Call::None, valid_until: from + LIFE, fence, ..runner };
                    steps.add(who, "hears that it holds the lock", next);
                } else if lost {
                    next.runners[i].call = Call::None;
                    steps.add(who, "lost the connection", next);
                }
            }
            Call::Release => {
                next.runners[i].call = Call::None;
                if now.lock.live.owner == Some(i) || self.protocol == Protocol::ReleaseUnasked {
                    next.lock.write(Marked::Yes, |lock| lock.owner = None);
                }
                steps.add(who, "releases", next);
            }
        }
    }

    fn work(&self, i: usize, now: &State, steps: &mut Steps<State>) {
        let (who, runner) = (Who::Runner(i), now.runners[i]);
        let mut next = *now;
        match runner.batch {
            None if runner.valid_until > now.now => {
                next.runners[i].batch = Some(runner.fence);
                if now.lock.live.owner != Some(i) {
                    next.broken = Broken::StartedWithoutLock;
                }
                steps.add(who, "starts a batch", next);
            }
            None => {}
            // A pause may have made the batch outlive the lease; the fence is for that.
            Some(fence) => {
                next.runners[i].batch = None;
                if fence >= now.progress || self.protocol == Protocol::NoFence {
                    next.progress = fence;
                }
                if next.progress < now.progress {
                    next.broken = Broken::ProgressWentBack;
                }
                steps.add(who, "writes its progress", next);
            }
        }
    }
}

pub fn cases() -> Vec<Case> {
    const MODEL: &str = "lease";
    let right = Lease { failovers: 0, protocol: Protocol::AsPromised };
    let with = |protocol| Lease { protocol, ..right };
    vec![
        Case::holds(MODEL, "2 runners, renewals, late releases", right),
        Case::holds(
            MODEL,
            "the same, a failover, WAIT for the lock",
            Lease { failovers: 1, ..with(Protocol::WithWait) },
        ),
        Case::mutant("M14", MODEL, "validity from the reply", with(Protocol::ValidFromReply)),
        Case::mutant("M15", MODEL, "release without owner check", with(Protocol::ReleaseUnasked)),
        Case::violates(MODEL, "no fence on progress", with(Protocol::NoFence)),
        Case::violates(MODEL, "a failover, no WAIT for the lock", Lease { failovers: 1, ..right }),
    ]
}
