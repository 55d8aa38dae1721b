//! More than is worked on at once: what stands in the way of some must not stand in the way of all, nor pile up.

use hydrant::invalidate::jobs::JobState;
use hydrant::invalidate::request::{Mode, State, Target};
use std::time::Duration;

use crate::invalidate_world::{Redis, Sidecar, member, user};
use crate::support::wait::until;

/// More than one look at the journal finds, and more than are taken over at a time.
const MANY: usize = 300;

#[tokio::test(start_paused = true)]
async fn what_cannot_be_done_does_not_keep_a_peer_from_what_can() {
    let redis = Redis::new();
    let dead = Sidecar::new(&redis, 1, vec![user()], None);
    redis.faults.now().keys.extend(["user:7".to_owned(), "user:8".to_owned()]);
    let call = async |id| {
        let answer = dead.call(Mode::Remove, vec![Target::Member(member("user", id))]).await.expect("promised");
        let State::Pending { job, .. } = answer.state else { panic!("{:?}", answer.state) };
        job
    };
    for _ in 0..MANY {
        call("7").await;
    }
    let last = call("8").await;
    dead.tasks.drain(Duration::from_secs(1)).await;
    let before = dead.invalidate.job(last.as_str()).await.expect("known").attempts;
    drop(dead);

    redis.put("user:8", "old");
    redis.faults.now().keys.remove("user:8");
    let other = Sidecar::new(&redis, 2, vec![user()], None);
    other.invalidate.start().await.expect("no spool");
    until("the one that can be done", async || redis.value("user:8").await.is_none()).await;
    until("its end", async || {
        let job = other.invalidate.job(last.as_str()).await.expect("known");
        job.state == JobState::Succeeded && job.attempts > before && job.holder == "pod-2"
    })
    .await;
    assert_eq!(redis.backlog().await, MANY as u64);
}
