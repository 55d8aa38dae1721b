//! The rules of a plan, one by one, and what they make of people with habits.

use crate::domain::entity::load::Ask;
use crate::domain::entity::sample::shared;
use crate::domain::entity::{Draft, Entity, Load};
use crate::domain::template::{Params, Template};
use crate::prehydrate::history::{self, History};

use super::*;

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn entity(text: &str, source: &str) -> Entity {
    let path = Template::parse("/things/{id}").expect("a path");
    let load = Load::plain(name(source), Ask::Get(path));
    let draft = Draft {
        load: Some(load),
        scope: crate::domain::entity::Scope::Subject,
        ..shared(text, &format!("{text}:{{id}}"))
    };
    Entity::new(draft).expect("an entity")
}

fn catalog(names: &[&str]) -> Catalog {
    Catalog::new(names.iter().map(|text| entity(text, "api")).collect()).expect("a catalog")
}

fn subject() -> Subject {
    Subject::new("7".into(), None, None, Params::default()).expect("a subject")
}

fn config() -> Config {
    Config {
        items: 8,
        floor: 0.3,
        bytes: 10_000,
        per_source: 8,
        never: Vec::new(),
        cohort: Vec::new(),
        precision: 0.1,
        explore: 0.0,
    }
}

fn scores(scores: &[(&str, f64)]) -> BTreeMap<Item, f64> {
    scores.iter().map(|(text, score)| (Item::parse(text).expect("an item"), *score)).collect()
}

fn verdicts(
    catalog: &Catalog,
    config: &Config,
    own: &[(&str, f64)],
    usefulness: &Usefulness,
) -> Vec<(String, Option<Exclusion>)> {
    let habits = Habits { own: &scores(own), cohort: &BTreeMap::new(), usefulness };
    let spent = Spent::by(std::iter::empty(), usefulness);
    let deadline = Duration::from_secs(4);
    predict(catalog, config, &subject(), &habits, deadline, spent, &Random::from_seed(1))
        .into_iter()
        .map(|candidate| (candidate.member.entity.name().to_string(), candidate.exclusion))
        .collect()
}

#[test]
fn the_likeliest_come_first_and_the_unlikely_are_left_out() {
    let found =
        verdicts(&catalog(&["a", "b", "c"]), &config(), &[("a", 0.4), ("b", 0.9), ("c", 0.1)], &Usefulness::default());
    let expected = [("b".into(), None), ("a".into(), None), ("c".into(), Some(Exclusion::BelowFloor))];
    assert_eq!(found, expected);
}

#[test]
fn every_cap_has_its_reason() {
    let catalog = catalog(&["a", "b", "c"]);
    let own = [("a", 0.9), ("b", 0.8), ("c", 0.7)];
    let third =
        |config: &Config, usefulness: &Usefulness| verdicts(&catalog, config, &own, usefulness).pop().expect("three").1;
    let nothing = Usefulness::default();
    assert_eq!(third(&Config { items: 2, ..config() }, &nothing), Some(Exclusion::ItemCap));
    assert_eq!(third(&Config { per_source: 2, ..config() }, &nothing), Some(Exclusion::TimeCap));
    assert_eq!(third(&Config { never: vec![name("c")], ..config() }, &nothing), Some(Exclusion::Never));
    let large = Usefulness::default();
    large.filled(&name("c"), 20_000, Duration::ZERO);
    assert_eq!(third(&config(), &large), Some(Exclusion::ByteCap));
    let slow = Usefulness::default();
    slow.filled(&name("c"), 1, Duration::from_secs(9));
    assert_eq!(third(&config(), &slow), Some(Exclusion::TimeCap));
    let unused = Usefulness::default();
    (0..50).for_each(|_| unused.ended(&name("c"), 1, false));
    assert_eq!(third(&config(), &unused), Some(Exclusion::Unused));
    assert_eq!(third(&Config { explore: 1.0, ..config() }, &unused), None);
}

#[test]
fn a_subject_without_a_history_gets_what_its_cohort_reads() {
    let catalog = catalog(&["a", "b", "c"]);
    let config = Config { cohort: vec![name("a")], ..config() };
    let cohort = BTreeMap::from([(name("b"), 0.8), (name("c"), 0.1)]);
    let habits = Habits { own: &BTreeMap::new(), cohort: &cohort, usefulness: &Usefulness::default() };
    let spent = Spent::by(std::iter::empty(), habits.usefulness);
    let plan = predict(&catalog, &config, &subject(), &habits, Duration::from_secs(4), spent, &Random::from_seed(1));
    let filled: Vec<_> =
        plan.iter().filter(|c| c.exclusion.is_none()).map(|c| c.member.entity.name().to_string()).collect();
    assert_eq!(filled, ["b", "a"]);
    assert!(plan.iter().all(|candidate| candidate.reason == Reason::Cohort));
}

#[test]
fn what_the_configuration_has_no_more_is_no_candidate() {
    assert_eq!(verdicts(&catalog(&["a"]), &config(), &[("gone", 1.0), ("a?x=1", 1.0)], &Usefulness::default()), []);
}

/// People with five habits out of forty things, who read a habit on nine visits of ten and anything else now and then.
/// From the third of their visits on a plan should be right four times of five; when three habits change, five visits
/// later it should be so again.
#[test]
#[expect(clippy::print_stdout, reason = "the figures are what docs/prediction.md quotes")]
fn plans_learn_habits_within_ten_logins_and_follow_a_change_within_five() {
    let names: Vec<String> = (0..40).map(|number| format!("thing{number}")).collect();
    let catalog = catalog(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let random = Random::from_seed(20_261_121);
    let mut people: Vec<Person> = (0..200).map(|_| Person::born(&random)).collect();
    let visit = |people: &mut Vec<Person>| {
        let (mut right, mut planned, mut read) = (0, 0, 0);
        for person in people {
            let (hits, plan, reads) = person.visit(&catalog, &random);
            (right, planned, read) = (right + hits, planned + plan, read + reads);
        }
        (f64::from(right) / f64::from(planned.max(1)), f64::from(right) / f64::from(read))
    };
    let learning: Vec<(f64, f64)> = (0..10).map(|_| visit(&mut people)).collect();
    people.iter_mut().for_each(|person| person.change(&random));
    let following: Vec<(f64, f64)> = (0..6).map(|_| visit(&mut people)).collect();
    println!("precision and coverage, learning: {learning:.2?}\nafter a change: {following:.2?}");
    assert!(learning[9].0 > 0.8 && learning[9].1 > 0.6, "{learning:.2?}");
    assert!(following[0].0 < 0.6, "the change must hurt at first, or nothing was shown: {following:.2?}");
    assert!(following[5].0 > 0.8, "{following:.2?}");
}

struct Person {
    habits: Vec<usize>,
    hash: BTreeMap<String, String>,
    now: u64,
}

impl Person {
    const HABITS: usize = 5;
    const KEPT: history::Config =
        history::Config { half_life: Duration::from_secs(7 * 86_400), keep: 64, life: Duration::from_secs(86_400) };

    fn born(random: &Random) -> Self {
        let mut person = Self { habits: Vec::new(), hash: BTreeMap::new(), now: 1_000_000 };
        person.settle(random);
        person
    }

    fn settle(&mut self, random: &Random) {
        while self.habits.len() < Self::HABITS {
            let thing = (random.unit() * 40.0) as usize;
            if !self.habits.contains(&thing) {
                self.habits.push(thing);
            }
        }
    }

    fn change(&mut self, random: &Random) {
        self.habits.drain(..3);
        self.settle(random);
    }

    /// One login: how many of the plan were read, how many were planned, how many read.
    fn visit(&mut self, catalog: &Catalog, random: &Random) -> (u32, u32, u32) {
        self.now += 86_400;
        let fields = self.hash.iter().map(|(name, value)| (name.clone().into(), value.clone().into())).collect();
        let history = History::at_login(&fields, Duration::from_secs(self.now), &Self::KEPT);
        for field in &history.update.remove {
            self.hash.remove(std::str::from_utf8(field).expect("text"));
        }
        self.hash.extend(history.update.set.iter().cloned());
        let usefulness = Usefulness::default();
        let habits = Habits { own: &history.scores, cohort: &BTreeMap::new(), usefulness: &usefulness };
        let spent = Spent::by(std::iter::empty(), &usefulness);
        let plan = predict(catalog, &config(), &subject(), &habits, Duration::from_secs(4), spent, random);
        let planned: Vec<String> =
            plan.iter().filter(|c| c.exclusion.is_none()).map(|c| c.member.entity.name().to_string()).collect();
        let chance = |thing: usize| if self.habits.contains(&thing) { 0.9 } else { 0.02 };
        let read: Vec<String> =
            (0..40).filter(|thing| random.unit() < chance(*thing)).map(|t| format!("thing{t}")).collect();
        for thing in &read {
            self.hash.insert(format!("r:{thing}"), (self.now + 10).to_string());
        }
        let right = planned.iter().filter(|thing| read.contains(thing)).count();
        (right as u32, planned.len() as u32, read.len() as u32)
    }
}
