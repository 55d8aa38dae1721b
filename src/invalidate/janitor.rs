//! Takes out of indexes and tags what has ended long ago.
//!
//! Neither ends by itself: what stands in them leads an invalidation to keys that may still be there. Registering trims
//! a little on its way; what nobody registers in any more is for the janitor. It goes slowly, once an hour, one sidecar
//! of the group at a time; should two go at once, they do twice what is harmless.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::domain::journal::{JobId, Note};
use crate::domain::removal::{Primary, Removal, ScanStep};
use crate::domain::store::{Refusal, StoreError};
use crate::invalidate::work::Worker;

/// From one round to the next. Members end after minutes or hours, and cost a hundred bytes until they are taken out.
const ROUND: Duration = Duration::from_secs(3_600);
/// While a round goes on, others are told so this often.
const TOLD_AGAIN: Duration = Duration::from_secs(600);
/// Between steps of the scan: a hundredth of a primary's time at most, and a million keys in four minutes.
const PAUSE: Duration = Duration::from_millis(100);
const LOOKED_AT_ONCE: u32 = 500;
/// Names of Hydrant's indexes, whatever the key is called, and of its tags.
const PATTERNS: [&str; 2] = ["{*}:x*", "hydrant:{*}:tag"];

/// Goes round for ever.
pub async fn keep(worker: Worker) {
    let means = &worker.tools.means;
    // Sidecars that start together do not come together.
    sleep(ROUND.mul_f64(means.random.unit())).await;
    loop {
        if is_my_turn(&worker).await {
            let told_again = async {
                loop {
                    sleep(TOLD_AGAIN).await;
                    tell(&worker).await;
                }
            };
            tokio::select! {
                biased;
                trimmed = round(worker.tools.hands.removal.as_ref()) => match trimmed {
                    Ok(trimmed) => tracing::debug!(trimmed, "indexes and tags are trimmed"),
                    // It is only tidying: the next round comes.
                    Err(error) => tracing::debug!(%error, "indexes and tags could not be trimmed"),
                },
                () = told_again => {}
            }
        }
        sleep(ROUND.mul_f64(0.9 + 0.2 * means.random.unit())).await;
    }
}

/// Goes through every primary once; answers how many members were taken out.
pub async fn round(removal: &dyn Removal) -> Result<u64, StoreError> {
    let mut trimmed = 0;
    for primary in removal.primaries() {
        for pattern in PATTERNS {
            trimmed += through(removal, &primary, pattern).await?;
        }
    }
    Ok(trimmed)
}

async fn through(removal: &dyn Removal, primary: &Primary, pattern: &str) -> Result<u64, StoreError> {
    let (mut trimmed, mut cursor) = (0, Some(0));
    while let Some(from) = cursor {
        let begun = Instant::now();
        let page = removal.scan(ScanStep { primary, cursor: from, pattern, count: LOOKED_AT_ONCE }).await?;
        for name in page.keys {
            trimmed += trim(removal, &name).await?;
        }
        cursor = page.next;
        tokio::time::sleep_until(begun + PAUSE).await;
    }
    Ok(trimmed)
}

/// A little at a time, until nothing that has ended is left in it.
async fn trim(removal: &dyn Removal, name: &[u8]) -> Result<u64, StoreError> {
    let mut trimmed = 0;
    loop {
        match removal.trim(name).await {
            Ok(0) => return Ok(trimmed),
            Ok(more) => trimmed += more,
            // Somebody else's key, which only looks like one of ours.
            Err(StoreError::Refused(Refusal::WrongType | Refusal::NotAllowed)) => return Ok(trimmed),
            Err(error) => return Err(error),
        }
        sleep(PAUSE).await;
    }
}

/// Nobody has gone round of late; then others hear that we do.
async fn is_my_turn(worker: &Worker) -> bool {
    let Some(sign) = sign() else { return false };
    match worker.tools.hands.journal.standing(&sign).await {
        Ok(standing) if standing.note.is_none() => {
            tell(worker).await;
            true
        }
        Ok(_) => false,
        // Where the journal cannot be asked there is trouble enough.
        Err(error) => {
            tracing::trace!(%error, "whether somebody trims could not be asked");
            false
        }
    }
}

async fn tell(worker: &Worker) {
    let Some(sign) = sign() else { return };
    let note = Note { text: worker.tools.config.pod.clone().into(), life: ROUND };
    if let Err(error) = worker.tools.hands.journal.note(&sign, note).await {
        tracing::trace!(%error, "others may trim as well");
    }
}

/// Where sidecars leave word that one of them goes round: a place in the journal at which no intent can stand.
fn sign() -> Option<JobId> {
    JobId::new("0-0-1")
}
