//! A slot that moves from one node to another, key by key (P1 through a slot migration).
//!
//! Steps of the protocol: fills in a moving slot are refused, commits never follow a redirect, and an invalidation that is
//! answered `TRYAGAIN` or `ASK` goes on with one key at a time, the guard first, each sent after its redirect with
//! `ASKING`. Redis's own rules are modelled: a moving slot's owner serves a command if it has all its keys, answers `ASK` if
//! none, `TRYAGAIN` if some. `MIGRATE` moves a key in one step; torn (the reply was lost) it leaves a copy on both sides.

use crate::world::{Case, Steps, Version, Who, World};

#[derive(Clone, Copy)]
pub struct Migration {
    pub torn: u8,
    pub order: Order,
    pub commit: Commit,
    pub invalidation: Invalidation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    GuardFirst,
    KeyFirst,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    StaysWithItsNode,
    /// M6.
    FollowsMoved,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalidation {
    /// Done when it has followed its redirects.
    Once,
    /// And repeated where the slot has gone; the promise is for the end.
    RepeatedAfterMove,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    source: Version,
    acked: Version,
    slot: Slot,
    /// The node the slot leaves, and the one it goes to.
    nodes: [Node; 2],
    torn: u8,
    fillers: [Filler; 2],
    update: Update,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Slot {
    AtSource,
    Moving,
    AtTarget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Node {
    key: Option<Version>,
    guard: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Filler {
    Start,
    Claimed { node: usize },
    Fetched { node: usize, value: Version },
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Update {
    Start,
    Changed,
    /// So many of the two single-key commands are done.
    OneByOne(u8),
    /// The next one was sent on to the target.
    Asking(u8),
    Deleted,
    Answered,
    Repeated,
}

/// What a node answers to a command over both keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Served,
    Ask,
    TryAgain,
    Moved,
}

const SOURCE: usize = 0;
const TARGET: usize = 1;

impl World for Migration {
    type State = State;

    fn start(&self) -> State {
        let node = Node { key: None, guard: None };
        State {
            source: 0,
            acked: 0,
            slot: Slot::AtSource,
            nodes: [node; 2],
            torn: self.torn,
            fillers: [Filler::Start; 2],
            update: Update::Start,
        }
    }

    fn steps(&self, now: &State, steps: &mut Steps<State>) {
        (0..now.fillers.len()).for_each(|i| self.fill(i, now, steps));
        self.update(now, steps);
        migrate(now, steps);
    }

    fn broken(&self, now: &State) -> Option<&'static str> {
        let promised = self.invalidation == Invalidation::Once;
        (promised && stale(now)).then_some("a value older than acknowledged")
    }

    fn unfinished(&self, now: &State) -> Option<&'static str> {
        stale(now).then_some("a value older than acknowledged stays")
    }

    fn worked(&self, now: &State) -> bool {
        now.slot == Slot::AtTarget && now.acked > 0 && now.nodes[TARGET].key == Some(now.acked)
    }
}

/// What a reader finds: it follows its redirects.
fn stale(now: &State) -> bool {
    let [source, target] = now.nodes;
    let read = match now.slot {
        Slot::AtSource => source.key,
        Slot::Moving => source.key.or(target.key),
        Slot::AtTarget => target.key,
    };
    read.is_some_and(|version| version < now.acked)
}

fn ask_both(now: &State, node: usize) -> Answer {
    let Node { key, guard } = now.nodes[node];
    match (now.slot, node) {
        (Slot::AtSource, SOURCE) | (Slot::AtTarget, TARGET) => Answer::Served,
        (Slot::Moving, SOURCE) => match (key, guard) {
            (Some(_), Some(_)) => Answer::Served,
            (None, None) => Answer::Ask,
            (Some(_), None) | (None, Some(_)) => Answer::TryAgain,
        },
        (_, _) => Answer::Moved,
    }
}

/// Where a client that knows the topology sends its commands.
fn owner(now: &State) -> usize {
    match now.slot {
        Slot::AtSource | Slot::Moving => SOURCE,
        Slot::AtTarget => TARGET,
    }
}

fn migrate(now: &State, steps: &mut Steps<State>) {
    match now.slot {
        Slot::AtSource => steps.add(Who::Redis, "the slot begins to move", State { slot: Slot::Moving, ..*now }),
        Slot::Moving => {
            let [source, target] = now.nodes;
            if source.guard.is_some() {
                let moved = Node { guard: source.guard, ..target };
                let next = State { nodes: [Node { guard: None, ..source }, moved], ..*now };
                steps.add(Who::Redis, "the guard moves", next);
                if now.torn > 0 {
                    let next = State { nodes: [source, moved], torn: now.torn - 1, ..*now };
                    steps.add(Who::Redis, "the guard is copied, its MIGRATE torn", next);
                }
            }
            if source.key.is_some() {
                let moved = Node { key: source.key, ..target };
                let next = State { nodes: [Node { key: None, ..source }, moved], ..*now };
                steps.add(Who::Redis, "the key moves", next);
                if now.torn > 0 {
                    let next = State { nodes: [source, moved], torn: now.torn - 1, ..*now };
                    steps.add(Who::Redis, "the key is copied, its MIGRATE torn", next);
                }
            }
            if source == (Node { key: None, guard: None }) {
                steps.add(Who::Redis, "the slot has moved", State { slot: Slot::AtTarget, ..*now });
            }
        }
        Slot::AtTarget => {}
    }
    for node in [SOURCE, TARGET] {
        let mut next = *now;
        next.nodes[node].guard = None;
        steps.add(Who::Redis, "a guard ends", next);
    }
}

impl Migration {
    fn fill(&self, i: usize, now: &State, steps: &mut Steps<State>) {
        let who = Who::Filler(i);
        let mut next = *now;
        match now.fillers[i] {
            Filler::Start => {
                let node = owner(now);
                if ask_both(now, node) == Answer::Served {
                    next.nodes[node].guard = Some(i);
                    next.fillers[i] = Filler::Claimed { node };
                    steps.add(who, "claims", next);
                }
            }
            Filler::Claimed { node } => {
                next.fillers[i] = Filler::Fetched { node, value: now.source };
                steps.add(who, "fetches", next);
            }
            Filler::Fetched { node, value } => {
                next.fillers[i] = Filler::Done;
                let node = match (ask_both(now, node), self.commit) {
                    (Answer::Served, _) => Some(node),
                    (Answer::Moved, Commit::FollowsMoved) => Some(TARGET),
                    (Answer::Ask | Answer::TryAgain | Answer::Moved, _) => None,
                };
                if let Some(node) = node.filter(|node| now.nodes[*node].guard == Some(i)) {
                    next.nodes[node] = Node { key: Some(value), guard: None };
                }
                steps.add(who, "commits", next);
            }
            Filler::Done => {}
        }
    }

    fn update(&self, now: &State, steps: &mut Steps<State>) {
        let who = Who::Updater(0);
        let to = |update: Update| State { update, ..*now };
        let gone = Node { key: None, guard: None };
        match now.update {
            Update::Start => {
                steps.add(who, "changes the source", State { source: 1, ..to(Update::Changed) });
            }
            Update::Changed => {
                let node = owner(now);
                let mut next = to(Update::Deleted);
                next.nodes[node] = gone;
                match ask_both(now, node) {
                    Answer::Served => steps.add(who, "deletes key and guard", next),
                    _ => steps.add(who, "goes on with one key at a time", to(Update::OneByOne(0))),
                }
            }
            Update::OneByOne(2) => steps.add(who, "has deleted both", to(Update::Deleted)),
            Update::OneByOne(done) => {
                let mut next = to(Update::OneByOne(done + 1));
                let here = self.delete_next(done, owner(now), &mut next);
                match (now.slot, here) {
                    (Slot::Moving, false) => steps.add(who, "is told to ask the target", to(Update::Asking(done))),
                    (_, _) => steps.add(who, "deletes one where the slot is", next),
                }
            }
            Update::Asking(done) => {
                let mut next = to(Update::OneByOne(done + 1));
                self.delete_next(done, TARGET, &mut next);
                steps.add(who, "deletes one at the target", next);
            }
            Update::Deleted => steps.add(who, "answers done", State { acked: 1, ..to(Update::Answered) }),
            Update::Answered => {
                if self.invalidation == Invalidation::RepeatedAfterMove && now.slot == Slot::AtTarget {
                    let mut next = to(Update::Repeated);
                    next.nodes[TARGET] = gone;
                    steps.add(who, "repeats it where the slot is now", next);
                }
            }
            Update::Repeated => {}
        }
    }

    /// Deletes the next of the two at a node; answers whether it was there.
    fn delete_next(&self, done: u8, node: usize, next: &mut State) -> bool {
        match (self.order, done) {
            (Order::GuardFirst, 0) | (Order::KeyFirst, 1) => next.nodes[node].guard.take().is_some(),
            (_, _) => next.nodes[node].key.take().is_some(),
        }
    }
}

pub fn cases() -> Vec<Case> {
    const MODEL: &str = "migration";
    let right = Migration {
        torn: 0,
        order: Order::GuardFirst,
        commit: Commit::StaysWithItsNode,
        invalidation: Invalidation::Once,
    };
    let follows = Migration { commit: Commit::FollowsMoved, ..right };
    let torn = Migration { torn: 2, ..right };
    let repeated = Migration { invalidation: Invalidation::RepeatedAfterMove, ..torn };
    vec![
        Case::holds(MODEL, "guard first, commits stay with their node, 2 fills", right),
        Case::holds(MODEL, "key first: commits that stay are enough", Migration { order: Order::KeyFirst, ..right }),
        Case::holds(MODEL, "commits follow: guard first is enough", follows),
        Case::holds(MODEL, "torn MIGRATE, repeated after the move: fresh in the end", repeated),
        Case::mutant("M6", MODEL, "commits follow MOVED, key first", Migration { order: Order::KeyFirst, ..follows }),
        Case::violates(MODEL, "torn MIGRATE: the copy that is not yet served survives", torn),
    ]
}
