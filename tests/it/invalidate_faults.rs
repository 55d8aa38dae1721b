//! Invalidations when something is in their way: what is promised then, and that what was promised is kept.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use hydrant::domain::entity::{Credential, Draft, Load, Writers};
use hydrant::domain::error::Kind;
use hydrant::domain::journal::Journal;
use hydrant::domain::outcome::Outcome;
use hydrant::domain::removal::{Primary, Upheaval};
use hydrant::domain::subject::{Fact, Subject};
use hydrant::domain::template::{Params, Template};
use hydrant::invalidate::jobs::JobState;
use hydrant::invalidate::request::{Cause, Durability, History, KnownAlias, Mode, State, Target};
use tokio::time::{Instant, advance, sleep};

use crate::invalidate_world::{DEADLINE, Redis, Sidecar, Step, member, params, request, user};
use crate::support::catalog::{draft, subject_draft};
use crate::support::wait::until;

const BODY: &str = r#"{"id":"7","email":"a@b.c"}"#;

fn target() -> Vec<Target> {
    let known = KnownAlias { alias: "email".to_owned(), params: params(&[("email", "old@b.c")]) };
    let mut member = member("user", "7");
    member.known_aliases.push(known);
    vec![Target::Member(member)]
}

async fn filled(redis: &Redis) -> Sidecar {
    let sidecar = Sidecar::new(redis, 1, vec![user()], None);
    assert_eq!(sidecar.fill("user", "7", BODY).await, Outcome::Filled);
    redis.put("user:email:old@b.c", "7");
    sidecar
}

async fn standing(redis: &Redis) -> Vec<&'static str> {
    let mut standing = Vec::new();
    for key in ["user:7", "user:email:a@b.c", "user:email:old@b.c"] {
        if redis.value(key).await.is_some() {
            standing.push(key);
        }
    }
    standing
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_is_away_does_not_matter_where_everything_can_be_removed_at_once() {
    let redis = Redis::new();
    let sidecar = filled(&redis).await;
    redis.faults.now().journal = true;
    let answer = sidecar.call(Mode::Remove, target()).await.expect("done");
    assert!(matches!(answer.state, State::Done { .. }), "{:?}", answer.state);
    assert!(standing(&redis).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn weeding_that_is_recorded_nowhere_is_promised_to_nobody() {
    let redis = Redis::new();
    let sidecar = Sidecar::new(&redis, 1, vec![Draft { writers: Writers::Shared, ..draft("cart") }], None);
    redis.put("cart:1", "old");
    redis.faults.now().journal = true;
    let targets = vec![Target::Member(member("cart", "1"))];
    let error = sidecar.call(Mode::Remove, targets).await.expect_err("a crash would lose it");
    assert_eq!(error.kind, Kind::JournalUnavailable);
    redis.put("cart:1", "old");
    sleep(Duration::from_millis(60)).await;
    until("it is weeded all the same", async || redis.value("cart:1").await.is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn what_can_be_neither_finished_nor_recorded_is_an_error_and_is_carried_out_all_the_same() {
    let redis = Redis::new();
    let sidecar = filled(&redis).await;
    {
        let mut wrong = redis.faults.now();
        wrong.journal = true;
        wrong.keys.insert("user:7".to_owned());
    }
    let error = sidecar.call(Mode::Remove, target()).await.expect_err("nothing is promised");
    assert_eq!(error.kind, Kind::JournalUnavailable);
    assert_eq!(standing(&redis).await, ["user:7", "user:email:a@b.c"], "what could be removed is removed");

    // While it waits, nothing is filled in its slots; then it comes before any fill.
    let waiting = sidecar.fill_as_it_is("user", "7");
    let mut waiting = std::pin::pin!(waiting);
    assert!(waiting.as_mut().now_or_never().is_none());
    redis.faults.now().keys.clear();
    assert_eq!(waiting.await, Outcome::Filled, "anew, because what stood there is gone");
    assert_eq!(sidecar.source.calls().len(), 2);
    assert_eq!(redis.backlog().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_away_leaves_a_job_that_is_followed_to_its_end() {
    let redis = Redis::new();
    let sidecar = filled(&redis).await;
    redis.faults.now().keys.insert("user:email:a@b.c".to_owned());
    let answer = sidecar.call(Mode::Remove, target()).await.expect("promised");
    let State::Pending { job, durability, cause } = answer.state else { panic!("{:?}", answer.state) };
    assert_eq!((durability, cause), (Durability::Fleet, Cause::NodeUnavailable));
    assert_eq!(standing(&redis).await, ["user:email:a@b.c"]);
    let mut states = sidecar.invalidate.watch(job.as_str()).await.expect("known");
    assert_eq!(states.next().await.expect("a state").expect("no error").state, JobState::Waiting);

    sleep(Duration::from_secs(3)).await;
    redis.faults.now().keys.clear();
    let last = states.collect::<Vec<_>>().await.pop().expect("a last state").expect("no error");
    assert_eq!(last.state, JobState::Succeeded);
    assert!(last.attempts > 2 && last.finished.is_some(), "{last:?}");
    assert!(standing(&redis).await.is_empty());
    until("an empty journal", async || redis.backlog().await == 0).await;

    let other = Sidecar::new(&redis, 2, vec![user()], None);
    let told = other.invalidate.job(job.as_str()).await.expect("any sidecar can tell");
    assert_eq!((told.state, told.reason.as_str()), (JobState::Succeeded, "a test"));
    sleep(Duration::from_secs(3_601)).await;
    assert_eq!(other.invalidate.job(job.as_str()).await.expect_err("long ago").kind, Kind::UnknownJob);
    assert_eq!(sidecar.invalidate.job(job.as_str()).await.expect_err("long ago").kind, Kind::UnknownJob);
}

#[tokio::test(start_paused = true)]
async fn an_intent_that_a_failover_brings_back_after_its_end_is_taken_off_again() {
    let redis = Redis::new();
    let sidecar = filled(&redis).await;
    sidecar.invalidate.start().await.expect("no spool");
    {
        let mut wrong = redis.faults.now();
        wrong.erased_short = true;
        wrong.finish_lost = true;
    }
    let answer = sidecar.call(Mode::Remove, target()).await.expect("promised");
    let State::Pending { job, .. } = answer.state else { panic!("{:?}", answer.state) };
    redis.faults.now().erased_short = false;
    let ended = async || sidecar.invalidate.job(job.as_str()).await.expect("known").state == JobState::Succeeded;
    until("its end", ended).await;
    assert_eq!(
        redis.backlog().await,
        1,
        "it is still there, and the sidecar that knows it to have ended keeps the journal"
    );
    redis.faults.now().finish_lost = false;
    until("an empty journal", async || redis.backlog().await == 0).await;
}

#[tokio::test(start_paused = true)]
async fn replicas_that_are_late_leave_a_job() {
    let redis = Redis::new();
    let sidecar = filled(&redis).await;
    redis.faults.now().erased_short = true;
    let answer = sidecar.call(Mode::Remove, target()).await.expect("promised");
    let State::Pending { job, cause, .. } = answer.state else { panic!("{:?}", answer.state) };
    assert_eq!(cause, Cause::ReplicasLate);
    redis.faults.now().erased_short = false;
    until("its end", async || sidecar.invalidate.job(job.as_str()).await.expect("known").state == JobState::Succeeded)
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_intent_that_no_replica_knows_promises_nothing() {
    let redis = Redis::new();
    let sidecar = filled(&redis).await;
    {
        let mut wrong = redis.faults.now();
        wrong.intents_short = true;
        wrong.erased_short = true;
    }
    let error = sidecar.call(Mode::Remove, target()).await.expect_err("nothing is promised");
    assert_eq!(error.kind, Kind::JournalUnavailable);
    redis.faults.now().erased_short = false;
    until("an empty journal", async || redis.backlog().await == 0).await;
    assert!(standing(&redis).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_kept_and_what_is_recorded_by_then_is_promised() {
    for (step, promised) in [
        (Step::Record, false),
        (Step::Recorded, false),
        (Step::IntentConfirmed, false),
        (Step::ErasePrimary, true),
        (Step::ErasedPrimary, true),
        (Step::EraseAlias, true),
    ] {
        let redis = Redis::new();
        let sidecar = filled(&redis).await;
        redis.faults.now().hangs = Some(step);
        let before = Instant::now();
        let answer = sidecar.call(Mode::Remove, target()).await;
        assert_eq!(before.elapsed(), DEADLINE, "{step:?}");
        match answer {
            Err(error) => {
                assert_eq!(error.kind, Kind::JournalUnavailable, "{step:?}");
                assert!(!promised, "{step:?}");
            }
            Ok(answer) => {
                let State::Pending { job, durability, cause } = answer.state else { panic!("{:?}", answer.state) };
                assert_eq!((durability, cause), (Durability::Fleet, Cause::Deadline), "{step:?}");
                assert!(promised, "{step:?}");
                let job = sidecar.invalidate.job(job.as_str()).await.expect("known");
                assert_eq!(job.state, JobState::Running);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_a_sidecar_was_at_when_it_died_another_finishes() {
    for step in
        [Step::Recorded, Step::IntentConfirmed, Step::ErasePrimary, Step::ErasedPrimary, Step::EraseAlias, Step::Finish]
    {
        let redis = Redis::new();
        let dead = filled(&redis).await;
        redis.faults.now().hangs = Some(step);
        // It hangs at that step for ever, which is as good as dead.
        let _ = dead.call(Mode::Remove, target()).await;
        redis.faults.now().hangs = None;
        assert_eq!(redis.backlog().await, 1, "{step:?}");

        let other = Sidecar::new(&redis, 2, vec![user()], None);
        other.invalidate.start().await.expect("no spool");
        until("an empty journal", async || redis.backlog().await == 0).await;
        assert!(standing(&redis).await.is_empty(), "{step:?}");
        assert_eq!(other.metric("hydrant_invalidate_taken_over_total"), 1, "{step:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_hangs_up_leaves_nothing_half_done() {
    let redis = Redis::new();
    let sidecar = filled(&redis).await;
    let invalidate = sidecar.invalidate.clone();
    let mut call = Box::pin(async move { invalidate.run(request(Mode::Remove, target())).await });
    assert!(call.as_mut().now_or_never().is_none(), "it has begun");
    drop(call);
    until("all of it gone", async || standing(&redis).await.is_empty()).await;
    until("an empty journal", async || redis.backlog().await == 0).await;
}

#[tokio::test(start_paused = true)]
async fn replicas_that_are_late_hold_up_no_fill() {
    let redis = Redis::new();
    let sidecar = filled(&redis).await;
    redis.faults.late();
    sidecar.call(Mode::Remove, target()).await.expect_err("nothing is promised");
    assert!(standing(&redis).await.is_empty(), "all of it is gone from the primaries");
    let filled = tokio::time::timeout(Duration::from_secs(1), sidecar.fill_as_it_is("user", "7")).await;
    assert_eq!(filled, Ok(Outcome::Filled), "it does not wait for the replicas");
}

#[tokio::test(start_paused = true)]
async fn what_the_spool_holds_is_promised_and_survives_a_restart() {
    let (redis, home) = (Redis::new(), tempfile::tempdir().expect("a directory"));
    let before = Sidecar::new(&redis, 1, vec![user()], Some(home.path()));
    before.invalidate.start().await.expect("an empty spool");
    assert_eq!(before.fill("user", "7", BODY).await, Outcome::Filled);
    {
        let mut wrong = redis.faults.now();
        wrong.journal = true;
        wrong.keys.insert("user:7".to_owned());
    }
    let mut long = request(Mode::Remove, target());
    // Files are written by the clock on the wall, which this test does not pause.
    long.until = Instant::now() + Duration::from_secs(3_600);
    let answer = before.invalidate.run(long).await.expect("promised");
    let State::Pending { job, durability, cause } = answer.state else { panic!("{:?}", answer.state) };
    assert_eq!((durability, cause), (Durability::Pod, Cause::NodeUnavailable));
    assert_eq!(before.metric("hydrant_invalidate_spool_files"), 1);
    before.tasks.drain(Duration::from_secs(1)).await;
    drop(before);

    let after = Sidecar::new(&redis, 2, vec![user()], Some(home.path()));
    after.invalidate.start().await.expect("readable");
    after.source.found("/user/7", BODY);
    assert!(after.fill_as_it_is("user", "7").now_or_never().is_none(), "the spool comes first");
    redis.faults.now().keys.clear();
    until("its end", async || {
        after.invalidate.job(job.as_str()).await.is_ok_and(|job| job.state == JobState::Succeeded)
    })
    .await;
    assert!(redis.value("user:7").await.is_none());
    assert_eq!(after.metric("hydrant_invalidate_spool_files"), 0);
    assert_eq!(after.fill_as_it_is("user", "7").await, Outcome::Filled);
}

/// More than is worked on at once, after a restart or without one.
const MANY: usize = 5_000;

#[tokio::test(start_paused = true)]
async fn what_the_spool_holds_beyond_what_is_worked_on_waits_there_for_its_turn() {
    let (redis, home) = (Redis::new(), tempfile::tempdir().expect("a directory"));
    let before = Sidecar::new(&redis, 1, vec![user()], Some(home.path()));
    before.invalidate.start().await.expect("an empty spool");
    {
        let mut wrong = redis.faults.now();
        wrong.journal = true;
        wrong.keys.extend(["user:7".to_owned(), "user:8".to_owned()]);
    }
    let mut jobs = Vec::new();
    for id in ["7", "8"] {
        let mut long = request(Mode::Remove, vec![Target::Member(member("user", id))]);
        long.until = Instant::now() + Duration::from_secs(3_600);
        let answer = before.invalidate.run(long).await.expect("promised");
        let State::Pending { job, .. } = answer.state else { panic!("{:?}", answer.state) };
        jobs.push(job);
    }
    before.tasks.drain(Duration::from_secs(1)).await;
    drop(before);
    let file = |name: &str| home.path().join("spool").join(format!("{name}.intent"));
    for number in 0..MANY {
        std::fs::copy(file(jobs[0].as_str()), file(&format!("pod-{number}"))).expect("copied");
    }
    // The youngest, and so the last in the line.
    std::fs::copy(file(jobs[1].as_str()), file("pod-last")).expect("copied");
    std::fs::remove_file(file(jobs[1].as_str())).expect("removed");

    redis.put("user:8", "old");
    redis.faults.now().keys.remove("user:8");
    let after = Sidecar::new(&redis, 2, vec![user()], Some(home.path()));
    after.invalidate.start().await.expect("readable");
    let queued = after.invalidate.job("pod-last").await.expect("it was promised");
    assert_eq!((queued.state, queued.durability), (JobState::Queued, Durability::Pod));
    let watched = after.invalidate.watch("pod-last").await.expect("known").collect::<Vec<_>>();
    let last = watched.await.pop().expect("a last state").expect("known");
    assert_eq!(last.state, JobState::Succeeded, "what cannot be done gives way to what can");
    assert_eq!(redis.value("user:8").await, None);

    redis.put("user:7", "old");
    redis.faults.now().keys.clear();
    until("an empty spool", async || after.metric("hydrant_invalidate_spool_files") == 0).await;
    assert_eq!(redis.value("user:7").await, None);
}

#[tokio::test(start_paused = true)]
async fn what_registers_before_the_subject_is_buried_goes_with_it() {
    let redis = Redis::new();
    let own = subject_draft("own");
    let load = own.load.clone().map(|load| Load { credential: Credential::Service, ..load });
    let key = Template::for_key("own:{id}:{part}").expect("a good template");
    let own = Draft { key, bind: [("id".to_owned(), Fact::User)].into(), load, ..own };
    let sidecar = Sidecar::new(&redis, 1, vec![own], None);
    redis.faults.now().burials = true;
    let subject = Subject::new("7".to_owned(), None, None, Params::default()).expect("a subject");
    let logout = vec![Target::Subject { subject, history: History::Keep }];
    let answer = sidecar.call(Mode::Remove, logout).await.expect("promised");
    let State::Pending { job, .. } = answer.state else { panic!("{:?}", answer.state) };

    sidecar.source.found("/own/7", "1");
    let settings = sidecar.live.get();
    let member = settings.catalog.member("own", params(&[("id", "7"), ("part", "cart")])).expect("a member");
    assert_eq!(sidecar.fill_member(member).await, Outcome::Filled, "nobody has heard of the logout");
    redis.faults.now().burials = false;
    until("its end", async || sidecar.invalidate.job(job.as_str()).await.expect("known").state == JobState::Succeeded)
        .await;
    assert_eq!(redis.value("own:7:cart").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_hangs_leaves_time_for_the_spool() {
    let (redis, home) = (Redis::new(), tempfile::tempdir().expect("a directory"));
    let sidecar = Sidecar::new(&redis, 1, vec![user()], Some(home.path()));
    sidecar.invalidate.start().await.expect("an empty spool");
    redis.put("user:7", "old");
    {
        let mut wrong = redis.faults.now();
        wrong.hangs = Some(Step::Record);
        wrong.keys.insert("user:7".to_owned());
    }
    let mut long = request(Mode::Remove, target());
    long.until = Instant::now() + Duration::from_secs(60);
    let answer = sidecar.invalidate.run(long).await.expect("promised");
    assert!(matches!(answer.state, State::Pending { durability: Durability::Pod, .. }), "{:?}", answer.state);
    redis.faults.now().keys.clear();
    until("all of it gone", async || standing(&redis).await.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_in_place_one_sidecar_sweeps_everything() {
    let redis = Redis::new();
    let sidecars = [1, 2].map(|seed| Sidecar::new(&redis, seed, vec![user(), draft("order")], None));
    for sidecar in &sidecars {
        sidecar.invalidate.start().await.expect("no spool");
    }
    for key in ["user:7", "user:email:a@b.c", "order:1"] {
        redis.put(key, "from the disk");
    }
    redis.put("session", "nobody's");
    redis.tell(Upheaval::Restarted { primary: Primary { name: "one".to_owned(), run: "second".to_owned() } });
    sleep(Duration::from_secs(3)).await;
    assert_eq!(redis.backlog().await, 1, "one has come forward");
    until("all of it gone", async || standing(&redis).await.is_empty() && redis.value("order:1").await.is_none()).await;
    assert!(redis.value("session").await.is_some());
    until("an empty journal", async || redis.backlog().await == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_sweep_after_a_restart_is_not_left_to_one_who_could_not_record_it() {
    let redis = Redis::new();
    let sidecars = [1, 2].map(|seed| Sidecar::new(&redis, seed, vec![draft("order")], None));
    for sidecar in &sidecars {
        sidecar.invalidate.start().await.expect("no spool");
    }
    redis.faults.now().journal = true;
    redis.tell(Upheaval::Restarted { primary: Primary { name: "one".to_owned(), run: "second".to_owned() } });
    sleep(Duration::from_secs(3)).await;
    // But for how long claims live, which all of them say.
    let signs: Vec<String> = redis.signs.lock().expect("unpoisoned").keys().map(|id| id.to_string()).collect();
    assert_eq!(signs, ["0-0-2"], "it would keep the others from it");
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_forgets_ends_no_work() {
    let redis = Redis::new();
    let sidecars = [Sidecar::new(&redis, 1, vec![user()], None), Sidecar::new(&redis, 2, vec![user()], None)];
    assert_eq!(sidecars[0].fill("user", "7", BODY).await, Outcome::Filled);
    redis.faults.now().keys.insert("user:email:a@b.c".to_owned());
    let answer = sidecars[0].call(Mode::Remove, target()).await.expect("promised");
    let State::Pending { job, .. } = answer.state else { panic!("{:?}", answer.state) };
    // As FLUSHALL does, or a primary that comes back from an old disk.
    redis.journal.finish(&job, None).await.expect("memory answers");
    sleep(Duration::from_secs(3)).await;
    let told = sidecars[1].invalidate.job(job.as_str()).await.expect("its worker leaves word of it");
    assert!(!told.state.is_final(), "{told:?}");
    redis.faults.now().keys.clear();
    until("all of it gone", async || standing(&redis).await.is_empty()).await;
    let ended = async || sidecars[1].invalidate.job(job.as_str()).await.is_ok_and(|job| job.state.is_final());
    until("the job's end", ended).await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_the_journal_forgot_with_its_worker_is_not_called_done() {
    let redis = Redis::new();
    let sidecar = filled(&redis).await;
    redis.faults.now().keys.insert("user:email:a@b.c".to_owned());
    let answer = sidecar.call(Mode::Remove, target()).await.expect("promised");
    let State::Pending { job, .. } = answer.state else { panic!("{:?}", answer.state) };
    let other = Sidecar::new(&redis, 2, vec![user()], None);
    let mut told = other.invalidate.watch(job.as_str()).await.expect("known");
    assert!(told.next().await.expect("a state").is_ok());
    sidecar.tasks.drain(Duration::from_secs(1)).await;
    redis.journal.finish(&job, None).await.expect("memory answers");
    sleep(Duration::from_secs(3_601)).await;
    let last = told.collect::<Vec<_>>().await.pop().expect("a last word");
    assert_eq!(last.expect_err("nobody knows").kind, Kind::UnknownJob);
}

#[tokio::test(start_paused = true)]
async fn slots_that_moved_have_their_removals_repeated() {
    let redis = Redis::new();
    let sidecar = filled(&redis).await;
    sidecar.invalidate.start().await.expect("no spool");
    sidecar.call(Mode::Remove, target()).await.expect("done");
    // What a failover brings back: the key, and an alias.
    redis.put("user:7", "old");
    redis.put("user:email:a@b.c", "7");
    sleep(Duration::from_secs(1)).await;
    redis.tell(Upheaval::Moved { slots: vec![(0, 16_383)] });
    until("all of it gone", async || standing(&redis).await.is_empty()).await;
    assert_eq!(sidecar.metric("hydrant_invalidate_repeated_total"), 3);
}

#[tokio::test(start_paused = true)]
async fn what_an_app_writes_back_is_weeded_out_and_what_a_fill_writes_stays() {
    let redis = Redis::new();
    let shared = |entity| Draft { writers: Writers::Shared, ..draft(entity) };
    let sidecar = Sidecar::new(&redis, 1, vec![shared("cart"), shared("list")], None);
    redis.put("cart:1", "old");
    redis.put("list:1", "old");
    let targets = vec![Target::Member(member("cart", "1")), Target::Member(member("list", "1"))];
    let answer = sidecar.call(Mode::Remove, targets).await.expect("done");
    assert!(matches!(answer.state, State::Done { .. }), "at once: {:?}", answer.state);
    redis.put("cart:1", "old");
    assert_eq!(sidecar.fill("list", "1", "new").await, Outcome::Failed, "no json");
    assert_eq!(sidecar.fill("list", "1", r#""new""#).await, Outcome::Filled);
    advance(Duration::from_millis(60)).await;
    until("the weed gone", async || redis.value("cart:1").await.is_none()).await;
    redis.put("cart:1", "older");
    advance(Duration::from_secs(2)).await;
    until("the later one too", async || redis.value("cart:1").await.is_none()).await;
    assert_eq!(redis.value("list:1").await.as_deref(), Some(r#""new""#));
    until("an empty journal", async || redis.backlog().await == 0).await;
    assert_eq!(sidecar.metric("hydrant_invalidate_weeded_total"), 2);
}

/// Half a minute, as two outages of some seconds each and the waits between tries.
#[tokio::test(start_paused = true)]
async fn what_an_app_writes_back_before_an_outage_is_weeded_out_after_it() {
    let redis = Redis::new();
    let sidecar = Sidecar::new(&redis, 1, vec![Draft { writers: Writers::Shared, ..draft("cart") }], None);
    redis.put("cart:1", "old");
    sidecar.call(Mode::Remove, vec![Target::Member(member("cart", "1"))]).await.expect("done");
    redis.faults.now().weeds.insert("cart:1".to_owned());
    redis.put("cart:1", "old");
    sleep(Duration::from_secs(30)).await;
    assert_eq!(redis.value("cart:1").await.as_deref(), Some("old"), "nobody can look at it");
    redis.faults.now().weeds.clear();
    // Before the value's own end.
    sleep(Duration::from_secs(5)).await;
    assert_eq!(redis.value("cart:1").await, None);
}
