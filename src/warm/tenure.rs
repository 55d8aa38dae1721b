//! A lease while it is held: renewed at a third of its life, and over the moment it could be somebody else's (P5).
//!
//! The end comes by a timer and waits for no error: a runner that hears nothing from Redis does not know, and stops. Who
//! was stopped itself (SIGSTOP, a frozen machine) may wake up after that moment with something other than the timer
//! first in hand; so `pass` looks at the clock once more before anything is begun.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::domain::lease::{Grant, LeaseAsk, Leases, Noted, Progress, Renewed, Validity};
use crate::domain::store::StoreError;

/// A renewal that failed is tried again after this part of the life.
const TRIES: u32 = 12;

pub struct Tenure {
    leases: Arc<dyn Leases>,
    ask: LeaseAsk,
    fence: u64,
    validity: watch::Sender<Validity>,
}

/// The lease is somebody else's, or could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

impl Tenure {
    pub fn new(leases: Arc<dyn Leases>, ask: LeaseAsk, grant: Grant) -> Self {
        Self { leases, ask, fence: grant.fence, validity: watch::Sender::new(grant.validity) }
    }

    /// Works under the lease, to the end of the work or of the lease. Work that is cut off is dropped where it stands.
    pub async fn work<T>(&self, work: impl Future<Output = T>) -> Result<T, Lost> {
        tokio::select! {
            biased;
            () = self.end() => Err(Lost),
            Lost = self.renew() => Err(Lost),
            done = work => Ok(done),
        }
    }

    /// Waits until so much of the lease is left that something may be begun which takes no longer. A lease of which less
    /// is left is being renewed, or about to end.
    pub async fn pass(&self, need: Duration) {
        let mut validity = self.validity.subscribe();
        loop {
            if validity.borrow_and_update().left(Instant::now()) >= need {
                return;
            }
            if validity.changed().await.is_err() {
                // It cannot be: the sender is ours.
                pending::<()>().await;
            }
        }
    }

    /// Notes how far the work has come, if no later lease was granted since.
    pub async fn note(&self, progress: Progress) -> Result<Noted, StoreError> {
        self.leases.note(&self.ask.lock, self.fence, progress).await
    }

    /// Gives the lease back. One that cannot be given back ends by itself.
    pub async fn release(self) {
        if let Err(error) = self.leases.release(&self.ask, self.fence).await {
            tracing::debug!(%error, "the lease could not be given back; it ends by itself");
        }
    }

    /// The moment from which it could be another's, as last put off.
    async fn end(&self) {
        let validity = self.validity.subscribe();
        loop {
            let end = validity.borrow().end();
            if Instant::now() >= end {
                return;
            }
            sleep_until(end).await;
        }
    }

    /// Renews it again and again; ends when it is lost for certain.
    async fn renew(&self) -> Lost {
        let mut wait = self.ask.ttl / 3;
        loop {
            sleep(wait).await;
            wait = match self.leases.renew(&self.ask, self.fence).await {
                Ok(Renewed::Until(validity)) => {
                    self.validity.send_replace(validity);
                    self.ask.ttl / 3
                }
                Ok(Renewed::Lost) => return Lost,
                Err(error) => {
                    tracing::warn!(%error, "the lease could not be renewed");
                    self.ask.ttl / TRIES
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use bytes::Bytes;
    use futures_util::FutureExt;
    use futures_util::future::{BoxFuture, ready};

    use super::*;
    use crate::domain::key::Key;
    use crate::domain::lease::Acquired;

    const TTL: Duration = Duration::from_secs(30);

    /// Renewals are answered as the test says.
    struct Scripted(Mutex<Answers>, Mutex<u32>);

    type Answers = Box<dyn FnMut(u32) -> Result<Renewed, StoreError> + Send>;

    impl Leases for Scripted {
        fn acquire<'a>(&'a self, _: &'a LeaseAsk) -> BoxFuture<'a, Result<Acquired, StoreError>> {
            ready(Err(StoreError::Unreachable)).boxed()
        }

        fn renew<'a>(&'a self, _: &'a LeaseAsk, _: u64) -> BoxFuture<'a, Result<Renewed, StoreError>> {
            let mut count = self.1.lock().expect("unpoisoned");
            *count += 1;
            ready((self.0.lock().expect("unpoisoned"))(*count)).boxed()
        }

        fn release<'a>(&'a self, _: &'a LeaseAsk, _: u64) -> BoxFuture<'a, Result<(), StoreError>> {
            ready(Ok(())).boxed()
        }

        fn tick<'a>(&'a self, _: &'a Key, _: Duration) -> BoxFuture<'a, Result<bool, StoreError>> {
            ready(Ok(true)).boxed()
        }

        fn note<'a>(&'a self, _: &'a Key, _: u64, _: Progress) -> BoxFuture<'a, Result<Noted, StoreError>> {
            ready(Ok(Noted::Written)).boxed()
        }

        fn noted<'a>(&'a self, _: &'a Key) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
            ready(Ok(None)).boxed()
        }
    }

    fn tenure(answer: impl FnMut(u32) -> Result<Renewed, StoreError> + Send + 'static) -> Tenure {
        let lock = Key::new("lock").expect("a good key");
        let ask = LeaseAsk { lock, holder: "a".to_owned(), pod: String::new(), ttl: TTL };
        let grant = Grant { fence: 1, validity: Validity::of(Instant::now(), TTL) };
        Tenure::new(Arc::new(Scripted(Mutex::new(Box::new(answer)), Mutex::default())), ask, grant)
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_outlives_the_first_life_is_done_under_renewals() {
        let tenure = tenure(|_| Ok(Renewed::Until(Validity::of(Instant::now(), TTL))));
        assert_eq!(tenure.work(sleep(TTL * 10)).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_answer_the_work_ends_before_the_lock_does() {
        let tenure = tenure(|_| Err(StoreError::Timeout));
        let started = Instant::now();
        assert_eq!(tenure.work(pending::<()>()).await, Err(Lost));
        assert_eq!(started.elapsed(), Duration::from_millis(29_650));
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_that_fails_once_is_tried_again_in_time() {
        let tenure = tenure(|count| match count {
            1 | 2 => Err(StoreError::Timeout),
            _ => Ok(Renewed::Until(Validity::of(Instant::now(), TTL))),
        });
        assert_eq!(tenure.work(sleep(TTL * 2)).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_that_is_anothers_ends_the_work_at_once() {
        let tenure = tenure(|_| Ok(Renewed::Lost));
        let started = Instant::now();
        assert_eq!(tenure.work(pending::<()>()).await, Err(Lost));
        assert_eq!(started.elapsed(), TTL / 3);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_begun_for_which_too_little_is_left() {
        let tenure = tenure(|_| Err(StoreError::Timeout));
        let started = Instant::now();
        let begun = std::sync::atomic::AtomicU32::new(0);
        let work = async {
            loop {
                tenure.pass(Duration::from_secs(1)).await;
                begun.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                assert!(started.elapsed() <= Duration::from_millis(28_650));
                sleep(Duration::from_millis(100)).await;
            }
        };
        assert_eq!(tenure.work(work).await, Err::<(), Lost>(Lost));
        assert!(begun.into_inner() > 250);
    }
}
