//! The contract of shared work: a large step cut into shards, which any sidecar takes, carries out and finishes.
//!
//! A shard is taken by one sidecar at a time, and given to another if nothing is heard of it for a while. So it may be
//! carried out twice, and once in any case. All of it belongs to one lease, and is gone with the step.
//!
//! Why a trait: Redis keeps shards; a store of one process has nobody to share with, and has none.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::domain::key::Key;
use crate::domain::store::StoreError;

pub trait Shards: Send + Sync {
    /// Begins a step: what an earlier one left is dropped.
    fn open<'a>(&'a self, lock: &'a Key) -> BoxFuture<'a, Result<(), StoreError>>;

    fn put<'a>(&'a self, lock: &'a Key, shard: Bytes) -> BoxFuture<'a, Result<(), StoreError>>;

    /// A shard that nobody has, or one whose worker has not been heard of for so long.
    fn take<'a>(
        &'a self,
        lock: &'a Key,
        worker: &'a str,
        silent_for: Duration,
    ) -> BoxFuture<'a, Result<Option<Taken>, StoreError>>;

    /// Says that a shard is still being worked on.
    fn hold<'a>(&'a self, lock: &'a Key, worker: &'a str, shard: &'a str) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Takes a shard off, and adds what was done; once, whoever else finishes it too.
    fn finish<'a>(
        &'a self,
        lock: &'a Key,
        worker: &'a str,
        shard: &'a str,
        done: Done,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    fn standing<'a>(&'a self, lock: &'a Key) -> BoxFuture<'a, Result<Standing, StoreError>>;

    /// Ends the step: what is left is dropped.
    fn close<'a>(&'a self, lock: &'a Key) -> BoxFuture<'a, Result<(), StoreError>>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    pub id: String,
    pub shard: Bytes,
}

/// Keys that were looked at, and what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    pub done: u64,
    pub warmed: u64,
    pub fresh: u64,
    pub failed: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Shards that are not finished.
    pub left: u64,
    /// The first of them: whatever was put before it is finished.
    pub oldest: Option<Bytes>,
    /// Of those that are finished.
    pub done: Done,
    /// Who has finished any.
    pub workers: u32,
}
