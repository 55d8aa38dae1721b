//! The write: the member under its claim, with its aliases registered in the same step, and then the aliases.

use bytes::Bytes;
use tokio::time::Instant;

use crate::domain::member_version::Version;
use crate::domain::mutant::{self, Mutant};
use crate::domain::outcome::Written;
use crate::domain::store::{Claim, Committed, Landing, Write};
use crate::fill::aliases::{Named, give_up};
use crate::fill::ending::Filled;
use crate::fill::metrics::AliasEnd;
use crate::fill::{Filler, Job};

impl Filler {
    pub(super) async fn commit(
        &self,
        job: &Job,
        claim: Box<dyn Claim>,
        value: Bytes,
        version: Option<Version>,
    ) -> Filled {
        let entity = &job.member.entity;
        let mut named = self.claim_aliases(job, &value).await;
        let bytes = value.len();
        let write = Write {
            value: value.clone(),
            ttl: entity.ttl().staggered(job.stagger_percent, &self.random),
            rules: entity.rules(version),
            aliases: named.iter().map(Named::key).cloned().collect(),
            registered_for: entity.registered_for(self.config.claim_life),
            untouched_for: job.untouched_for,
        };
        let sent = Instant::now();
        let written = |landing: &Landing| Written { bytes, ttl: landing.ttl, is_marked: landing.is_marked };
        let landing = match claim.commit(write).await {
            Ok(landing) if landing.committed == Committed::Written => landing,
            refused => {
                self.metrics.aliases_ended(entity, AliasEnd::NotTried, named.len());
                give_up(named).await;
                return match refused {
                    Ok(landing) => Filled::from_value(landing.committed, written(&landing)),
                    Err(error) => Filled::from_store(error),
                };
            }
        };
        if mutant::on(Mutant::M4AliasClaimedLate) {
            give_up(named).await;
            named = self.claim_aliases(job, &value).await;
        }
        let written = written(&landing);
        self.metrics.value_written(entity, bytes);
        // An alias may not outlive the member it leads to: what has passed since then is taken off.
        self.write_aliases(job, named, landing, sent).await;
        Filled::from_value(Committed::Written, written)
    }
}
