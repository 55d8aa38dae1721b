//! The items of a plan under way: those that run, and those that wait for another's answer.
//!
//! An item that was waited for ends, and what follows from it begins in the same moment, however that end was: one that
//! cannot be named any more settles with the reason. The value is read from the store, where it stands by then, so that
//! it does not matter whether it was fetched or was fresh, and that what was invalidated meanwhile names nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};

use crate::domain::entity::Member;
use crate::domain::key::Key;
use crate::domain::outcome::Outcome;
use crate::fill::settings::Settings;
use crate::prehydrate::ending::{Done, Ending};
use crate::prehydrate::refused;
use crate::prehydrate::request::Planned;
use crate::prehydrate::usefulness::Awaited;
use crate::prehydrate::wanted::{Dependent, Identity, Wanted, changed};
use crate::prehydrate::{Prehydrate, Work};

pub(super) struct Items<'a> {
    flow: &'a Prehydrate,
    settings: &'a Arc<Settings>,
    work: &'a Work,
    running: FuturesUnordered<BoxFuture<'a, Done>>,
    /// Where each item stands, by what it was when it was planned.
    places: BTreeMap<Identity, usize>,
    ended: BTreeMap<usize, Above>,
    /// What waits, by the place of what it waits for.
    waiting: BTreeMap<usize, Vec<(usize, Dependent)>>,
}

/// How an item ended that others may wait for.
#[derive(Clone)]
struct Above {
    key: Option<Key>,
    outcome: Outcome,
}

impl<'a> Items<'a> {
    pub fn new(flow: &'a Prehydrate, settings: &'a Arc<Settings>, work: &'a Work) -> Self {
        let (running, places) = (FuturesUnordered::new(), BTreeMap::new());
        Self { flow, settings, work, running, places, ended: BTreeMap::new(), waiting: BTreeMap::new() }
    }

    /// Begins what can begin. The first of them stands at `first` in the plan.
    pub fn add(&mut self, first: usize, planned: &[Planned]) {
        let items = || planned.iter().enumerate().map(|(at, planned)| (first + at, &planned.wanted));
        self.places.extend(items().map(|(at, wanted)| (wanted.identity(), at)));
        // Those that wait come first: a value that is waited for is filled knowing that.
        for (at, wanted) in items() {
            if let Wanted::Dependent(dependent) = wanted {
                self.wait_or_begin(at, wanted, dependent.clone());
            }
        }
        for (at, wanted) in items() {
            if let Wanted::Member(member) = wanted {
                let awaited = if self.waiting.contains_key(&at) { Awaited::ByOthers } else { Awaited::ByNobody };
                self.begin(at, member.clone(), awaited);
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// The next one that ends; it has to be settled.
    pub async fn next(&mut self) -> Option<Done> {
        self.running.next().await
    }

    /// Says what became of an item, and begins what waited for it.
    pub async fn settle(&mut self, done: Done) {
        let at = done.at;
        let above = Above { key: self.work.run.key(at), outcome: done.ending.outcome };
        self.flow.settle(self.work, done).await;
        for (dependent_at, dependent) in self.waiting.remove(&at).into_iter().flatten() {
            self.begin_dependent(dependent_at, dependent, above.clone());
        }
        self.ended.insert(at, above);
    }

    fn wait_or_begin(&mut self, at: usize, wanted: &Wanted, dependent: Dependent) {
        let above = wanted.above(&self.settings.catalog, &self.work.login.subject).unwrap_or_default();
        let place = above.first().and_then(|above| self.places.get(&above.identity()));
        match place.map(|place| (*place, self.ended.get(place).cloned())) {
            Some((place, None)) => self.waiting.entry(place).or_default().push((at, dependent)),
            Some((_, Some(above))) => self.begin_dependent(at, dependent, above),
            // A plan holds what its items wait for, unless the configuration has changed since.
            None => {
                let done = Done { at, ending: changed(), is_session_refused: false };
                self.running.push(std::future::ready(done).boxed());
            }
        }
    }

    fn begin(&self, at: usize, member: Member, awaited: Awaited) {
        let (flow, settings, work) = (self.flow, self.settings, self.work);
        self.running.push(async move { flow.fill(settings, work, at, member, awaited).await }.boxed());
    }

    fn begin_dependent(&self, at: usize, dependent: Dependent, above: Above) {
        let (flow, settings, work) = (self.flow, self.settings, self.work);
        let awaited = if self.waiting.contains_key(&at) { Awaited::ByOthers } else { Awaited::ByNobody };
        let filling = async move {
            match flow.told(settings, work, &dependent, &above).await {
                Ok(member) => {
                    work.run.name(at, member.clone());
                    flow.fill(settings, work, at, member, awaited).await
                }
                Err(ending) => Done { at, ending, is_session_refused: false },
            }
        };
        self.running.push(filling.boxed());
    }
}

impl Prehydrate {
    /// Which member a dependent is, now that what it waits for has ended.
    async fn told(
        &self,
        settings: &Settings,
        work: &Work,
        dependent: &Dependent,
        above: &Above,
    ) -> Result<Member, Ending> {
        if work.session.is_refused() && refused::is_own(&dependent.entity) {
            return Err(refused::denied());
        }
        let Some(follows) = dependent.entity.follows() else { return Err(changed()) };
        let lacks = |outcome, what: &str| {
            Ending::not_filled(outcome, format!("`{}`, which it follows from, {what}", follows.from))
        };
        let key = match (above.outcome, &above.key) {
            (Outcome::Filled | Outcome::Fresh, Some(key)) => key,
            (Outcome::Absent, _) => return Err(lacks(Outcome::Absent, "is absent")),
            (outcome, _) => return Err(lacks(Outcome::Failed, &format!("is not there: {}", outcome.as_str()))),
        };
        match self.filler.value(key).await {
            Ok(Some(value)) => dependent.told(&settings.catalog, &work.login.subject, &value),
            Ok(None) => Err(lacks(Outcome::Fenced, "was removed meanwhile")),
            Err(error) => Err(lacks(Outcome::Failed, &format!("cannot be read: {error}"))),
        }
    }
}
