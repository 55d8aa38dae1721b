//! One invalidation from its record to its end, on a task of its own.
//!
//! First the intent is written down and confirmed, then everything is tried once, and then the caller is told: done, or
//! pending with what was promised, or that nothing could be promised. What is left is tried again until it is done, here
//! or by whoever takes the intent over; after that come the weeding of shared keys and the sweeps.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::domain::backoff::Backoff;
use crate::domain::journal::{JobId, Standing};
use crate::domain::key::Key;
use crate::domain::mutant::{self, Mutant};
use crate::domain::removal::{Replaced, Replacement};
use crate::domain::store::Confirmed;
use crate::domain::trace::TraceContext;
use crate::invalidate::board::{Board, Place};
use crate::invalidate::intent::{Intent, Sweep};
use crate::invalidate::jobs::JobState;
use crate::invalidate::line::{Line, Waiting};
use crate::invalidate::note::Noted;
use crate::invalidate::record::{Books, Promise, Record};
use crate::invalidate::refill::{Refill, Refiller};
use crate::invalidate::request::{Cause, Mode};
use crate::invalidate::resolve::Given;
use crate::invalidate::shut::Shut;
use crate::invalidate::sweep::Progress;
use crate::invalidate::tally::Tally;
use crate::invalidate::todo::Todo;
use crate::invalidate::tools::Tools;
use crate::invalidate::{Report, fleet, sweep, weed};

/// Between tries of what could not be done: a failover takes seconds, and a node that is away for longer need not be
/// asked more often than it is looked for anyway.
const TRIES: Backoff = match Backoff::new(Duration::from_millis(100), Duration::from_secs(10)) {
    Ok(backoff) => backoff,
    Err(_) => panic!("the first wait is the shorter one"),
};
/// Invalidations worked on after their answer. Of what finds no place the journal's share is left to whoever looks after
/// it, and the spool's waits there for its turn.
const BACKLOG: usize = 4_096;
/// A given value is no longer tried so long before its mark would end, that of the slowest try included: the marks of
/// newer invalidations, which it has to be held against, were left after its own call and so outlive this.
const MARGIN: Duration = Duration::from_secs(60);
/// What stands in the spool gives way to those who wait there when it was tried so often: after some ten seconds.
const GIVES_WAY_AFTER: u32 = 7;
/// Sweeps at once. They share what may be taken of a primary, and one that crawls would look as if nobody was at it.
const SWEEPS: usize = 8;
/// Between notes on a sweep.
const NOTES: Duration = Duration::from_secs(1);

/// What is to be done, and how far it is.
pub struct Work {
    pub intent: Intent,
    pub todo: Todo,
    /// Values to write, which the intent does not hold.
    pub givens: Vec<Given>,
    /// Keys of the mode REPLACE that are loaded again instead.
    pub reloaded: BTreeSet<String>,
    pub tally: Tally,
    pub trace: TraceContext,
    /// Since when it is known here.
    pub begun: Instant,
    /// When waiting for the journal leaves too little time for anything else; none where nobody waits for an answer.
    pub patience: Option<Instant>,
    /// How often somebody else has tried it.
    pub tried: u32,
    /// How far somebody else was with its sweep.
    pub resume: Option<Progress>,
}

/// What the caller can be told now. Everything between done and promised is lost, so there is nothing to be told in
/// between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing is certain yet.
    Begun,
    /// It will be finished, whatever happens.
    Recorded(Promise),
    Done,
    Pending(Promise, Cause),
    /// Tried, not finished, and nowhere recorded.
    Lost(Cause),
}

/// Works on invalidations; cloning shares it.
#[derive(Clone)]
pub struct Worker {
    pub tools: Tools,
    pub books: Books,
    pub board: Board,
    pub refiller: Refiller,
    pub report: Report,
    pub line: Line,
    backlog: Arc<Semaphore>,
    sweeps: Arc<Semaphore>,
}

/// A place among those that are worked on after their answer.
pub type Turn = OwnedSemaphorePermit;

/// Work that is left after the first try.
struct Rest {
    work: Work,
    record: Record,
    place: Option<Place>,
    /// Somebody was told of the job.
    is_promised: Arc<AtomicBool>,
    /// Fills are held up until the keys are gone.
    shut: Option<Shut>,
    turn: Option<Turn>,
}

impl Work {
    /// From the intent alone: what its caller gave besides is lost, and the keys are only removed.
    pub fn new(intent: Intent, trace: TraceContext) -> Self {
        let (todo, tally) = (Todo::new(&intent), Tally::new(intent.targets));
        let (givens, reloaded) = (Vec::new(), BTreeSet::new());
        Self {
            intent,
            todo,
            givens,
            reloaded,
            tally,
            trace,
            begun: Instant::now(),
            patience: None,
            tried: 0,
            resume: None,
        }
    }

    async fn attempt(&mut self, tools: &Tools) -> Option<Cause> {
        match self.todo.attempt(tools, &self.tally).await {
            None => self.replace(tools).await,
            Some(cause) => Some(cause),
        }
    }

    /// Writes what was given, when every older copy is gone.
    async fn replace(&mut self, tools: &Tools) -> Option<Cause> {
        let mut cause = None;
        for given in std::mem::take(&mut self.givens) {
            if self.begun.elapsed() + MARGIN >= given.life {
                tracing::info!("a given value is not written any more: what came after it may be forgotten by now");
                continue;
            }
            let Given { target, key, value, ttl, version, life } = &given;
            let mark = self.intent.nonce();
            let ask = Replacement { key, value: value.clone(), ttl: *ttl, version: *version, mark, life: *life };
            let (confirmation, is_written) = match tools.hands.removal.replace(ask).await {
                Ok(Replaced::Written(confirmation)) => (confirmation, true),
                Ok(Replaced::Superseded(confirmation)) => (confirmation, false),
                Err(error) => {
                    tracing::debug!(%error, "a given value could not be written");
                    cause = Some(Cause::NodeUnavailable);
                    self.givens.push(given);
                    continue;
                }
            };
            if confirmation.await == Confirmed::Short {
                cause = cause.or(Some(Cause::ReplicasLate));
                self.givens.push(given);
                continue;
            }
            self.tally.count(*target, |counts| {
                counts.replaced += u64::from(is_written);
                counts.superseded += u64::from(!is_written);
            });
        }
        cause
    }
}

impl Worker {
    pub fn new(tools: Tools, books: Books) -> Self {
        let refiller = Refiller::new(tools.clone());
        let report: Report = Arc::new(|_cleared| {});
        let [backlog, sweeps] = [BACKLOG, SWEEPS].map(|most| Arc::new(Semaphore::new(most)));
        Self { tools, books, board: Board::default(), refiller, report, line: Line::new(), backlog, sweeps }
    }

    /// A call's invalidation, to its end. The stages tell what can be answered.
    pub async fn carry(
        &self,
        mut work: Work,
        intent: Bytes,
        stage: watch::Sender<Stage>,
        promised: Arc<AtomicBool>,
        turn: impl Send,
    ) {
        let nonce = work.intent.nonce();
        // M10 writes the intent when there is nothing left to repeat.
        let early = if mutant::on(Mutant::M10JournalLate) { work.attempt(&self.tools).await } else { None };
        let first = self.books.record(nonce, &intent, work.patience).await;
        let place = self.post(&first, &work);
        if let Some(promise) = first.promise() {
            stage.send_replace(Stage::Recorded(promise));
        }
        let (left, record) = match mutant::on(Mutant::M10JournalLate) {
            true => (early, first),
            false => join(work.attempt(&self.tools), self.books.record_again(first.clone(), &intent)).await,
        };
        let place = place.or_else(|| self.post(&record, &work));
        let cause = left.or_else(|| work.intent.sweep.is_some().then_some(Cause::Sweep));
        stage.send_replace(match (cause, record.promise()) {
            // What apps may bring back is owed, and nobody would know of it if this process ended.
            (None, None) if work.todo.has_weeds() => Stage::Lost(Cause::NodeUnavailable),
            (None, _) => Stage::Done,
            (Some(cause), Some(promise)) => Stage::Pending(promise, cause),
            (Some(cause), None) => Stage::Lost(cause),
        });
        drop(turn);
        let rest = Rest { work, record, place, is_promised: promised, shut: None, turn: None };
        self.see_through(rest, left).await;
    }

    /// An intent that somebody else recorded. The turn is for its first try.
    pub async fn take_over(&self, work: Work, id: JobId, turn: impl Send) {
        let record = Record::Fleet(id);
        let Some(place) = self.post(&record, &work) else { return };
        let is_promised = Arc::new(AtomicBool::new(true));
        let mut rest = Rest { work, record, place: Some(place), is_promised, shut: None, turn: None };
        let left = rest.work.attempt(&self.tools).await;
        drop(turn);
        self.see_through(rest, left).await;
    }

    /// An intent of this pod's spool whose turn has come.
    pub async fn take_up_own(&self, work: Work, Waiting { id, also, shut }: Waiting, turn: Turn) {
        let record = Record::Pod { id, also };
        let place = self.post(&record, &work);
        let is_promised = Arc::new(AtomicBool::new(true));
        let mut rest = Rest { work, record, place, is_promised, shut: Some(shut), turn: Some(turn) };
        let left = rest.work.attempt(&self.tools).await;
        self.see_through(rest, left).await;
    }

    /// None when the process ends.
    pub async fn turn(&self) -> Option<Turn> {
        self.backlog.clone().acquire_owned().await.ok()
    }

    /// What nobody asked for: keys that an upheaval may have brought back.
    pub async fn repeat(&self, todo: Todo) {
        let nonce = self.tools.means.random.nonce();
        let intent = Intent::new(Mode::Remove, nonce, String::new(), String::new(), self.tools.means.clock.unix());
        let trace = TraceContext::start(&self.tools.means.random);
        let work = Work { todo, ..Work::new(intent, trace) };
        let is_promised = Arc::new(AtomicBool::new(false));
        let record = Record::Memory { also: None };
        let mut rest = Rest { work, record, place: None, is_promised, shut: None, turn: None };
        let left = rest.work.attempt(&self.tools).await;
        self.see_through(rest, left).await;
    }

    fn post(&self, record: &Record, work: &Work) -> Option<Place> {
        let Promise { job, durability } = record.promise()?;
        let mut noted = Noted::queued(&work.intent);
        noted.state = JobState::Running;
        noted.holder = self.tools.config.pod.clone();
        noted.attempts = work.tried + 1;
        noted.updated = self.tools.means.clock.wall();
        self.board.post(job, durability, noted)
    }

    /// Whatever is left after the first try, to the end of all of it.
    async fn see_through(&self, mut rest: Rest, left: Option<Cause>) {
        let has_more = left.is_some() || rest.work.intent.sweep.is_some() || rest.work.todo.has_weeds();
        if has_more {
            rest.turn = rest.turn.take().or_else(|| self.backlog.clone().try_acquire_owned().ok());
            if rest.turn.is_none() {
                return self.put_off(rest);
            }
            let _counted = self.tools.means.metrics.work_goes_on();
            match self.go_on(&mut rest, left).await {
                Ended::Done | Ended::Elsewhere => {}
                // What is recorded is found by others, or by this pod when it is back.
                Ended::Stopped => return,
                Ended::GaveWay => return self.put_off(rest),
            }
        } else {
            self.refill(&mut rest);
        }
        self.finish(rest).await;
    }

    async fn go_on(&self, rest: &mut Rest, left: Option<Cause>) -> Ended {
        let is_pods_own = match rest.record {
            Record::Fleet(_) => false,
            Record::Pod { .. } | Record::Memory { .. } => true,
        };
        // What only its replicas have not confirmed is gone, and a fill writes what is new.
        let stands = left.is_some_and(|cause| cause != Cause::ReplicasLate);
        if is_pods_own && stands && rest.shut.is_none() {
            rest.shut = Some(Shut::of(&self.tools, &rest.work.intent));
        }
        match self.until_gone(rest, left).await {
            Ended::Done => rest.shut = None,
            ended @ (Ended::Elsewhere | Ended::Stopped | Ended::GaveWay) => return ended,
        }
        self.refill(rest);
        let weeding = weed::weed(&self.tools, rest.work.todo.weeds(), rest.work.intent.nonce());
        let stopping = self.tools.means.tasks.stopping();
        tokio::select! {
            biased;
            () = stopping.cancelled() => Ended::Stopped,
            ((), ended) = join(weeding, self.sweep(rest)) => ended,
        }
    }

    /// Tries again what is left, until nothing is.
    async fn until_gone(&self, rest: &mut Rest, mut left: Option<Cause>) -> Ended {
        let stopping = self.tools.means.tasks.stopping();
        let mut tries = 0;
        while let Some(cause) = left {
            let wait = TRIES.jittered(tries, self.tools.means.random.unit());
            self.note(rest, |noted, now| {
                noted.state = JobState::Waiting;
                noted.cause = cause;
                noted.next_attempt = Some(now + wait);
            })
            .await;
            tokio::select! {
                biased;
                () = stopping.cancelled() => return Ended::Stopped,
                () = sleep(wait) => {}
            }
            if self.is_finished_elsewhere(&rest.record).await {
                return Ended::Elsewhere;
            }
            if tries >= GIVES_WAY_AFTER && matches!(rest.record, Record::Pod { .. }) && !self.line.is_empty() {
                return Ended::GaveWay;
            }
            tries += 1;
            left = rest.work.attempt(&self.tools).await;
            let counts = rest.work.tally.total();
            self.note(rest, |noted, _| {
                noted.state = JobState::Running;
                noted.next_attempt = None;
                noted.attempts += 1;
                noted.counts = counts;
            })
            .await;
        }
        Ended::Done
    }

    /// Whoever looks after the journal may have been quicker, and leaves word. That the intent is gone says nothing: a
    /// server that was emptied, or restarted from its disk, has lost it undone.
    async fn is_finished_elsewhere(&self, record: &Record) -> bool {
        let Record::Fleet(id) = record else { return false };
        let Ok(Standing { intent: None, note: Some(note) }) = self.tools.hands.journal.standing(id).await else {
            return false;
        };
        Noted::from_bytes(&note).is_some_and(|noted| noted.state.is_final())
    }

    /// Carries its sweep to the end, however often that has to be begun again.
    async fn sweep(&self, rest: &Rest) -> Ended {
        let Some(Sweep { target, spec }) = &rest.work.intent.sweep else { return Ended::Done };
        let (refiller, tally) = (self.refiller.clone(), rest.work.tally.clone());
        let (target, mode, trace) = (*target, spec.mode, rest.work.trace);
        let claim_life = fleet::longest_claim(&self.tools).await;
        let tools = self.tools.for_sweeps(
            claim_life,
            Arc::new(move |keys: Vec<Key>| {
                let refills = keys.into_iter().map(|key| Refill { target, key }).collect();
                refiller.queue(refills, mode, trace, &tally);
            }),
        );
        let reported = watch::Sender::new(rest.work.resume.clone().unwrap_or_default());
        for tries in 0.. {
            let resume = Some(reported.borrow().clone()).filter(|progress| progress.pass > 0);
            let report = |progress| {
                reported.send_replace(progress);
            };
            let _turn = self.turn_to_sweep(rest).await;
            let ended = tokio::select! {
                biased;
                ended = sweep::run(&tools, spec, resume, report) => ended,
                () = self.note_progress(rest, &reported) => return Ended::Done,
            };
            match ended {
                Ok(progress) => {
                    self.note(rest, |noted, _| noted.sweep_stands(&progress)).await;
                    return Ended::Done;
                }
                Err(error) => tracing::debug!(%error, "a sweep was interrupted, and will go on"),
            }
            sleep(TRIES.jittered(tries, self.tools.means.random.unit())).await;
            if self.is_finished_elsewhere(&rest.record).await {
                return Ended::Elsewhere;
            }
        }
        Ended::Done
    }

    /// Waits, and shows meanwhile that somebody is at it.
    async fn turn_to_sweep(&self, rest: &Rest) -> Option<SemaphorePermit<'_>> {
        let mut turn = std::pin::pin!(self.sweeps.acquire());
        loop {
            if let Ok(turn) = timeout(sweep::SIGN_OF_LIFE, turn.as_mut()).await {
                return turn.ok();
            }
            self.note(rest, |_, _| {}).await;
        }
    }

    /// Only what has changed: a sweep that is stuck here must look as if nobody was at it.
    async fn note_progress(&self, rest: &Rest, reported: &watch::Sender<Progress>) {
        let mut progress = reported.subscribe();
        progress.mark_changed();
        while progress.changed().await.is_ok() {
            let now = progress.borrow_and_update().clone();
            self.note(rest, |noted, _| noted.sweep_stands(&now)).await;
            sleep(NOTES).await;
        }
    }

    fn refill(&self, rest: &mut Rest) {
        let Work { intent, todo, reloaded, tally, trace, .. } = &mut rest.work;
        let mut refills = todo.refills();
        match intent.mode {
            Mode::Remove => return,
            Mode::Refresh | Mode::Soft => {}
            Mode::Replace => refills.retain(|refill| reloaded.contains(&refill.key.to_string())),
        }
        self.refiller.queue(refills, intent.mode, *trace, tally);
    }

    async fn note(&self, rest: &Rest, change: impl FnOnce(&mut Noted, std::time::SystemTime)) {
        let Some(place) = &rest.place else { return };
        let now = self.tools.means.clock.wall();
        place.note(|noted| {
            noted.updated = now;
            change(noted, now);
        });
        self.books.note(&rest.record, &place.noted()).await;
    }

    async fn finish(&self, mut rest: Rest) {
        (self.report)(rest.work.todo.cleared());
        let Rest { work, record, place, is_promised, shut: _, turn: _ } = rest;
        let is_promised = is_promised.load(Ordering::SeqCst);
        let now = self.tools.means.clock.wall();
        let Some(place) = place else { return self.books.finish(&record, None).await };
        place.note(|noted| {
            noted.state = JobState::Succeeded;
            noted.counts = work.tally.total();
            noted.updated = now;
            noted.finished = Some(now);
            noted.next_attempt = None;
        });
        let last = place.noted();
        self.books.finish(&record, Some(&last).filter(|_| is_promised)).await;
        if is_promised {
            place.keep();
        }
    }

    /// To another time, or to others. What waits in the spool begins anew from what stands there.
    fn put_off(&self, Rest { work, record, shut, .. }: Rest) {
        match record {
            Record::Fleet(_) => tracing::warn!("too much is left to do here: an invalidation is left to the fleet"),
            Record::Pod { id, also } => {
                let shut = shut.unwrap_or_else(|| Shut::of(&self.tools, &work.intent));
                self.line.join(Waiting { id, also, shut });
            }
            Record::Memory { .. } => {
                self.tools.means.metrics.work_abandoned();
                tracing::error!("an invalidation could be neither finished nor kept, as its caller was told");
            }
        }
    }
}

/// How the work on what was left ended.
enum Ended {
    Done,
    /// Somebody else has done it.
    Elsewhere,
    /// The process is stopping.
    Stopped,
    /// Others wait in the spool who may be luckier.
    GaveWay,
}
