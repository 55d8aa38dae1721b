//! One plan carried out: what was asked for at once, what is predicted as soon as the habits are read, and afterwards
//! what the next login should know.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::time::Instant;

use crate::domain::entity::Member;
use crate::domain::outcome::{Outcome, Resource};
use crate::domain::store::ClaimMode;
use crate::fill::Job;
use crate::fill::settings::Settings;
use crate::prehydrate::ending::{Done, Ending};
use crate::prehydrate::history::item::Item;
use crate::prehydrate::history::{self, History, Known};
use crate::prehydrate::items::Items;
use crate::prehydrate::predict::{self, Candidate, Habits};
use crate::prehydrate::queue::Ticket;
use crate::prehydrate::refused;
use crate::prehydrate::request::{Freshness, Planned};
use crate::prehydrate::run::Entry;
use crate::prehydrate::sampler::{self, Sample};
use crate::prehydrate::usefulness::{Awaited, Mark};
use crate::prehydrate::wanted::changed;
use crate::prehydrate::{Config, Login, Prehydrate, Work};

/// What a subject's habits make of a plan.
pub(super) struct Prediction {
    /// None where it could not be read: then nothing is written back either.
    pub history: Option<History>,
    pub candidates: Vec<Candidate>,
}

impl Prehydrate {
    pub(super) async fn carry_out(self, ticket: Ticket, work: Work, entry: Entry) {
        let waiting = self.metrics.plan_queued();
        let Some(_turn) = ticket.turn().await else { return };
        drop(waiting);
        let _under_way = self.metrics.plan_started();
        let started = Instant::now();
        if started >= work.deadline {
            return work.run.shed();
        }
        // As things stand now: the plan may have waited while the configuration changed.
        let settings = self.live.get();
        let history = self.fill_all(&settings, &work).await;
        drop(entry);
        self.metrics.plan_finished(started.elapsed());
        if let (Some(history), Some(config)) = (history, work.habits) {
            self.learner.remember(work.login.name, history, work.login.accepted.elapsed(), &config).await;
        }
    }

    /// Fills what was asked for and, once it is known, what is predicted, all in parallel.
    async fn fill_all(&self, settings: &Arc<Settings>, work: &Work) -> Option<History> {
        let mut items = Items::new(self, settings, work);
        items.add(0, &work.planned);
        let mut history = None;
        if let Some(habits) = &work.habits {
            let predicting = self.predict(&work.config, settings, &work.login, &work.planned, habits);
            tokio::pin!(predicting);
            let prediction = loop {
                tokio::select! {
                    biased;
                    prediction = &mut predicting => break prediction,
                    Some(done) = items.next(), if !items.is_empty() => items.settle(done).await,
                }
            };
            let Prediction { history: mut known, candidates } = prediction;
            let taken = candidates.into_iter().filter(|candidate| candidate.exclusion.is_none());
            let adopt = |candidate: &Candidate| {
                known.iter_mut().for_each(|known| known.adopt(&candidate.item(), candidate.score));
            };
            let taken = taken.inspect(adopt);
            let predicted: Vec<Planned> = taken.map(Candidate::planned).collect();
            let first = work.run.grow(&predicted);
            items.add(first, &predicted);
            history = known;
        }
        while let Some(done) = items.next().await {
            items.settle(done).await;
        }
        // Whose session is refused has not visited.
        history.filter(|_| !work.session.is_refused())
    }

    /// Reads the subject's habits, and ranks what follows from them beside what is planned already.
    pub(super) async fn predict(
        &self,
        config: &Config,
        settings: &Settings,
        login: &Login,
        planned: &[Planned],
        habits: &history::Config,
    ) -> Prediction {
        let usual = predict::usual(&config.plan, self.learner.cohort());
        let known = Known { catalog: &settings.catalog, usual: &usual };
        let history = self.learner.history(login.name, habits, &known).await;
        let nothing = History::default();
        let own = history.as_ref().unwrap_or(&nothing);
        let known = Habits { own, usual: &usual, usefulness: self.learner.usefulness() };
        let candidates = predict::predict(
            &settings.catalog,
            &config.plan,
            &login.subject,
            &known,
            config.deadline,
            planned,
            &self.random,
        );
        Prediction { history, candidates }
    }

    /// One resource of a plan. A defect in its fill costs its own entry, not the plan.
    pub(super) async fn fill(
        &self,
        settings: &Arc<Settings>,
        work: &Work,
        at: usize,
        member: Member,
        awaited: Awaited,
    ) -> Done {
        let not_filled = |ending| Done { at, ending, is_session_refused: false };
        let Ok(member) = settings.catalog.member(member.entity.name().as_str(), member.params) else {
            return not_filled(changed());
        };
        let is_own = refused::is_own(&member.entity);
        let mark = self.mark(work, at, awaited);
        let untouched_for = (mark != Mark::Not).then_some(sampler::UNTOUCHED);
        let job = self.job(settings, &work.login, member, work.deadline);
        let filling = self.filler.fill(Job { untouched_for, ..job });
        let filling = AssertUnwindSafe(filling).catch_unwind();
        let resource = tokio::select! {
            biased;
            // A claim that is left behind goes with what is removed.
            () = work.session.refused(), if is_own => return not_filled(refused::denied()),
            filled = filling => match filled {
                Ok(resource) => resource,
                Err(_panic) => {
                    let why = "a defect of hydrant's own, told in its log";
                    return not_filled(Ending::not_filled(Outcome::Failed, why));
                }
            },
        };
        self.learn_from(work, &resource, awaited, mark);
        let is_session_refused = resource.is_session_refused;
        Done { at, ending: Ending::of(resource), is_session_refused }
    }

    fn job(&self, settings: &Arc<Settings>, login: &Login, member: Member, deadline: Instant) -> Job {
        let renew_below = member.entity.renew_below();
        let mode = match login.freshness {
            Freshness::Keep => ClaimMode::Miss { renew_below },
            Freshness::Refresh => ClaimMode::Refresh,
        };
        Job {
            settings: settings.clone(),
            member,
            owner: Some(self.filler.owner(&login.subject)),
            session: login.subject.session().cloned(),
            mode,
            untouched_for: None,
            stagger_percent: 0,
            trace: login.trace,
            accepted: login.accepted,
            deadline,
        }
    }

    fn mark(&self, work: &Work, at: usize, awaited: Awaited) -> Mark {
        let can_be_looked_at = work.config.history.is_some() && awaited == Awaited::ByNobody;
        match can_be_looked_at && self.samples.have_room() {
            true => work.config.sampling.mark(work.run.why(at), self.random.unit()),
            false => Mark::Not,
        }
    }

    /// Notes what the fill cost, and has some of what was written looked at later.
    fn learn_from(&self, work: &Work, resource: &Resource, awaited: Awaited, mark: Mark) {
        let Some(written) = resource.written else { return };
        let member = &resource.member;
        let entity = member.entity.name();
        self.learner.usefulness().filled(entity, written.bytes, resource.elapsed);
        let Config { sampling, history, .. } = &*work.config;
        let is_looked_at = written.is_marked || self.random.unit() < sampling.share;
        if is_looked_at && history.is_some() && awaited == Awaited::ByNobody {
            self.samples.offer(Sample {
                key: member.key.clone(),
                entity: entity.clone(),
                subject: work.login.name,
                // Who has read what others read too is not to be seen.
                item: if refused::is_own(&member.entity) { Item::of(member) } else { None },
                bytes: written.bytes,
                written: Instant::now(),
                ttl: written.ttl,
                mark: if written.is_marked { mark } else { Mark::Not },
            });
        }
    }
}
