//! Defects put around a store on purpose: the simulation is worth what it finds of them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hydrant::domain::key::Key;
use hydrant::domain::store::{
    Claim, ClaimAsk, ClaimMode, Claimed, Committed, Held, Landing, Registered, Registration, Rules, Store, StoreError,
    StoreState, Write,
};
use hydrant::remote::store::Remote;

/// The store as it is.
pub fn none(store: Arc<Remote>) -> Arc<dyn Store> {
    store
}

/// The claim is taken only when the value is there already: as good as none.
pub fn late_claims(store: Arc<Remote>) -> Arc<dyn Store> {
    Arc::new(LateClaims(store))
}

struct LateClaims(Arc<Remote>);

struct LateClaim {
    store: Arc<Remote>,
    key: Key,
    life: Duration,
}

impl Store for LateClaims {
    fn claim<'a>(&'a self, ask: ClaimAsk<'a>) -> BoxFuture<'a, Result<Claimed, StoreError>> {
        let late = LateClaim { store: self.0.clone(), key: ask.key.clone(), life: ask.life };
        async move { Ok(Claimed::Held(Box::new(late) as Box<dyn Claim>)) }.boxed()
    }

    fn register<'a>(&'a self, ask: Registration<'a>) -> BoxFuture<'a, Result<Registered, StoreError>> {
        self.0.register(ask)
    }

    fn remove<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<usize, StoreError>> {
        self.0.remove(keys)
    }

    fn read<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<Vec<Option<Held>>, StoreError>> {
        self.0.read(keys)
    }

    fn state(&self) -> StoreState {
        self.0.state()
    }
}

impl LateClaim {
    async fn take(&self) -> Result<Box<dyn Claim>, StoreError> {
        let ask = ClaimAsk { key: &self.key, life: self.life, mode: ClaimMode::Refresh };
        match self.store.claim(ask).await? {
            Claimed::Held(claim) => Ok(claim),
            Claimed::Fresh | Claimed::Absent | Claimed::InFlight { .. } => Err(StoreError::Overloaded),
        }
    }
}

impl Claim for LateClaim {
    fn commit(self: Box<Self>, write: Write) -> BoxFuture<'static, Result<Landing, StoreError>> {
        async move { self.take().await?.commit(write).await }.boxed()
    }

    fn commit_absent(
        self: Box<Self>,
        ttl: Duration,
        rules: Rules,
    ) -> BoxFuture<'static, Result<Committed, StoreError>> {
        async move { self.take().await?.commit_absent(ttl, rules).await }.boxed()
    }

    fn abort(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        async { Ok(()) }.boxed()
    }
}
