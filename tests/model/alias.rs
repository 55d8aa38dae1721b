//! A member with a primary key and an alias in another slot, whose e-mail changes: the old alias must die with its
//! member (P1), and an invalidation that has begun is finished although its sidecar dies (P2).
//!
//! Steps of the protocol: the fill's CLAIM, FETCH, CLAIM alias, COMMIT with registration, COMMIT alias; the invalidation's
//! intent, DEL of key and guard, read of the index, DEL of each alias, XDEL, answer; a peer that takes the intent over
//! while the first sidecar is dead or merely slow. Nothing is lost by Redis here, so WAIT is left out: see `combined`.
//! Values and guards may end at any moment; the index never does, and nobody clears it.

use crate::world::{Case, Steps, Version, Who, World};

#[derive(Clone, Copy)]
pub struct Alias {
    pub fillers: usize,
    pub updates: usize,
    /// The alias (by its place) that the member has in each version.
    pub mail: [usize; 3],
    pub crashes: u8,
    /// Changes whose intent may be taken over by a peer, from the first on.
    pub taken_over: usize,
    pub ends: Ends,
    pub protocol: Protocol,
}

/// What may end by itself; each makes the world larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    Nothing,
    ValuesAndGuards,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    AsPromised,
    /// M4.
    AliasClaimedAfterRegistration,
    /// M5: what was read from the index is taken out of it.
    IndexCleared,
    /// M10: the intent is written once the deletes are done.
    JournalAfterDeletes,
    /// M18.
    IndexReadBeforeDelete,
    /// The aliases carry no claims of their own.
    PrimaryGuardOnly,
    /// What is invalidated is the alias's key alone, as if it were any key.
    AliasKeyOnly,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    source: Version,
    acked: Version,
    /// The newest change of which something was already removed.
    begun: Version,
    primary: Option<Version>,
    guard: Option<usize>,
    index: Aliases,
    alias: [Option<Version>; 2],
    alias_guard: [Option<usize>; 2],
    fillers: [Filler; 2],
    updates: [Update; 2],
    crashes: u8,
}

/// A set of aliases: one bit each.
type Aliases = u8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Filler {
    at: FillAt,
    value: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum FillAt {
    Start,
    Claimed,
    Fetched,
    AliasClaimed,
    Registered,
    RegisteredAndClaimed,
    Done,
}

/// One change of the source, its intent in the journal, and the two sidecars that may carry it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Update {
    version: Version,
    intent: bool,
    first: Run,
    peer: Run,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Run {
    at: RunAt,
    found: Aliases,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum RunAt {
    Start,
    Changed,
    /// The intent stands; or, where the journal comes last, nothing does yet.
    Ready,
    IndexRead,
    Deleted,
    AliasesGone,
    Finished,
    Done,
}

#[derive(Clone, Copy)]
enum Runs {
    First,
    Peer,
}

impl World for Alias {
    type State = State;

    fn start(&self) -> State {
        let run = Run { at: RunAt::Start, found: 0 };
        let update = Update { version: 0, intent: false, first: run, peer: run };
        let mut state = State {
            source: 0,
            acked: 0,
            begun: 0,
            primary: None,
            guard: None,
            index: 0,
            alias: [None; 2],
            alias_guard: [None; 2],
            fillers: [Filler { at: FillAt::Start, value: 0 }; 2],
            updates: [update; 2],
            crashes: self.crashes,
        };
        state.fillers[self.fillers..].iter_mut().for_each(|filler| filler.at = FillAt::Done);
        state.updates[self.updates..].iter_mut().for_each(|update| update.first.at = RunAt::Done);
        state
    }

    fn steps(&self, now: &State, steps: &mut Steps<State>) {
        (0..self.fillers).for_each(|i| self.fill(i, now, steps));
        for i in 0..self.updates {
            self.update(i, Runs::First, now, steps);
            self.update(i, Runs::Peer, now, steps);
        }
        if self.ends == Ends::ValuesAndGuards {
            steps.add(Who::Redis, "the primary ends", State { primary: None, ..*now });
            steps.add(Who::Redis, "its guard ends", State { guard: None, ..*now });
            steps.add(Who::Redis, "the aliases' guards end", State { alias_guard: [None; 2], ..*now });
        }
    }

    fn broken(&self, now: &State) -> Option<&'static str> {
        let stale = |value: Option<Version>| value.is_some_and(|version| version < now.acked);
        if self.protocol != Protocol::AliasKeyOnly && stale(now.primary) {
            return Some("the primary is older than acknowledged");
        }
        now.alias.iter().any(|alias| stale(*alias)).then_some("an alias is older than acknowledged")
    }

    fn unfinished(&self, now: &State) -> Option<&'static str> {
        let stale = |value: &Option<Version>| value.is_some_and(|version| version < now.begun);
        let stale = stale(&now.primary) || now.alias.iter().any(stale);
        stale.then_some("an invalidation was left half done")
    }

    fn worked(&self, now: &State) -> bool {
        now.acked > 0 && now.alias[self.mail[usize::from(now.acked)]] == Some(now.acked)
    }
}

impl Alias {
    fn fill(&self, i: usize, now: &State, steps: &mut Steps<State>) {
        let who = Who::Filler(i);
        let Filler { at, value } = now.fillers[i];
        let mail = self.mail[usize::from(value)];
        let to = |at: FillAt| {
            let mut next = *now;
            next.fillers[i].at = at;
            next
        };
        let claim_alias = |then: FillAt| {
            let mut next = to(then);
            next.alias_guard[mail] = Some(i);
            next
        };
        let commit_alias = || {
            let mut next = finished(i, now);
            if now.alias_guard[mail] == Some(i) || self.protocol == Protocol::PrimaryGuardOnly {
                // A miss fill: what stands is kept.
                next.alias[mail] = now.alias[mail].or(Some(value));
            }
            next
        };
        match at {
            FillAt::Start if now.guard.is_none() => {
                steps.add(who, "claims the primary", State { guard: Some(i), ..to(FillAt::Claimed) });
            }
            FillAt::Start => {}
            FillAt::Claimed => {
                let mut next = to(FillAt::Fetched);
                next.fillers[i].value = now.source;
                steps.add(who, "fetches", next);
            }
            FillAt::Fetched => match self.protocol {
                Protocol::AliasClaimedAfterRegistration => {
                    steps.add(who, "commits and registers", self.register(i, now, FillAt::Registered));
                }
                Protocol::PrimaryGuardOnly => {
                    steps.add(who, "commits and registers", self.register(i, now, FillAt::RegisteredAndClaimed));
                }
                _ if now.alias_guard[mail].is_none() => {
                    steps.add(who, "claims the alias", claim_alias(FillAt::AliasClaimed));
                }
                // Somebody else fills the alias: this fill leaves it out.
                _ => steps.add(who, "commits without the alias", self.commit(i, now)),
            },
            FillAt::AliasClaimed => {
                steps.add(who, "commits and registers", self.register(i, now, FillAt::RegisteredAndClaimed));
            }
            FillAt::Registered => steps.add(who, "claims the alias", claim_alias(FillAt::RegisteredAndClaimed)),
            FillAt::RegisteredAndClaimed => steps.add(who, "commits the alias", commit_alias()),
            FillAt::Done => {}
        }
        if at != FillAt::Start && at != FillAt::Done {
            let mut next = *now;
            next.fillers[i] = Filler { at: FillAt::Done, value: 0 };
            steps.add(who, "crashes", next);
        }
    }

    fn register(&self, i: usize, now: &State, then: FillAt) -> State {
        let Filler { value, .. } = now.fillers[i];
        if now.guard != Some(i) {
            return finished(i, now);
        }
        let index = now.index | 1 << self.mail[usize::from(value)];
        let mut next = State { primary: Some(value), guard: None, index, ..*now };
        next.fillers[i].at = then;
        next
    }

    fn commit(&self, i: usize, now: &State) -> State {
        if now.guard != Some(i) {
            return finished(i, now);
        }
        State { primary: Some(now.fillers[i].value), ..finished(i, now) }
    }

    fn update(&self, i: usize, runs: Runs, now: &State, steps: &mut Steps<State>) {
        let Update { version, intent, first, peer } = now.updates[i];
        let (who, run) = match runs {
            Runs::First => (Who::Updater(i), first),
            Runs::Peer => (Who::Peer(i), peer),
        };
        let journal_last = self.protocol == Protocol::JournalAfterDeletes;
        let index_first = self.protocol == Protocol::IndexReadBeforeDelete;
        match (run.at, runs) {
            (RunAt::Start, Runs::First) => {
                let mut next = State { source: now.source + 1, ..to(i, runs, RunAt::Changed, now) };
                next.updates[i].version = next.source;
                steps.add(who, "changes the source", next);
            }
            // What stands in the journal for a while is taken over, whether its sidecar is dead or only slow.
            (RunAt::Start, Runs::Peer) if intent && i < self.taken_over => {
                steps.add(who, "takes over", to(i, runs, RunAt::Ready, now));
            }
            (RunAt::Start, Runs::Peer) => {}
            (RunAt::Changed, _) if journal_last => steps.add(who, "begins", to(i, runs, RunAt::Ready, now)),
            (RunAt::Changed, _) => {
                let mut next = to(i, runs, RunAt::Ready, now);
                next.updates[i].intent = true;
                steps.add(who, "writes the intent", next);
            }
            (RunAt::Ready, _) if self.protocol == Protocol::AliasKeyOnly => {
                let mut next = State { begun: version, ..to(i, runs, RunAt::AliasesGone, now) };
                (next.alias, next.alias_guard) = ([None; 2], [None; 2]);
                steps.add(who, "deletes the alias and its guard", next);
            }
            (RunAt::Ready, _) if index_first => steps.add(who, "reads the index", self.read_index(i, runs, now)),
            (RunAt::Ready, _) => steps.add(who, "deletes the primary and its guard", self.delete(i, runs, now)),
            (RunAt::IndexRead, _) if index_first => {
                steps.add(who, "deletes the primary and its guard", self.delete(i, runs, now));
            }
            (RunAt::Deleted, _) if !index_first => steps.add(who, "reads the index", self.read_index(i, runs, now)),
            (RunAt::IndexRead | RunAt::Deleted, _) => self.delete_alias(i, runs, run.found, now, steps),
            (RunAt::AliasesGone, _) => {
                let mut next = to(i, runs, RunAt::Finished, now);
                next.updates[i].intent = false;
                steps.add(who, "takes the intent out", next);
            }
            (RunAt::Finished, _) => {
                let mut next = to(i, runs, RunAt::Done, now);
                next.acked = now.acked.max(version);
                steps.add(who, "answers done", next);
            }
            (RunAt::Done, _) => {}
        }
        if matches!(runs, Runs::First) && !matches!(run.at, RunAt::Start | RunAt::Done) && now.crashes > 0 {
            let next = State { crashes: now.crashes - 1, ..to(i, runs, RunAt::Done, now) };
            steps.add(who, "crashes", next);
        }
    }

    fn delete(&self, i: usize, runs: Runs, now: &State) -> State {
        let begun = now.begun.max(now.updates[i].version);
        State { primary: None, guard: None, begun, ..to(i, runs, RunAt::Deleted, now) }
    }

    fn read_index(&self, i: usize, runs: Runs, now: &State) -> State {
        let mut next = to(i, runs, RunAt::IndexRead, now);
        run(&mut next, i, runs).found = now.index;
        if self.protocol == Protocol::IndexCleared {
            next.index = 0;
        }
        next
    }

    /// One alias at a time: each is in a slot of its own.
    fn delete_alias(&self, i: usize, runs: Runs, found: Aliases, now: &State, steps: &mut Steps<State>) {
        let who = match runs {
            Runs::First => Who::Updater(i),
            Runs::Peer => Who::Peer(i),
        };
        let Some(alias) = (0..2).find(|alias| found & 1 << alias != 0) else {
            return steps.add(who, "has no more aliases", to(i, runs, RunAt::AliasesGone, now));
        };
        let mut next = *now;
        (next.alias[alias], next.alias_guard[alias]) = (None, None);
        run(&mut next, i, runs).found &= !(1 << alias);
        steps.add(who, ["deletes alias 0 and its guard", "deletes alias 1 and its guard"][alias], next);
    }
}

fn run(state: &mut State, i: usize, runs: Runs) -> &mut Run {
    match runs {
        Runs::First => &mut state.updates[i].first,
        Runs::Peer => &mut state.updates[i].peer,
    }
}

fn to(i: usize, runs: Runs, at: RunAt, now: &State) -> State {
    let mut next = *now;
    run(&mut next, i, runs).at = at;
    next
}

/// The filler gives back what claims it still holds.
fn finished(i: usize, now: &State) -> State {
    let mut next = *now;
    next.guard = now.guard.filter(|owner| *owner != i);
    next.alias_guard = now.alias_guard.map(|guard| guard.filter(|owner| *owner != i));
    next.fillers[i] = Filler { at: FillAt::Done, value: 0 };
    next
}

pub fn cases() -> Vec<Case> {
    const MODEL: &str = "alias";
    let right = Alias {
        fillers: 2,
        updates: 1,
        mail: [0, 1, 0],
        crashes: 1,
        taken_over: 2,
        ends: Ends::ValuesAndGuards,
        protocol: Protocol::AsPromised,
    };
    let with = |protocol| Alias { protocol, ..right };
    let twice = Alias { fillers: 1, updates: 2, ends: Ends::Nothing, ..right };
    let busy = Alias { updates: 2, crashes: 0, taken_over: 0, ends: Ends::Nothing, ..right };
    vec![
        Case::holds(MODEL, "2 fills, 1 change of e-mail, crash, take-over, values end", right),
        Case::holds(MODEL, "2 fills, the e-mail stays", Alias { mail: [0, 0, 0], ..right }),
        Case::holds(MODEL, "1 fill, the e-mail changes and changes back, crash, take-over", twice),
        Case::holds(MODEL, "2 fills, 2 changes", busy),
        Case::mutant("M4", MODEL, "alias claimed after registration", with(Protocol::AliasClaimedAfterRegistration)),
        Case::mutant("M5", MODEL, "index cleared by the invalidation", with(Protocol::IndexCleared)),
        Case::mutant("M10", MODEL, "journal after the deletes", with(Protocol::JournalAfterDeletes)),
        Case::mutant("M18", MODEL, "index read before the delete", with(Protocol::IndexReadBeforeDelete)),
        Case::violates(MODEL, "the alias has no claim of its own", with(Protocol::PrimaryGuardOnly)),
        Case::violates(MODEL, "the alias's key is invalidated alone", with(Protocol::AliasKeyOnly)),
    ]
}
