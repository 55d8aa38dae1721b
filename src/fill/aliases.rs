//! The further keys of a member: claimed once it is known what they are called, registered in the step that writes the
//! member, and written only when that registration cannot be lost any more.
//!
//! The order is what lets an invalidation find them. An alias that is claimed before it is registered loses its claim to
//! an invalidation that reads the registration; one that is written only after the registration has reached the replicas
//! is still registered after a failover. An alias that cannot be had now is left out: readers then miss, and do not err.

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::domain::entity::{Alias, Entity, Writers};
use crate::domain::key::Key;
use crate::domain::store::{Claim, ClaimAsk, ClaimMode, Claimed, Committed, Confirmed, Landing, Rules, Write};
use crate::fill::claim::give_back;
use crate::fill::metrics::AliasEnd;
use crate::fill::{Filler, Job};

/// An alias of one member: its key, what is to stand there, and the right to write it.
pub(super) struct Named {
    key: Key,
    content: Bytes,
    claim: Box<dyn Claim>,
}

impl Named {
    pub fn key(&self) -> &Key {
        &self.key
    }
}

impl Filler {
    /// Claims every alias that the member has by this value, each in its own slot.
    pub(super) async fn claim_aliases(&self, job: &Job, value: &Bytes) -> Vec<Named> {
        let aliases = job.member.entity.aliases();
        let claims = aliases.iter().filter_map(|alias| self.called(job, alias, value)).map(|(key, content)| {
            let entity = &job.member.entity;
            async move {
                let claim = self.claim_alias(&key).await;
                if claim.is_none() {
                    self.metrics.aliases_ended(entity, AliasEnd::NotClaimed, 1);
                }
                Some(Named { key, content, claim: claim? })
            }
        });
        join_all(claims).await.into_iter().flatten().collect()
    }

    /// The key of an alias and what stands there. None where the member has no such alias, or where its key would be
    /// another template's or none at all: that is counted, and never written.
    fn called(&self, job: &Job, alias: &Alias, value: &Bytes) -> Option<(Key, Bytes)> {
        let entity = &job.member.entity;
        let params = alias.params(&job.member, value)?;
        match job.settings.catalog.alias_key(entity, alias, &params) {
            Ok(key) => Some((key, alias.content(&job.member, value)?)),
            Err(error) => {
                tracing::debug!(entity = %entity.name(), alias = %alias.name, %error, "an alias is left out");
                self.metrics.aliases_ended(entity, AliasEnd::BadKey, 1);
                None
            }
        }
    }

    /// Even where something stands already: it may be another member's by now, or an app's. Not where another fill has
    /// the claim, since that one may know better.
    async fn claim_alias(&self, key: &Key) -> Option<Box<dyn Claim>> {
        if !self.gate.is_open(key.slot()) {
            return None;
        }
        match self.store.claim(ClaimAsk { key, life: self.config.claim_life, mode: ClaimMode::Refresh }).await {
            Ok(Claimed::Held(claim)) => Some(claim),
            Ok(Claimed::Fresh | Claimed::Absent | Claimed::InFlight { .. }) | Err(_) => None,
        }
    }

    /// Writes the aliases of a member that was written by `landing`, which was asked for at `sent`.
    pub(super) async fn write_aliases(&self, job: &Job, mut named: Vec<Named>, landing: Landing, sent: Instant) {
        let entity = &job.member.entity;
        let Landing { committed: _, ttl, aliases: room, confirmation, is_marked: _ } = landing;
        let beyond = named.split_off(room.min(named.len()));
        self.metrics.aliases_ended(entity, AliasEnd::NoRoom, beyond.len());
        give_up(beyond).await;
        if named.is_empty() {
            return;
        }
        let confirmed = match confirmation {
            Some(confirmation) => confirmation.await,
            None => Confirmed::Short,
        };
        let left = ttl.saturating_sub(sent.elapsed());
        if confirmed == Confirmed::Short || left.is_zero() {
            self.metrics.aliases_ended(entity, AliasEnd::Unconfirmed, named.len());
            give_up(named).await;
            return;
        }
        let writes = named.into_iter().map(|Named { key: _, content, claim }| {
            let write = Write { rules: rules_of_alias(entity), ..Write::plain(content, left) };
            async move { claim.commit(write).await }
        });
        for end in join_all(writes).await {
            let end = match end.map(|landing| landing.committed) {
                Ok(Committed::Written) => AliasEnd::Written,
                Ok(Committed::Fenced | Committed::Kept | Committed::Superseded) | Err(_) => AliasEnd::Refused,
            };
            self.metrics.aliases_ended(entity, end, 1);
        }
    }
}

/// A floor and a lag are the member's, and its write has heeded them; but an app may write an alias as it may the member.
fn rules_of_alias(entity: &Entity) -> Rules {
    Rules { is_shared: entity.writers() == Writers::Shared, ..Rules::default() }
}

pub(super) async fn give_up(named: Vec<Named>) {
    join_all(named.into_iter().map(|Named { claim, .. }| give_back(claim))).await;
}
