//! What a subject has read, as one hash in Redis, and what that says of the next visit. Pure: who reads and writes the
//! hash is elsewhere.
//!
//! | field | value | who writes it |
//! |---|---|---|
//! | `r:<item>` | when it was read last, in Unix seconds | applications, or `Record` for them |
//! | `l:<item>` | when Hydrant last saw whether it was read: `+` and Unix seconds if it was, `-` if certainly not | the sampler |
//! | `s:<item>` | how likely the subject reads it on a visit, 0 to 1 | Hydrant, at a login |
//! | `login` | when the last visit began, in Unix seconds | Hydrant, at a login |
//!
//! A login closes the visit before it, and each item is moved by one of three things: what was read rises; what was
//! certainly not read falls, because a look has shown it or because an application told of this visit and not of it; of
//! the rest nothing is known, and time alone lets it fade, slowly and no further than what is usual. So a user who comes
//! once a week is known as well as one who comes every day, and where nobody tells nothing is unlearnt for want of proof.
//! What cannot be understood, or is no item of this configuration, is ignored, counted and taken out.

pub mod item;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::domain::catalog::Catalog;
use crate::domain::entity::Name;
use crate::domain::habits::{Fields, Update};
use crate::prehydrate::history::item::Item;

/// How far a visit in which it was read takes a score towards 1: above a floor of 30 % with the second such visit, so
/// that what was read once by chance is not fetched at the next login.
const RISE: f64 = 0.25;
/// How much of its score an item loses in a visit in which it was certainly not read: gone from 1 to under 30 % in three.
const FALL: f64 = 1.0 / 3.0;
/// What time lets an item lose from one visit to the next, at most: not to know is no proof, and who comes seldom should
/// not lose more by that than by what was seen.
const FADE: f64 = 0.1;
/// Below this a score says nothing any more.
const FORGOTTEN: f64 = 0.05;
/// What was certainly not read sinks no lower, so that it is not soon taken for something never tried.
const NOT_READ: f64 = 0.1;
/// A read that claims to be from later than this many seconds from now is from a clock that is wrong.
const SKEW: u64 = 3_600;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// Time in which an item of which nothing more is known loses half of what it has over the usual.
    pub half_life: Duration,
    /// Items remembered of one subject; the least likely go first.
    pub keep: usize,
    /// The hash's own life after the last write.
    pub life: Duration,
    /// The likelihood from which on an item is predicted.
    pub floor: f64,
}

/// What a history is held against.
pub struct Known<'a> {
    pub catalog: &'a Catalog,
    /// How likely others read an entity.
    pub usual: &'a BTreeMap<Name, f64>,
}

/// A subject's habits as they stand at a login, and what has to be written for the next one to know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// Likelihoods, 0 to 1.
    pub scores: BTreeMap<Item, f64>,
    /// Applications tell of this subject's reads: what they are silent about is not read.
    pub is_told: bool,
    pub update: Update,
    /// Fields that could not be understood.
    pub foreign: usize,
}

/// One item while the fields are gathered.
#[derive(Default)]
struct Trace {
    score: f64,
    read: Option<u64>,
    look: Option<Look>,
}

struct Look {
    at: u64,
    shown: Shown,
}

/// What a look at a value has shown of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    Read,
    NotRead,
}

/// The visit that a login closes.
struct Visit<'a> {
    began: Option<u64>,
    is_told: bool,
    /// What is left, with time, of what is over the usual.
    left: f64,
    floor: f64,
    usual: &'a BTreeMap<Name, f64>,
}

/// By which anybody says that an item was read.
pub fn told(item: &Item, at: u64) -> (String, String) {
    (format!("r:{item}"), at.to_string())
}

/// By which the sampler says what it saw.
pub fn seen(item: &Item, shown: Shown, at: u64) -> (String, String) {
    let sign = match shown {
        Shown::Read => '+',
        Shown::NotRead => '-',
    };
    (format!("l:{item}"), format!("{sign}{at}"))
}

impl History {
    /// Closes the visit that the fields tell of and opens one at `now`.
    pub fn at_login(fields: &Fields, now: Duration, config: &Config, known: &Known<'_>) -> Self {
        let now = now.as_secs();
        let mut history = Self::default();
        let mut traces: BTreeMap<Item, Trace> = BTreeMap::new();
        let mut began = None;
        for (field, value) in fields {
            if understand(field, value, now, known.catalog, &mut traces, &mut began).is_none() {
                history.foreign += 1;
                history.update.remove.push(field.clone());
            }
        }
        history.is_told = traces.values().any(|trace| trace.read.is_some());
        let visit = Visit::closed(&traces, began, now, config, known.usual);
        for (item, trace) in traces {
            let score = visit.score(&item, &trace);
            history.scores.insert(item, score);
        }
        history.forget_what_is_over(config.keep);
        history.remember(now);
        history
    }

    /// An item that is tried because others read it begins with what is usual, from where the next visits move it.
    pub fn adopt(&mut self, item: &Item, score: f64) {
        if !self.scores.contains_key(item) {
            self.update.set.push(scored(item, score));
        }
    }

    /// Drops what says nothing any more, and the least likely beyond what is kept.
    fn forget_what_is_over(&mut self, keep: usize) {
        let mut ranked: Vec<(f64, Item)> = self.scores.iter().map(|(item, score)| (*score, item.clone())).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        for (rank, (score, item)) in ranked.into_iter().enumerate() {
            if rank >= keep || score < FORGOTTEN {
                self.scores.remove(&item);
                self.update.remove.extend(["r", "l", "s"].map(|kind| Bytes::from(format!("{kind}:{item}"))));
            }
        }
    }

    fn remember(&mut self, now: u64) {
        let scores = self.scores.iter().map(|(item, score)| scored(item, *score));
        self.update.set = scores.chain([("login".to_owned(), now.to_string())]).collect();
    }
}

impl<'a> Visit<'a> {
    fn closed(
        traces: &BTreeMap<Item, Trace>,
        began: Option<u64>,
        now: u64,
        config: &Config,
        usual: &'a BTreeMap<Name, f64>,
    ) -> Self {
        let is_of_it = |at: u64| began.is_none_or(|began| at >= began);
        let is_told = traces.values().any(|trace| trace.read.is_some_and(is_of_it));
        let seen_read =
            |trace: &Trace| trace.look.as_ref().filter(|look| look.shown == Shown::Read).map(|look| look.at);
        let signs = traces.values().flat_map(|trace| [trace.read, seen_read(trace)]).flatten();
        let newest = signs.chain(began).max();
        let away = newest.map_or(0, |newest| now.saturating_sub(newest));
        let faded = 0.5f64.powf(away as f64 / config.half_life.as_secs_f64().max(1.0));
        Self { began, is_told, left: faded.max(1.0 - FADE), floor: config.floor, usual }
    }

    fn score(&self, item: &Item, trace: &Trace) -> f64 {
        let score = trace.score;
        let whole = item.params().is_empty();
        match self.shown(trace) {
            Some(Shown::Read) => score + RISE * (1.0 - score),
            Some(Shown::NotRead) if whole => (score * (1.0 - FALL)).max(score.min(NOT_READ)),
            Some(Shown::NotRead) => score * (1.0 - FALL),
            None if score < self.floor => score * self.left,
            None => {
                // What everybody reads is not given up because nobody has looked.
                let usual = if whole { self.usual.get(item.entity()).copied().unwrap_or_default() } else { 0.0 };
                let base = usual.min(score);
                base + (score - base) * self.left
            }
        }
    }

    /// What is known of an item in this visit; none where nothing is.
    fn shown(&self, trace: &Trace) -> Option<Shown> {
        let is_of_it = |at: u64| self.began.is_none_or(|began| at >= began);
        let told = trace.read.is_some_and(is_of_it).then_some(Shown::Read);
        let seen = || trace.look.as_ref().filter(|look| is_of_it(look.at)).map(|look| look.shown);
        told.or_else(seen).or(self.is_told.then_some(Shown::NotRead))
    }
}

fn scored(item: &Item, score: f64) -> (String, String) {
    (format!("s:{item}"), format!("{score:.4}"))
}

fn understand(
    field: &[u8],
    value: &[u8],
    now: u64,
    catalog: &Catalog,
    traces: &mut BTreeMap<Item, Trace>,
    began: &mut Option<u64>,
) -> Option<()> {
    let (field, value) = (std::str::from_utf8(field).ok()?, std::str::from_utf8(value).ok()?);
    let seconds = |text: &str| text.parse::<u64>().ok().filter(|at| *at <= now + SKEW).map(|at| at.min(now));
    let Some((kind, item)) = field.split_once(':') else {
        return (field == "login").then_some(()).and_then(|()| seconds(value)).map(|at| *began = Some(at));
    };
    let item = Item::parse(item).filter(|item| item.is_of(catalog))?;
    let trace = match kind {
        "r" => Trace { read: Some(seconds(value)?), ..Trace::default() },
        "l" => Trace { look: Some(look(value, seconds)?), ..Trace::default() },
        "s" => Trace { score: value.parse().ok().filter(|score| (0.0..=1.0).contains(score))?, ..Trace::default() },
        _ => return None,
    };
    let known = traces.entry(item).or_default();
    known.score = known.score.max(trace.score);
    known.read = known.read.or(trace.read);
    known.look = known.look.take().or(trace.look);
    Some(())
}

fn look(value: &str, seconds: impl Fn(&str) -> Option<u64>) -> Option<Look> {
    let (sign, at) = value.split_at_checked(1)?;
    let shown = match sign {
        "+" => Shown::Read,
        "-" => Shown::NotRead,
        _ => return None,
    };
    Some(Look { at: seconds(at)?, shown })
}

#[cfg(test)]
mod tests;
