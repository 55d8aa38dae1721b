//! `Invalidate` and its jobs over a real socket: each refusal with its code, reason and path, and nothing done.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use hydrant::domain::key::Key;
use hydrant::domain::store::Store;
use hydrant::grpc::Limits;
use hydrant::grpc::pb;
use hydrant::grpc::pb::invalidate_response::State;
use hydrant::grpc::pb::invalidate_target::Target;
use hydrant::grpc::pb::subject_target::Who;
use hydrant::grpc::server::Drained;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::support::door::{Running, Setup, login};
use crate::support::stub::StubSource;
use crate::support::wait::until;

/// What was asked, and what must be told: the code, the reason, the paths.
type Refusal = (pb::InvalidateRequest, Code, &'static str, &'static [&'static str]);

fn target(target: Target) -> pb::InvalidateTarget {
    pb::InvalidateTarget { target: Some(target) }
}

fn asked(targets: Vec<pb::InvalidateTarget>) -> pb::InvalidateRequest {
    pb::InvalidateRequest { targets, ..Default::default() }
}

fn one(aimed: Target) -> pb::InvalidateRequest {
    asked(vec![target(aimed)])
}

fn params(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn named(entity: &str, alias: &str, pairs: &[(&str, &str)]) -> pb::MemberTarget {
    let member = pb::Member { entity: entity.into(), alias: alias.into(), params: params(pairs) };
    pb::MemberTarget { member: Some(member), ..Default::default() }
}

fn member(entity: &str, alias: &str, pairs: &[(&str, &str)]) -> pb::InvalidateRequest {
    one(Target::Member(named(entity, alias, pairs)))
}

fn keys(keys: &[&str]) -> pb::InvalidateRequest {
    one(Target::Keys(pb::KeysTarget { keys: keys.iter().map(|key| (*key).to_owned()).collect() }))
}

fn pattern(pattern: &str) -> pb::InvalidateRequest {
    one(Target::Pattern(pb::PatternTarget { pattern: pattern.into() }))
}

fn subject(who: Option<Who>) -> pb::InvalidateRequest {
    one(Target::Subject(pb::SubjectTarget { who, forget: false }))
}

fn told(status: &Status) -> (Code, String, Vec<String>) {
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    let fields = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    (status.code(), reason, fields.into_iter().map(|violation| violation.field).collect())
}

async fn all_are_refused(door: &Running, refusals: Vec<Refusal>) {
    let mut control = door.client().await;
    for (request, code, reason, paths) in refusals {
        let shown = format!("{request:?}");
        let Err(status) = control.invalidate(request).await else { panic!("not refused: {shown}") };
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        assert_eq!(told(&status), (code, reason.to_owned(), paths), "{shown}");
        assert!(status.metadata().contains_key("hydrant-trace-id"), "{shown}");
    }
}

const WRONG: Code = Code::InvalidArgument;

#[tokio::test]
async fn a_request_that_says_nothing_or_too_much_is_told_which_field() {
    let door = Setup::default().start().await;
    let replace =
        |request: pb::InvalidateRequest| pb::InvalidateRequest { mode: pb::InvalidateMode::Replace.into(), ..request };
    let valued = pb::MemberTarget {
        replacement: Some(pb::Replacement { value: Bytes::from_static(b"{}"), version: None }),
        ..named("role", "", &[("id", "3")])
    };
    let role = || member("role", "", &[("id", "3")]);
    let long = "x".repeat(2_000);
    let refusals: Vec<Refusal> = vec![
        (asked(vec![]), WRONG, "INVALID_FIELD", &["targets"]),
        (asked(vec![pb::InvalidateTarget::default()]), WRONG, "INVALID_FIELD", &["targets[0]"]),
        (asked(vec![role().targets.remove(0); 65]), WRONG, "INVALID_FIELD", &["targets"]),
        (pb::InvalidateRequest { mode: 77, ..role() }, WRONG, "INVALID_FIELD", &["mode"]),
        (pb::InvalidateRequest { reason: long.clone(), ..role() }, WRONG, "INVALID_FIELD", &["reason"]),
        (one(Target::Member(pb::MemberTarget::default())), WRONG, "INVALID_FIELD", &["targets[0].member.member"]),
        (replace(role()), WRONG, "INVALID_FIELD", &["targets[0].member.replacement"]),
        (one(Target::Member(valued)), WRONG, "INVALID_FIELD", &["targets[0].member.replacement"]),
        (replace(keys(&["role:3"])), WRONG, "INVALID_FIELD", &["targets[0]"]),
        (keys(&[]), WRONG, "INVALID_FIELD", &["targets[0].keys.keys"]),
        (keys(&["role:3", "", &long]), WRONG, "INVALID_FIELD", &["targets[0].keys.keys[1]", "targets[0].keys.keys[2]"]),
        (one(Target::Tag(pb::TagTarget::default())), WRONG, "INVALID_FIELD", &["targets[0].tag.tag"]),
        (subject(None), WRONG, "INVALID_FIELD", &["targets[0].subject.who"]),
        (
            subject(Some(Who::Subject(pb::Subject::default()))),
            WRONG,
            "INVALID_FIELD",
            &["targets[0].subject.subject.user_id"],
        ),
        (
            subject(Some(Who::CookieValue("c".into()))),
            Code::FailedPrecondition,
            "NOT_CONFIGURED",
            &["targets[0].subject.cookie_value"],
        ),
        (pattern(""), WRONG, "INVALID_FIELD", &["targets[0].pattern.pattern"]),
        (pattern(&long), WRONG, "INVALID_FIELD", &["targets[0].pattern.pattern"]),
    ];
    all_are_refused(&door, refusals).await;
}

#[tokio::test]
async fn what_the_configuration_does_not_know_is_told_by_its_reason() {
    let door = Setup::default().start().await;
    let of_account = |change: fn(&mut pb::MemberTarget)| {
        let mut target = named("account", "", &[("id", "7")]);
        change(&mut target);
        one(Target::Member(target))
    };
    let all = |entities: &[&str]| {
        one(Target::All(pb::AllTarget { entities: entities.iter().map(|entity| (*entity).to_owned()).collect() }))
    };
    let refusals: Vec<Refusal> = vec![
        (member("nobody", "", &[("id", "3")]), WRONG, "UNKNOWN_ENTITY", &["targets[0].member.member.entity"]),
        (all(&["role", "nobody"]), WRONG, "UNKNOWN_ENTITY", &["targets[0].all.entities[1]"]),
        (member("account", "phone", &[("phone", "3")]), WRONG, "UNKNOWN_ALIAS", &["targets[0].member.member.alias"]),
        (
            of_account(|m| m.known_aliases = vec![pb::AliasValue { alias: "phone".into(), params: params(&[]) }]),
            WRONG,
            "UNKNOWN_ALIAS",
            &["targets[0].member.known_aliases[0].alias"],
        ),
        (
            of_account(|m| {
                m.known_aliases = vec![pb::AliasValue { alias: "email".into(), params: params(&[("email", "a{b")]) }];
            }),
            WRONG,
            "INVALID_FIELD",
            &["targets[0].member.known_aliases[0].params.email"],
        ),
        (member("role", "", &[]), WRONG, "INVALID_FIELD", &["targets[0].member.member.params.id"]),
        (member("role", "", &[("id", "*")]), WRONG, "INVALID_FIELD", &["targets[0].member.member.params.id"]),
        (member("role", "", &[("id", "a{b}")]), WRONG, "INVALID_FIELD", &["targets[0].member.member.params.id"]),
        (
            member("role", "", &[("id", "3"), ("colour", "red")]),
            WRONG,
            "INVALID_FIELD",
            &["targets[0].member.member.params.colour"],
        ),
        (
            member("account", "email", &[("email", "gone@x.org")]),
            Code::FailedPrecondition,
            "MEMBER_UNRESOLVED",
            &["targets[0].member"],
        ),
        (
            of_account(|m| {
                let kind = Some(pb::version::Kind::Time(prost_types::Timestamp { seconds: 1, nanos: 0 }));
                m.min_version = Some(pb::Version { kind });
            }),
            WRONG,
            "INVALID_FIELD",
            &["targets[0].member.min_version"],
        ),
        (
            one(Target::Member(pb::MemberTarget {
                min_version: Some(pb::Version { kind: Some(pb::version::Kind::Number(1)) }),
                ..named("role", "", &[("id", "3")])
            })),
            WRONG,
            "INVALID_FIELD",
            &["targets[0].member.min_version"],
        ),
        (
            asked([member("nobody", "", &[]), keys(&["order:3"])].into_iter().flat_map(|r| r.targets).collect()),
            WRONG,
            "INVALID_FIELD",
            &["targets[0].member.member.entity", "targets[1].keys.keys[0]"],
        ),
    ];
    all_are_refused(&door, refusals).await;
}

#[tokio::test]
async fn keys_patterns_and_modes_that_no_entity_has_are_refused() {
    let door = Setup::default().start().await;
    let soft = |request| pb::InvalidateRequest { mode: pb::InvalidateMode::Soft.into(), ..request };
    let refusals: Vec<Refusal> = vec![
        (soft(member("role", "", &[("id", "3")])), WRONG, "INVALID_FIELD", &["mode"]),
        (keys(&["order:3"]), WRONG, "FOREIGN_KEY", &["targets[0].keys.keys[0]"]),
        (keys(&["role:3", "{role:3}:g"]), WRONG, "FOREIGN_KEY", &["targets[0].keys.keys[1]"]),
        (keys(&["role:*"]), WRONG, "INVALID_FIELD", &["targets[0].keys.keys[0]"]),
        (pattern("*"), WRONG, "INVALID_FIELD", &["targets[0].pattern.pattern"]),
        (pattern("ro*"), WRONG, "INVALID_FIELD", &["targets[0].pattern.pattern"]),
        (pattern("role:["), WRONG, "INVALID_FIELD", &["targets[0].pattern.pattern"]),
        (pattern("order:*"), WRONG, "FOREIGN_KEY", &["targets[0].pattern.pattern"]),
        (pattern("hydrant:*"), WRONG, "FOREIGN_KEY", &["targets[0].pattern.pattern"]),
    ];
    all_are_refused(&door, refusals).await;
}

#[tokio::test]
async fn a_given_value_is_refused_as_a_loaded_one_would_be() {
    let door = Setup::default().start().await;
    let mut control = door.client().await;
    for value in ["{not json", r#"{"card":"4111 1111 1111 1111"}"#] {
        let version = Some(pb::Version { kind: Some(pb::version::Kind::Number(1)) });
        let replacement = Some(pb::Replacement { value: Bytes::from_static(value.as_bytes()), version });
        let valued = pb::MemberTarget { replacement, ..named("account", "", &[("id", "7")]) };
        let request = pb::InvalidateRequest { mode: pb::InvalidateMode::Replace.into(), ..one(Target::Member(valued)) };
        let status = control.invalidate(request).await.expect_err("refused");
        let expected = (WRONG, "VALUE_REFUSED".to_owned(), vec!["targets[0].member.replacement.value".to_owned()]);
        assert_eq!(told(&status), expected, "{value}");
        assert!(!format!("{status:?}").contains("4111"), "{status:?}");
    }
}

#[tokio::test]
async fn a_refused_request_changes_nothing_and_a_good_one_is_done() {
    let door = Setup::default().start().await;
    let key = |text: &'static str| Key::new(text).expect("a good key");
    let put = |text| door.store.put(&key(text), Bytes::from_static(b"7"), None);
    let held = async |text| door.store.read(&[key(text)]).await.expect("memory answers")[0].is_some();
    let mut control = door.client().await;
    put("account:7");
    put("account:email:a@x");
    let mixed = [member("account", "", &[("id", "7")]), keys(&["order:1"])];
    let mixed = asked(mixed.into_iter().flat_map(|request| request.targets).collect());
    control.invalidate(mixed).await.expect_err("one of them is wrong");
    assert!(held("account:7").await);

    let by_alias = member("account", "email", &[("email", "a@x")]);
    let preview = control.invalidate(pb::InvalidateRequest { dry_run: true, ..by_alias.clone() }).await;
    assert!(matches!(preview.expect("served").into_inner().state, Some(State::Preview(_))));
    assert!(held("account:7").await);
    let done = control.invalidate(by_alias).await.expect("served").into_inner();
    assert!(matches!(done.state, Some(State::Done(_))), "{done:?}");
    assert_eq!(done.counts.map(|counts| (counts.matched, counts.removed)), Some((2, 2)));
    assert_eq!((done.trace_id.len(), done.target_counts.len()), (32, 1));
    assert!(!held("account:7").await && !held("account:email:a@x").await);
}

#[tokio::test]
async fn a_job_nobody_has_is_not_found_and_an_id_nobody_can_have_is_a_mistake() {
    let door = Setup::default().start().await;
    let mut control = door.client().await;
    for (job_id, code, reason) in [
        (String::new(), WRONG, "INVALID_FIELD"),
        ("x".repeat(129), WRONG, "INVALID_FIELD"),
        ("0-4711".to_owned(), Code::NotFound, "UNKNOWN_JOB"),
        ("no such id".to_owned(), Code::NotFound, "UNKNOWN_JOB"),
        ("{hydrant}".to_owned(), Code::NotFound, "UNKNOWN_JOB"),
    ] {
        let got = control.get_job(pb::GetJobRequest { job_id: job_id.clone() }).await.expect_err("refused");
        let watched = control.watch_job(pb::WatchJobRequest { job_id: job_id.clone() }).await.expect_err("refused");
        for status in [got, watched] {
            let (told_code, told_reason, paths) = told(&status);
            assert_eq!((told_code, told_reason.as_str()), (code, reason), "{job_id}");
            assert_eq!(paths.concat(), if reason == "INVALID_FIELD" { "job_id" } else { "" }, "{job_id}");
        }
    }
}

#[tokio::test]
async fn a_watcher_hears_of_its_job_at_once_and_of_the_end_of_the_process() {
    let door = Setup::default().start().await;
    let mut control = door.client().await;
    let answer = control.invalidate(pattern("role:*")).await.expect("served").into_inner();
    let Some(State::Pending(pending)) = answer.state else { panic!("a sweep takes two passes: {answer:?}") };
    let job_id = pending.job_id;
    let got = control.get_job(pb::GetJobRequest { job_id: job_id.clone() }).await.expect("known").into_inner();
    assert_eq!(got.job.expect("always given").job_id, job_id);
    let mut watching = control.watch_job(pb::WatchJobRequest { job_id }).await.expect("known").into_inner();
    let first = watching.message().await.expect("no error").and_then(|told| told.job).expect("at once");
    assert_eq!((first.kind(), first.holder.as_str()), (pb::JobKind::Sweep, "pod-1"));
    door.stop();
    let ended = loop {
        match watching.message().await {
            Ok(told) => assert!(told.is_some(), "it ends with a status"),
            Err(status) => break status,
        }
    };
    assert_eq!(told(&ended).1, "SHUTTING_DOWN");
    assert_eq!(door.drained().await, Drained::Whole);
}

#[tokio::test]
async fn a_value_of_megabytes_travels_in_an_invalidation_alone() {
    let door = Setup::default().start().await;
    let mut control = door.client().await;
    let valued = |bytes: usize| {
        let value = Bytes::from(vec![b'x'; bytes]);
        let member = pb::MemberTarget {
            replacement: Some(pb::Replacement { value, version: None }),
            ..named("nobody", "", &[("id", "3")])
        };
        pb::InvalidateRequest { mode: pb::InvalidateMode::Replace.into(), ..one(Target::Member(member)) }
    };
    let status = control.invalidate(valued(3 << 20)).await.expect_err("an unknown entity");
    assert_eq!(told(&status).1, "UNKNOWN_ENTITY");
    let status = control.invalidate(valued(4 << 20)).await.expect_err("too large");
    assert_eq!(told(&status), (Code::ResourceExhausted, "TOO_LARGE".to_owned(), vec![]));
}

#[tokio::test]
async fn logins_that_take_every_place_leave_some_for_invalidations() {
    let limits = Limits { in_flight: 4, queue: Duration::from_millis(20), ..Limits::default() };
    let door = Setup { limits, source: StubSource::shut(), ..Setup::default() }.start().await;
    let mut busy = Vec::new();
    for _ in 0..4 {
        let mut control = door.client().await;
        busy.push(door.tasks.until_stop(async move { drop(control.prehydrate(login()).await) }));
    }
    until("every place taken", async || door.metrics.calls_in_flight() == 4).await;
    let mut control = door.client().await;
    let shed = control.prehydrate(login()).await.expect_err("no place");
    assert_eq!(told(&shed).1, "SHED");
    for _ in 0..20 {
        let served = control.invalidate(asked(vec![])).await.expect_err("says nothing");
        assert_eq!(told(&served).1, "INVALID_FIELD");
    }
    door.source.open_gate();
    for login in busy {
        login.await.expect("no panic");
    }
}
