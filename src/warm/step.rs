//! The steps of one run, one after the other: what each does, what is told of it, and what is noted when it is done.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout_at};

use crate::domain::entity::Name;
use crate::domain::listing::Cursor;
use crate::warm::checkpoint::Checkpoint;
use crate::warm::course::{Course, Outcome, Shared, wait};
use crate::warm::fill::{Crew, Filling};
use crate::warm::plan::{Step, What};
use crate::warm::request::{Counts, Ended, Happened, Progress, StepEnd};
use crate::warm::wide;

/// Progress is told at most this often, and at least that often.
const TOLD: Duration = Duration::from_secs(1);
const TOLD_AGAIN: u32 = 10;

impl Course<'_> {
    /// Every step, from where an earlier run was cut off.
    pub async fn carry_out(&mut self, left: Option<Checkpoint>) {
        let (first, mut cursor) = left.map_or((0, None), |left| (left.at(), left.cursor()));
        let plan = self.plan;
        // A run that is cut off before its first page is done has to be seen as well.
        self.note(Checkpoint::of(plan, first, cursor.as_ref())).await;
        for (at, step) in plan.steps.iter().enumerate().skip(first) {
            let end = self.step(at, step, cursor.take()).await;
            self.ends.push(end);
            if self.warm.tools.tasks.stopping().is_cancelled() {
                // Whoever comes next goes on from the last note.
                return;
            }
            self.note(match at + 1 == plan.steps.len() {
                true => Checkpoint::finished(plan),
                false => Checkpoint::of(plan, at + 1, None),
            })
            .await;
        }
    }

    async fn step(&self, at: usize, step: &Step, cursor: Option<Cursor>) -> StepEnd {
        let started = Instant::now();
        let tally = Shared::new();
        self.begin(at, step);
        let working = async {
            match &step.what {
                What::Connect { sources } => self.connect(step, sources).await,
                What::Fill { entity } => self.fill((at, step, entity), tally.clone(), cursor).await,
            }
        };
        let telling = self.tell_progress(step, &tally);
        let Outcome { ended, attempts, message } = tokio::select! {
            biased;
            outcome = working => outcome,
            () = telling => unreachable!("it tells until it is dropped"),
        };
        let counts = tally.lock().counts();
        let elapsed = started.elapsed();
        let end = StepEnd { step: step.name.clone(), ended, attempts, counts, elapsed, message };
        if ended == Ended::Success {
            tracing::info!(step = %step.name, attempts, ?elapsed, warmed = counts.warmed, fresh = counts.fresh, "a step ends well");
        } else {
            tracing::warn!(step = %step.name, ended = ended.as_str(), attempts, ?elapsed, warmed = counts.warmed, failed = counts.failed, why = end.message, "a step ends");
        }
        self.warm.tools.metrics.keys_done(&self.plan.name, &counts);
        self.sink.tell(&self.plan.name, Happened::StepFinished(end.clone()));
        end
    }

    /// What a listing names, by this sidecar alone or by all of them.
    async fn fill(&self, place: (usize, &Step, &Name), tally: Shared, cursor: Option<Cursor>) -> Outcome {
        let (at, step, entity) = place;
        let crew = Crew { warm: self.warm, plan: self.plan, trace: self.trace, tenure: Some(self.tenure) };
        let mut filling = Filling::new(crew, step.budget, tally);
        let listing = self.plans.listing(&self.plan.name, &step.name);
        let (Some(entity), Some(listing)) = (filling.declared(entity.as_str()), listing) else {
            let message = "what it fills is not declared any more".to_owned();
            return Outcome { ended: Ended::Failed, attempts: 1, message };
        };
        let filled = match &self.warm.tools.shards {
            Some(shards) if self.plan.rules.is_shared => {
                wide::spread(&mut filling, self, &**shards, place, &*listing, cursor).await
            }
            _ => filling.pages(self, at, &entity, &*listing, cursor).await,
        };
        filling.conclude(filled.err().as_ref())
    }

    fn begin(&self, at: usize, step: &Step) {
        let now = self.warm.tools.clock.wall();
        if let Some(place) = self.place {
            place.note(|job| (job.step, job.updated) = (Some(step.name.clone()), now));
        }
        // How many there are is known when the first page has come; the progress says it then.
        let happened = Happened::StepStarted { step: step.name.clone(), index: at + 1, total: 0 };
        self.sink.tell(&self.plan.name, happened);
    }

    /// As long as the step lasts: once a second while something changes, else every ten.
    async fn tell_progress(&self, step: &Step, tally: &Shared) {
        let (mut last, mut silent) = (Counts::default(), 0);
        loop {
            sleep(TOLD).await;
            let (counts, rate) = {
                let tally = tally.lock();
                (tally.counts(), tally.rate(Instant::now()))
            };
            silent += 1;
            if counts == last && silent < TOLD_AGAIN {
                continue;
            }
            (last, silent) = (counts, 0);
            let now = self.warm.tools.clock.wall();
            if let Some(place) = self.place {
                let mut all = counts;
                self.ends.iter().for_each(|end| all.add(&end.counts));
                place.note(|job| (job.counts, job.rate, job.updated) = (all, rate, now));
            }
            let workers = tally.lock().workers();
            let progress = Progress { step: step.name.clone(), counts, rate, workers };
            self.sink.tell(&self.plan.name, Happened::Progress(progress));
        }
    }

    /// Makes all sources ready, each by itself.
    async fn connect(&self, step: &Step, sources: &[Name]) -> Outcome {
        let until = Instant::now() + step.budget;
        let connected = join_all(sources.iter().map(|source| self.connect_one(source, until))).await;
        let attempts = connected.iter().map(|(attempts, _)| *attempts).max().unwrap_or(1);
        let failed: Vec<String> = sources
            .iter()
            .zip(&connected)
            .filter_map(|(source, (_, result))| Some(format!("{source}: {}", result.as_ref().err()?)))
            .collect();
        let ended = match failed.len() {
            0 => Ended::Success,
            some if some < sources.len() => Ended::Partial,
            _ => Ended::Failed,
        };
        Outcome { ended, attempts, message: failed.join("; ") }
    }

    async fn connect_one(&self, source: &Name, until: Instant) -> (u32, Result<(), String>) {
        let mut attempts = 0;
        loop {
            attempts += 1;
            self.tenure.pass(self.plan.rules.timeout).await;
            let Some(source) = self.warm.tools.live.get().sources.get(source).cloned() else {
                return (attempts, Err("there is no such source any more".to_owned()));
            };
            let deadline = until.min(Instant::now() + self.plan.rules.timeout);
            let error = match timeout_at(deadline, source.connect(deadline)).await {
                Ok(Ok(())) => return (attempts, Ok(())),
                Ok(Err(error)) => error.to_string(),
                Err(_elapsed) => "no answer in time".to_owned(),
            };
            if attempts > self.plan.rules.retries || Instant::now() >= until {
                return (attempts, Err(error));
            }
            sleep(wait(attempts, &self.warm.tools.random)).await;
        }
    }
}
