//! Warm-up plans as they are configured, with what names the members of each of their steps.

use std::sync::Arc;

use crate::config::{Listed, WarmUp};
use crate::domain::listing::Listing;
use crate::domain::removal::Removal;
use crate::fill::settings::Live;
use crate::warm::named::Named;
use crate::warm::plan::Plans;
use crate::warm::tagged::Tagged;

/// Makes listings, at the start and at every reload.
pub struct Lists {
    pub removal: Arc<dyn Removal>,
    pub live: Live,
}

impl Lists {
    pub fn plans(&self, warmup: WarmUp) -> Plans {
        let WarmUp { plans, origins } = warmup;
        let listings = origins.into_iter().map(|(step, listed)| (step, self.listing(listed))).collect();
        Plans { plans, listings }
    }

    fn listing(&self, listed: Listed) -> Arc<dyn Listing> {
        match listed {
            Listed::Named(members) => Arc::new(Named(members)),
            Listed::Tag { entity, tag, text } => {
                Arc::new(Tagged::new(self.removal.clone(), self.live.clone(), entity, tag, &text))
            }
        }
    }
}
