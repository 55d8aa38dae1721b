//! Faults of sidecars: stopped in the middle of a fill, killed in the middle of anything.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep};

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

/// At any moment: after the journal, after the primary, before the answer.
pub async fn kill(stage: &Stage, random: &mut StdRng) {
    let sidecar = &stage.sidecars[random.random_range(0..stage.sidecars.len())];
    sidecar.kill();
    // tidy: waits because it is gone for a while
    sleep(Duration::from_millis(random.random_range(100..2_500))).await;
    sidecar.launch();
    sidecar.wait_until_serving().await;
}
