//! What a subject has read, as one hash in Redis, and what that says of the next visit. Pure: who reads and writes the
//! hash is elsewhere.
//!
//! The hash has three kinds of fields, so that an application can feed it with one command and without reading it:
//!
//! | field | value | who writes it |
//! |---|---|---|
//! | `r:<item>` | when it was read last, in Unix seconds | anybody: applications, `Record`, the usefulness sampler |
//! | `s:<item>` | how likely the subject reads it on a visit, 0 to 1 | Hydrant, at a login |
//! | `login` | when the last visit began, in Unix seconds | Hydrant, at a login |
//!
//! A login closes the visit before it: what was read since that began has its score pulled up, the rest is let down, by
//! the same share. Time alone lets all of them down as well. A visit in which nothing was read at all says nothing about
//! habits (nobody may have been telling), so it moves no score; two logins in a row do no harm.
//! What cannot be understood is ignored, counted and taken out.

pub mod item;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::habits::{Fields, Update};
use crate::prehydrate::history::item::Item;

/// How much one visit moves a score. With a quarter, what is read on every visit is above 0.5 on the third, and what is
/// no longer read falls from 1 to under 0.3 in five.
const SHARE: f64 = 0.25;
/// Below this a score says nothing any more.
const FORGOTTEN: f64 = 0.02;
/// A read that claims to be from later than this many seconds from now is from a clock that is wrong.
const SKEW: u64 = 3_600;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// Time in which a score halves when the subject stays away.
    pub half_life: Duration,
    /// Items remembered of one subject; the least likely go first.
    pub keep: usize,
    /// The hash's own life after the last write.
    pub life: Duration,
}

/// A subject's habits as they stand at a login, and what has to be written for the next one to know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// Likelihoods, 0 to 1.
    pub scores: BTreeMap<Item, f64>,
    pub update: Update,
    /// Fields that could not be understood.
    pub foreign: usize,
}

/// One item while the fields are gathered.
#[derive(Default)]
struct Trace {
    score: f64,
    read: Option<u64>,
}

/// The field by which anybody says that an item was read.
pub fn read_field(item: &Item) -> String {
    format!("r:{item}")
}

impl History {
    /// Closes the visit that the fields tell of and opens one at `now`.
    pub fn at_login(fields: &Fields, now: Duration, config: &Config) -> Self {
        let now = now.as_secs();
        let mut history = Self::default();
        let mut traces: BTreeMap<Item, Trace> = BTreeMap::new();
        let mut last_login = None;
        for (field, value) in fields {
            if understand(field, value, now, &mut traces, &mut last_login).is_none() {
                history.foreign += 1;
                history.update.remove.push(field.clone());
            }
        }
        let away = last_login.map_or(0, |login| now.saturating_sub(login));
        let faded = 0.5f64.powf(away as f64 / config.half_life.as_secs_f64().max(1.0));
        let was_read = |trace: &Trace| trace.read.is_some_and(|read| last_login.is_none_or(|login| read >= login));
        let says_something = traces.values().any(was_read);
        for (item, trace) in traces {
            let pulled = match (says_something, was_read(&trace)) {
                (false, _) => trace.score,
                (true, true) => trace.score + SHARE * (1.0 - trace.score),
                (true, false) => trace.score * (1.0 - SHARE),
            };
            history.scores.insert(item, pulled * faded);
        }
        history.forget_what_is_over(config.keep);
        history.remember(now);
        history
    }

    /// Drops what says nothing any more, and the least likely beyond what is kept.
    fn forget_what_is_over(&mut self, keep: usize) {
        let mut ranked: Vec<(f64, Item)> = self.scores.iter().map(|(item, score)| (*score, item.clone())).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        for (rank, (score, item)) in ranked.into_iter().enumerate() {
            if rank >= keep || score < FORGOTTEN {
                self.scores.remove(&item);
                self.update.remove.push(read_field(&item).into());
                self.update.remove.push(format!("s:{item}").into());
            }
        }
    }

    fn remember(&mut self, now: u64) {
        let scores = self.scores.iter().map(|(item, score)| (format!("s:{item}"), format!("{score:.4}")));
        self.update.set = scores.chain([("login".to_owned(), now.to_string())]).collect();
    }
}

fn understand(
    field: &[u8],
    value: &[u8],
    now: u64,
    traces: &mut BTreeMap<Item, Trace>,
    last_login: &mut Option<u64>,
) -> Option<()> {
    let (field, value) = (std::str::from_utf8(field).ok()?, std::str::from_utf8(value).ok()?);
    let seconds = || value.parse::<u64>().ok().filter(|seconds| *seconds <= now + SKEW).map(|seconds| seconds.min(now));
    match field.split_once(':') {
        None if field == "login" => *last_login = Some(seconds()?),
        Some(("r", item)) => {
            let (item, read) = (Item::parse(item)?, seconds()?);
            traces.entry(item).or_default().read = Some(read);
        }
        Some(("s", item)) => {
            let (item, score) = (Item::parse(item)?, value.parse::<f64>().ok()?);
            if !(0.0..=1.0).contains(&score) {
                return None;
            }
            traces.entry(item).or_default().score = score;
        }
        None | Some(_) => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests;
