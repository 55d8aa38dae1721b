//! Which members a subject will probably read next: its habits, ranked, under a floor and several caps. Pure.
//!
//! What a subject's history is silent about is as likely as it is usual, unless applications tell of its reads: then
//! silence says that it is not read. Nothing is left out silently: what is considered and dropped keeps its score and the
//! reason, because a dry run shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::domain::catalog::Catalog;
use crate::domain::entity::Name;
use crate::domain::random::Random;
use crate::domain::subject::Subject;
use crate::prehydrate::ending::Reason;
use crate::prehydrate::history::History;
use crate::prehydrate::history::item::Item;
use crate::prehydrate::request::{Exclusion, Planned, Why};
use crate::prehydrate::usefulness::Usefulness;
use crate::prehydrate::wanted::{Identity, Wanted};

#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Items of one predicted plan, with what is always filled.
    pub items: usize,
    /// The likelihood below which an item is not worth a call.
    pub floor: f64,
    /// Bytes that one plan is expected to write.
    pub bytes: usize,
    /// Calls of one plan to one source.
    pub per_source: usize,
    /// Never predicted; a caller may still name them.
    pub never: Vec<Name>,
    /// Tried with whoever was never seen without it, besides what most others read.
    pub cohort: Vec<Name>,
    /// An entity of which a smaller share is read is left out.
    pub precision: f64,
    /// How often such an entity is tried all the same.
    pub explore: f64,
}

/// One item that was considered.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub wanted: Wanted,
    pub score: f64,
    pub reason: Reason,
    pub exclusion: Option<Exclusion>,
}

/// What is known of the subject and of everybody.
pub struct Habits<'a> {
    pub own: &'a History,
    /// How likely others read an entity.
    pub usual: &'a BTreeMap<Name, f64>,
    pub usefulness: &'a Usefulness,
}

/// What a plan has used up so far.
struct Spent {
    items: usize,
    bytes: f64,
    by_source: BTreeMap<Name, usize>,
}

/// A configured cohort entity of which nothing is known yet: as likely as not.
const AS_LIKELY_AS_NOT: f64 = 0.5;

/// The candidates, best first; those that are left out say why. What a candidate waits for comes before it, and is as
/// likely as it is. `planned` is what the plan holds already.
pub fn predict(
    catalog: &Catalog,
    config: &Config,
    subject: &Subject,
    habits: &Habits<'_>,
    deadline: Duration,
    planned: &[Planned],
    random: &Random,
) -> Vec<Candidate> {
    let mut candidates = gather(catalog, config, subject, habits);
    let above = add_what_they_wait_for(catalog, subject, &mut candidates);
    let held: BTreeSet<Identity> = planned.iter().map(|planned| planned.wanted.identity()).collect();
    candidates.retain(|candidate| !held.contains(&candidate.wanted.identity()));
    let depth = |candidate: &Candidate| above.get(&candidate.wanted.identity()).map_or(0, Vec::len);
    candidates.sort_by(|a, b| {
        let by_depth = || depth(a).cmp(&depth(b));
        let by_name = || a.wanted.identity().cmp(&b.wanted.identity());
        b.score.total_cmp(&a.score).then_with(by_depth).then_with(by_name)
    });
    let likely = candidates.iter().filter(|candidate| candidate.score >= config.floor);
    let needed: BTreeSet<&Identity> =
        likely.filter_map(|candidate| above.get(&candidate.wanted.identity())).flatten().collect();
    let mut spent = Spent::by(planned, habits.usefulness);
    let mut left_out: BTreeMap<Identity, Exclusion> = BTreeMap::new();
    for candidate in &mut candidates {
        let id = candidate.wanted.identity();
        let waits_for = above.get(&id).into_iter().flatten();
        let barred = waits_for.filter_map(|above| left_out.get(above)).next().copied();
        let fault = barred.or_else(|| fault(config, candidate, habits.usefulness));
        let fault = match fault {
            // It is of use to what follows from it.
            Some(Exclusion::Unused) if needed.contains(&id) => None,
            Some(Exclusion::Unused) if barred.is_none() && random.unit() < config.explore => {
                candidate.reason = Reason::Exploration;
                None
            }
            fault => fault,
        };
        candidate.exclusion = fault.or_else(|| cap(config, candidate, habits.usefulness, deadline, &spent));
        match candidate.exclusion {
            None => spent.take(&candidate.wanted, habits.usefulness),
            Some(exclusion) => drop(left_out.insert(id, exclusion)),
        }
    }
    candidates
}

/// What each dependent waits for, the nearest first; those that no habit names become candidates.
fn add_what_they_wait_for(
    catalog: &Catalog,
    subject: &Subject,
    candidates: &mut Vec<Candidate>,
) -> BTreeMap<Identity, Vec<Identity>> {
    let mut above = BTreeMap::new();
    let mut places: BTreeMap<Identity, usize> =
        candidates.iter().enumerate().map(|(at, candidate)| (candidate.wanted.identity(), at)).collect();
    let mut at = 0;
    while let Some(candidate) = candidates.get(at).cloned() {
        at += 1;
        // What cannot be looked up was no candidate.
        let Ok(chain) = candidate.wanted.above(catalog, subject) else { continue };
        let ids: Vec<Identity> = chain.iter().map(Wanted::identity).collect();
        for wanted in chain {
            let place = *places.entry(wanted.identity()).or_insert(candidates.len());
            match candidates.get_mut(place) {
                Some(known) => known.score = known.score.max(candidate.score),
                None => candidates.push(Candidate { wanted, ..candidate.clone() }),
            }
        }
        if !ids.is_empty() {
            above.insert(candidate.wanted.identity(), ids);
        }
    }
    above
}

/// How likely everybody reads an entity, by what was seen of all and by what the configuration says.
pub fn usual(config: &Config, mut seen: BTreeMap<Name, f64>) -> BTreeMap<Name, f64> {
    for name in &config.cohort {
        let score = seen.entry(name.clone()).or_default();
        *score = score.max(AS_LIKELY_AS_NOT);
    }
    seen
}

/// What the subject's history names, and what others read that it is silent about.
fn gather(catalog: &Catalog, config: &Config, subject: &Subject, habits: &Habits<'_>) -> Vec<Candidate> {
    let History { scores, is_told, update: _, foreign: _ } = habits.own;
    let own = scores.iter().filter_map(|(item, score)| candidate(catalog, subject, item, *score));
    let mut candidates: Vec<Candidate> = own.collect();
    let is_known = scores.values().any(|score| *score >= config.floor);
    if !(*is_told && is_known) {
        let usual = habits.usual.iter().map(|(name, score)| (Item::whole(name.clone()), score));
        let silent = usual.filter(|(item, _)| !scores.contains_key(item));
        let tried = silent.filter_map(|(item, score)| candidate(catalog, subject, &item, *score));
        candidates.extend(tried.map(|candidate| Candidate { reason: Reason::Cohort, ..candidate }));
    }
    candidates
}

/// None for an item that the configuration has no more, that needs more than is known, or that is not this subject's.
fn candidate(catalog: &Catalog, subject: &Subject, item: &Item, score: f64) -> Option<Candidate> {
    let wanted = Wanted::look_up(catalog, subject, item.entity().as_str(), item.params()).ok()?;
    let entity = wanted.entity();
    entity.load()?;
    if !entity.belongs_to(subject, wanted.params()) || wanted.above(catalog, subject).is_err() {
        return None;
    }
    Some(Candidate { wanted, score, reason: Reason::History, exclusion: None })
}

/// Why an item is not worth a call, whatever else the plan holds. That an entity is hardly ever read comes before what
/// the subject's score is: what is not filled is not seen, so scores of it say nothing any more.
fn fault(config: &Config, candidate: &Candidate, usefulness: &Usefulness) -> Option<Exclusion> {
    let name = candidate.wanted.entity().name();
    if config.never.contains(name) {
        Some(Exclusion::Never)
    } else if usefulness.of(name).is_unused(config.precision) {
        Some(Exclusion::Unused)
    } else if candidate.score < config.floor {
        Some(Exclusion::BelowFloor)
    } else {
        None
    }
}

/// Why there is no room for an item, good as it may be.
fn cap(
    config: &Config,
    candidate: &Candidate,
    usefulness: &Usefulness,
    deadline: Duration,
    spent: &Spent,
) -> Option<Exclusion> {
    let entity = candidate.wanted.entity();
    let figures = usefulness.of(entity.name());
    let source = entity.load().map(|load| &load.source);
    let calls = source.and_then(|source| spent.by_source.get(source)).copied().unwrap_or_default();
    if spent.items >= config.items {
        Some(Exclusion::ItemCap)
    } else if spent.bytes + figures.bytes > config.bytes as f64 {
        Some(Exclusion::ByteCap)
    } else if calls >= config.per_source || figures.elapsed > deadline.as_secs_f64() {
        Some(Exclusion::TimeCap)
    } else {
        None
    }
}

impl Candidate {
    pub fn item(&self) -> Item {
        Item::asked(self.wanted.entity(), self.wanted.params())
    }

    pub fn planned(self) -> Planned {
        let reason = match self.reason {
            Reason::Exploration => Reason::Exploration,
            reason => self.wanted.reason(reason),
        };
        Planned { wanted: self.wanted, why: Why { reason, score: self.score } }
    }
}

impl Spent {
    /// By what a plan holds before anything is predicted.
    fn by(planned: &[Planned], usefulness: &Usefulness) -> Self {
        let mut spent = Self { items: 0, bytes: 0.0, by_source: BTreeMap::new() };
        planned.iter().for_each(|planned| spent.take(&planned.wanted, usefulness));
        spent
    }

    fn take(&mut self, wanted: &Wanted, usefulness: &Usefulness) {
        self.items += 1;
        self.bytes += usefulness.of(wanted.entity().name()).bytes;
        if let Some(load) = wanted.entity().load() {
            *self.by_source.entry(load.source.clone()).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod people;
#[cfg(test)]
mod tests;
