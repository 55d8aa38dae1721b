//! The one place that spawns.
//!
//! Every task has a name, stops when the process stops, and is waited for. A task that must live and ends is a fault of
//! the whole process: `App` hears of it and leaves, rather than going on half alive.

use std::future::Future;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Cloning shares the set.
#[derive(Clone, Debug)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    /// Fires after the stop, when all work has ended.
    end: CancellationToken,
    ended: mpsc::Sender<Ended>,
}

/// A task that should have lived and did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    pub name: &'static str,
    pub panicked: bool,
}

/// Hears of tasks that ended and should not have.
pub type Deaths = mpsc::Receiver<Ended>;

impl Tasks {
    pub fn new() -> (Self, Deaths) {
        // The first death ends the process; a few more may be reported on the way out.
        let (ended, deaths) = mpsc::channel(8);
        let (stop, end) = (CancellationToken::new(), CancellationToken::new());
        (Self { tracker: TaskTracker::new(), stop, end, ended }, deaths)
    }

    /// Fires when the process is to stop.
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Work that runs to its end even when its caller hangs up, and that a stopping process waits for.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn finish<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        tokio::spawn(self.tracker.track_future(work))
    }

    /// A task that lives as long as the process: it is cancelled at the stop, and its end before that is reported.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn live(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let (stop, ended) = (self.stop.clone(), self.ended.clone());
        let watched = async move {
            let outcome = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                outcome = std::panic::AssertUnwindSafe(work).catch_unwind() => outcome,
            };
            // A full queue means that a death was already reported.
            let _ = ended.try_send(Ended { name, panicked: outcome.is_err() });
        };
        tokio::spawn(self.tracker.track_future(watched));
    }

    /// Like `live`, for a task that may end when it is done, such as one connection.
    pub fn until_stop(&self, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let stop = self.stop.clone();
        self.finish(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = work => {}
            }
        })
    }

    /// What the last work still leans on, such as a connection: it goes on through the drain, is not waited for, and is
    /// cancelled when all work has ended.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn until_end(&self, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let end = self.end.clone();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = end.cancelled() => {}
                () = work => {}
            }
        })
    }

    /// Tells every living task to stop and waits for all work, at most this long. Answers whether all of it ended.
    pub async fn drain(&self, longest: Duration) -> bool {
        self.stop.cancel();
        self.tracker.close();
        let ended = tokio::time::timeout(longest, self.tracker.wait()).await.is_ok();
        self.end.cancel();
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_living_task_that_ends_is_reported() {
        let (tasks, mut deaths) = Tasks::new();
        tasks.live("pump", async {});
        assert_eq!(deaths.recv().await, Some(Ended { name: "pump", panicked: false }));
    }

    #[tokio::test(start_paused = true)]
    async fn drain_waits_for_work_and_stops_the_living() {
        let (tasks, mut deaths) = Tasks::new();
        tasks.live("pump", std::future::pending());
        let work = tasks.finish(async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            7
        });
        assert!(tasks.drain(Duration::from_secs(2)).await);
        assert_eq!(work.await.expect("ran to its end"), 7);
        assert!(deaths.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_work_can_lean_on_what_lives_until_the_end() {
        let (tasks, _deaths) = Tasks::new();
        let (ask, mut asked) = mpsc::channel::<tokio::sync::oneshot::Sender<u8>>(1);
        let connection = tasks.until_end(async move {
            while let Some(reply) = asked.recv().await {
                let _ = reply.send(7);
            }
        });
        let work = tasks.finish(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let (reply, answer) = tokio::sync::oneshot::channel();
            ask.send(reply).await.expect("somebody listens");
            answer.await.expect("an answer")
        });
        assert!(tasks.drain(Duration::from_secs(2)).await);
        assert_eq!(work.await.expect("ran to its end"), 7);
        connection.await.expect("ended");
    }

    #[tokio::test(start_paused = true)]
    async fn drain_gives_up_after_its_limit() {
        let (tasks, _deaths) = Tasks::new();
        tasks.finish(std::future::pending::<()>());
        assert!(!tasks.drain(Duration::from_secs(2)).await);
    }
}
