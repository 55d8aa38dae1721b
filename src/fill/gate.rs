//! Where no fill may begin: the slots in which this sidecar has accepted invalidations that it could not carry out.
//!
//! While Redis is away an invalidation is kept and answered as pending. When Redis is back, that comes first: a fill that
//! ran before it would be work for nothing. A fill in such a slot waits, at most until its own deadline.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use crate::domain::watched::Watched;

/// Cloning shares the gate. A slot is shut while it is held by anybody; at most all of Redis's slots are.
#[derive(Clone)]
pub struct Gate(Arc<Watched<Held>>);

/// How often each slot is held, and how often all of them are at once.
#[derive(Default)]
struct Held {
    slots: BTreeMap<u16, u32>,
    all: u32,
}

/// The slot stayed shut until the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shut;

impl Gate {
    pub fn open() -> Self {
        Self(Arc::new(Watched::new(Held::default())))
    }

    /// Shuts slots until they are released as often as they were held.
    pub fn hold(&self, slots: &[u16]) {
        self.0.change(|held| slots.iter().for_each(|slot| *held.slots.entry(*slot).or_default() += 1));
    }

    pub fn release(&self, slots: &[u16]) {
        self.0.change(|held| {
            for slot in slots {
                let count = held.slots.get(slot).map_or(0, |count| count.saturating_sub(1));
                match count {
                    0 => drop(held.slots.remove(slot)),
                    count => drop(held.slots.insert(*slot, count)),
                }
            }
        });
    }

    /// Where nobody can say which slots are concerned.
    pub fn hold_all(&self) {
        self.0.change(|held| held.all += 1);
    }

    pub fn release_all(&self) {
        self.0.change(|held| held.all = held.all.saturating_sub(1));
    }

    pub fn is_open(&self, slot: u16) -> bool {
        self.0.look(|held| held.is_open(slot))
    }

    /// Waits until the slot is open.
    pub async fn pass(&self, slot: u16, deadline: Instant) -> Result<(), Shut> {
        let opened = self.0.wait_for(|held| held.is_open(slot).then_some(()));
        timeout_at(deadline, opened).await.map_err(|_elapsed| Shut)
    }
}

impl Held {
    fn is_open(&self, slot: u16) -> bool {
        self.all == 0 && !self.slots.contains_key(&slot)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    const SOON: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_slot_is_shut_until_everybody_has_released_it() {
        let gate = Gate::open();
        gate.hold(&[1, 2]);
        gate.hold(&[2]);
        gate.release(&[1, 2]);
        assert!(gate.is_open(1) && gate.is_open(3) && !gate.is_open(2));
        let mut waiting = std::pin::pin!(gate.pass(2, Instant::now() + SOON));
        assert_eq!(waiting.as_mut().now_or_never(), None);
        gate.release(&[2]);
        assert_eq!(waiting.await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_ends_with_the_deadline() {
        let gate = Gate::open();
        gate.hold(&[7]);
        assert_eq!(gate.pass(7, Instant::now() + SOON).await, Err(Shut));
        gate.release(&[7, 7, 8]);
        assert!(gate.is_open(7), "released more often than held");
        gate.hold_all();
        assert_eq!(gate.pass(7, Instant::now() + SOON).await, Err(Shut));
        gate.release_all();
        assert!(gate.is_open(7));
    }
}
