//! Aliases, failover and journal together: three slots (the primary's, the alias's, the journal's), any of which may fail
//! over while a fill and an invalidation are under way and the invalidation's sidecar dies (P1 and P2).
//!
//! Steps of the protocol: the whole fill with its 4b (`WAIT` for the registration, short means that the alias is given up),
//! and the whole invalidation: intent and its `WAIT`, delete then index, aliases, `WAIT` on both slots, XDEL, answer;
//! `PENDING` at any moment once the intent is safe; a peer that takes over on connections of its own. Bounds are the
//! smallest that show each mutant: one fill, one invalidation; `alias` has more of both, `failover` more of the last.

use crate::world::{Case, Marked, Sent, Shard, Steps, Version, Who, World};

#[derive(Clone, Copy)]
pub struct Combined {
    pub failovers: u8,
    pub crashes: u8,
    pub protocol: Protocol,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    AsPromised,
    /// M2.
    NoWait,
    /// M4.
    AliasClaimedAfterRegistration,
    /// M5.
    IndexCleared,
    /// M10.
    JournalAfterDeletes,
    /// M16.
    NoWaitForRegistration,
    /// M18.
    IndexReadBeforeDelete,
    /// `PENDING` is answered although no replica has the intent.
    NoWaitForIntent,
    /// `WAIT` for the primary's slot only.
    NoWaitForAlias,
    /// `WAIT` with nothing of its own to wait for, where the delete found nothing.
    NoMarker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    source: Version,
    acked: Version,
    /// What was answered `PENDING`, or begun: it must be finished.
    owed: Version,
    primary: Shard<Primary>,
    alias: Shard<Alias>,
    /// Whether the intent stands.
    journal: Shard<bool>,
    filler: Filler,
    first: Run,
    peer: Run,
    failovers: u8,
    crashes: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Primary {
    key: Option<Version>,
    claimed: bool,
    indexed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Alias {
    key: Option<Version>,
    claimed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Filler {
    at: FillAt,
    value: Version,
    /// The connections of the two claims; the first one's last write is the registration.
    primary: Sent,
    alias: Sent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum FillAt {
    Start,
    Claimed,
    Fetched,
    AliasClaimed,
    Registered,
    AliasAllowed,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Run {
    at: RunAt,
    found: bool,
    journal: Sent,
    primary: Sent,
    alias: Sent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum RunAt {
    Start,
    Changed,
    IntentSent,
    Ready,
    IndexRead,
    Deleted,
    AliasGone,
    Finished,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Runs {
    First,
    Peer,
}

impl World for Combined {
    type State = State;

    fn start(&self) -> State {
        let sent = Sent::NOTHING;
        let run = Run { at: RunAt::Start, found: false, journal: sent, primary: sent, alias: sent };
        State {
            source: 0,
            acked: 0,
            owed: 0,
            primary: Shard::new(Primary { key: None, claimed: false, indexed: false }),
            alias: Shard::new(Alias { key: None, claimed: false }),
            journal: Shard::new(false),
            filler: Filler { at: FillAt::Start, value: 0, primary: sent, alias: sent },
            first: run,
            peer: run,
            failovers: self.failovers,
            crashes: self.crashes,
        }
    }

    fn steps(&self, now: &State, steps: &mut Steps<State>) {
        self.fill(now, steps);
        self.update(Runs::First, now, steps);
        self.update(Runs::Peer, now, steps);
        replicas_catch_up(now, steps);
        if now.failovers > 0 {
            let mut next = [State { failovers: now.failovers - 1, ..*now }; 3];
            next[0].primary.fail_over();
            next[1].alias.fail_over();
            next[2].journal.fail_over();
            steps.add(Who::Redis, "failover of the primary's slot", next[0]);
            steps.add(Who::Redis, "failover of the alias's slot", next[1]);
            steps.add(Who::Redis, "failover of the journal's slot", next[2]);
        }
    }

    fn broken(&self, now: &State) -> Option<&'static str> {
        older(now, now.acked).then_some("a key is older than acknowledged")
    }

    fn unfinished(&self, now: &State) -> Option<&'static str> {
        older(now, now.owed).then_some("an invalidation that was begun or pending was never finished")
    }

    fn worked(&self, now: &State) -> bool {
        now.failovers == 0 && now.acked > 0 && now.alias.live.key == Some(now.acked)
    }
}

fn older(now: &State, version: Version) -> bool {
    [now.primary.live.key, now.alias.live.key].iter().flatten().any(|cached| *cached < version)
}

fn replicas_catch_up(now: &State, steps: &mut Steps<State>) {
    let mut next = *now;
    next.primary.replicate();
    let sent = [&mut next.filler.primary, &mut next.first.primary, &mut next.peer.primary];
    sent.into_iter().for_each(|sent| sent.catch_up(now.primary.epoch));
    steps.add(Who::Redis, "the primary's replica catches up", next);
    let mut next = *now;
    next.alias.replicate();
    let sent = [&mut next.first.alias, &mut next.peer.alias];
    sent.into_iter().for_each(|sent| sent.catch_up(now.alias.epoch));
    steps.add(Who::Redis, "the alias's replica catches up", next);
    let mut next = *now;
    next.journal.replicate();
    next.first.journal.catch_up(now.journal.epoch);
    steps.add(Who::Redis, "the journal's replica catches up", next);
}

impl Combined {
    fn fill(&self, now: &State, steps: &mut Steps<State>) {
        let (who, filler) = (Who::Filler(0), now.filler);
        let to = |at: FillAt| State { filler: Filler { at, ..filler }, ..*now };
        let claims_late = self.protocol == Protocol::AliasClaimedAfterRegistration;
        match filler.at {
            FillAt::Start => {
                let mut next = to(FillAt::Claimed);
                next.filler.primary = next.primary.write(Marked::Yes, |slot| slot.claimed = true);
                steps.add(who, "claims the primary", next);
            }
            FillAt::Claimed => {
                let mut next = to(FillAt::Fetched);
                next.filler.value = now.source;
                steps.add(who, "fetches", next);
            }
            FillAt::Fetched if claims_late => self.register(now, steps),
            FillAt::AliasClaimed if claims_late => steps.add(who, "commits the alias", commit_alias(now)),
            FillAt::Fetched => steps.add(who, "claims the alias", claim_alias(now)),
            FillAt::AliasClaimed => self.register(now, steps),
            FillAt::Registered => {
                if self.protocol == Protocol::NoWaitForRegistration || now.primary.waited(filler.primary) {
                    steps.add(who, "knows the registration is safe", to(FillAt::AliasAllowed));
                }
                steps.add(who, "gives the alias up", done(now));
            }
            FillAt::AliasAllowed if claims_late => steps.add(who, "claims the alias", claim_alias(now)),
            FillAt::AliasAllowed => steps.add(who, "commits the alias", commit_alias(now)),
            FillAt::Done => {}
        }
    }

    fn register(&self, now: &State, steps: &mut Steps<State>) {
        let mut next = *now;
        if now.primary.live.claimed && now.filler.primary.epoch == now.primary.epoch {
            let primary = Primary { key: Some(now.filler.value), claimed: false, indexed: true };
            next.filler.primary = next.primary.write(Marked::Yes, |slot| *slot = primary);
            next.filler.at = FillAt::Registered;
        } else {
            next = done(now);
        }
        steps.add(Who::Filler(0), "commits and registers", next);
    }

    fn update(&self, runs: Runs, now: &State, steps: &mut Steps<State>) {
        let (who, run) = match runs {
            Runs::First => (Who::Updater(0), now.first),
            Runs::Peer => (Who::Peer(0), now.peer),
        };
        let index_first = self.protocol == Protocol::IndexReadBeforeDelete;
        match run.at {
            RunAt::Start if runs == Runs::First => {
                steps.add(who, "changes the source", State { source: 1, ..to(runs, RunAt::Changed, now) });
            }
            RunAt::Start if now.journal.live => steps.add(who, "takes over", to(runs, RunAt::Ready, now)),
            RunAt::Start => {}
            // What it would write last is taken out again at once.
            RunAt::Changed if self.protocol == Protocol::JournalAfterDeletes => {
                steps.add(who, "begins", to(runs, RunAt::Ready, now));
            }
            RunAt::Changed => {
                let mut next = to(runs, RunAt::IntentSent, now);
                next.first.journal = next.journal.write(Marked::Yes, |intent| *intent = true);
                steps.add(who, "writes the intent", next);
            }
            RunAt::IntentSent => {
                if self.protocol == Protocol::NoWaitForIntent || now.journal.waited(run.journal) {
                    steps.add(who, "knows the intent is safe", to(runs, RunAt::Ready, now));
                } else if run.journal.epoch != now.journal.epoch {
                    steps.add(who, "lost the connection", to(runs, RunAt::Changed, now));
                }
            }
            RunAt::Ready if index_first => self.read_index(runs, RunAt::IndexRead, now, steps),
            RunAt::Ready => self.delete(runs, RunAt::Deleted, now, steps),
            // The same connection, or the delete may have been lost since.
            RunAt::Deleted if run.primary.epoch != now.primary.epoch => {
                steps.add(who, "lost the connection", to(runs, RunAt::Ready, now));
            }
            RunAt::Deleted if !index_first => self.read_index(runs, RunAt::IndexRead, now, steps),
            RunAt::IndexRead if index_first => self.delete(runs, RunAt::Deleted, now, steps),
            RunAt::IndexRead | RunAt::Deleted => self.delete_alias(runs, run, now, steps),
            RunAt::AliasGone => self.wait(runs, run, now, steps),
            RunAt::Finished => {
                let next = State { acked: 1, ..to(runs, RunAt::Done, now) };
                steps.add(who, "answers done", next);
            }
            RunAt::Done => {}
        }
        let begun = !matches!(run.at, RunAt::Start | RunAt::Changed | RunAt::IntentSent | RunAt::Done);
        if runs == Runs::First && begun && self.protocol != Protocol::JournalAfterDeletes {
            steps.add(who, "answers pending", State { owed: 1, ..*now });
        }
        if runs == Runs::First && run.at != RunAt::Start && run.at != RunAt::Done && now.crashes > 0 {
            steps.add(who, "crashes", State { crashes: now.crashes - 1, ..to(runs, RunAt::Done, now) });
        }
    }

    fn marked(&self) -> Marked {
        match self.protocol {
            Protocol::NoMarker => Marked::No,
            _ => Marked::Yes,
        }
    }

    fn delete(&self, runs: Runs, then: RunAt, now: &State, steps: &mut Steps<State>) {
        let mut next = State { owed: 1, ..to(runs, then, now) };
        let sent = next.primary.write(self.marked(), |slot| (slot.key, slot.claimed) = (None, false));
        run_of(&mut next, runs).primary = sent;
        steps.add(name(runs), "deletes the primary and its guard", next);
    }

    fn read_index(&self, runs: Runs, then: RunAt, now: &State, steps: &mut Steps<State>) {
        let mut next = to(runs, then, now);
        run_of(&mut next, runs).found = now.primary.live.indexed;
        if self.protocol == Protocol::IndexCleared {
            let sent = next.primary.write(Marked::Yes, |slot| slot.indexed = false);
            run_of(&mut next, runs).primary = sent;
        }
        steps.add(name(runs), "reads the index", next);
    }

    fn delete_alias(&self, runs: Runs, run: Run, now: &State, steps: &mut Steps<State>) {
        let mut next = to(runs, RunAt::AliasGone, now);
        let sent = match run.found {
            true => next.alias.write(self.marked(), |slot| *slot = Alias { key: None, claimed: false }),
            false => Sent { epoch: now.alias.epoch, copied: true },
        };
        run_of(&mut next, runs).alias = sent;
        let what = if run.found { "deletes the alias and its guard" } else { "knows of no alias" };
        steps.add(name(runs), what, next);
    }

    fn wait(&self, runs: Runs, run: Run, now: &State, steps: &mut Steps<State>) {
        let primary = self.protocol == Protocol::NoWait || now.primary.waited(run.primary);
        let alias = matches!(self.protocol, Protocol::NoWait | Protocol::NoWaitForAlias) || now.alias.waited(run.alias);
        if primary && alias {
            let mut next = to(runs, RunAt::Finished, now);
            next.journal.write(Marked::Yes, |intent| *intent = false);
            steps.add(name(runs), "has waited, and takes the intent out", next);
        } else if run.primary.epoch != now.primary.epoch || run.alias.epoch != now.alias.epoch {
            steps.add(name(runs), "lost a connection", to(runs, RunAt::Ready, now));
        }
    }
}

fn claim_alias(now: &State) -> State {
    let mut next = *now;
    next.filler.alias = next.alias.write(Marked::Yes, |slot| slot.claimed = true);
    next.filler.at = FillAt::AliasClaimed;
    next
}

fn commit_alias(now: &State) -> State {
    let mut next = done(now);
    if now.alias.live.claimed && now.filler.alias.epoch == now.alias.epoch {
        let key = now.alias.live.key.or(Some(now.filler.value));
        next.alias.write(Marked::Yes, |slot| *slot = Alias { key, claimed: false });
    }
    next
}

/// The filler gives the alias's claim back; the primary's it has used, or lost.
fn done(now: &State) -> State {
    let mut next = *now;
    if now.filler.alias.epoch == now.alias.epoch {
        next.alias.write(Marked::Yes, |slot| slot.claimed = false);
    }
    next.filler = Filler { at: FillAt::Done, value: 0, primary: Sent::NOTHING, alias: Sent::NOTHING };
    next
}

fn name(runs: Runs) -> Who {
    match runs {
        Runs::First => Who::Updater(0),
        Runs::Peer => Who::Peer(0),
    }
}

fn run_of(state: &mut State, runs: Runs) -> &mut Run {
    match runs {
        Runs::First => &mut state.first,
        Runs::Peer => &mut state.peer,
    }
}

fn to(runs: Runs, at: RunAt, now: &State) -> State {
    let mut next = *now;
    run_of(&mut next, runs).at = at;
    next
}

pub fn cases() -> Vec<Case> {
    const MODEL: &str = "combined";
    let right = Combined { failovers: 1, crashes: 1, protocol: Protocol::AsPromised };
    let with = |protocol| Combined { protocol, ..right };
    vec![
        Case::holds(MODEL, "1 failover of any slot, 1 crash, take-over, PENDING", right),
        Case::holds(MODEL, "2 failovers, no crash", Combined { failovers: 2, crashes: 0, ..right }),
        Case::mutant("M2", MODEL, "no WAIT", with(Protocol::NoWait)),
        Case::mutant("M4", MODEL, "alias claimed after registration", with(Protocol::AliasClaimedAfterRegistration)),
        Case::mutant("M5", MODEL, "index cleared by the invalidation", with(Protocol::IndexCleared)),
        Case::mutant("M10", MODEL, "journal after the deletes", with(Protocol::JournalAfterDeletes)),
        Case::mutant("M16", MODEL, "no WAIT for the registration (4b)", with(Protocol::NoWaitForRegistration)),
        Case::mutant("M18", MODEL, "index read before the delete", with(Protocol::IndexReadBeforeDelete)),
        Case::violates(MODEL, "PENDING before the intent's WAIT", with(Protocol::NoWaitForIntent)),
        Case::violates(MODEL, "no WAIT on the alias's slot", with(Protocol::NoWaitForAlias)),
        Case::violates(MODEL, "a peer's WAIT after deletes that found nothing (7.2+)", with(Protocol::NoMarker)),
    ]
}
