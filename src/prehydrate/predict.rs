//! Which members a subject will probably read next: its habits, ranked, under a floor and several caps. Pure.
//!
//! Whoever has no habits yet gets what its cohort reads. Nothing is left out silently: what is considered and dropped
//! keeps its score and the reason, because a dry run shows it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::catalog::Catalog;
use crate::domain::entity::{Member, Name};
use crate::domain::random::Random;
use crate::domain::subject::Subject;
use crate::prehydrate::history::item::Item;
use crate::prehydrate::request::{Exclusion, Planned, Reason, Why};
use crate::prehydrate::usefulness::Usefulness;

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
    pub member: Member,
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
pub struct Spent {
    pub items: usize,
    pub bytes: f64,
    pub by_source: BTreeMap<Name, usize>,
}

/// A configured cohort entity of which nothing is known yet: as likely as not.
const AS_LIKELY_AS_NOT: f64 = 0.5;

/// The candidates, best first; those that are left out say why. `spent` is what the plan holds already.
pub fn predict(
    catalog: &Catalog,
    config: &Config,
    subject: &Subject,
    habits: &Habits<'_>,
    deadline: Duration,
    mut spent: Spent,
    random: &Random,
) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = if habits.own.is_empty() {
        cohort(catalog, config, subject, habits)
    } else {
        habits.own.iter().filter_map(|(item, score)| candidate(catalog, subject, item, *score)).collect()
    };
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.member.key.cmp(&b.member.key)));
    for candidate in &mut candidates {
        candidate.exclusion = exclusion(config, candidate, habits.usefulness, deadline, &spent);
        if candidate.exclusion == Some(Exclusion::Unused) && random.unit() < config.explore {
            (candidate.exclusion, candidate.reason) = (None, Reason::Exploration);
        }
        if candidate.exclusion.is_none() {
            spent.take(&candidate.member, habits.usefulness);
        }
    }
    candidates
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
    let entity = catalog.entity(item.entity().as_str())?;
    let load = entity.load()?;
    let params = entity.complete(subject, item.params());
    if !entity.belongs_to(subject, &params) {
        return None;
    }
    let member = catalog.member(entity.name().as_str(), params).ok()?;
    load.can_ask(&member.params).ok()?;
    Some(Candidate { member, score, reason: Reason::History, exclusion: None })
}

fn exclusion(
    config: &Config,
    candidate: &Candidate,
    usefulness: &Usefulness,
    deadline: Duration,
    spent: &Spent,
) -> Option<Exclusion> {
    let name = candidate.member.entity.name();
    let figures = usefulness.of(name);
    let source = candidate.member.entity.load().map(|load| &load.source);
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
        Planned { member: self.member, why: Why { reason: self.reason, score: self.score } }
    }
}

impl Spent {
    /// By what a plan holds before anything is predicted.
    pub fn by<'a>(members: impl Iterator<Item = &'a Member>, usefulness: &Usefulness) -> Self {
        let mut spent = Self { items: 0, bytes: 0.0, by_source: BTreeMap::new() };
        members.for_each(|member| spent.take(member, usefulness));
        spent
    }

    fn take(&mut self, member: &Member, usefulness: &Usefulness) {
        self.items += 1;
        self.bytes += usefulness.of(member.entity.name()).bytes;
        if let Some(load) = member.entity.load() {
            *self.by_source.entry(load.source.clone()).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests;
