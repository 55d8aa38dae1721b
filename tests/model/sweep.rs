//! A sweep over a pattern (P1 for targets that name no member): SCAN sees what is there and passes what is not.
//!
//! Steps of the protocol: a pass deletes each key it sees with its guard; a second pass begins when every claim that was
//! taken before the request has ended (F later); only then is the sweep done. A remembered absence has no key, only a
//! guard: a pass must see guards too. That does not spare the second pass: SCAN meets key and guard at different moments,
//! in either order, and between them a fill can turn the one into the other. One member stands for all.

use crate::world::{Case, Steps, Version, Who, World};

#[derive(Clone, Copy)]
pub struct Sweep {
    /// The first version in which the member exists.
    pub exists_from: Version,
    pub sees: Sees,
    pub passes: Passes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sees {
    KeysAndGuards,
    /// The pattern is held against the apps' keys only.
    Keys,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passes {
    /// The second one begins at least F after the request.
    TwoApart,
    TwoInARow,
    /// M19.
    One,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    source: Version,
    acked: Version,
    key: Option<Version>,
    guard: Guard,
    fillers: [Filler; 3],
    sweep: SweepAt,
    /// What this pass has met already.
    met: Met,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Met {
    Nothing,
    Key,
    Guard,
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
    /// Claimed before the sweep was asked for.
    early: Early,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Early {
    Yes,
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum FillAt {
    Start,
    Claimed,
    Fetched,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum SweepAt {
    Start,
    Changed,
    Asked,
    FirstPassed,
    Waited,
    SecondPassed,
    Done,
}

impl World for Sweep {
    type State = State;

    fn start(&self) -> State {
        let filler = Filler { at: FillAt::Start, value: 0, early: Early::No };
        let (key, guard, sweep) = (None, Guard::Free, SweepAt::Start);
        State { source: 0, acked: 0, key, guard, fillers: [filler; 3], sweep, met: Met::Nothing }
    }

    fn steps(&self, now: &State, steps: &mut Steps<State>) {
        (0..now.fillers.len()).for_each(|i| self.fill(i, now, steps));
        let who = Who::Updater(0);
        let to = |sweep| State { sweep, ..*now };
        match (now.sweep, self.passes) {
            (SweepAt::Start, _) => {
                steps.add(who, "changes the source", State { source: now.source + 1, ..to(SweepAt::Changed) });
            }
            (SweepAt::Changed, _) => steps.add(who, "asks for a sweep", to(SweepAt::Asked)),
            (SweepAt::Asked, Passes::One) => self.pass(SweepAt::SecondPassed, now, steps),
            (SweepAt::Asked, _) => self.pass(SweepAt::FirstPassed, now, steps),
            (SweepAt::FirstPassed, Passes::TwoApart) => {
                steps.add(Who::Redis, "F goes by", end_early(&to(SweepAt::Waited)))
            }
            (SweepAt::FirstPassed, _) => steps.add(who, "begins again", to(SweepAt::Waited)),
            (SweepAt::Waited, _) => self.pass(SweepAt::SecondPassed, now, steps),
            (SweepAt::SecondPassed, _) => {
                steps.add(who, "is done", State { acked: now.source, ..to(SweepAt::Done) });
            }
            (SweepAt::Done, _) => {}
        }
        steps.add(Who::Redis, "the value ends", State { key: None, ..*now });
        if let Guard::Absent(_) = now.guard {
            steps.add(Who::Redis, "the absence ends", State { guard: Guard::Free, ..*now });
        }
    }

    fn broken(&self, now: &State) -> Option<&'static str> {
        if now.key.is_some_and(|version| version < now.acked) {
            return Some("a value older than the sweep");
        }
        matches!(now.guard, Guard::Absent(version) if version < now.acked).then_some("an absence older than the sweep")
    }

    fn worked(&self, now: &State) -> bool {
        now.acked > 0 && now.key == Some(now.acked)
    }
}

impl Sweep {
    fn fill(&self, i: usize, now: &State, steps: &mut Steps<State>) {
        let (who, filler) = (Who::Filler(i), now.fillers[i]);
        let mut next = *now;
        match filler.at {
            FillAt::Start if now.guard == Guard::Free => {
                next.guard = Guard::Claim(i);
                let early = match now.sweep {
                    SweepAt::Start | SweepAt::Changed => Early::Yes,
                    _ => Early::No,
                };
                next.fillers[i] = Filler { at: FillAt::Claimed, value: 0, early };
                steps.add(who, "claims", next);
            }
            FillAt::Start => {}
            FillAt::Claimed => {
                next.fillers[i] = Filler { at: FillAt::Fetched, value: now.source, ..filler };
                steps.add(who, "fetches", next);
            }
            FillAt::Fetched => {
                next.fillers[i] = Filler { at: FillAt::Done, value: 0, early: Early::No };
                if now.guard == Guard::Claim(i) {
                    (next.key, next.guard) = match filler.value < self.exists_from {
                        true => (None, Guard::Absent(filler.value)),
                        false => (Some(filler.value), Guard::Free),
                    };
                }
                steps.add(who, "commits", next);
            }
            FillAt::Done => {}
        }
    }

    /// Whatever a pass sees it deletes whole: key and guard in one command.
    fn pass(&self, then: SweepAt, now: &State, steps: &mut Steps<State>) {
        let who = Who::Updater(0);
        let gone = State { key: None, guard: Guard::Free, ..*now };
        if now.met != Met::Key {
            let (sweep, met) = match (now.met, self.sees) {
                (Met::Nothing, Sees::KeysAndGuards) => (now.sweep, Met::Key),
                (_, _) => (then, Met::Nothing),
            };
            let seen = if now.key.is_some() { gone } else { *now };
            steps.add(who, "passes where the key would be", State { sweep, met, ..seen });
        }
        if now.met != Met::Guard && self.sees == Sees::KeysAndGuards {
            let (sweep, met) = match now.met {
                Met::Nothing => (now.sweep, Met::Guard),
                Met::Key | Met::Guard => (then, Met::Nothing),
            };
            let seen = if now.guard != Guard::Free { gone } else { *now };
            steps.add(who, "passes where the guard would be", State { sweep, met, ..seen });
        }
    }
}

/// Claims that were taken before the request have ended by now, and with them their fills.
fn end_early(now: &State) -> State {
    let mut next = *now;
    for (i, filler) in now.fillers.iter().enumerate() {
        if filler.early == Early::Yes && now.guard == Guard::Claim(i) {
            next.guard = Guard::Free;
        }
    }
    next
}

pub fn cases() -> Vec<Case> {
    const MODEL: &str = "sweep";
    let right = Sweep { exists_from: 0, sees: Sees::KeysAndGuards, passes: Passes::TwoApart };
    let keys = Sweep { sees: Sees::Keys, ..right };
    vec![
        Case::holds(MODEL, "two passes, F apart, over keys and guards, 3 fills", Sweep { exists_from: 1, ..right }),
        Case::holds(MODEL, "two passes, F apart, over keys, nothing absent", keys),
        Case::mutant("M19", MODEL, "one pass", Sweep { passes: Passes::One, ..keys }),
        Case::mutant("M19", MODEL, "one pass, over keys and guards", Sweep { passes: Passes::One, ..right }),
        Case::violates(MODEL, "two passes in a row", Sweep { passes: Passes::TwoInARow, ..keys }),
        Case::violates(MODEL, "two passes over keys, a member was absent", Sweep { exists_from: 1, ..keys }),
    ]
}
