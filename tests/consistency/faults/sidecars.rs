//! Faults of sidecars: stopped in the middle of a fill, killed in the middle of anything.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep};

use crate::run::Run;
use crate::stage::{CLAIM_LIFE, Stage};

/// Its source has the question and holds the answer back, so its claims are held and nothing is committed; then it is
/// stopped, the answers are sent, and it wakes: after a moment, or when its claims have long ended.
pub async fn stop_between_claim_and_commit(stage: &Stage, random: &mut StdRng) {
    let number = random.random_range(0..stage.sidecars.len());
    stage.origin.hold(Some(number));
    let end = Instant::now() + Duration::from_secs(2);
    while stage.origin.waiting() == 0 && Instant::now() < end {
        // tidy: waits because it looks again and again, with a bound
        sleep(Duration::from_millis(5)).await;
    }
    stage.sidecars[number].signal("STOP");
    stage.origin.hold(None);
    let asleep = if random.random_bool(0.5) { Duration::from_millis(800) } else { CLAIM_LIFE + Duration::from_secs(1) };
    // tidy: waits because it is stopped for a while
    sleep(asleep).await;
    stage.sidecars[number].signal("CONT");
}

/// In the middle of an invalidation: after the journal, after the primary or before the answer, as it happens.
pub async fn kill(stage: &Stage, run: &Run, random: &mut StdRng) {
    let number = random.random_range(0..stage.sidecars.len());
    let end = Instant::now() + Duration::from_secs(2);
    while run.busy[number].load(Ordering::Relaxed) == 0 && Instant::now() < end {
        tokio::task::yield_now().await;
    }
    // tidy: waits because the moment is to be another each time; an invalidation takes a few milliseconds
    sleep(Duration::from_micros(random.random_range(0..4_000))).await;
    stage.sidecars[number].kill();
    // tidy: waits because it is gone for a while: sometimes for longer than it takes peers to take over
    sleep(Duration::from_millis(random.random_range(100..4_000))).await;
    stage.sidecars[number].launch();
    stage.sidecars[number].wait_until_serving().await;
}
