//! The mode SOFT: the value may live on for the grace, and nothing else is less than with a removal.

use std::time::Duration;

use hydrant::domain::declared_version::DeclaredVersion;
use hydrant::domain::entity::{AliasValue, Draft, Load};
use hydrant::domain::outcome::Outcome;
use hydrant::domain::projection::paths::Place;
use hydrant::domain::removal::Upheaval;
use hydrant::domain::store::Store;
use hydrant::invalidate::jobs::JobState;
use hydrant::invalidate::request::{Cause, MemberTarget, Mode, State, Stated, Target};
use tokio::time::{advance, sleep};

use crate::invalidate_world::{Redis, Sidecar, alias, member};
use crate::support::catalog::draft;
use crate::support::store::key;
use crate::support::wait::until;

const GRACE: Duration = Duration::from_secs(5);
const OLD: &str = r#"{"id":"7","email":"a@b.c","rev":7}"#;

/// One user, cached, with an e-mail address.
async fn filled(redis: &Redis, more: Draft) -> Sidecar {
    let sidecar = Sidecar::new(redis, 1, vec![Draft { soft: Some(GRACE), ..more }], None);
    sidecar.invalidate.start().await.expect("no spool");
    assert_eq!(sidecar.fill("user", "7", OLD).await, Outcome::Filled);
    sidecar
}

fn user() -> Draft {
    Draft { aliases: vec![alias("email", AliasValue::Full)], ..draft("user") }
}

fn target() -> Vec<Target> {
    vec![Target::Member(member("user", "7"))]
}

async fn left(redis: &Redis, text: &str) -> Option<Duration> {
    let held = redis.store.read(&[key(text)]).await.expect("memory answers").remove(0)?;
    held.ttl
}

#[tokio::test(start_paused = true)]
async fn registered_aliases_end_with_the_grace_too() {
    let redis = Redis::new();
    let sidecar = filled(&redis, user()).await;
    sidecar.source.shut_gate();
    let answer = sidecar.call(Mode::Soft, target()).await.expect("done");
    assert!(matches!(answer.state, State::Done { .. }), "{:?}", answer.state);
    assert_eq!((answer.counts.matched, answer.counts.removed), (2, 2));
    for text in ["user:7", "user:email:a@b.c"] {
        assert!(left(&redis, text).await.is_some_and(|left| left <= GRACE), "{text}");
    }
    advance(GRACE).await;
    assert_eq!(redis.value("user:email:a@b.c").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_lags_refills_for_as_long_as_it_lags() {
    let redis = Redis::new();
    let plain = draft("user");
    let load = plain.load.clone().map(|load| Load { lag: Some(Duration::from_secs(20)), ..load });
    let sidecar = filled(&redis, Draft { load, ..plain }).await;
    sidecar.call(Mode::Soft, target()).await.expect("done");
    until("a refill", async || sidecar.metric(r#"hydrant_invalidate_refills_total{outcome="filled"}"#) == 1).await;
    assert!(left(&redis, "user:7").await.is_some_and(|left| left <= Duration::from_secs(20)), "it may be the old one");
}

#[tokio::test(start_paused = true)]
async fn a_version_below_the_callers_is_not_refilled() {
    let redis = Redis::new();
    let version = Some(DeclaredVersion::Number(Place::field("rev")));
    let sidecar = filled(&redis, Draft { version, ..draft("user") }).await;
    let newer = MemberTarget { min_version: Some(Stated::Number(8)), ..member("user", "7") };
    sidecar.call(Mode::Soft, vec![Target::Member(newer)]).await.expect("done");
    until("a try", async || sidecar.source.calls().len() == 2).await;
    sleep(GRACE).await;
    assert_eq!(redis.value("user:7").await, None, "the old value has had its grace");
}

#[tokio::test(start_paused = true)]
async fn it_is_done_when_the_replicas_know() {
    let redis = Redis::new();
    let sidecar = filled(&redis, user()).await;
    redis.faults.now().erased_short = true;
    let answer = sidecar.call(Mode::Soft, target()).await.expect("promised");
    let State::Pending { job, cause, .. } = answer.state else { panic!("{:?}", answer.state) };
    assert_eq!(cause, Cause::ReplicasLate);
    redis.faults.now().erased_short = false;
    until("its end", async || sidecar.invalidate.job(job.as_str()).await.expect("known").state == JobState::Succeeded)
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_an_upheaval_gives_its_whole_life_again_is_removed() {
    let redis = Redis::new();
    let sidecar = filled(&redis, draft("user")).await;
    sidecar.source.shut_gate();
    sidecar.call(Mode::Soft, target()).await.expect("done");
    redis.put("user:7", "old");
    redis.tell(Upheaval::Moved { slots: vec![(0, 16_383)] });
    until("it gone", async || redis.value("user:7").await.is_none()).await;
}
