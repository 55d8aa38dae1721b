//! One key: fills against invalidations (P1), with claims that end by themselves, refreshes, an app that writes the key
//! too, the memory of absence in the guard, a source that lags, and REPLACE.
//!
//! Steps of the protocol: CLAIM, FETCH, COMMIT, ABORT and INVALIDATE of one key in one slot that loses nothing. Time is
//! not modelled: a claim, a memory of absence or a value may end at any moment, which covers every F and every TTL.
//! Promises: what stands at the key, and what is remembered as absent, is never older than what was acknowledged; and no
//! fill puts an older value over a newer one that an app wrote.

use crate::world::{Case, Steps, Version, Who, World};

#[derive(Clone, Copy)]
pub struct Fill {
    pub fillers: usize,
    /// How each of the source's changes is made known.
    pub updates: &'static [Mode],
    pub app_writes: u8,
    /// The versions in which the member does not exist.
    pub absent: &'static [Version],
    pub source: Source,
    pub protocol: Protocol,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing but the delete.
    Remove,
    /// A floor beside the key, then the delete.
    RemoveWithFloor,
    /// The new value itself, if it is not below the floor.
    Replace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Current,
    /// May answer with the version before the current one.
    Lags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    AsPromised,
    /// M1: fetch, then write.
    NoClaim,
    /// M3: a counter that invalidation raises, in place of a nonce.
    Counter,
    /// M8: the fetch does not wait for the claim's reply.
    FetchBeforeClaim,
    /// M9: the claim is taken, but the value is one that was kept from before.
    FallbackValue,
    /// A refresh or a late fill overwrites whatever stands.
    Overwrite,
    /// Absence is remembered beside the guard, where an invalidation does not reach it.
    AbsentBeside,
    /// A floor holds back old values, but not an old answer of absence.
    AbsentPassesFloor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    source: Version,
    acked: Version,
    key: Option<Version>,
    guard: Guard,
    /// What the memory of absence was drawn from, where it stands beside the guard.
    beside: Option<Version>,
    floor: Version,
    fillers: [Filler; 3],
    updates: [Update; 2],
    app_writes: u8,
    /// A fill put an older value over an app's newer one.
    regressed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Guard {
    Free,
    Claim(usize),
    /// The source had nothing, as of this version.
    Absent(Version),
    Counter(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Filler {
    at: FillAt,
    /// What stood at the key when it was claimed.
    stood: Option<Version>,
    value: Version,
    counter: u8,
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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum UpdateAt {
    Start,
    Changed,
    FloorSet,
    Removed,
    Done,
}

impl World for Fill {
    type State = State;

    fn start(&self) -> State {
        let filler = Filler { at: FillAt::Start, stood: None, value: 0, counter: 0 };
        let update = Update { at: UpdateAt::Start, version: 0 };
        let mut state = State {
            source: 0,
            acked: 0,
            key: None,
            guard: Guard::Free,
            beside: None,
            floor: 0,
            fillers: [filler; 3],
            updates: [update; 2],
            app_writes: self.app_writes,
            regressed: false,
        };
        state.fillers[self.fillers..].iter_mut().for_each(|filler| filler.at = FillAt::Done);
        state.updates[self.updates.len()..].iter_mut().for_each(|update| update.at = UpdateAt::Done);
        state
    }

    fn steps(&self, now: &State, steps: &mut Steps<State>) {
        (0..self.fillers).for_each(|i| self.fill(i, now, steps));
        (0..self.updates.len()).for_each(|i| self.update(i, now, steps));
        steps.add(Who::Redis, "the guard ends", State { guard: Guard::Free, ..*now });
        steps.add(Who::Redis, "the value ends", State { key: None, ..*now });
        if now.app_writes > 0 && !self.absent.contains(&now.source) {
            let next = State { key: Some(now.source), app_writes: now.app_writes - 1, ..*now };
            steps.add(Who::App, "writes what the source has now", next);
        }
    }

    fn broken(&self, now: &State) -> Option<&'static str> {
        let remembered = match now.guard {
            Guard::Absent(version) => Some(version),
            Guard::Free | Guard::Claim(_) | Guard::Counter(_) => now.beside,
        };
        if now.key.is_some_and(|version| version < now.acked) {
            return Some("a value older than acknowledged");
        }
        if remembered.is_some_and(|version| version < now.acked) {
            return Some("an absence older than acknowledged");
        }
        now.regressed.then_some("an app's newer value was overwritten")
    }

    fn worked(&self, now: &State) -> bool {
        now.acked > 0 && (now.key == Some(now.acked) || matches!(now.guard, Guard::Absent(_)))
    }
}

impl Fill {
    fn fill(&self, i: usize, now: &State, steps: &mut Steps<State>) {
        let who = Who::Filler(i);
        match now.fillers[i].at {
            FillAt::Start if self.protocol == Protocol::NoClaim => self.fetch(i, now, FillAt::Claimed, steps),
            FillAt::Start if self.protocol == Protocol::FetchBeforeClaim => self.fetch(i, now, FillAt::Claimed, steps),
            FillAt::Start => self.claim(i, now, FillAt::Claimed, steps),
            FillAt::Claimed if self.protocol == Protocol::NoClaim => {
                steps.add(who, "writes", State { key: Some(now.fillers[i].value), ..done(i, now) });
            }
            FillAt::Claimed if self.protocol == Protocol::FetchBeforeClaim => {
                self.claim(i, now, FillAt::Fetched, steps);
            }
            FillAt::Claimed if self.protocol == Protocol::FallbackValue => {
                steps.add(who, "takes its value of old", at(i, now, FillAt::Fetched));
            }
            FillAt::Claimed => self.fetch(i, now, FillAt::Fetched, steps),
            FillAt::Fetched => {
                steps.add(who, "commits", self.commit(i, now));
                if now.guard == Guard::Claim(i) {
                    steps.add(who, "aborts", State { guard: Guard::Free, ..done(i, now) });
                }
                steps.add(who, "crashes", done(i, now));
            }
            FillAt::Done => {}
        }
    }

    /// A refresh of a value, a fill of a missing one, a look past remembered absence, and the theft of an old claim are
    /// all the same step here: whatever stands in the guard, the claim may replace it.
    fn claim(&self, i: usize, now: &State, then: FillAt, steps: &mut Steps<State>) {
        let mut next = at(i, now, then);
        next.fillers[i].stood = now.key;
        match (self.protocol, now.guard) {
            (Protocol::Counter, Guard::Counter(count)) => next.fillers[i].counter = count,
            (Protocol::Counter, _) => next.fillers[i].counter = 0,
            (_, _) => next.guard = Guard::Claim(i),
        }
        steps.add(Who::Filler(i), "claims", next);
    }

    fn fetch(&self, i: usize, now: &State, then: FillAt, steps: &mut Steps<State>) {
        let mut next = at(i, now, then);
        next.fillers[i].value = now.source;
        steps.add(Who::Filler(i), "fetches", next);
        if self.source == Source::Lags && now.source > 0 {
            next.fillers[i].value = now.source - 1;
            steps.add(Who::Filler(i), "fetches what was", next);
        }
    }

    fn commit(&self, i: usize, now: &State) -> State {
        let Filler { value, stood, counter, .. } = now.fillers[i];
        let mut next = done(i, now);
        let stands = match now.guard {
            Guard::Counter(count) => self.protocol == Protocol::Counter && count == counter,
            Guard::Free => self.protocol == Protocol::Counter && counter == 0,
            Guard::Claim(owner) => owner == i,
            Guard::Absent(_) => false,
        };
        if !stands {
            return next;
        }
        if self.protocol != Protocol::Counter {
            next.guard = Guard::Free;
        }
        // An expired value is not an app's newer one.
        let newer = now.key.is_some() && now.key != stood;
        if newer && self.protocol != Protocol::Overwrite {
            return next;
        }
        if self.absent.contains(&value) {
            // An answer of absence has no version that a floor could be held against.
            if now.floor == 0 || self.protocol == Protocol::AbsentPassesFloor {
                next.key = None;
                match self.protocol {
                    Protocol::AbsentBeside => next.beside = Some(value),
                    _ => next.guard = Guard::Absent(value),
                }
            }
        } else if value >= now.floor {
            next.regressed |= newer && now.key.is_some_and(|standing| standing > value);
            next.key = Some(value);
            next.beside = None;
        }
        next
    }

    fn update(&self, i: usize, now: &State, steps: &mut Steps<State>) {
        let (who, Update { at, version }) = (Who::Updater(i), now.updates[i]);
        let to = |at: UpdateAt| {
            let mut next = *now;
            next.updates[i].at = at;
            next
        };
        match (at, self.updates[i]) {
            (UpdateAt::Start, _) => {
                let mut next = State { source: now.source + 1, ..to(UpdateAt::Changed) };
                next.updates[i].version = next.source;
                steps.add(who, "changes the source", next);
            }
            (UpdateAt::Changed, Mode::RemoveWithFloor) => {
                steps.add(who, "sets the floor", State { floor: now.floor.max(version), ..to(UpdateAt::FloorSet) });
            }
            (UpdateAt::Changed, Mode::Replace) if version >= now.floor => {
                let next = State { key: Some(version), floor: version, ..to(UpdateAt::Removed) };
                steps.add(who, "replaces", State { guard: Guard::Free, ..next });
            }
            (UpdateAt::Changed | UpdateAt::FloorSet, _) => {
                steps.add(who, "deletes key and guard", self.remove(to(UpdateAt::Removed)));
            }
            (UpdateAt::Removed, _) => {
                steps.add(who, "answers done", State { acked: now.acked.max(version), ..to(UpdateAt::Done) });
            }
            (UpdateAt::Done, _) => {}
        }
    }

    fn remove(&self, now: State) -> State {
        let guard = match (self.protocol, now.guard) {
            (Protocol::Counter, Guard::Counter(count)) => Guard::Counter(count + 1),
            (Protocol::Counter, _) => Guard::Counter(1),
            (_, _) => Guard::Free,
        };
        State { key: None, guard, ..now }
    }
}

fn at(i: usize, now: &State, at: FillAt) -> State {
    let mut next = *now;
    next.fillers[i].at = at;
    next
}

/// What the filler knew no longer matters, so that states that differ only in it are one.
fn done(i: usize, now: &State) -> State {
    let mut next = *now;
    next.fillers[i] = Filler { at: FillAt::Done, stood: None, value: 0, counter: 0 };
    next
}

pub fn cases() -> Vec<Case> {
    use Mode::{Remove, RemoveWithFloor, Replace};
    const MODEL: &str = "fill";
    let right = Fill {
        fillers: 2,
        updates: &[Remove, Remove],
        app_writes: 0,
        absent: &[],
        source: Source::Current,
        protocol: Protocol::AsPromised,
    };
    let with = |protocol| Fill { protocol, ..right };
    let created = Fill { absent: &[0], ..right };
    let app = Fill { app_writes: 1, updates: &[Remove], ..right };
    let lags = Fill { source: Source::Lags, updates: &[RemoveWithFloor, RemoveWithFloor], ..right };
    let lags_absent = Fill { absent: &[0], ..lags };
    let replaced = Fill { updates: &[RemoveWithFloor, Replace], ..right };
    vec![
        Case::holds(MODEL, "claims, 2 fills, 2 invalidations", right),
        Case::holds(MODEL, "claims, 3 fills, 1 invalidation", Fill { fillers: 3, updates: &[Remove], ..right }),
        Case::holds(MODEL, "a member is created, then changed", created),
        Case::holds(MODEL, "a member is created, deleted", Fill { absent: &[0, 2], ..right }),
        Case::holds(MODEL, "an app writes the key too", app),
        Case::holds(MODEL, "the source lags, invalidations leave a floor", lags),
        Case::holds(MODEL, "the source lags, a member is created, under a floor", lags_absent),
        Case::holds(MODEL, "REPLACE and REMOVE, both raise the floor", replaced),
        Case::holds(MODEL, "REPLACE and REPLACE", Fill { updates: &[Replace, Replace], ..right }),
        Case::mutant("M1", MODEL, "no claim", with(Protocol::NoClaim)),
        Case::mutant("M3", MODEL, "counters for nonces, one expires", with(Protocol::Counter)),
        Case::mutant("M8", MODEL, "fetch before the claim's reply", with(Protocol::FetchBeforeClaim)),
        Case::mutant("M9", MODEL, "a fallback value is written back", with(Protocol::FallbackValue)),
        Case::violates(MODEL, "a fill overwrites what an app wrote", Fill { protocol: Protocol::Overwrite, ..app }),
        Case::violates(
            MODEL,
            "absence is remembered beside the guard",
            Fill { protocol: Protocol::AbsentBeside, ..created },
        ),
        Case::violates(MODEL, "the source lags, no floor", Fill { updates: &[Remove, Remove], ..lags }),
        Case::violates(
            MODEL,
            "the source lags, absence passes the floor",
            Fill { protocol: Protocol::AbsentPassesFloor, ..lags_absent },
        ),
        Case::violates(
            MODEL,
            "REPLACE, and a REMOVE that leaves no floor",
            Fill { updates: &[Remove, Replace], ..right },
        ),
    ]
}
