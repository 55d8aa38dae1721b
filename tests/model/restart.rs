//! A primary that restarts in place and brings back what it had on disk (outside P1 until the sweep that follows is done,
//! inside it again from then on).
//!
//! Steps of the protocol: tokens die with their connection; the sweep that a changed `run_id` starts. What comes back are
//! values, claims and remembered absences; what is gone are registrations of aliases, while the aliases themselves live on
//! in other slots. So the sweep must see guards as well as keys, must go over the alias keys on *every* node, and needs
//! its second pass F later for them, since their fills have not lost their connections.

use crate::world::{Case, Steps, Version, Who, World};

#[derive(Clone, Copy)]
pub struct Restart {
    /// The first version in which the member exists.
    pub exists_from: Version,
    pub updates: usize,
    pub alias: AliasKey,
    pub tokens: Tokens,
    pub sweep: Sweep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AliasKey {
    None,
    InAnotherSlot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// Void once the connection is lost.
    OfTheConnection,
    /// M7.
    SurviveReconnect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// The restarted node's keys.
    Keys,
    /// Its keys and guards.
    KeysAndGuards,
    /// And the alias keys of every other node, once.
    AliasesOnce,
    /// And those again when the claims of before have ended.
    AliasesTwice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    source: Version,
    acked: Version,
    node: Node,
    disk: Node,
    epoch: u8,
    alias: Option<Version>,
    alias_guard: Option<usize>,
    fillers: [Filler; 2],
    updates: [Update; 2],
    sweep: SweepAt,
}

/// What the restarting node holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Node {
    key: Option<Version>,
    guard: Guard,
    indexed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Guard {
    Free,
    Claim(usize),
    Absent(Version),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Filler {
    at: FillAt,
    value: Version,
    epoch: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum FillAt {
    Start,
    Claimed,
    Fetched,
    AliasClaimed,
    Registered,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Update {
    at: UpdateAt,
    version: Version,
    epoch: u8,
    found: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum UpdateAt {
    Start,
    Changed,
    Deleted,
    AliasGone,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum SweepAt {
    NotNeeded,
    Needed,
    NodePassed,
    AliasesPassed,
    Waited,
    Done,
}

impl World for Restart {
    type State = State;

    fn start(&self) -> State {
        let node = Node { key: None, guard: Guard::Free, indexed: false };
        let update = Update { at: UpdateAt::Start, version: 0, epoch: 0, found: false };
        let mut state = State {
            source: 0,
            acked: 0,
            node,
            disk: node,
            epoch: 0,
            alias: None,
            alias_guard: None,
            fillers: [Filler { at: FillAt::Start, value: 0, epoch: 0 }; 2],
            updates: [update; 2],
            sweep: SweepAt::NotNeeded,
        };
        state.updates[self.updates..].iter_mut().for_each(|update| update.at = UpdateAt::Done);
        state
    }

    fn steps(&self, now: &State, steps: &mut Steps<State>) {
        (0..now.fillers.len()).for_each(|i| self.fill(i, now, steps));
        (0..self.updates).for_each(|i| update(i, now, steps));
        self.sweep(now, steps);
        if now.sweep == SweepAt::NotNeeded {
            steps.add(Who::Redis, "saves to disk", State { disk: now.node, ..*now });
            let next = State { node: now.disk, epoch: now.epoch + 1, sweep: SweepAt::Needed, ..*now };
            steps.add(Who::Redis, "restarts with what was on disk", next);
        }
    }

    fn broken(&self, now: &State) -> Option<&'static str> {
        if now.sweep != SweepAt::NotNeeded && now.sweep != SweepAt::Done {
            return None;
        }
        let stale = |value: Option<Version>| value.is_some_and(|version| version < now.acked);
        if stale(now.node.key) {
            return Some("a value older than acknowledged");
        }
        if stale(now.alias) {
            return Some("an alias older than acknowledged");
        }
        matches!(now.node.guard, Guard::Absent(version) if version < now.acked)
            .then_some("an absence older than acknowledged")
    }

    fn worked(&self, now: &State) -> bool {
        now.sweep == SweepAt::Done && now.acked > 0 && now.node.key == Some(now.acked)
    }
}

impl Restart {
    fn fill(&self, i: usize, now: &State, steps: &mut Steps<State>) {
        let (who, filler) = (Who::Filler(i), now.fillers[i]);
        let mut next = *now;
        match filler.at {
            FillAt::Start => {
                next.node.guard = Guard::Claim(i);
                next.fillers[i] = Filler { at: FillAt::Claimed, value: 0, epoch: now.epoch };
                steps.add(who, "claims", next);
            }
            FillAt::Claimed => {
                let then = match self.alias {
                    AliasKey::None => FillAt::AliasClaimed,
                    AliasKey::InAnotherSlot => FillAt::Fetched,
                };
                next.fillers[i] = Filler { at: then, value: now.source, ..filler };
                steps.add(who, "fetches", next);
            }
            FillAt::Fetched => {
                next.alias_guard = Some(i);
                next.fillers[i].at = FillAt::AliasClaimed;
                steps.add(who, "claims the alias", next);
            }
            FillAt::AliasClaimed => steps.add(who, "commits", self.commit(i, now)),
            FillAt::Registered => {
                // The alias's node has not restarted: this claim's connection stands.
                if now.alias_guard == Some(i) {
                    (next.alias, next.alias_guard) = (Some(filler.value), None);
                }
                next.fillers[i] = IDLE;
                steps.add(who, "commits the alias", next);
            }
            FillAt::Done => {}
        }
    }

    fn commit(&self, i: usize, now: &State) -> State {
        let filler = now.fillers[i];
        let mut next = *now;
        let connected = filler.epoch == now.epoch || self.tokens == Tokens::SurviveReconnect;
        let stands = connected && now.node.guard == Guard::Claim(i);
        if !stands || filler.value < self.exists_from {
            next.fillers[i] = IDLE;
            next.alias_guard = now.alias_guard.filter(|owner| *owner != i);
            if stands {
                (next.node.key, next.node.guard) = (None, Guard::Absent(filler.value));
            }
            return next;
        }
        (next.node.key, next.node.guard) = (Some(filler.value), Guard::Free);
        match self.alias {
            AliasKey::None => next.fillers[i] = IDLE,
            AliasKey::InAnotherSlot => {
                next.node.indexed = true;
                next.fillers[i].at = FillAt::Registered;
            }
        }
        next
    }

    fn sweep(&self, now: &State, steps: &mut Steps<State>) {
        let who = Who::Peer(0);
        let to = |sweep| State { sweep, ..*now };
        // What SCAN sees is deleted with its guard; where it sees no alias it passes.
        let without_alias = |sweep| match now.alias {
            Some(_) => State { alias: None, alias_guard: None, ..to(sweep) },
            None => to(sweep),
        };
        match (now.sweep, self.sweep) {
            (SweepAt::NotNeeded | SweepAt::Done, _) => {}
            (SweepAt::Needed, kind) => {
                let mut next = match kind {
                    Sweep::Keys | Sweep::KeysAndGuards => to(SweepAt::Done),
                    Sweep::AliasesOnce | Sweep::AliasesTwice => to(SweepAt::NodePassed),
                };
                if now.node.key.is_some() || kind != Sweep::Keys {
                    (next.node.key, next.node.guard) = (None, Guard::Free);
                }
                steps.add(who, "sweeps the node", next);
            }
            (SweepAt::NodePassed, Sweep::AliasesOnce) => {
                steps.add(who, "sweeps the aliases elsewhere", without_alias(SweepAt::Done));
            }
            (SweepAt::NodePassed, _) => {
                steps.add(who, "sweeps the aliases elsewhere", without_alias(SweepAt::AliasesPassed));
            }
            (SweepAt::AliasesPassed, _) => {
                let mut next = to(SweepAt::Waited);
                let early = |owner: &usize| now.fillers[*owner].epoch < now.epoch;
                next.alias_guard = now.alias_guard.filter(|owner| !early(owner));
                steps.add(Who::Redis, "F goes by", next);
            }
            (SweepAt::Waited, _) => steps.add(who, "sweeps the aliases again", without_alias(SweepAt::Done)),
        }
    }
}

const IDLE: Filler = Filler { at: FillAt::Done, value: 0, epoch: 0 };

fn update(i: usize, now: &State, steps: &mut Steps<State>) {
    let (who, Update { at, version, epoch, found }) = (Who::Updater(i), now.updates[i]);
    let mut next = *now;
    match at {
        UpdateAt::Start => {
            next.source += 1;
            next.updates[i] = Update { at: UpdateAt::Changed, version: next.source, ..now.updates[i] };
            steps.add(who, "changes the source", next);
        }
        UpdateAt::Changed => {
            (next.node.key, next.node.guard) = (None, Guard::Free);
            next.updates[i] = Update { at: UpdateAt::Deleted, epoch: now.epoch, found: now.node.indexed, version };
            steps.add(who, "deletes key and guard, reads the index", next);
        }
        UpdateAt::Deleted => {
            if found {
                (next.alias, next.alias_guard) = (None, None);
            }
            next.updates[i].at = UpdateAt::AliasGone;
            steps.add(who, "deletes the aliases it knows of", next);
        }
        UpdateAt::AliasGone if epoch != now.epoch => {
            next.updates[i].at = UpdateAt::Changed;
            steps.add(who, "lost the connection", next);
        }
        UpdateAt::AliasGone => {
            next.acked = now.acked.max(version);
            next.updates[i].at = UpdateAt::Done;
            steps.add(who, "answers done", next);
        }
        UpdateAt::Done => {}
    }
}

pub fn cases() -> Vec<Case> {
    const MODEL: &str = "restart";
    let right = Restart {
        exists_from: 0,
        updates: 1,
        alias: AliasKey::InAnotherSlot,
        tokens: Tokens::OfTheConnection,
        sweep: Sweep::AliasesTwice,
    };
    let plain = Restart { updates: 2, alias: AliasKey::None, sweep: Sweep::Keys, ..right };
    let created = Restart { exists_from: 1, ..plain };
    let guards = Restart { sweep: Sweep::KeysAndGuards, ..created };
    let survives = |restart| Restart { tokens: Tokens::SurviveReconnect, ..restart };
    let node_only = Restart { sweep: Sweep::KeysAndGuards, ..right };
    vec![
        Case::holds(MODEL, "no alias, never absent: the node's keys are swept", plain),
        Case::holds(MODEL, "no alias: the node's keys and guards are swept", guards),
        Case::holds(MODEL, "the token survives: to sweep guards is enough", survives(guards)),
        Case::holds(MODEL, "aliases elsewhere are swept too, twice, F apart", Restart { exists_from: 1, ..right }),
        Case::mutant("M7", MODEL, "the token survives the reconnect, keys are swept", survives(plain)),
        Case::violates(MODEL, "only keys are swept, an absence comes back", created),
        Case::violates(MODEL, "only the node is swept, an alias lost its registration", node_only),
        Case::violates(MODEL, "aliases elsewhere are swept once", Restart { sweep: Sweep::AliasesOnce, ..right }),
    ]
}
