//! Loading again what an invalidation has removed, for the modes REFRESH and SOFT: a normal fill of each member, under a
//! budget, with the source's own credential. Where a source wants a user's session there is none here, and the key stays
//! removed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::domain::entity::{Credential, Member, Scope};
use crate::domain::key::Key;
use crate::domain::store::ClaimMode;
use crate::domain::trace::TraceContext;
use crate::fill::Job;
use crate::fill::settings::Settings;
use crate::invalidate::request::Mode;
use crate::invalidate::tally::Tally;
use crate::invalidate::tools::Tools;

/// Keys that may wait; what is over it is loaded when somebody asks for it.
pub const WAITING: usize = 4_096;
/// One fill's time, its place in the line not counted.
const LONGEST: Duration = Duration::from_secs(10);

/// A key that was removed from the cache by a target of the mode REFRESH or SOFT.
pub struct Refill {
    pub target: usize,
    pub key: Key,
}

/// Cloning shares the budget.
#[derive(Clone)]
pub struct Refiller {
    tools: Tools,
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Refiller {
    pub fn new(tools: Tools) -> Self {
        let (turns, places) = (Semaphore::new(tools.config.refreshes), Semaphore::new(WAITING));
        Self { tools, turns: Arc::new(turns), places: Arc::new(places) }
    }

    /// Queues what can be loaded again, and answers at once.
    pub fn queue(&self, refills: Vec<Refill>, mode: Mode, trace: TraceContext, tally: &Tally) {
        let settings = self.tools.means.live.get();
        let mut queued = Vec::new();
        for Refill { target, key } in refills {
            if member(&settings, &key).is_none() {
                continue;
            }
            let Ok(place) = self.places.clone().try_acquire_owned() else { break };
            tally.count(target, |counts| counts.refreshing += 1);
            queued.push((key, place));
        }
        if queued.is_empty() {
            return;
        }
        let this = self.clone();
        let fills = async move {
            let fill = async |(key, place)| {
                this.fill(&key, mode, trace).await;
                drop(place);
            };
            stream::iter(queued).map(fill).buffer_unordered(this.tools.config.refreshes).collect::<()>().await;
        };
        // One that has begun is finished, so that a stop leaves no claim behind.
        drop(self.tools.means.tasks.finish(fills));
    }

    async fn fill(&self, key: &Key, mode: Mode, trace: TraceContext) {
        let Ok(_turn) = self.turns.acquire().await else { return };
        if self.tools.means.tasks.stopping().is_cancelled() {
            return;
        }
        // Those in force now: what was queued before a reload must not write what the reload forbids.
        let settings = self.tools.means.live.get();
        let Some(member) = member(&settings, key) else { return };
        let mode = match mode {
            Mode::Soft => ClaimMode::Refresh,
            Mode::Remove | Mode::Refresh | Mode::Replace => {
                ClaimMode::Miss { renew_below: member.entity.renew_below() }
            }
        };
        let now = Instant::now();
        let trace = trace.child(&self.tools.means.random);
        let (session, owner, untouched_for, deadline) = (None, None, None, now + LONGEST);
        let job = Job {
            settings,
            member,
            owner,
            session,
            mode,
            untouched_for,
            stagger_percent: 0,
            trace,
            accepted: now,
            deadline,
        };
        let resource = self.tools.hands.filler.fill(job).await;
        self.tools.means.metrics.refilled(resource.outcome);
    }
}

/// The member whose own key this is, if it can be loaded without a session, and found by a logout that reads no tag: whose
/// it is (of which tenant) nobody says here, so that it might be registered under somebody else's.
fn member(settings: &Settings, key: &Key) -> Option<Member> {
    let found =
        settings.catalog.find(std::str::from_utf8(key.as_bytes()).ok()?).filter(|found| found.alias.is_none())?;
    let load = found.entity.load().filter(|load| load.credential == Credential::Service)?;
    settings.sources.get(&load.source)?;
    if found.entity.scope() == Scope::Subject && !found.entity.is_found_without_tags() {
        return None;
    }
    settings.catalog.member(found.entity.name().as_str(), found.params.clone()).ok()
}
