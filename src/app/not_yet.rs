//! Stands in for what the stores do not do yet: every removal and every record is refused, and nothing is promised.
//! It goes when they do.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use tokio::sync::broadcast;

use crate::domain::journal::{Due, Hold, JobId, Journal, Note, Recorded, Standing};
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

impl Journal for NotYet {
    fn record<'a>(&'a self, _: Bytes) -> BoxFuture<'a, Result<Recorded, StoreError>> {
        refused()
    }

    fn finish<'a>(&'a self, _: &'a JobId, _: Option<Note>) -> BoxFuture<'a, Result<(), StoreError>> {
        refused()
    }

    fn note<'a>(&'a self, _: &'a JobId, _: Note) -> BoxFuture<'a, Result<(), StoreError>> {
        refused()
    }

    fn standing<'a>(&'a self, _: &'a JobId) -> BoxFuture<'a, Result<Standing, StoreError>> {
        refused()
    }

    fn parts(&self) -> u8 {
        0
    }

    fn hold<'a>(&'a self, _: u8, _: Nonce, _: Duration) -> BoxFuture<'a, Result<Hold, StoreError>> {
        refused()
    }

    fn due<'a>(&'a self, _: u8, _: Duration, _: u16) -> BoxFuture<'a, Result<Vec<Due>, StoreError>> {
        refused()
    }

    fn backlog<'a>(&'a self) -> BoxFuture<'a, Vec<Result<u64, StoreError>>> {
        ready(Vec::new()).boxed()
    }
}
