//! A value that several wait for, and who are woken in the order in which they came.
//!
//! Why not tokio's `watch`: it wakes its waiters in an order drawn from a generator that nobody can seed, so that a
//! simulated run could not be repeated. Where at most one waits, or where no run is repeated, `watch` will do.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

#[derive(Debug)]
pub struct Watched<T> {
    /// Held for one look or one change, never across an await.
    value: Mutex<T>,
    changed: Notify,
}

impl<T> Watched<T> {
    pub fn new(value: T) -> Self {
        Self { value: Mutex::new(value), changed: Notify::new() }
    }

    pub fn look<R>(&self, see: impl FnOnce(&T) -> R) -> R {
        see(&self.value())
    }

    /// Puts a new value in place and wakes everybody. Answers the old one.
    pub fn replace(&self, value: T) -> T {
        let old = std::mem::replace(&mut *self.value(), value);
        self.changed.notify_waiters();
        old
    }

    /// Changes the value in place and wakes everybody.
    pub fn change(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.value());
        self.changed.notify_waiters();
    }

    /// Returns what `see` makes of the first value of which it makes something, the present one included.
    pub async fn wait_for<R>(&self, see: impl Fn(&T) -> Option<R>) -> R {
        loop {
            // Before the look, so that no change can come between the two unnoticed.
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(seen) = self.look(&see) {
                return seen;
            }
            changed.await;
        }
    }

    fn value(&self) -> MutexGuard<'_, T> {
        // Held for a few instructions, none of which panics.
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use futures_util::future::join;
    use futures_util::stream::FuturesUnordered;

    use super::*;

    #[tokio::test]
    async fn those_who_wait_are_woken_in_the_order_in_which_they_came() {
        let watched = Watched::new(0);
        let waiting: FuturesUnordered<_> = (0..50)
            .map(|number| {
                let watched = &watched;
                async move {
                    watched.wait_for(|value| (*value == 2).then_some(())).await;
                    number
                }
            })
            .collect();
        let changing = async {
            for value in [1, 2] {
                tokio::task::yield_now().await;
                watched.replace(value);
            }
        };
        let (woken, ()) = join(waiting.collect::<Vec<_>>(), changing).await;
        assert_eq!(woken, (0..50).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_value_that_is_there_is_not_waited_for() {
        let watched = Watched::new(7);
        assert_eq!(watched.wait_for(|value| (*value > 5).then_some(*value)).await, 7);
    }
}
