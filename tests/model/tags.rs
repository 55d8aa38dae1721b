//! A tag in a slot of its own, and the keys that were filled under it (P1 for a tag).
//!
//! Steps of the protocol: a fill registers its key under the tag and claims it, in either order; it fetches once both
//! replies are there; before it commits, `WAIT` has answered for the registration, since a failover of the tag's slot
//! would lose it and leave a key that no tag leads to. An invalidation reads the tag and deletes each key with its guard;
//! it never clears the tag. The key's own slot loses nothing here: `failover` is about that.

use crate::world::{Case, Marked, Sent, Shard, Steps, Version, Who, World};

#[derive(Clone, Copy)]
pub struct Tags {
    pub failovers: u8,
    pub registers: Registers,
    pub wait: Wait,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registers {
    BeforeFetch,
    /// Sent before the fetch, but its reply is not awaited: it may arrive after.
    BeforeCommit,
    AfterCommit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Before the commit, with a marker in case the key was registered already.
    WithMarker,
    /// Before the commit: answers at once where the key was registered already.
    AfterRegistration,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    source: Version,
    acked: Version,
    key: Option<Version>,
    guard: Option<usize>,
    /// Whether the key is registered.
    tag: Shard<bool>,
    fillers: [Filler; 2],
    updates: [Update; 2],
    failovers: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Filler {
    claimed: bool,
    fetched: Option<Version>,
    registered: Option<Sent>,
    committed: bool,
    done: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Update {
    Start,
    Changed(Version),
    TagRead(Version, bool),
    Deleted(Version),
    Done,
}

impl World for Tags {
    type State = State;

    fn start(&self) -> State {
        let filler = Filler { claimed: false, fetched: None, registered: None, committed: false, done: false };
        State {
            source: 0,
            acked: 0,
            key: None,
            guard: None,
            tag: Shard::new(false),
            fillers: [filler; 2],
            updates: [Update::Start; 2],
            failovers: self.failovers,
        }
    }

    fn steps(&self, now: &State, steps: &mut Steps<State>) {
        (0..now.fillers.len()).for_each(|i| self.fill(i, now, steps));
        (0..now.updates.len()).for_each(|i| update(i, now, steps));
        steps.add(Who::Redis, "the guard ends", State { guard: None, ..*now });
        let mut next = *now;
        next.tag.replicate();
        let sent = next.fillers.iter_mut().filter_map(|filler| filler.registered.as_mut());
        sent.for_each(|sent| sent.catch_up(now.tag.epoch));
        steps.add(Who::Redis, "the tag's replica catches up", next);
        if now.failovers > 0 {
            let mut next = State { failovers: now.failovers - 1, ..*now };
            next.tag.fail_over();
            steps.add(Who::Redis, "failover of the tag's slot", next);
        }
    }

    fn broken(&self, now: &State) -> Option<&'static str> {
        now.key.is_some_and(|version| version < now.acked).then_some("a value older than the tag's invalidation")
    }

    fn worked(&self, now: &State) -> bool {
        now.acked > 0 && now.key == Some(now.acked)
    }
}

impl Tags {
    fn fill(&self, i: usize, now: &State, steps: &mut Steps<State>) {
        let (who, filler) = (Who::Filler(i), now.fillers[i]);
        if filler.done {
            return;
        }
        if !filler.claimed && now.guard.is_none() {
            let mut next = State { guard: Some(i), ..*now };
            next.fillers[i].claimed = true;
            steps.add(who, "claims", next);
        }
        let may_register = self.registers != Registers::AfterCommit || filler.committed;
        if filler.registered.is_none() && may_register {
            let mut next = *now;
            let marked = match self.wait {
                Wait::WithMarker => Marked::Yes,
                Wait::AfterRegistration | Wait::Never => Marked::No,
            };
            next.fillers[i].registered = Some(next.tag.write(marked, |registered| *registered = true));
            next.fillers[i].done = filler.committed;
            steps.add(who, "registers", next);
        }
        let may_fetch = self.registers != Registers::BeforeFetch || filler.registered.is_some();
        if filler.claimed && may_fetch && filler.fetched.is_none() {
            let mut next = *now;
            next.fillers[i].fetched = Some(now.source);
            steps.add(who, "fetches", next);
        }
        let (Some(value), false) = (filler.fetched, filler.committed) else { return };
        let may_commit = match (self.registers, self.wait, filler.registered) {
            (Registers::AfterCommit, _, _) | (_, Wait::Never, Some(_)) => true,
            (_, _, Some(sent)) => now.tag.waited(sent),
            (_, _, None) => false,
        };
        if may_commit {
            let mut next = *now;
            next.fillers[i].committed = true;
            next.fillers[i].done = self.registers != Registers::AfterCommit;
            if now.guard == Some(i) {
                (next.key, next.guard) = (Some(value), None);
            }
            steps.add(who, "commits", next);
        }
    }
}

fn update(i: usize, now: &State, steps: &mut Steps<State>) {
    let who = Who::Updater(i);
    let to = |update: Update| {
        let mut next = *now;
        next.updates[i] = update;
        next
    };
    match now.updates[i] {
        Update::Start => {
            let source = now.source + 1;
            steps.add(who, "changes the source", State { source, ..to(Update::Changed(source)) });
        }
        Update::Changed(version) => steps.add(who, "reads the tag", to(Update::TagRead(version, now.tag.live))),
        Update::TagRead(version, true) => {
            let next = State { key: None, guard: None, ..to(Update::Deleted(version)) };
            steps.add(who, "deletes key and guard", next);
        }
        Update::TagRead(version, false) => steps.add(who, "finds nothing", to(Update::Deleted(version))),
        Update::Deleted(version) => {
            steps.add(who, "answers done", State { acked: now.acked.max(version), ..to(Update::Done) });
        }
        Update::Done => {}
    }
}

pub fn cases() -> Vec<Case> {
    const MODEL: &str = "tags";
    let calm = Tags { failovers: 0, registers: Registers::BeforeFetch, wait: Wait::Never };
    let right = Tags { failovers: 1, wait: Wait::WithMarker, ..calm };
    vec![
        Case::holds(MODEL, "registered before the fetch, 2 fills, 2 invalidations", calm),
        Case::holds(MODEL, "the same with a failover, WAIT before the commit", right),
        Case::violates(
            MODEL,
            "the registration's reply is not awaited",
            Tags { registers: Registers::BeforeCommit, ..calm },
        ),
        Case::violates(MODEL, "registered after the commit", Tags { registers: Registers::AfterCommit, ..calm }),
        Case::violates(MODEL, "a failover, no WAIT for the registration", Tags { failovers: 1, ..calm }),
        Case::violates(
            MODEL,
            "a failover, WAIT after a registration that stood already (7.2+)",
            Tags { wait: Wait::AfterRegistration, ..right },
        ),
    ]
}
