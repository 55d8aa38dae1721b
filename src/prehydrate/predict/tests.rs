//! The rules of a plan, one by one.

use crate::domain::entity::follows::Follows;
use crate::domain::entity::load::Ask;
use crate::domain::entity::sample::shared;
use crate::domain::entity::{Draft, Entity, Load};
use crate::domain::projection::paths::Place;
use crate::domain::template::{Params, Template};
use crate::prehydrate::history::History;

use super::*;

pub fn name(text: &str) -> Name {
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

pub fn catalog(names: &[&str]) -> Catalog {
    Catalog::new(names.iter().map(|text| entity(text, "api")).collect()).expect("a catalog")
}

pub fn subject() -> Subject {
    Subject::new("7".into(), None, None, Params::default()).expect("a subject")
}

pub fn config() -> Config {
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

/// Of somebody whose reads applications tell of.
fn told(scores: &[(&str, f64)]) -> History {
    let scores = scores.iter().map(|(text, score)| (Item::parse(text).expect("an item"), *score)).collect();
    History { scores, is_told: true, ..History::default() }
}

fn verdicts(
    catalog: &Catalog,
    config: &Config,
    own: &[(&str, f64)],
    usefulness: &Usefulness,
) -> Vec<(String, Option<Exclusion>)> {
    let habits = Habits { own: &told(own), usual: &BTreeMap::new(), usefulness };
    let deadline = Duration::from_secs(4);
    predict(catalog, config, &subject(), &habits, deadline, &[], &Random::from_seed(1))
        .into_iter()
        .map(|candidate| (candidate.wanted.entity().name().to_string(), candidate.exclusion))
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
    (0..50).for_each(|_| unused.ended(&name("c"), false));
    assert_eq!(third(&config(), &unused), Some(Exclusion::Unused));
    assert_eq!(third(&Config { explore: 1.0, ..config() }, &unused), None);
}

#[test]
fn what_is_waited_for_comes_first_and_takes_with_it_what_waits() {
    let follows = |from| {
        let place = Place::parse("$.org").expect("a place");
        Some(Follows { from: name(from), by: BTreeMap::from([("org".to_owned(), place)]) })
    };
    let dependent = |text: &str, from| {
        let load = entity("x", "api").load().cloned();
        let ask = Ask::Get(Template::parse("/things/{org}").expect("a path"));
        let load = load.map(|load| Load { ask, ..load });
        Entity::new(Draft { follows: follows(from), load, ..shared(text, &format!("{text}:{{org}}")) }).expect("good")
    };
    let catalog = Catalog::new(vec![entity("c", "api"), dependent("b", "c"), dependent("a", "b")]).expect("a catalog");
    let nothing = Usefulness::default();
    let alone = verdicts(&catalog, &config(), &[("a", 0.7)], &nothing);
    assert_eq!(alone, [("c".into(), None), ("b".into(), None), ("a".into(), None)]);
    let unlikely = verdicts(&catalog, &config(), &[("a", 0.1), ("c", 0.9)], &nothing);
    let below = Some(Exclusion::BelowFloor);
    assert_eq!(unlikely, [("c".into(), None), ("b".into(), below), ("a".into(), below)]);
    let never = Config { never: vec![name("b")], ..config() };
    let never = verdicts(&catalog, &never, &[("a", 0.7), ("c", 0.9)], &nothing);
    let excluded = Some(Exclusion::Never);
    assert_eq!(never, [("c".into(), None), ("b".into(), excluded), ("a".into(), excluded)]);
    let unread = Usefulness::default();
    (0..50).for_each(|_| unread.ended(&name("c"), false));
    let of_use = verdicts(&catalog, &config(), &[("a", 0.7)], &unread);
    assert_eq!(of_use[0], ("c".into(), None), "it is of use to what follows from it");
    assert_eq!(verdicts(&catalog, &config(), &[("c", 0.7)], &unread), [("c".into(), Some(Exclusion::Unused))]);
}

#[test]
fn what_is_tried_again_passes_the_floor_and_no_cap() {
    let catalog = catalog(&["a", "b", "c"]);
    let own = [("a", 0.9), ("b", 0.8), ("c", 0.1)];
    let unused = Usefulness::default();
    (0..50).for_each(|_| unused.ended(&name("c"), false));
    let third = |config: Config| verdicts(&catalog, &config, &own, &unused).pop().expect("three").1;
    assert_eq!(third(config()), Some(Exclusion::Unused));
    assert_eq!(third(Config { explore: 1.0, ..config() }), None, "its score is what comes of not filling it");
    assert_eq!(third(Config { explore: 1.0, items: 2, ..config() }), Some(Exclusion::ItemCap));
    assert_eq!(third(Config { explore: 1.0, per_source: 2, ..config() }), Some(Exclusion::TimeCap));
}

/// What is filled for whom, with `a` and `b` usual and `c` not.
fn filled_beside(own: &History) -> Vec<(String, Reason)> {
    let catalog = catalog(&["a", "b", "c", "d"]);
    let usual =
        usual(&Config { cohort: vec![name("a")], ..config() }, BTreeMap::from([(name("b"), 0.8), (name("c"), 0.1)]));
    let habits = Habits { own, usual: &usual, usefulness: &Usefulness::default() };
    let plan = predict(&catalog, &config(), &subject(), &habits, Duration::from_secs(4), &[], &Random::from_seed(1));
    let filled = plan.into_iter().filter(|candidate| candidate.exclusion.is_none());
    filled.map(|candidate| (candidate.wanted.entity().name().to_string(), candidate.reason)).collect()
}

#[test]
fn what_a_history_is_silent_about_is_as_likely_as_it_is_usual() {
    let (a, b) = (("a".to_owned(), Reason::Cohort), ("b".to_owned(), Reason::Cohort));
    let d = ("d".to_owned(), Reason::History);
    assert_eq!(filled_beside(&History::default()), [b.clone(), a.clone()], "somebody new");
    let seen = History { is_told: false, ..told(&[("d", 0.9)]) };
    assert_eq!(filled_beside(&seen), [d.clone(), b.clone(), a.clone()], "nobody tells whether it is read");
    assert_eq!(filled_beside(&told(&[("d", 0.9)])), [d], "it is told that it is not");
    assert_eq!(filled_beside(&told(&[("d", 0.2)])), [b.clone(), a], "one visit is no habit yet");
    assert_eq!(filled_beside(&told(&[("a", 0.2)])), [b], "it was tried");
}

#[test]
fn what_the_configuration_has_no_more_is_no_candidate() {
    assert_eq!(verdicts(&catalog(&["a"]), &config(), &[("gone", 1.0), ("a?x=1", 1.0)], &Usefulness::default()), []);
}
