//! One key in a slot whose primary is replaced by a replica that may lag (P1 through a failover).
//!
//! Steps of the protocol: claims and tokens bound to their connection, `WAIT` after the delete and before the answer, the
//! same again after a lost connection or a short `WAIT`, and the repetition of recent invalidations after a change of
//! topology, which without `WAIT` promises an end only, not every moment on the way. `WAIT` answers for the connection
//! that asks: it covers what that connection has written. From Redis 7.2 on a command that changed nothing is not
//! written, so a delete that finds nothing must be accompanied by something that is.

use crate::world::{Case, Marked, Sent, Shard, Steps, Version, Who, World};

#[derive(Clone, Copy)]
pub struct Failover {
    pub fillers: usize,
    pub updates: usize,
    pub failovers: u8,
    pub claims: Claims,
    pub tokens: Tokens,
    pub wait: Wait,
    pub promise: Promise,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claims {
    Nonce,
    /// M3: a fill remembers a counter that invalidation raises.
    Counter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// Void once the connection is lost.
    OfTheConnection,
    /// M7.
    SurviveReconnect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// On the connection that deleted, with a marker of its own.
    WithMarker,
    /// On the connection that deleted, whether or not the delete found anything.
    AfterDelete,
    /// On a connection that has written nothing.
    Elsewhere,
    /// M2.
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    Always,
    /// Once what the failover undid has been repeated.
    InTheEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    source: Version,
    acked: Version,
    slot: Shard<Slot>,
    fillers: [Filler; 2],
    updates: [Update; 2],
    failovers: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Slot {
    key: Option<Version>,
    guard: Guard,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Guard {
    Free,
    Claim(usize),
    Counter(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Filler {
    at: FillAt,
    value: Version,
    epoch: u8,
    token: Guard,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum FillAt {
    Start,
    Claimed,
    Fetched,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Update {
    at: UpdateAt,
    version: Version,
    sent: Sent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum UpdateAt {
    Start,
    Changed,
    Deleted,
    Done,
}

impl World for Failover {
    type State = State;

    fn start(&self) -> State {
        let guard = match self.claims {
            Claims::Nonce => Guard::Free,
            Claims::Counter => Guard::Counter(0),
        };
        let mut state = State {
            source: 0,
            acked: 0,
            slot: Shard::new(Slot { key: None, guard }),
            fillers: [Filler { at: FillAt::Start, ..IDLE }; 2],
            updates: [Update { at: UpdateAt::Start, version: 0, sent: Sent::NOTHING }; 2],
            failovers: self.failovers,
        };
        state.fillers[self.fillers..].iter_mut().for_each(|filler| *filler = IDLE);
        state.updates[self.updates..].iter_mut().for_each(|update| update.at = UpdateAt::Done);
        state
    }

    fn steps(&self, now: &State, steps: &mut Steps<State>) {
        (0..self.fillers).for_each(|i| self.fill(i, now, steps));
        (0..self.updates).for_each(|i| self.update(i, now, steps));
        let mut next = *now;
        next.slot.replicate();
        next.updates.iter_mut().for_each(|update| update.sent.catch_up(now.slot.epoch));
        steps.add(Who::Redis, "the replica catches up", next);
        if now.failovers > 0 {
            let mut next = State { failovers: now.failovers - 1, ..*now };
            next.slot.fail_over();
            steps.add(Who::Redis, "failover", next);
        }
    }

    fn broken(&self, now: &State) -> Option<&'static str> {
        (self.promise == Promise::Always && stale(now)).then_some("a value older than acknowledged")
    }

    fn unfinished(&self, now: &State) -> Option<&'static str> {
        stale(now).then_some("a value older than acknowledged stays")
    }

    fn worked(&self, now: &State) -> bool {
        now.failovers == 0 && now.acked > 0 && now.slot.live.key == Some(now.acked)
    }
}

const IDLE: Filler = Filler { at: FillAt::Done, value: 0, epoch: 0, token: Guard::Free };

fn stale(now: &State) -> bool {
    now.slot.live.key.is_some_and(|version| version < now.acked)
}

impl Failover {
    fn fill(&self, i: usize, now: &State, steps: &mut Steps<State>) {
        let (who, filler) = (Who::Filler(i), now.fillers[i]);
        match filler.at {
            FillAt::Start => {
                let mut next = *now;
                // An older claim may be taken over.
                let token = match now.slot.live.guard {
                    Guard::Counter(count) => Guard::Counter(count),
                    Guard::Free | Guard::Claim(_) => Guard::Claim(i),
                };
                next.slot.write(Marked::No, |slot| slot.guard = token);
                next.fillers[i] = Filler { at: FillAt::Claimed, value: 0, epoch: now.slot.epoch, token };
                steps.add(who, "claims", next);
            }
            FillAt::Claimed => {
                let mut next = *now;
                next.fillers[i] = Filler { at: FillAt::Fetched, value: now.source, ..filler };
                steps.add(who, "fetches", next);
            }
            FillAt::Fetched => {
                let mut next = *now;
                next.fillers[i] = IDLE;
                let connected = filler.epoch == now.slot.epoch || self.tokens == Tokens::SurviveReconnect;
                if connected && now.slot.live.guard == filler.token {
                    next.slot.write(Marked::No, |slot| {
                        slot.key = Some(filler.value);
                        slot.guard = match slot.guard {
                            Guard::Counter(count) => Guard::Counter(count),
                            Guard::Free | Guard::Claim(_) => Guard::Free,
                        };
                    });
                }
                steps.add(who, "commits", next);
            }
            FillAt::Done => {}
        }
    }

    fn update(&self, i: usize, now: &State, steps: &mut Steps<State>) {
        let (who, Update { at, version, sent }) = (Who::Updater(i), now.updates[i]);
        match at {
            UpdateAt::Start => {
                let mut next = State { source: now.source + 1, ..*now };
                next.updates[i] = Update { at: UpdateAt::Changed, version: next.source, sent };
                steps.add(who, "changes the source", next);
            }
            UpdateAt::Changed => steps.add(who, "deletes key and guard", self.delete(i, UpdateAt::Deleted, now)),
            UpdateAt::Deleted => {
                if self.wait == Wait::Never || self.wait == Wait::Elsewhere || now.slot.waited(sent) {
                    let mut next = State { acked: now.acked.max(version), ..*now };
                    next.updates[i].at = UpdateAt::Done;
                    steps.add(who, "answers done", next);
                }
                // Its own repetition after a lost connection, and that of a peer after a short WAIT (left out for counters,
                // which it would raise for ever): both know nothing of what the first connection wrote.
                let again = sent.epoch != now.slot.epoch || self.claims == Claims::Nonce;
                if self.wait != Wait::Never && !now.slot.waited(sent) && again {
                    steps.add(who, "deletes again on a new connection", self.delete(i, UpdateAt::Deleted, now));
                }
            }
            UpdateAt::Done if sent.epoch != now.slot.epoch && version > 0 => {
                steps.add(who, "is repeated after the failover", self.delete(i, UpdateAt::Done, now));
            }
            UpdateAt::Done => {}
        }
    }

    fn delete(&self, i: usize, then: UpdateAt, now: &State) -> State {
        let mut next = *now;
        let marked = match self.wait {
            Wait::WithMarker => Marked::Yes,
            Wait::AfterDelete | Wait::Elsewhere | Wait::Never => Marked::No,
        };
        let sent = next.slot.write(marked, |slot| {
            slot.key = None;
            slot.guard = match slot.guard {
                Guard::Counter(count) => Guard::Counter(count + 1),
                Guard::Free | Guard::Claim(_) => Guard::Free,
            };
        });
        next.updates[i] = Update { at: then, version: now.updates[i].version, sent };
        next
    }
}

pub fn cases() -> Vec<Case> {
    const MODEL: &str = "failover";
    let right = Failover {
        fillers: 2,
        updates: 2,
        failovers: 1,
        claims: Claims::Nonce,
        tokens: Tokens::OfTheConnection,
        wait: Wait::WithMarker,
        promise: Promise::Always,
    };
    let wait = |wait| Failover { wait, ..right };
    let survive = Failover { tokens: Tokens::SurviveReconnect, ..right };
    let in_the_end = Failover { wait: Wait::Never, promise: Promise::InTheEnd, ..right };
    vec![
        Case::holds(MODEL, "WAIT with a marker, 2 fills, 2 invalidations, 1 failover", right),
        Case::holds(MODEL, "the same, 1 invalidation, 2 failovers", Failover { updates: 1, failovers: 2, ..right }),
        Case::holds(MODEL, "a nonce's token may survive a failover (not a restart)", survive),
        Case::holds(MODEL, "counters, WAIT, tokens of the connection", Failover { claims: Claims::Counter, ..right }),
        Case::holds(MODEL, "no WAIT, repeated after the failover: fresh in the end", in_the_end),
        Case::mutant("M2", MODEL, "no WAIT", wait(Wait::Never)),
        Case::mutant("M3", MODEL, "counters, and M7: tokens survive", Failover { claims: Claims::Counter, ..survive }),
        Case::violates(MODEL, "WAIT on a connection that has not deleted", wait(Wait::Elsewhere)),
        Case::violates(MODEL, "WAIT after a delete that found nothing (Redis 7.2+)", wait(Wait::AfterDelete)),
    ]
}
