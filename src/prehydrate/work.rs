//! One plan carried out: what was asked for at once, what is predicted as soon as the habits are read, and afterwards
//! what the next login should know.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::time::Instant;

use crate::domain::entity::Member;
use crate::domain::outcome::{Outcome, Resource};
use crate::domain::store::ClaimMode;
use crate::fill::Job;
use crate::fill::settings::Settings;
use crate::prehydrate::history::item::Item;
use crate::prehydrate::history::{self, History};
use crate::prehydrate::predict::{self, Candidate, Habits, Spent};
use crate::prehydrate::queue::Ticket;
use crate::prehydrate::refused::{self, Session};
use crate::prehydrate::request::{Freshness, Planned};
use crate::prehydrate::run::{Entry, Run};
use crate::prehydrate::sampler::{self, Sample};
use crate::prehydrate::{Config, Login, Prehydrate, not_filled};

/// A plan that is queued: for whom, what, and until when.
pub(super) struct Work {
    pub config: Arc<Config>,
    pub login: Login,
    pub planned: Vec<Planned>,
    /// To predict by; none where the caller has named what it wants.
    pub habits: Option<history::Config>,
    pub deadline: Instant,
    pub run: Arc<Run>,
    pub session: Session,
}

/// What a subject's habits make of a plan.
pub(super) struct Prediction {
    pub history: History,
    pub candidates: Vec<Candidate>,
}

impl Prehydrate {
    pub(super) async fn carry_out(self, ticket: Ticket, work: Work, entry: Entry) {
        let waiting = self.metrics.plan_queued();
        let Some(_turn) = ticket.turn().await else { return };
        drop(waiting);
        let _under_way = self.metrics.plan_started();
        let started = Instant::now();
        // As things stand now: the plan may have waited while the configuration changed.
        let settings = self.live.get();
        let history = self.fill_all(&settings, &work).await;
        drop(entry);
        self.metrics.plan_finished(started.elapsed());
        if let (Some(history), Some(config)) = (history, work.habits) {
            self.learner.remember(work.login.name, &history, &config).await;
        }
    }

    /// Fills what was asked for and, once it is known, what is predicted, all in parallel.
    async fn fill_all(&self, settings: &Arc<Settings>, work: &Work) -> Option<History> {
        let fill = async |at: usize, planned: Planned| (at, self.fill(settings, work, planned).await);
        let asked = work.planned.iter().cloned().enumerate();
        let mut fills: FuturesUnordered<_> = asked.map(|(at, planned)| fill(at, planned)).collect();
        let mut history = None;
        if let Some(habits) = &work.habits {
            let predicting = self.predict(&work.config, settings, &work.login, &work.planned, habits);
            tokio::pin!(predicting);
            let prediction = loop {
                tokio::select! {
                    biased;
                    prediction = &mut predicting => break prediction,
                    Some((at, resource)) = fills.next(), if !fills.is_empty() => self.settle(work, at, resource).await,
                }
            };
            let taken = prediction.candidates.into_iter().filter(|candidate| candidate.exclusion.is_none());
            let predicted: Vec<Planned> = taken.map(Candidate::planned).collect();
            let first = work.run.grow(&predicted);
            fills.extend(predicted.into_iter().enumerate().map(|(at, planned)| fill(first + at, planned)));
            history = Some(prediction.history);
        }
        while let Some((at, resource)) = fills.next().await {
            self.settle(work, at, resource).await;
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
        let history = self.learner.history(login.name, habits).await;
        let cohort = self.learner.cohort();
        let usefulness = self.learner.usefulness();
        let known = Habits { own: &history.scores, cohort: &cohort, usefulness };
        let spent = Spent::by(planned.iter().map(|planned| &planned.member), usefulness);
        let mut candidates = predict::predict(
            &settings.catalog,
            &config.plan,
            &login.subject,
            &known,
            config.deadline,
            spent,
            &self.random,
        );
        candidates.retain(|candidate| planned.iter().all(|planned| planned.member.key != candidate.member.key));
        Prediction { history, candidates }
    }

    /// One resource of a plan. A defect in its fill costs its own entry, not the plan.
    async fn fill(&self, settings: &Arc<Settings>, work: &Work, planned: Planned) -> Resource {
        let Planned { member, why: _ } = planned;
        let Ok(member) = settings.catalog.member(member.entity.name().as_str(), member.params.clone()) else {
            return not_filled(member, Outcome::Disabled, "the configuration has changed, and no longer has it");
        };
        let is_own = refused::is_own(&member);
        let untouched_for = (self.random.unit() < work.config.sampling.marked).then_some(sampler::MARK);
        let job = self.job(settings, &work.login, member.clone(), work.deadline);
        let filling = self.filler.fill(Job { untouched_for, ..job });
        let filling = AssertUnwindSafe(filling).catch_unwind();
        let resource = tokio::select! {
            biased;
            // A claim that is left behind goes with what is removed.
            () = work.session.refused(), if is_own => return refused::denied(member),
            filled = filling => match filled {
                Ok(resource) => resource,
                Err(_panic) => not_filled(member, Outcome::Failed, "a defect of hydrant's own, told in its log"),
            },
        };
        self.learn_from(work, &resource);
        resource
    }

    fn job(&self, settings: &Arc<Settings>, login: &Login, member: Member, deadline: Instant) -> Job {
        let renew_below = member.entity.ttl().renew_below();
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

    /// Notes what the fill cost, and has some of what was written looked at later.
    fn learn_from(&self, work: &Work, resource: &Resource) {
        let Some(written) = resource.written else { return };
        let member = &resource.member;
        let entity = member.entity.name();
        self.learner.usefulness().filled(entity, written.bytes, resource.elapsed);
        if written.is_marked || self.random.unit() < work.config.sampling.share {
            self.samples.offer(Sample {
                key: member.key.clone(),
                entity: entity.clone(),
                subject: work.login.name,
                item: Item::of(member),
                bytes: written.bytes,
                written: Instant::now(),
                ttl: written.ttl,
                is_marked: written.is_marked,
            });
        }
    }
}
