//! What every part of the flow works with.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::invalidate::recent::Recent;
use crate::invalidate::sweep::{self, pace::Paces};
use crate::invalidate::{Config, Forget, Hands, Means};

/// Cloning shares it.
#[derive(Clone)]
pub struct Tools {
    pub config: Arc<Config>,
    pub hands: Hands,
    pub means: Means,
    pub forget: Forget,
    pub recent: Recent,
    pub paces: Paces,
    /// Values of aliases that may be in memory to see whose they are.
    pub lookups: Arc<Semaphore>,
}

impl Tools {
    pub fn for_sweeps(&self, claim_life: Duration, reload: sweep::Reload) -> sweep::Tools {
        sweep::Tools {
            removal: self.hands.removal.clone(),
            live: self.means.live.clone(),
            claim_life,
            paces: self.paces.clone(),
            random: self.means.random.clone(),
            recent: self.recent.clone(),
            forget: self.forget.clone(),
            reload,
        }
    }
}
