//! What plans make of people with habits: of those who come every day and once a month, of whom applications tell and of
//! whom nobody does.

use std::collections::BTreeSet;

use crate::prehydrate::history::{self, Known, Shown, seen, told};
use crate::prehydrate::predict::tests::{catalog, config, name, subject};
use crate::prehydrate::usefulness::{Mark, Sampling};

use super::*;

/// Printed by a test that fails, with what it saw.
const SEED: u64 = 20_261_121;
const DAY: u64 = 86_400;
/// How somebody's habits show, beside the plans that Hydrant makes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Telling {
    /// An application tells of every read.
    All,
    /// Nobody tells: what was not filled is not seen, and of what was filled only what the sampler looks at.
    Nothing,
}

/// One kind of people.
#[derive(Clone, Copy, Debug)]
struct Kind {
    telling: Telling,
    /// Days between two visits.
    every: u64,
    things: usize,
    /// So many of them are tried with everybody.
    tried: usize,
    /// What a habit is one of.
    habitual: usize,
}

struct Person {
    habits: BTreeSet<usize>,
    hash: BTreeMap<String, String>,
    now: u64,
}

/// What came of one visit of everybody.
#[derive(Clone, Copy, Debug, Default)]
struct Visit {
    planned: f64,
    /// Of those planned.
    read: f64,
    reads: f64,
    habits: f64,
    /// Habits that were planned.
    kept: f64,
}

impl Visit {
    fn precision(&self) -> f64 {
        self.read / self.planned.max(1.0)
    }

    /// The share of all reads that were planned.
    fn coverage(&self) -> f64 {
        self.read / self.reads
    }

    /// The share of all habits that were planned.
    fn kept(&self) -> f64 {
        self.kept / self.habits
    }
}

struct Crowd {
    kind: Kind,
    catalog: Catalog,
    config: Config,
    people: Vec<Person>,
    random: Random,
}

impl Crowd {
    const HABITS: usize = 5;
    const KEPT: history::Config = history::Config {
        half_life: Duration::from_secs(7 * DAY),
        keep: 64,
        life: Duration::from_secs(30 * DAY),
        floor: 0.3,
    };
    const SAMPLING: Sampling = Sampling { share: 0.2, marked: 0.05, per_second: 20 };

    fn new(kind: Kind) -> Self {
        let names: Vec<String> = (0..kind.things).map(thing).collect();
        let catalog = catalog(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let cohort = (0..kind.tried).map(|number| name(&thing(number))).collect();
        let config = Config { cohort, items: 16, per_source: 16, ..config() };
        let person = |_| Person { habits: BTreeSet::new(), hash: BTreeMap::new(), now: DAY };
        let mut crowd =
            Self { kind, catalog, config, people: (0..60).map(person).collect(), random: Random::from_seed(SEED) };
        crowd.change(0);
        crowd
    }

    /// Everybody gives up so many habits, and takes to others.
    fn change(&mut self, given_up: usize) {
        for person in &mut self.people {
            let before = person.habits.clone();
            person.habits = before.iter().skip(given_up).copied().collect();
            while person.habits.len() < Self::HABITS {
                let number = (self.random.unit() * self.kind.habitual as f64) as usize;
                if !before.contains(&number) {
                    person.habits.insert(number);
                }
            }
        }
    }

    fn visit(&mut self) -> Visit {
        let mut visit = Visit::default();
        let mut people = std::mem::take(&mut self.people);
        people.iter_mut().for_each(|person| self.visit_of(person, &mut visit));
        self.people = people;
        visit
    }

    fn visits(&mut self, count: usize) -> Vec<Visit> {
        (0..count).map(|_| self.visit()).collect()
    }

    fn visit_of(&self, person: &mut Person, visit: &mut Visit) {
        person.now += self.kind.every * DAY;
        let usual = usual(&self.config, BTreeMap::new());
        let mut history = person.login(&Known { catalog: &self.catalog, usual: &usual });
        let habits = Habits { own: &history, usual: &usual, usefulness: &Usefulness::default() };
        let deadline = Duration::from_secs(4);
        let plan = predict(&self.catalog, &self.config, &subject(), &habits, deadline, &[], &self.random);
        let plan: Vec<Candidate> = plan.into_iter().filter(|candidate| candidate.exclusion.is_none()).collect();
        plan.iter().for_each(|candidate| history.adopt(&candidate.item(), candidate.score));
        person.write(&history);

        let chance = |number: &usize| if person.habits.contains(number) { 0.9 } else { 0.02 };
        let read: BTreeSet<String> =
            (0..self.kind.things).filter(|number| self.random.unit() < chance(number)).map(thing).collect();
        let planned: BTreeSet<String> = plan.iter().map(|candidate| candidate.item().to_string()).collect();
        visit.planned += planned.len() as f64;
        visit.read += planned.intersection(&read).count() as f64;
        visit.reads += read.len() as f64;
        visit.habits += person.habits.len() as f64;
        visit.kept += person.habits.iter().filter(|number| planned.contains(&thing(**number))).count() as f64;
        match self.kind.telling {
            Telling::All => {
                let item = |text: &String| told(&Item::parse(text).expect("an item"), person.now + 10);
                person.hash.extend(read.iter().map(item));
            }
            Telling::Nothing => plan.into_iter().for_each(|candidate| self.look(person, candidate, &read)),
        }
    }

    /// What the sampler makes of a value that was filled.
    fn look(&self, person: &mut Person, candidate: Candidate, read: &BTreeSet<String>) {
        let item = candidate.item();
        let was_read = read.contains(&item.to_string());
        let shown = match Self::SAMPLING.mark(candidate.planned().why, self.random.unit()) {
            Mark::Own | Mark::Fair => Some(if was_read { Shown::Read } else { Shown::NotRead }),
            Mark::Not => (was_read && self.random.unit() < Self::SAMPLING.share).then_some(Shown::Read),
        };
        person.hash.extend(shown.map(|shown| seen(&item, shown, person.now + 60)));
    }
}

impl Person {
    fn login(&mut self, known: &Known<'_>) -> History {
        let fields = self.hash.iter().map(|(name, value)| (name.clone().into(), value.clone().into())).collect();
        History::at_login(&fields, Duration::from_secs(self.now), &Crowd::KEPT, known)
    }

    fn write(&mut self, history: &History) {
        for field in &history.update.remove {
            self.hash.remove(std::str::from_utf8(field).expect("text"));
        }
        self.hash.extend(history.update.set.iter().cloned());
    }
}

fn thing(number: usize) -> String {
    format!("thing{number}")
}

fn of(visits: &[Visit], figure: impl Fn(&Visit) -> f64) -> Vec<f64> {
    visits.iter().map(|visit| (figure(visit) * 100.0).round() / 100.0).collect()
}

/// People with five habits out of forty things, who read a habit on nine visits of ten and anything else now and then.
/// From the third of their visits on a plan should be right four times of five; when three habits change, five visits
/// later it should be so again.
#[test]
#[expect(clippy::print_stdout, reason = "the figures are what docs/prediction.md quotes")]
fn plans_learn_habits_within_ten_logins_and_follow_a_change_within_five() {
    let mut crowd = Crowd::new(Kind { telling: Telling::All, every: 1, things: 40, tried: 0, habitual: 40 });
    let learning = crowd.visits(10);
    crowd.change(3);
    let following = crowd.visits(6);
    println!("learning: precision {:?}", of(&learning, Visit::precision));
    println!("          coverage  {:?}", of(&learning, Visit::coverage));
    println!("a change: precision {:?}", of(&following, Visit::precision));
    println!("          coverage  {:?}", of(&following, Visit::coverage));
    assert!(learning[2..].iter().all(|visit| visit.precision() > 0.8), "{SEED}: {learning:.2?}");
    assert!(learning[9].coverage() > 0.6, "{SEED}: {learning:.2?}");
    assert!(following[0].precision() < 0.6, "the change must hurt at first, or nothing was shown: {following:.2?}");
    assert!(following[5].precision() > 0.8 && following[5].kept() > 0.9, "{SEED}: {following:.2?}");
}

/// However often somebody comes, and whether anybody tells or not: what is tried with everybody is right every second
/// time, and from the third visit on a plan is.
#[test]
fn firm_habits_stay_planned_for_all_kinds_of_people_and_what_is_read_no_more_does_not() {
    for telling in [Telling::All, Telling::Nothing] {
        for every in [1, 3, 7, 29] {
            let mut crowd = Crowd::new(Kind { telling, every, things: 20, tried: 9, habitual: 9 });
            let learning = crowd.visits(14);
            let seen = format!(
                "{SEED} {telling:?} every {every} days: precision {:?}, kept {:?}",
                of(&learning, Visit::precision),
                of(&learning, Visit::kept)
            );
            assert!(learning[0].kept() > 0.99 && learning[1].kept() > 0.99, "newcomers get what is usual: {seen}");
            assert!(learning[3..10].iter().all(|visit| visit.precision() > 0.8), "{seen}");
            assert!(learning[9..].iter().all(|visit| visit.kept() >= 0.9), "{seen}");
            crowd.change(3);
            let following = crowd.visits(10);
            let seen = format!(
                "{SEED} {telling:?} every {every} days: precision {:?}, kept {:?}",
                of(&following, Visit::precision),
                of(&following, Visit::kept)
            );
            assert!(following[0].precision() < 0.6, "{seen}");
            let followed = match telling {
                Telling::All => following[5].precision() > 0.8 && following[5].kept() > 0.9,
                // What is read no more is given up once it was looked at; what is new is seen when it is tried again.
                Telling::Nothing => following[9].precision() > 0.8,
            };
            assert!(followed, "{seen}");
        }
    }
}
