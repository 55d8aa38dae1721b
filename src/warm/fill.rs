//! A step that fills: page after page of a listing, each page's members at the pace that their source allows, and what
//! failed once more after a while.
//!
//! The listing gives parameters, never values: each member is claimed and then fetched, like every fill. A page is noted
//! when all of it is done. What failed is kept and tried again together; where most of a page fails, that comes before
//! the next page, since more of the same would fail too.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::Instrument;

use crate::domain::entity::{Entity, Member};
use crate::domain::listing::{Cursor, Listing, Page, PageAsk, Parameters};
use crate::domain::outcome::{Outcome as Filled, Resource};
use crate::domain::pace::{Answer, Pace};
use crate::domain::store::{ClaimMode, StoreError};
use crate::domain::trace::TraceContext;
use crate::fill::Job;
use crate::fill::settings::Settings;
use crate::warm::Inner;
use crate::warm::checkpoint::Checkpoint;
use crate::warm::course::{Course, Outcome, Shared, wait};
use crate::warm::plan::Plan;
use crate::warm::tally::Verdict;
use crate::warm::tenure::Tenure;

/// Members of one page: what may be looked at again after a run was cut off.
const PAGE: usize = 256;
/// A page holds hundreds of rows, so it may take so many times as long as one fill.
const PAGE_TIME: u32 = 5;

/// By whose leave, and by which rules, members are filled.
#[derive(Clone, Copy)]
pub(super) struct Crew<'a> {
    pub warm: &'a Inner,
    pub plan: &'a Plan,
    pub trace: TraceContext,
    /// None for a shard: whoever holds the lease has handed it out, and it is the one batch.
    pub tenure: Option<&'a Tenure>,
}

pub(super) struct Filling<'a> {
    crew: Crew<'a>,
    pub tally: Shared,
    settings: Arc<Settings>,
    pace: Pace,
    /// Nothing is begun before this.
    paused_until: Instant,
    /// Nothing is begun after this.
    until: Instant,
    /// What failed and is tried again.
    again: Vec<Member>,
    attempts: u32,
    /// Why something failed, as it was said first.
    why: Option<String>,
    /// Members that are filled with one call of their source.
    together: usize,
}

/// Why a step ends before its listing does.
pub(super) enum Stop {
    Listing(String),
    Store(StoreError),
    OutOfTime,
    Stopping,
}

impl<'a> Filling<'a> {
    pub fn new(crew: Crew<'a>, budget: Duration, tally: Shared) -> Self {
        let now = Instant::now();
        Self {
            crew,
            tally,
            settings: crew.warm.tools.live.get(),
            pace: Pace::new(crew.plan.rules.parallel),
            paused_until: now,
            until: now + budget,
            again: Vec::new(),
            attempts: 1,
            why: None,
            together: 1,
        }
    }

    /// One page by itself.
    pub async fn page_alone(&mut self, entity: &str, named: Vec<Parameters>) {
        let Some(entity) = self.declared(entity) else {
            self.tally.lock().failed(named.len() as u64, Instant::now());
            return;
        };
        let members = self.members(&entity, named);
        // Why it ends early stands in the counts.
        if self.fill(members).await.is_ok() {
            let _ = self.try_again().await;
        }
        let lost = std::mem::take(&mut self.again);
        self.tally.lock().failed(lost.len() as u64, Instant::now());
    }

    /// What it has come to, and why it ended before its listing did if it has.
    pub fn conclude(self, stopped: Option<&Stop>) -> Outcome {
        let lost = self.again.len() as u64;
        let mut tally = self.tally.lock();
        tally.failed(lost, Instant::now());
        let message = match (stopped, self.why) {
            (Some(Stop::Listing(why)), _) => format!("the listing: {why}"),
            (Some(Stop::Store(why)), _) => format!("the store: {why}"),
            (Some(Stop::OutOfTime), _) => "its time was over before it was done".to_owned(),
            (Some(Stop::Stopping), _) => "this sidecar is ending".to_owned(),
            (None, Some(why)) if tally.counts().failed > 0 => why,
            (None, None) if tally.counts().failed > 0 => "some could not be filled; their sidecars know why".to_owned(),
            (None, _) => String::new(),
        };
        Outcome { ended: tally.ended(stopped.is_none()), attempts: self.attempts, message }
    }

    pub fn declared(&mut self, entity: &str) -> Option<Arc<Entity>> {
        let entity = self.settings.catalog.entity(entity).cloned()?;
        self.together = entity.load().and_then(|load| load.bulk.as_ref()).map_or(1, |bulk| bulk.most.clamp(1, PAGE));
        Some(entity)
    }

    /// A whole step, page after page.
    pub async fn pages(
        &mut self,
        course: &Course<'_>,
        at: usize,
        entity: &Arc<Entity>,
        listing: &dyn Listing,
        after: Option<Cursor>,
    ) -> Result<(), Stop> {
        let mut after = after;
        loop {
            let page = self.page(listing, after.as_ref()).await?;
            let members = self.members(entity, page.members);
            let count = members.len();
            let before = self.again.len();
            self.fill(members).await?;
            let failed = self.again.len() - before;
            if self.again.len() >= PAGE || (failed > 0 && failed * 2 > count) {
                self.try_again().await?;
            }
            let Some(next) = page.next else { break };
            if after.as_ref() == Some(&next) {
                return Err(Stop::Listing("it does not move on".to_owned()));
            }
            course.note(Checkpoint::of(course.plan, at, Some(&next))).await;
            after = Some(next);
        }
        self.try_again().await
    }

    /// The next page, after as many tries as the plan allows.
    pub async fn page(&mut self, listing: &dyn Listing, after: Option<&Cursor>) -> Result<Page, Stop> {
        let (rules, mut attempt) = (&self.crew.plan.rules, 1);
        loop {
            self.pass().await;
            self.check()?;
            let deadline = self.until.min(Instant::now() + rules.timeout * PAGE_TIME);
            let trace = self.crew.trace.child(&self.crew.warm.tools.random);
            let ask = PageAsk { after, limit: PAGE, trace, deadline };
            let error = match timeout_at(deadline, listing.page(ask)).await {
                Ok(Ok(page)) => {
                    let mut tally = self.tally.lock();
                    match page.total {
                        Some(total) if after.is_none() => tally.expect(total),
                        Some(_) => {}
                        None => tally.expect_more(page.members.len() as u64),
                    }
                    return Ok(page);
                }
                Ok(Err(error)) => error.to_string(),
                Err(_elapsed) => "no answer in time".to_owned(),
            };
            if attempt > rules.retries {
                return Err(Stop::Listing(error));
            }
            sleep(wait(attempt, &self.crew.warm.tools.random)).await;
            attempt += 1;
            self.attempts = self.attempts.max(attempt);
        }
    }

    /// The members that a page names. What cannot be a member counts as failed.
    fn members(&mut self, entity: &Entity, named: Vec<Parameters>) -> Vec<Member> {
        let mut members = Vec::with_capacity(named.len());
        for parameters in named {
            // A query may give more columns than the key needs.
            let own = parameters.into_iter().filter(|(name, _)| entity.key().params().any(|param| param == name));
            match self.settings.catalog.member(entity.name().as_str(), own.collect()) {
                Ok(member) => members.push(member),
                Err(error) => {
                    self.tally.lock().failed(1, Instant::now());
                    self.why.get_or_insert_with(|| error.to_string());
                }
            }
        }
        members
    }

    /// What has failed so far, once more, and again while the plan allows. What is left then has failed for good.
    async fn try_again(&mut self) -> Result<(), Stop> {
        for attempt in 1..=self.crew.plan.rules.retries {
            if self.again.is_empty() {
                return Ok(());
            }
            sleep(wait(attempt, &self.crew.warm.tools.random)).await;
            self.attempts = self.attempts.max(attempt + 1);
            let members = std::mem::take(&mut self.again);
            self.fill(members).await?;
        }
        let lost = std::mem::take(&mut self.again);
        self.tally.lock().failed(lost.len() as u64, Instant::now());
        Ok(())
    }

    /// Fills these, so many at once as the pace allows. Those that failed and may work another time are kept for it.
    async fn fill(&mut self, members: Vec<Member>) -> Result<(), Stop> {
        let mut waiting = members.into_iter();
        let mut under_way = FuturesUnordered::new();
        let mut stopped = None;
        loop {
            while stopped.is_none() && under_way.len() < self.pace.limit() && waiting.len() > 0 {
                sleep_until(self.paused_until).await;
                self.pass().await;
                match self.check() {
                    Ok(()) => under_way.push(self.begin(waiting.by_ref().take(self.together).collect())),
                    Err(stop) => stopped = Some(stop),
                }
            }
            match under_way.next().await {
                Some((members, resources)) => self.settle_all(members, resources),
                None => break,
            }
        }
        self.again.extend(waiting);
        stopped.map_or(Ok(()), Err)
    }

    /// Fills that have begun run to their end, also when the run is cut off: they are the one batch that may overlap.
    fn begin(&self, members: Vec<Member>) -> impl Future<Output = (Vec<Member>, Option<Vec<Resource>>)> + use<> {
        let now = Instant::now();
        let (tools, rules) = (&self.crew.warm.tools, &self.crew.plan.rules);
        let trace = self.crew.trace.child(&tools.random);
        let job = |member: &Member| Job {
            settings: self.settings.clone(),
            member: member.clone(),
            owner: None,
            session: None,
            mode: ClaimMode::Miss { renew_below: member.entity.ttl().renew_below() },
            untouched_for: None,
            stagger_percent: rules.stagger_percent,
            trace,
            accepted: now,
            deadline: self.until.min(now + rules.timeout),
        };
        let jobs: Vec<Job> = members.iter().map(job).collect();
        let filler = tools.filler.clone();
        let filling = tools.tasks.finish(async move { filler.fill_many(jobs).await }.in_current_span());
        async move { (members, filling.await.ok()) }
    }

    fn settle_all(&mut self, members: Vec<Member>, resources: Option<Vec<Resource>>) {
        let now = Instant::now();
        let Some(resources) = resources else {
            // A defect that ended their task; it would end the next one too.
            self.tally.lock().failed(members.len() as u64, now);
            return;
        };
        if let Some(answer) = answer(&resources) {
            self.paused_until = self.paused_until.max(now + self.pace.learn(answer));
            self.crew.warm.tools.metrics.pace_is(&self.crew.plan.name, self.pace.limit());
        }
        for (member, resource) in members.into_iter().zip(resources) {
            self.settle(member, &resource, now);
        }
    }

    fn settle(&mut self, member: Member, resource: &Resource, now: Instant) {
        let verdict = Verdict::on(resource.outcome);
        if verdict != Verdict::Done {
            let reason = resource.reason.as_str();
            self.because(if reason.is_empty() { resource.outcome.as_str() } else { reason });
        }
        match verdict {
            Verdict::Done => self.tally.lock().filled(resource.outcome, now),
            Verdict::Again => self.again.push(member),
            Verdict::Lost => self.tally.lock().failed(1, now),
        }
    }

    fn because(&mut self, why: &str) {
        self.why.get_or_insert_with(|| why.to_owned());
    }

    async fn pass(&self) {
        if let Some(tenure) = self.crew.tenure {
            tenure.pass(self.crew.plan.rules.timeout).await;
        }
    }

    pub fn check(&self) -> Result<(), Stop> {
        if self.crew.warm.tools.tasks.stopping().is_cancelled() {
            return Err(Stop::Stopping);
        }
        if Instant::now() >= self.until { Err(Stop::OutOfTime) } else { Ok(()) }
    }
}

/// What one call tells of its source; nothing where nobody but the store was asked.
fn answer(resources: &[Resource]) -> Option<Answer> {
    let (mut asked, mut no_room, mut longest) = (0, 0, Duration::ZERO);
    for resource in resources {
        match resource.outcome {
            Filled::Fresh | Filled::Disabled | Filled::InFlight => continue,
            Filled::Filled | Filled::Absent | Filled::Fenced | Filled::Denied | Filled::TooLarge => {}
            Filled::Timeout | Filled::Shed | Filled::Failed => no_room += 1,
        }
        asked += 1;
        longest = longest.max(resource.elapsed);
    }
    match asked {
        0 => None,
        _ if no_room * 2 > asked => Some(Answer::NoRoom),
        _ => Some(Answer::After(longest)),
    }
}
