//! A step that the whole fleet carries out: whoever holds the lease reads the list and puts page after page where all
//! workers take them, its own among them, and watches what is left.
//!
//! So many shards wait at most; what is put before the oldest of them is finished, so that is what a checkpoint notes. The
//! fence is on the checkpoint: a runner that was replaced can put a page too many, whose members are then fresh.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::domain::entity::Name;
use crate::domain::listing::{Cursor, Listing};
use crate::domain::shards::{Shards, Standing};
use crate::domain::store::StoreError;
use crate::warm::checkpoint::Checkpoint;
use crate::warm::course::Course;
use crate::warm::fill::{Filling, Stop};
use crate::warm::plan::Step;
use crate::warm::shard::Shard;

/// Shards that wait or are being worked on: enough for a fleet, and at most a few megabytes in Redis.
const WINDOW: u64 = 64;
/// Between looks at what is left.
const LOOK: Duration = Duration::from_millis(200);
/// A store that is away for longer than this ends the step; the lease would not last longer either.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn spread(
    filling: &mut Filling<'_>,
    course: &Course<'_>,
    shards: &dyn Shards,
    place: (usize, &Step, &Name),
    listing: &dyn Listing,
    after: Option<Cursor>,
) -> Result<(), Stop> {
    let lock = &course.plan.lease.lock;
    course.tenure.pass(course.plan.rules.timeout).await;
    shards.open(lock).await.map_err(Stop::Store)?;
    let spread = hand_out(filling, course, shards, place, listing, after).await;
    // What is left is read from the list again, by whoever goes on.
    if let Err(error) = shards.close(lock).await {
        tracing::debug!(%error, "the shards that are left end by themselves");
    }
    spread
}

async fn hand_out(
    filling: &mut Filling<'_>,
    course: &Course<'_>,
    shards: &dyn Shards,
    (at, step, entity): (usize, &Step, &Name),
    listing: &dyn Listing,
    after: Option<Cursor>,
) -> Result<(), Stop> {
    let (plan, mut heard) = (course.plan, Instant::now());
    // Where the next page begins; none after the last.
    let mut next = Some(after);
    let mut left = 0;
    loop {
        while let (true, Some(from)) = (left < WINDOW, next.clone()) {
            let page = filling.page(listing, from.as_ref()).await?;
            let names = [plan.name.as_str(), step.name.as_str(), entity.as_str()];
            let trace = course.trace.child(&course.warm.tools.random);
            let shard = Shard::new(names, trace, from.as_ref(), page.members);
            course.tenure.pass(plan.rules.timeout).await;
            shards.put(&plan.lease.lock, shard.into_bytes()).await.map_err(Stop::Store)?;
            if page.next.is_some() && page.next == from {
                return Err(Stop::Listing("it does not move on".to_owned()));
            }
            next = page.next.map(Some);
            left += 1;
        }
        match shards.standing(&plan.lease.lock).await {
            Ok(standing) => {
                heard = Instant::now();
                left = standing.left;
                account(filling, course, at, &standing).await;
                if left == 0 && next.is_none() {
                    return Ok(());
                }
            }
            Err(error) => wait_for(error, heard)?,
        }
        filling.check()?;
        sleep(LOOK).await;
    }
}

fn wait_for(error: StoreError, heard: Instant) -> Result<(), Stop> {
    if heard.elapsed() > PATIENCE { Err(Stop::Store(error)) } else { Ok(()) }
}

/// Takes over what was done, and notes from where another would have to go on.
async fn account(filling: &Filling<'_>, course: &Course<'_>, at: usize, standing: &Standing) {
    filling.tally.lock().shared(standing.done, standing.workers, Instant::now());
    if let Some(oldest) = standing.oldest.as_ref().and_then(|shard| Shard::read(shard)) {
        course.note(Checkpoint::of(course.plan, at, oldest.from().as_ref())).await;
    }
}
