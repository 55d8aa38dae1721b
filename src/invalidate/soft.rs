//! Keys that may live on for their entity's grace: the mode SOFT.
//!
//! Everything goes as with a removal (marks, claims, the index, the replicas' word) but that the value has its life
//! shortened. With no more than the grace left a value counts as stale, so that whoever prehydrates loads it again.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt, stream};

use crate::domain::key::Key;
use crate::domain::removal::{self, Erasure, Gone};
use crate::domain::store::{Confirmed, Refusal, StoreError};
use crate::invalidate::refill::Refill;
use crate::invalidate::request::Cause;
use crate::invalidate::tally::Tally;
use crate::invalidate::tools::Tools;
use crate::invalidate::trouble::Trouble;

/// Keys at once; each takes commands of its own.
const AT_ONCE: usize = 64;

pub struct Soft {
    pub target: usize,
    /// What would be removed otherwise.
    pub erasure: Erasure,
    pub grace: Duration,
    /// Alias keys that the caller named.
    pub named: Vec<Key>,
    /// It is counted at the first.
    pub tries: u32,
}

/// What became of all of them.
pub struct Softened {
    pub left: Vec<Soft>,
    pub refills: Vec<Refill>,
}

/// Members' keys, then the aliases they lead to.
pub async fn soften(mut softs: Vec<Soft>, tools: &Tools, tally: &Tally, trouble: &mut Trouble) -> Softened {
    let mut softened = Softened { left: Vec::new(), refills: Vec::new() };
    while !softs.is_empty() {
        let mut aliases = Vec::new();
        let mut tried = stream::iter(softs).map(|soft| attempt(soft, tools, tally)).buffer_unordered(AT_ONCE);
        while let Some((soft, ended)) = tried.next().await {
            let (found, cause) = match ended {
                Ok((gone, Confirmed::Yes)) => (gone, None),
                Ok((gone, Confirmed::Short)) => (gone, Some(Cause::ReplicasLate)),
                Err(error) => (Gone::default(), Some(Trouble::of(error))),
            };
            aliases.extend(soft.aliases(found.aliases));
            match cause {
                None => {
                    tally.count(soft.target, |counts| {
                        counts.removed += u64::from(found.held);
                        counts.fenced += u64::from(found.fenced);
                    });
                    if found.held {
                        softened.refills.push(Refill { target: soft.target, key: soft.erasure.key });
                    }
                }
                Some(cause) => {
                    trouble.note(cause);
                    softened.left.push(soft);
                }
            }
        }
        softs = aliases;
    }
    softened
}

/// What became of it, and whether the replicas know.
async fn attempt(mut soft: Soft, tools: &Tools, tally: &Tally) -> (Soft, Result<(Gone, Confirmed), StoreError>) {
    let erasure = &soft.erasure;
    let ended = tools.hands.removal.soften(erasure, soft.grace).await;
    (tools.forget)(std::slice::from_ref(&erasure.key));
    // What an upheaval brings back has its whole life again, and nobody knows since when: then it is removed.
    tools.recent.remember(std::slice::from_ref(erasure));
    if let Err(StoreError::Refused(Refusal::Moved)) = ended {
        tools.recent.is_moving(erasure.key.slot());
    }
    soft.tries += 1;
    if soft.tries == 1 {
        tally.count(soft.target, |counts| counts.matched += 1);
        tally.show(&tools.means.live.get().catalog, &soft.erasure.key);
    }
    match ended {
        Ok(removal::Softened { gone, confirmation }) => (soft, Ok((gone, confirmation.await))),
        Err(error) => (soft, Err(error)),
    }
}

impl Soft {
    /// The keys to soften after it, as with a removal; counted when it was first tried.
    fn aliases(&self, found: Vec<Key>) -> Vec<Self> {
        let keys: BTreeSet<Key> = found.into_iter().chain(self.named.iter().cloned()).collect();
        let soft = |key| Self {
            target: self.target,
            erasure: Erasure { key, has_index: false, mark: None },
            grace: self.grace,
            named: Vec::new(),
            tries: self.tries - 1,
        };
        keys.into_iter().filter(|key| *key != self.erasure.key).map(soft).collect()
    }
}
