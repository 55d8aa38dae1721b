//! What every part of the flow works with.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::invalidate::recent::Recent;
use crate::invalidate::sweep::{self, pace::Paces};
use crate::invalidate::{Config, Forget, Hands, Means};

/// Values of aliases in memory at a time, over all calls: with the size that a value has at most by default as much as the
/// fills hold.
pub const VALUES_AT_ONCE: usize = 16;

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
