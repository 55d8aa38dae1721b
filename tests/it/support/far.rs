//! Memory behind a wire: whatever is asked of it takes one round trip of paused time, and nothing else takes any. So the
//! time that passes *is* the number of round trips that had to wait for each other.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hydrant::domain::habits::{Habits, Reading, Sight, Update};
use hydrant::domain::key::Key;
use hydrant::domain::pseudonym::Pseudonym;
use hydrant::domain::store::{
    Claim, ClaimAsk, Claimed, Committed, Confirmation, Held, Landing, Registered, Registration, Rules, Store,
    StoreError, StoreState, Write,
};
use hydrant::local::habits::MemoryHabits;
use hydrant::local::memory::MemoryStore;
use tokio::time::sleep;

/// Far above the timers' resolution of a millisecond.
pub const ROUND_TRIP: Duration = Duration::from_millis(10);

#[derive(Clone)]
pub struct Far {
    pub store: MemoryStore,
    pub habits: Arc<MemoryHabits>,
}

struct FarClaim(Box<dyn Claim>);

/// There and back.
async fn far<T>(near: impl Future<Output = T>) -> T {
    // tidy: waits because it is the way there and back, on a paused clock
    sleep(ROUND_TRIP / 2).await;
    let answer = near.await;
    // tidy: waits because it is the way there and back, on a paused clock
    sleep(ROUND_TRIP / 2).await;
    answer
}

fn far_confirmation(confirmation: Confirmation) -> Confirmation {
    Confirmation::new(far(confirmation.into_future()))
}

impl Store for Far {
    fn claim<'a>(&'a self, ask: ClaimAsk<'a>) -> BoxFuture<'a, Result<Claimed, StoreError>> {
        async move {
            Ok(match far(self.store.claim(ask)).await? {
                Claimed::Held(claim) => Claimed::Held(Box::new(FarClaim(claim))),
                other => other,
            })
        }
        .boxed()
    }

    fn register<'a>(&'a self, ask: Registration<'a>) -> BoxFuture<'a, Result<Registered, StoreError>> {
        async move {
            let registered = far(self.store.register(ask)).await?;
            Ok(Registered { confirmation: far_confirmation(registered.confirmation), ..registered })
        }
        .boxed()
    }

    fn remove<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<usize, StoreError>> {
        far(self.store.remove(keys)).boxed()
    }

    fn read<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<Vec<Option<Held>>, StoreError>> {
        far(self.store.read(keys)).boxed()
    }

    fn state(&self) -> StoreState {
        self.store.state()
    }
}

impl Claim for FarClaim {
    fn commit(self: Box<Self>, write: Write) -> BoxFuture<'static, Result<Landing, StoreError>> {
        async move {
            let landing = far(self.0.commit(write)).await?;
            Ok(Landing { confirmation: landing.confirmation.map(far_confirmation), ..landing })
        }
        .boxed()
    }

    fn commit_absent(
        self: Box<Self>,
        ttl: Duration,
        rules: Rules,
    ) -> BoxFuture<'static, Result<Committed, StoreError>> {
        far(self.0.commit_absent(ttl, rules)).boxed()
    }

    fn abort(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        far(self.0.abort()).boxed()
    }
}

impl Habits for Far {
    fn read<'a>(&'a self, subject: Pseudonym) -> BoxFuture<'a, Result<Reading, StoreError>> {
        far(self.habits.read(subject)).boxed()
    }

    fn write<'a>(
        &'a self,
        subject: Pseudonym,
        update: &'a Update,
        life: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        far(self.habits.write(subject, update, life)).boxed()
    }

    fn look<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Sight, StoreError>> {
        far(self.habits.look(key)).boxed()
    }
}
