//! Carrying out what other sidecars left behind: one died, or has no way to a node that others can reach.
//!
//! Each part of the journal is looked after by one sidecar at a time. It has a lease for that, as a matter of economy and
//! nothing else: repeating an intent is harmless, so that two may do it for a moment. Whoever does not get the lease asks
//! again after what is left of it, and the less often the longer somebody has it: a fleet must not cost Redis more than
//! the one who works.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use crate::domain::backoff::Backoff;
use crate::domain::journal::{Due, Hold, JobId, Standing};
use crate::domain::random::Nonce;
use crate::domain::trace::TraceContext;
use crate::invalidate::intent::{Intent, IntentError};
use crate::invalidate::note::Noted;
use crate::invalidate::record::Record;
use crate::invalidate::work::{Work, Worker};

/// A lease's life: a part whose keeper died is looked after again within about that time.
const HOLD: Duration = Duration::from_secs(15);
/// Between looks at a part that is held.
const LOOK: Duration = Duration::from_secs(1);
/// What is younger is its own sidecar's business.
const DUE: Duration = Duration::from_secs(2);
/// The same where keys are weeded for two seconds after they are gone.
const DUE_WITH_WEEDS: Duration = Duration::from_secs(5);
/// Intents of one look.
const AT_A_LOOK: u16 = 128;
/// Intents tried for the first time at once, over all parts. Who is tried again has a place among what goes on here.
const AT_ONCE: usize = 64;
/// Between questions for a lease that somebody else keeps.
const ASK: Backoff = match Backoff::new(Duration::from_secs(2), Duration::from_secs(60)) {
    Ok(backoff) => backoff,
    Err(_) => panic!("the first wait is the shorter one"),
};

/// Looks after every part that it gets hold of, for ever.
pub async fn keep(worker: Worker) {
    let keeper = Keeper { holder: worker.tools.means.random.nonce(), worker, turns: Semaphore::new(AT_ONCE).into() };
    join_all((0..keeper.worker.tools.hands.journal.parts()).map(|part| keeper.keep_part(part))).await;
}

struct Keeper {
    worker: Worker,
    holder: Nonce,
    turns: std::sync::Arc<Semaphore>,
}

impl Keeper {
    async fn keep_part(&self, part: u8) {
        let journal = &self.worker.tools.hands.journal;
        let random = &self.worker.tools.means.random;
        let mut asked = 0;
        loop {
            let since = Instant::now();
            let wait = match journal.hold(part, self.holder, HOLD).await {
                Ok(Hold::Held) => {
                    self.look_after(part, since).await;
                    asked = 0;
                    Duration::ZERO
                }
                Ok(Hold::Taken { left }) => left,
                Err(error) => {
                    tracing::trace!(%error, part, "the journal cannot be looked after");
                    Duration::ZERO
                }
            };
            sleep(wait + ASK.wait(asked).mul_f64(random.unit())).await;
            asked += 1;
        }
    }

    /// Until the lease is lost, or may have been.
    async fn look_after(&self, part: u8, mut since: Instant) {
        let journal = &self.worker.tools.hands.journal;
        // Page by page and round again, so that those that cannot be done, or read, do not keep others from being found.
        let mut after: Option<JobId> = None;
        while since.elapsed() < HOLD {
            match journal.due(part, after.as_ref(), DUE, AT_A_LOOK).await {
                Ok(due) => {
                    if after.is_none() {
                        let oldest = due.first().map(|due| due.age).unwrap_or_default();
                        self.worker.tools.means.metrics.journal_oldest(part, oldest);
                    }
                    let is_full = due.len() >= usize::from(AT_A_LOOK);
                    after = due.last().filter(|_| is_full).map(|due| due.id.clone());
                    for due in due {
                        self.consider(due).await;
                    }
                }
                Err(error) => tracing::debug!(%error, part, "a part of the journal could not be read"),
            }
            if part == 0 {
                self.tell_backlog().await;
            }
            sleep(LOOK.mul_f64(0.75 + self.worker.tools.means.random.unit() / 2.0)).await;
            if since.elapsed() > HOLD / 3 {
                let asked = Instant::now();
                match journal.hold(part, self.holder, HOLD).await {
                    Ok(Hold::Held) => since = asked,
                    Ok(Hold::Taken { .. }) => break,
                    // It holds for as long as it was given.
                    Err(_) => {}
                }
            }
        }
        self.worker.tools.means.metrics.journal_oldest(part, Duration::ZERO);
    }

    async fn consider(&self, due: Due) {
        let Due { id, intent, age } = due;
        if let Some(seen) = self.worker.board.see(&id) {
            let has_ended = seen.noted.borrow().state.is_final();
            if has_ended {
                // It was not taken off, or its taking off was lost with a primary.
                self.worker.books.finish(&Record::Fleet(id), None).await;
            }
            return;
        }
        let intent = match Intent::from_bytes(&intent) {
            Ok(intent) => intent,
            // A newer version's is for a newer sidecar; what nobody can read stays for people to see, in the backlog.
            Err(error @ (IntentError::OtherFormat | IntentError::Broken(_))) => {
                return tracing::debug!(%error, job = %id, "an intent that is left alone");
            }
        };
        if intent.has_weeds() && age < DUE_WITH_WEEDS {
            return;
        }
        let noted = match self.worker.tools.hands.journal.standing(&id).await {
            Ok(Standing { intent: Some(_), note }) => note.and_then(|note| Noted::from_bytes(&note)),
            Ok(Standing { intent: None, note: _ }) => return,
            Err(error) => return tracing::debug!(%error, "how a job stands could not be asked"),
        };
        // A sweep runs for long, and is not begun beside the one who is at it.
        let now = self.worker.tools.means.clock.wall();
        if intent.sweep.is_some() && noted.as_ref().is_some_and(|noted| noted.is_alive(now)) {
            return;
        }
        let Ok(turn) = self.turns.clone().try_acquire_owned() else { return };
        let trace = TraceContext::parse(&format!("00-{}-0000000000000001-00", intent.trace))
            .unwrap_or_else(|| TraceContext::start(&self.worker.tools.means.random));
        tracing::info!(job = %id, age = age.as_secs(), "taking over an invalidation");
        self.worker.tools.means.metrics.intent_taken_over();
        let tried = noted.as_ref().map_or(0, |noted| noted.attempts);
        let resume = noted.and_then(|noted| noted.swept).map(|swept| swept.progress);
        let work = Work { tried, resume, ..Work::new(intent, trace) };
        let worker = self.worker.clone();
        self.worker.tools.means.tasks.until_stop(async move { worker.take_over(work, id, turn).await });
    }

    async fn tell_backlog(&self) {
        let lengths = self.worker.tools.hands.journal.backlog().await;
        // A part that cannot be asked is not counted, rather than all of it unknown.
        self.worker.tools.means.metrics.journal_holds(lengths.into_iter().filter_map(Result::ok).sum());
    }
}
