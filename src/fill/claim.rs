//! The claim, and the ways to settle a fill without one.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::domain::backoff::Backoff;
use crate::domain::outcome::Outcome;
use crate::domain::store::{Claim, ClaimAsk, Claimed};
use crate::fill::ending::Filled;
use crate::fill::gate::Shut;
use crate::fill::{Filler, Job};

/// Between looks at a key that another process is filling: its fetch takes tens of milliseconds, and ten looks a second
/// cost Redis nothing.
const LOOKS: Backoff = match Backoff::new(Duration::from_millis(10), Duration::from_millis(100)) {
    Ok(backoff) => backoff,
    Err(_) => panic!("the first wait is the shorter one"),
};

impl Filler {
    /// Claims; while another process holds the claim, looks again until the deadline. Without a claim the fill has ended.
    pub(super) async fn claim_until_settled(&self, job: &Job) -> Result<Box<dyn Claim>, Filled> {
        let key = &job.member.key;
        for look in 0.. {
            if let Err(Shut) = self.gate.pass(key.slot(), job.deadline).await {
                return Err(Filled::because(Outcome::Failed, "an invalidation has to be carried out first"));
            }
            let ask = ClaimAsk { key, life: self.config.claim_life, mode: job.mode };
            match self.store.claim(ask).await {
                Ok(Claimed::Held(claim)) => return Ok(claim),
                Ok(Claimed::Fresh) => return Err(Filled::plain(Outcome::Fresh)),
                Ok(Claimed::Absent) => {
                    return Err(Filled::because(Outcome::Absent, "the source had none a moment ago"));
                }
                Ok(Claimed::InFlight { .. }) => {}
                Err(error) => return Err(Filled::from_store(error)),
            }
            let next = Instant::now() + LOOKS.jittered(look, self.random.unit());
            if next >= job.deadline {
                break;
            }
            sleep_until(next).await;
        }
        Err(Filled::because(Outcome::InFlight, "another fill of this key is still running"))
    }

    /// What a fill must not do (M8): hold its claim only from when its source has answered.
    pub(super) async fn claim_late(&self, job: &Job, early: Box<dyn Claim>) -> Result<Box<dyn Claim>, Filled> {
        give_back(early).await;
        self.claim_until_settled(job).await
    }
}

/// Gives a claim back. One that cannot be given back ends by itself; the fill's outcome is the same.
pub(super) async fn give_back(claim: Box<dyn Claim>) {
    if let Err(error) = claim.abort().await {
        tracing::debug!(%error, "a claim could not be given back");
    }
}
