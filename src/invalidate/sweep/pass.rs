//! One pass over every primary: look, remove what is wanted, go on. Primaries are gone through side by side, each at the
//! pace that it can bear.
//!
//! A primary that is away is waited for: what stands there comes back with it. One that is in another life than before
//! is begun anew, because a cursor says nothing to it.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, sleep};

use crate::domain::backoff::Backoff;
use crate::domain::key::Key;
use crate::domain::removal::{Erased, Erasure, Gone, Primary, ScanStep};
use crate::domain::shown;
use crate::domain::store::{Confirmed, StoreError};
use crate::invalidate::request::{MAX_SAMPLE, Mode};
use crate::invalidate::rules;
use crate::invalidate::sweep::aim::{self, Met};
use crate::invalidate::sweep::pace::{LOOKED_AT_ONCE, Pace, REMOVED_AT_ONCE};
use crate::invalidate::sweep::{Progress, Sweep};

/// Primaries at a time: a sidecar has better things to do than to talk to a hundred at once.
const PRIMARIES_AT_ONCE: usize = 8;
/// Between tries at what is away. While a failover goes on it is soon over; through an outage there is no hurry.
const TRIES: Backoff = match Backoff::new(Duration::from_millis(100), Duration::from_secs(5)) {
    Ok(backoff) => backoff,
    Err(_) => panic!("the first wait is the shorter one"),
};
/// What fails for so long is told, and begun again by whoever asks next.
const PATIENCE: Duration = Duration::from_secs(600);
/// Lists of primaries that one pass goes through: each time the one before has changed.
const LISTS: usize = 64;

impl<R: Fn(Progress)> Sweep<'_, R> {
    /// Goes through all primaries once, those included that appear meanwhile.
    pub async fn pass(&self) -> Result<(), StoreError> {
        let mut done: Vec<Primary> = Vec::new();
        for _ in 0..LISTS {
            let primaries = self.tools.removal.primaries();
            let total = primaries.len() as u32;
            let left: Vec<Primary> = primaries.into_iter().filter(|primary| !done.contains(primary)).collect();
            self.tell(|progress| (progress.nodes_done, progress.nodes_total) = (total - left.len() as u32, total));
            if left.is_empty() {
                return Ok(());
            }
            let passed = stream::iter(left).map(|primary| async {
                let gone_through = self.primary(&primary).await;
                gone_through.map(|whole| whole.then_some(primary))
            });
            let passed: Vec<Result<Option<Primary>, StoreError>> =
                passed.buffer_unordered(PRIMARIES_AT_ONCE).collect().await;
            for primary in passed {
                done.extend(primary?);
            }
        }
        Err(StoreError::Unreachable)
    }

    /// Answers whether it was gone through; if not it is no primary any more, or in another life.
    async fn primary(&self, primary: &Primary) -> Result<bool, StoreError> {
        let (mut pace, mut cursor) = (Pace::new(self.tools.rates), Some(0));
        while let Some(from) = cursor {
            pace.look().await;
            let (pattern, count) = (self.pattern.as_str(), LOOKED_AT_ONCE);
            let step = ScanStep { primary, cursor: from, pattern, count };
            let page = self.patiently(|| self.tools.removal.scan(step), || !self.is_there(primary)).await?;
            let Some(page) = page else { return Ok(false) };
            let catalog = self.tools.live.get().catalog.clone();
            let wanted: Vec<(Key, Met)> = self.aim.wanted(&catalog, page.keys).into_iter().collect();
            for chunk in wanted.chunks(REMOVED_AT_ONCE) {
                pace.remove(chunk.len()).await;
                self.remove(chunk).await?;
            }
            cursor = page.next;
            self.looked_at(LOOKED_AT_ONCE);
        }
        self.tell(|progress| progress.nodes_done += 1);
        Ok(true)
    }

    fn is_there(&self, primary: &Primary) -> bool {
        self.tools.removal.primaries().contains(primary)
    }

    async fn remove(&self, chunk: &[(Key, Met)]) -> Result<(), StoreError> {
        let catalog = self.tools.live.get().catalog.clone();
        self.tell(|progress| {
            if self.has_counted(progress.pass) {
                return;
            }
            for (key, _) in chunk.iter().filter(|(_, met)| *met == Met::Value) {
                progress.counts.matched += 1;
                if progress.sample.len() < MAX_SAMPLE {
                    let shown = shown::any_key(&catalog, key);
                    if !progress.sample.contains(&shown) {
                        progress.sample.push(shown);
                    }
                }
            }
        });
        let (mut softs, mut members, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for (key, _) in chunk {
            let found = std::str::from_utf8(key.as_bytes()).ok().and_then(|text| catalog.find(text));
            let grace = found.and_then(|found| rules::grace(found.entity)).filter(|_| self.spec.mode == Mode::Soft);
            let erasure = aim::erasure(&catalog, key.clone(), self.nonce);
            match grace {
                Some(grace) => softs.push((key, grace)),
                None if erasure.has_index => members.push(erasure),
                None => others.push(erasure),
            }
        }
        join_all(softs.into_iter().map(|(key, grace)| self.soften(key, grace)))
            .await
            .into_iter()
            .collect::<Result<(), _>>()?;
        // What an index names is read after its member has gone, and goes after it.
        let aliases = self.erase(members).await?;
        others.extend(aliases.into_iter().map(|key| aim::erasure(&catalog, key, self.nonce)));
        while !others.is_empty() {
            let rest = others.split_off(others.len().min(REMOVED_AT_ONCE));
            self.erase(others).await?;
            others = rest;
        }
        Ok(())
    }

    /// What is softened stays, so that later passes meet it again.
    fn has_counted(&self, pass: u32) -> bool {
        self.spec.mode == Mode::Soft && pass > 1
    }

    async fn soften(&self, key: &Key, grace: Duration) -> Result<(), StoreError> {
        (self.tools.forget)(std::slice::from_ref(key));
        let softened = self.patiently(|| self.tools.removal.soften(key, grace), || false).await?;
        if softened == Some(true) && !self.has_counted(self.progress().pass) {
            self.removed(key);
        }
        Ok(())
    }

    /// Until all of them are gone and the replicas know it. Answers what their indexes name.
    async fn erase(&self, mut left: Vec<Erasure>) -> Result<Vec<Key>, StoreError> {
        let (mut aliases, begun) = (BTreeMap::new(), Instant::now());
        for tries in 0.. {
            if left.is_empty() {
                break;
            }
            if tries > 0 {
                sleep(TRIES.jittered(tries - 1, self.tools.random.unit())).await;
            }
            let keys: Vec<Key> = left.iter().map(|erasure| erasure.key.clone()).collect();
            (self.tools.forget)(&keys);
            let Erased { keys: answers, confirmation } = self.tools.removal.erase(&left).await;
            self.remember(&left);
            let confirmed = confirmation.await;
            let mut failed = StoreError::Timeout;
            let mut next = Vec::new();
            for (erasure, answer) in left.into_iter().zip(answers) {
                match answer {
                    Ok(Gone { held, fenced, aliases: named }) => {
                        if held {
                            self.removed(&erasure.key);
                        }
                        self.tell(|progress| progress.counts.fenced += u64::from(fenced));
                        aliases.extend(named.into_iter().map(|key| (key, ())));
                        if confirmed == Confirmed::Short {
                            next.push(erasure);
                        }
                    }
                    Err(error) => {
                        failed = error;
                        next.push(erasure);
                    }
                }
            }
            if !next.is_empty() && begun.elapsed() > PATIENCE {
                return Err(failed);
            }
            left = next;
        }
        Ok(aliases.into_keys().collect())
    }

    /// Tries until it goes well, or until it is of no use any more.
    async fn patiently<T, F>(
        &self,
        attempt: impl Fn() -> F,
        is_useless: impl Fn() -> bool,
    ) -> Result<Option<T>, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let begun = Instant::now();
        for tries in 0.. {
            match attempt().await {
                Ok(done) => return Ok(Some(done)),
                Err(_) if is_useless() => return Ok(None),
                Err(error) if begun.elapsed() > PATIENCE => return Err(error),
                Err(error) => tracing::debug!(%error, tries, "a sweep waits"),
            }
            sleep(TRIES.jittered(tries, self.tools.random.unit())).await;
        }
        Ok(None)
    }
}
