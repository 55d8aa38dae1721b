//! Which members a subject will probably read next: its habits, ranked, under a floor and several caps. Pure.
//!
//! Whoever has no habits yet gets what its cohort reads. Nothing is left out silently: what is considered and dropped
//! keeps its score and the reason, because a dry run shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::domain::catalog::Catalog;
use crate::domain::entity::Name;
use crate::domain::random::Random;
use crate::domain::subject::Subject;
use crate::prehydrate::history::item::Item;
use crate::prehydrate::request::{Exclusion, Planned, Reason, Why};
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
    /// For a subject without a history, besides what most others read.
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
    /// Of this subject; empty for one that is not known.
    pub own: &'a BTreeMap<Item, f64>,
    /// Of all subjects seen by this sidecar.
    pub cohort: &'a BTreeMap<Name, f64>,
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
    let mut candidates: Vec<Candidate> = if habits.own.is_empty() {
        cohort(catalog, config, subject, habits)
    } else {
        habits.own.iter().filter_map(|(item, score)| candidate(catalog, subject, item, *score)).collect()
    };
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
        candidate.exclusion = barred.or_else(|| exclusion(config, candidate, habits.usefulness, deadline, &spent));
        if candidate.exclusion == Some(Exclusion::Unused) && needed.contains(&id) {
            // It is of use to what follows from it.
            candidate.exclusion = None;
        }
        if candidate.exclusion == Some(Exclusion::Unused) && barred.is_none() && random.unit() < config.explore {
            (candidate.exclusion, candidate.reason) = (None, Reason::Exploration);
        }
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

fn cohort(catalog: &Catalog, config: &Config, subject: &Subject, habits: &Habits<'_>) -> Vec<Candidate> {
    let mut scores = habits.cohort.clone();
    for name in &config.cohort {
        let score = scores.entry(name.clone()).or_default();
        *score = score.max(AS_LIKELY_AS_NOT);
    }
    let members = scores.into_iter().filter_map(|(name, score)| {
        let item = Item::parse(name.as_str())?;
        Some(Candidate { reason: Reason::Cohort, ..candidate(catalog, subject, &item, score)? })
    });
    members.collect()
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

fn exclusion(
    config: &Config,
    candidate: &Candidate,
    usefulness: &Usefulness,
    deadline: Duration,
    spent: &Spent,
) -> Option<Exclusion> {
    let entity = candidate.wanted.entity();
    let name = entity.name();
    let figures = usefulness.of(name);
    let source = entity.load().map(|load| &load.source);
    let calls = source.and_then(|source| spent.by_source.get(source)).copied().unwrap_or_default();
    if config.never.contains(name) {
        Some(Exclusion::Never)
    } else if candidate.score < config.floor {
        Some(Exclusion::BelowFloor)
    } else if figures.is_unused(config.precision) {
        Some(Exclusion::Unused)
    } else if spent.items >= config.items {
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
mod tests;
