//! What an invalidation asks of memory: each step under the one lock, so that the order within it is the order it has.
//!
//! There are no replicas, so everything is confirmed at once; there is one primary, and it never loses or moves anything.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::domain::glob;
use crate::domain::key::{Key, Sibling};
use crate::domain::pseudonym::Pseudonym;
use crate::domain::random::Nonce;
use crate::domain::removal::{
    Erased, Erasure, Gone, Mark, Primary, Removal, Replaced, Replacement, ScanPage, ScanStep, Softened, TagPage,
    TagPlace, Upheaval,
};
use crate::domain::store::{Confirmation, Refusal, StoreError};
use crate::domain::tag::Tag;
use crate::local::memory::MemoryStore;
use crate::local::shelf::{Shelf, Standing, TooLarge, Writer};
use crate::local::tombstone::{GROUP, Tombstone, grave};

impl Removal for MemoryStore {
    fn erase<'a>(&'a self, erasures: &'a [Erasure]) -> BoxFuture<'a, Erased> {
        let now = Instant::now();
        let mut shelf = self.shelf();
        let keys = erasures.iter().map(|erasure| Ok(erase(&mut shelf, erasure, now))).collect();
        ready(Erased { keys, confirmation: Confirmation::given() }).boxed()
    }

    fn replace<'a>(&'a self, replacement: Replacement<'a>) -> BoxFuture<'a, Result<Replaced, StoreError>> {
        ready(replace(&mut self.shelf(), replacement, Instant::now())).boxed()
    }

    fn soften<'a>(&'a self, erasure: &'a Erasure, grace: Duration) -> BoxFuture<'a, Result<Softened, StoreError>> {
        let now = Instant::now();
        let mut shelf = self.shelf();
        let gone = removed(&mut shelf, erasure, now, |shelf, key| {
            shelf.clear_guard(key);
            shelf.shorten(key, grace, now)
        });
        ready(Ok(Softened { gone, confirmation: Confirmation::given() })).boxed()
    }

    fn weed<'a>(&'a self, key: &'a Key, mark: Nonce) -> BoxFuture<'a, Result<bool, StoreError>> {
        let now = Instant::now();
        let mut shelf = self.shelf();
        let is_newest = shelf.tombstone(key, now).is_some_and(|tombstone| tombstone.nonce == Some(mark));
        let weeded = is_newest && shelf.writer(key, now) == Some(Writer::App);
        if weeded {
            shelf.clear_value(key);
        }
        ready(Ok(weeded)).boxed()
    }

    /// All of them on one page: memory is bounded.
    fn tagged<'a>(&'a self, tag: &'a Tag, _from: TagPlace) -> BoxFuture<'a, Result<TagPage, StoreError>> {
        ready(Ok(TagPage { keys: self.shelf().tagged(tag, Instant::now()), next: None })).boxed()
    }

    fn bury<'a>(&'a self, subject: Pseudonym, life: Duration) -> BoxFuture<'a, Result<Confirmation, StoreError>> {
        let now = Instant::now();
        let tombstone = Tombstone { nonce: None, floor: None, is_open: false, since: now, ends: now + life };
        if let Some(grave) = grave(&Tag::Subject(subject)) {
            self.shelf().set_tombstone(&grave, tombstone);
        }
        ready(Ok(Confirmation::given())).boxed()
    }

    fn primaries(&self) -> Vec<Primary> {
        vec![Primary { name: GROUP.to_owned(), run: GROUP.to_owned() }]
    }

    /// In one step, whatever `count` says: memory is bounded.
    fn scan<'a>(&'a self, step: ScanStep<'a>) -> BoxFuture<'a, Result<ScanPage, StoreError>> {
        let shelf = self.shelf();
        let all = shelf.standing(Instant::now()).flat_map(|standing| names(&standing));
        let mut keys: Vec<Bytes> = all.filter(|key| glob::matches(step.pattern.as_bytes(), key)).collect();
        keys.sort();
        ready(Ok(ScanPage { keys, next: None })).boxed()
    }

    fn upheavals(&self) -> broadcast::Receiver<Upheaval> {
        self.upheavals.subscribe()
    }
}

fn erase(shelf: &mut Shelf, erasure: &Erasure, now: Instant) -> Gone {
    removed(shelf, erasure, now, |shelf, key| shelf.remove(key, now))
}

/// `remove` answers whether there was a value; the claim goes with it.
fn removed(shelf: &mut Shelf, erasure: &Erasure, now: Instant, remove: impl Fn(&mut Shelf, &Key) -> bool) -> Gone {
    let Erasure { key, has_index, mark } = erasure;
    if let Some(mark) = mark {
        let before = shelf.tombstone(key, now);
        shelf.set_tombstone(key, Tombstone::after(before, *mark, now));
    }
    let fenced = shelf.guard(key, now).is_some();
    let held = remove(shelf, key);
    let aliases = if *has_index { shelf.aliases(key, now) } else { Vec::new() };
    Gone { held, fenced, aliases }
}

fn replace(shelf: &mut Shelf, replacement: Replacement<'_>, now: Instant) -> Result<Replaced, StoreError> {
    let Replacement { key, value, ttl, version, mark, life } = replacement;
    let before = shelf.tombstone(key, now);
    shelf.remove(key, now);
    if before.is_some_and(|before| !before.believes(version)) {
        return Ok(Replaced::Superseded(Confirmation::given()));
    }
    let mark = Mark { nonce: Some(mark), life, floor: Some(version) };
    shelf.set_tombstone(key, Tombstone::after(before, mark, now));
    match shelf.set_value(key, value, Some(ttl), Writer::Hydrant, now) {
        Ok(()) => Ok(Replaced::Written(Confirmation::given())),
        Err(TooLarge) => Err(StoreError::Refused(Refusal::OutOfMemory)),
    }
}

/// The keys that Redis would have for this.
fn names(standing: &Standing<'_>) -> Vec<Bytes> {
    let Standing { key, value, guard, tombstone, index } = standing;
    let own = value.then(|| key.as_bytes().clone());
    let beside = [(Sibling::Guard, guard), (Sibling::Tombstone, tombstone), (Sibling::Index, index)];
    let beside = beside.into_iter().filter(|(_, stands)| **stands).map(|(kind, _)| key.sibling(kind).into());
    own.into_iter().chain(beside).collect()
}
