//! Warm-up plans as they are configured, with what names the members of each of their steps.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;

use crate::config::{Listed, WarmUp};
use crate::domain::entity::Name;
use crate::domain::lease::Leases;
use crate::domain::listing::Listing;
use crate::domain::removal::Removal;
use crate::domain::shards::Shards;
use crate::fill::Filler;
use crate::fill::settings::Live;
use crate::invalidate::Means;
use crate::source::any::AnySource;
use crate::source::listing;
use crate::telemetry::metrics::Registry;
use crate::warm::plan::{Listings, Plans};
use crate::warm::tagged::Tagged;
use crate::warm::{self, Adopt, Tools};

/// Where leases and shards are kept; a store of one process has no shards.
type Kept = (Arc<dyn Leases>, Option<Arc<dyn Shards>>);

/// What the flow works with: the means are those of the flow beside it.
pub fn tools((leases, shards): Kept, filler: &Filler, means: &Means, adopt: &Adopt, registry: &mut Registry) -> Tools {
    let Means { live, tasks, clock, random, metrics: _ } = means.clone();
    let metrics = warm::metrics::Metrics::register(registry);
    Tools { leases, shards, filler: filler.clone(), live, tasks, clock, random, adopt: adopt.clone(), metrics }
}

/// Makes listings, at the start and at every reload.
pub struct Lists {
    pub removal: Arc<dyn Removal>,
    pub live: Live,
}

impl Lists {
    /// Over the sources as they are now.
    pub fn plans(&self, warmup: WarmUp, sources: &BTreeMap<Name, AnySource>) -> anyhow::Result<Plans> {
        let WarmUp { plans, origins } = warmup;
        let mut listings = Listings::new();
        for ((plan, step), listed) in origins {
            let listing = self.listing(listed, sources).with_context(|| format!("warmup.{plan}.steps.{step}"))?;
            listings.insert((plan, step), listing);
        }
        Ok(Plans { plans, listings })
    }

    fn listing(
        &self,
        listed: Listed,
        sources: &BTreeMap<Name, AnySource>,
    ) -> Result<Arc<dyn Listing>, listing::BuildError> {
        match listed {
            Listed::Listing(config) => listing::build(&config, sources),
            Listed::Tag { entity, tag, text } => {
                Ok(Arc::new(Tagged::new(self.removal.clone(), self.live.clone(), entity, tag, &text)))
            }
        }
    }
}
