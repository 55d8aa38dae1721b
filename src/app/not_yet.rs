//! Stands in for what the stores do not do yet: every removal and every record is refused, and nothing is promised.
//! It goes when they do.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use tokio::sync::broadcast;

use crate::domain::key::Key;
use crate::domain::pseudonym::Pseudonym;
use crate::domain::random::Nonce;
use crate::domain::removal::{
    Erased, Erasure, Primary, Removal, Replaced, Replacement, ScanPage, ScanStep, TagPage, TagPlace, Upheaval,
};
use crate::domain::store::{Confirmation, StoreError};
use crate::domain::tag::Tag;

pub struct NotYet {
    upheavals: broadcast::Sender<Upheaval>,
}

impl Default for NotYet {
    fn default() -> Self {
        Self { upheavals: broadcast::channel(1).0 }
    }
}

fn refused<T: Send + 'static>() -> BoxFuture<'static, Result<T, StoreError>> {
    ready(Err(StoreError::Unreachable)).boxed()
}

impl Removal for NotYet {
    fn erase<'a>(&'a self, erasures: &'a [Erasure]) -> BoxFuture<'a, Erased> {
        let keys = erasures.iter().map(|_| Err(StoreError::Unreachable)).collect();
        ready(Erased { keys, confirmation: Confirmation::given() }).boxed()
    }

    fn replace<'a>(&'a self, _: Replacement<'a>) -> BoxFuture<'a, Result<Replaced, StoreError>> {
        refused()
    }

    fn soften<'a>(&'a self, _: &'a Key, _: Duration) -> BoxFuture<'a, Result<bool, StoreError>> {
        refused()
    }

    fn weed<'a>(&'a self, _: &'a Key, _: Nonce) -> BoxFuture<'a, Result<bool, StoreError>> {
        refused()
    }

    fn tagged<'a>(&'a self, _: &'a Tag, _: TagPlace) -> BoxFuture<'a, Result<TagPage, StoreError>> {
        refused()
    }

    fn bury<'a>(&'a self, _: Pseudonym, _: Duration) -> BoxFuture<'a, Result<Confirmation, StoreError>> {
        refused()
    }

    fn primaries(&self) -> Vec<Primary> {
        Vec::new()
    }

    fn scan<'a>(&'a self, _: ScanStep<'a>) -> BoxFuture<'a, Result<ScanPage, StoreError>> {
        refused()
    }

    fn upheavals(&self) -> broadcast::Receiver<Upheaval> {
        self.upheavals.subscribe()
    }
}
