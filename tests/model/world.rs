//! The words that all models share, and the explorer that judges them.
//!
//! A model is a [`World`]: a state, and from each state the steps that could come next. Every Redis command or script is
//! one step; everything between steps interleaves freely, so the explorer sees every order in which sidecars, apps,
//! expiry and faults can act. Two questions are put to it: can a promise be broken in any state ([`World::broken`]), and
//! is anything left undone where nothing more can happen ([`World::unfinished`])? A third guards against empty
//! truth: does what the model is about happen at all ([`World::worked`])?
//!
//! Why steps carry their own next state: precondition, effect and label of a step then stand in one place.

use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stateright::{Checker, HasDiscoveries, Model, Property};
use tokio::time::Instant;

/// Counts a source's changes to one member: the first state of the member is version 0.
pub type Version = u8;

pub trait World: Sized + Send + Sync + 'static {
    type State: Copy + fmt::Debug + Eq + Hash + Send + Sync + 'static;

    fn start(&self) -> Self::State;

    fn steps(&self, now: &Self::State, steps: &mut Steps<Self::State>);

    /// The promise that this state breaks.
    fn broken(&self, now: &Self::State) -> Option<&'static str>;

    /// What should have been done by now, asked only where nothing more can happen.
    fn unfinished(&self, _now: &Self::State) -> Option<&'static str> {
        None
    }

    /// Whether something worth promising has happened: without it a model holds because nothing runs.
    fn worked(&self, now: &Self::State) -> bool;
}

/// What could happen next.
#[derive(Debug)]
pub struct Steps<S>(Vec<Step<S>>);

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Step<S> {
    who: Who,
    what: &'static str,
    next: S,
}

/// Who acts, for the reader of a counterexample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// A sidecar that fills.
    Filler(usize),
    /// A sidecar that invalidates, or the writer whose change it is.
    Updater(usize),
    /// A sidecar that takes over what another left in the journal.
    Peer(usize),
    /// A sidecar that wants to run a schedule.
    Runner(usize),
    /// An app that writes Redis itself.
    App,
    /// Redis, its operators and the network.
    Redis,
}

impl<S> Steps<S> {
    pub fn add(&mut self, who: Who, what: &'static str, next: S) {
        self.0.push(Step { who, what, next });
    }
}

impl<S> fmt::Debug for Step<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.who {
            Who::Filler(n) => write!(f, "F{n} {}", self.what),
            Who::Updater(n) => write!(f, "U{n} {}", self.what),
            Who::Peer(n) => write!(f, "J{n} {}", self.what),
            Who::Runner(n) => write!(f, "R{n} {}", self.what),
            Who::App => write!(f, "app {}", self.what),
            Who::Redis => write!(f, "[{}]", self.what),
        }
    }
}

/// A primary with one replica that follows when it can. The keys of one slot, as one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shard<D> {
    pub live: D,
    pub copy: D,
    /// Grows when another server answers, and when the same one answers again after losing its connections.
    pub epoch: u8,
}

/// What one connection can learn from `WAIT` about its last write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sent {
    pub epoch: u8,
    /// The replica has it; or there was nothing to send, which Redis 7.2 and later count as the same.
    pub copied: bool,
}

/// Whether a command that changes nothing leaves something for `WAIT` to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marked {
    /// The connection writes a marker as well, so that there always is.
    Yes,
    /// Redis 7.2 and later: `WAIT` after a delete that found nothing answers at once.
    No,
}

impl<D: Copy + PartialEq> Shard<D> {
    pub fn new(data: D) -> Self {
        Self { live: data, copy: data, epoch: 0 }
    }

    pub fn write(&mut self, marked: Marked, change: impl FnOnce(&mut D)) -> Sent {
        let before = self.live;
        change(&mut self.live);
        let nothing_to_send = self.live == before && marked == Marked::No;
        Sent { epoch: self.epoch, copied: nothing_to_send }
    }

    /// Also the moment at which every connection's last write is known to be copied: see [`Sent::catch_up`].
    pub fn replicate(&mut self) {
        self.copy = self.live;
    }

    pub fn fail_over(&mut self) {
        self.live = self.copy;
        self.epoch += 1;
    }

    /// `WAIT` succeeds: on the connection that wrote, all of it copied.
    pub fn waited(&self, sent: Sent) -> bool {
        sent.epoch == self.epoch && sent.copied
    }
}

impl Sent {
    pub const NOTHING: Self = Self { epoch: 0, copied: true };

    pub fn catch_up(&mut self, epoch: u8) {
        self.copied |= self.epoch == epoch;
    }
}

/// One variant of a model, and what must come of it.
pub struct Case {
    pub model: &'static str,
    pub variant: &'static str,
    /// The number in the list of mutants, where it is one of them.
    pub mutant: Option<&'static str>,
    pub expected: Verdict,
    explore: Box<dyn FnOnce() -> Explored + Send>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Holds,
    Violates,
}

#[derive(Debug)]
pub struct Explored {
    verdict: Verdict,
    why: String,
    states: usize,
    elapsed: Duration,
    worked: bool,
}

impl Case {
    /// Explored to the end; must hold.
    pub fn holds(model: &'static str, variant: &'static str, world: impl World) -> Self {
        Self { model, variant, mutant: None, expected: Verdict::Holds, explore: Box::new(|| explore(world)) }
    }

    /// Something that the protocol does not do, for a reason: a counterexample must be found.
    pub fn violates(model: &'static str, variant: &'static str, world: impl World) -> Self {
        Self { expected: Verdict::Violates, ..Self::holds(model, variant, world) }
    }

    /// One of the numbered mutants: a counterexample must be found.
    pub fn mutant(number: &'static str, model: &'static str, variant: &'static str, world: impl World) -> Self {
        Self { mutant: Some(number), ..Self::violates(model, variant, world) }
    }
}

/// Explores every case, prints the table (with `--nocapture`), and complains of all that came out wrong.
#[expect(clippy::print_stdout, reason = "the table is what a test run with `--nocapture` is for")]
pub fn judge(cases: Vec<Case>) {
    let (mut table, mut wrong) = (String::new(), String::new());
    for Case { model, variant, mutant, expected, explore } in cases {
        let explored = explore();
        let Explored { verdict, states, elapsed, why, .. } = &explored;
        let (number, seconds) = (mutant.unwrap_or(""), elapsed.as_secs_f32());
        table += &format!("{model:9} {number:4} {variant:66} {verdict:8?} {states:>8} {seconds:>6.2}s\n");
        if *verdict == Verdict::Violates {
            table += &format!("          {why}\n");
        }
        if *verdict != expected {
            wrong += &format!("{model}: {number} {variant}: {verdict:?}, not {expected:?}\n  {why}\n");
        }
        if *verdict == Verdict::Holds && !explored.worked {
            wrong += &format!("{model}: {number} {variant}: holds, but nothing ever happens in it\n");
        }
    }
    println!("{table}");
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// Breadth first, so that a counterexample is a shortest one; one thread, so that it is always the same one.
fn explore(world: impl World) -> Explored {
    let started = Instant::now();
    let checker = Explorer { world, found: AtomicBool::new(false) }
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let found = checker.discovery(KEPT).or_else(|| checker.discovery(FINISHED));
    let why = found.map(|path| {
        let last = *path.last_state();
        let world = &checker.model().world;
        let reason = world.broken(&last.now).or_else(|| world.unfinished(&last.now)).unwrap_or_default();
        let steps: Vec<String> = path.into_actions().iter().map(|step| format!("{step:?}")).collect();
        format!("{reason}: {}", steps.join("; "))
    });
    Explored {
        verdict: if why.is_some() { Verdict::Violates } else { Verdict::Holds },
        why: why.unwrap_or_default(),
        states: checker.unique_state_count(),
        elapsed: started.elapsed(),
        worked: checker.discovery(WORKED).is_some(),
    }
}

const KEPT: &str = "the promise is kept";
const FINISHED: &str = "nothing is left undone";
const WORKED: &str = "something happens";

struct Explorer<W> {
    world: W,
    /// The checker looks on for a while and keeps what it finds last; the first is the shortest.
    found: AtomicBool,
}

/// A state, and whether it is known that nothing more can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Seen<S> {
    now: S,
    at_rest: bool,
}

impl<W: World> Model for Explorer<W> {
    type State = Seen<W::State>;
    type Action = Step<W::State>;

    fn init_states(&self) -> Vec<Self::State> {
        vec![Seen { now: self.world.start(), at_rest: false }]
    }

    fn actions(&self, seen: &Self::State, actions: &mut Vec<Self::Action>) {
        if seen.at_rest {
            return;
        }
        let mut steps = Steps(std::mem::take(actions));
        self.world.steps(&seen.now, &mut steps);
        // A step that changes nothing is no step.
        steps.0.retain(|step| step.next != seen.now);
        *actions = steps.0;
        if actions.is_empty() {
            actions.push(Step { who: Who::Redis, what: "at rest", next: seen.now });
        }
    }

    fn next_state(&self, seen: &Self::State, step: Self::Action) -> Option<Self::State> {
        Some(Seen { now: step.next, at_rest: step.next == seen.now })
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(KEPT, |model: &Self, seen: &Self::State| {
                model.world.broken(&seen.now).is_none() || model.found.swap(true, Ordering::Relaxed)
            }),
            Property::always(FINISHED, |model: &Self, seen: &Self::State| {
                let left = seen.at_rest && model.world.unfinished(&seen.now).is_some();
                !left || model.found.swap(true, Ordering::Relaxed)
            }),
            Property::sometimes(WORKED, |model: &Self, seen: &Self::State| model.world.worked(&seen.now)),
        ]
    }
}
