//! Each limit of the contract with the path that is reported, what is handed on, and what is answered.

use std::time::Duration;

use super::*;
use crate::domain::error::Kind;
use crate::domain::journal::JobId;
use crate::domain::random::Random;
use crate::domain::secret::Secret;
use crate::domain::template::Params;

fn call() -> Call {
    Call { trace: TraceContext::start(&Random::from_seed(1)), until: Instant::now() }
}

/// Knows one cookie.
fn identify(who: Who) -> Result<Subject, Error> {
    match who {
        Who::Subject(subject) => Ok(subject),
        Who::CookieHeader(cookie) | Who::CookieValue(cookie) if cookie.expose() == "good" => {
            Ok(Subject::new("7".into(), Some(Secret::new("s")), None, Params::default()).expect("a good subject"))
        }
        Who::CookieHeader(_) => Err(Error::new(Kind::Unauthenticated, "expired")),
        Who::CookieValue(_) => Err(Error {
            fields: vec![FieldError::new("cookie_value", "no cookie")],
            ..Error::new(Kind::NotConfigured, "")
        }),
    }
}

fn asked(change: impl FnOnce(&mut pb::InvalidateRequest)) -> Result<Request, Error> {
    let mut message = pb::InvalidateRequest { targets: vec![target(Aimed::Member(member()))], ..Default::default() };
    change(&mut message);
    request(message, call(), identify)
}

fn aimed(aim: Aimed) -> Result<Request, Error> {
    asked(|m| m.targets = vec![target(aim)])
}

fn of_member(change: impl FnOnce(&mut pb::MemberTarget)) -> Result<Request, Error> {
    let mut member = member();
    change(&mut member);
    aimed(Aimed::Member(member))
}

fn target(aim: Aimed) -> pb::InvalidateTarget {
    pb::InvalidateTarget { target: Some(aim) }
}

fn member() -> pb::MemberTarget {
    let params = [("id".to_owned(), "7".to_owned())].into();
    let member = pb::Member { entity: "user".into(), alias: String::new(), params };
    pb::MemberTarget { member: Some(member), ..Default::default() }
}

fn paths(result: Result<Request, Error>) -> String {
    let error = result.expect_err("refused");
    let paths: Vec<String> = error.fields.into_iter().map(|field| field.path).collect();
    format!("{:?} {}", error.kind, paths.join(" "))
}

fn keys(keys: Vec<String>) -> Result<Request, Error> {
    aimed(Aimed::Keys(pb::KeysTarget { keys }))
}

fn subject(who: Option<Said>) -> Result<Request, Error> {
    aimed(Aimed::Subject(pb::SubjectTarget { who, forget: false }))
}

fn stated(user_id: &str) -> Option<Said> {
    Some(Said::Subject(pb::Subject { user_id: user_id.into(), ..Default::default() }))
}

fn number(number: i64) -> Option<pb::Version> {
    Some(pb::Version { kind: Some(pb::version::Kind::Number(number)) })
}

fn time(seconds: i64, nanos: i32) -> Option<pb::Version> {
    Some(pb::Version { kind: Some(pb::version::Kind::Time(prost_types::Timestamp { seconds, nanos })) })
}

#[tokio::test]
async fn every_limit_is_told_with_the_path_of_its_field() {
    let long = |bytes: usize| "x".repeat(bytes);
    let many = |count: usize| (0..count).map(|n| (n.to_string(), "v".to_owned())).collect();
    let known = |alias: &str| pb::AliasValue { alias: alias.into(), ..Default::default() };
    for (result, expected) in [
        (asked(|m| m.targets.clear()), "InvalidField targets"),
        (asked(|m| m.targets = vec![target(Aimed::Member(member())); 65]), "InvalidField targets"),
        (asked(|m| m.targets.push(pb::InvalidateTarget { target: None })), "InvalidField targets[1]"),
        (asked(|m| m.mode = 77), "InvalidField mode"),
        (asked(|m| m.reason = long(257)), "InvalidField reason"),
        (of_member(|m| m.member = None), "InvalidField targets[0].member.member"),
        (
            of_member(|m| m.member.as_mut().expect("given").entity.clear()),
            "InvalidField targets[0].member.member.entity",
        ),
        (
            of_member(|m| m.member.as_mut().expect("given").alias = long(65)),
            "InvalidField targets[0].member.member.alias",
        ),
        (
            of_member(|m| m.member.as_mut().expect("given").params = many(17)),
            "InvalidField targets[0].member.member.params",
        ),
        (
            of_member(|m| m.member.as_mut().expect("given").params = [("id".to_owned(), long(513))].into()),
            "InvalidField targets[0].member.member.params.id",
        ),
        (of_member(|m| m.known_aliases = vec![known("email"); 33]), "InvalidField targets[0].member.known_aliases"),
        (
            of_member(|m| m.known_aliases = vec![known("email"), known("")]),
            "InvalidField targets[0].member.known_aliases[1].alias",
        ),
        (
            of_member(|m| {
                m.known_aliases =
                    vec![pb::AliasValue { params: [("e".into(), String::new())].into(), ..known("email") }];
            }),
            "InvalidField targets[0].member.known_aliases[0].params.e",
        ),
        (of_member(|m| m.min_version = Some(pb::Version::default())), "InvalidField targets[0].member.min_version"),
        (of_member(|m| m.min_version = number(-1)), "InvalidField targets[0].member.min_version"),
        (of_member(|m| m.min_version = number(i64::MAX)), "InvalidField targets[0].member.min_version"),
        (of_member(|m| m.min_version = time(-1, 0)), "InvalidField targets[0].member.min_version"),
        (of_member(|m| m.min_version = time(1, -1)), "InvalidField targets[0].member.min_version"),
        (keys(vec![]), "InvalidField targets[0].keys.keys"),
        (keys(vec!["k".into(); 257]), "InvalidField targets[0].keys.keys"),
        (keys(vec!["k".into(), String::new()]), "InvalidField targets[0].keys.keys[1]"),
        (keys(vec![long(1_025)]), "InvalidField targets[0].keys.keys[0]"),
        (aimed(Aimed::Tag(pb::TagTarget { tag: String::new() })), "InvalidField targets[0].tag.tag"),
        (aimed(Aimed::Tag(pb::TagTarget { tag: long(257) })), "InvalidField targets[0].tag.tag"),
        (subject(None), "InvalidField targets[0].subject.who"),
        (subject(Some(Said::CookieHeader(long(16_385)))), "InvalidField targets[0].subject.cookie_header"),
        (subject(Some(Said::CookieValue(String::new()))), "InvalidField targets[0].subject.cookie_value"),
        (subject(stated("")), "InvalidField targets[0].subject.subject.user_id"),
        (subject(Some(Said::CookieHeader("old".into()))), "Unauthenticated "),
        (subject(Some(Said::CookieValue("old".into()))), "NotConfigured targets[0].subject.cookie_value"),
        (
            aimed(Aimed::Pattern(pb::PatternTarget { pattern: String::new() })),
            "InvalidField targets[0].pattern.pattern",
        ),
        (aimed(Aimed::Pattern(pb::PatternTarget { pattern: long(513) })), "InvalidField targets[0].pattern.pattern"),
        (
            aimed(Aimed::All(pb::AllTarget { entities: vec!["user".into(); 65] })),
            "InvalidField targets[0].all.entities",
        ),
        (aimed(Aimed::All(pb::AllTarget { entities: vec![String::new()] })), "InvalidField targets[0].all.entities[0]"),
    ] {
        assert_eq!(paths(result), expected);
    }
}

#[tokio::test]
async fn a_value_and_its_mode_go_together() {
    let replacement = Some(pb::Replacement { value: "v".into(), version: None });
    let replace = |m: &mut pb::InvalidateRequest| m.mode = pb::InvalidateMode::Replace.into();
    assert_eq!(paths(asked(replace)), "InvalidField targets[0].member.replacement");
    assert_eq!(paths(of_member(|m| m.replacement = replacement.clone())), "InvalidField targets[0].member.replacement");
    let tagged = asked(|m| {
        replace(m);
        m.targets = vec![target(Aimed::Tag(pb::TagTarget { tag: "t".into() }))];
    });
    assert_eq!(paths(tagged), "InvalidField targets[0]");
    let good = asked(|m| {
        replace(m);
        m.targets = vec![target(Aimed::Member(pb::MemberTarget { replacement, ..member() }))];
    });
    let good = good.expect("a good request");
    let [Target::Member(MemberTarget { replacement: Some(new), .. })] = &good.targets[..] else { panic!("a value") };
    assert_eq!((&new.value[..], good.mode), (&b"v"[..], Mode::Replace));
}

#[tokio::test]
async fn all_wrong_fields_are_told_before_a_cookie_is_blamed() {
    let mixed = asked(|m| {
        let logout = pb::SubjectTarget { who: Some(Said::CookieHeader("old".into())), forget: false };
        m.targets = vec![target(Aimed::Subject(logout)), pb::InvalidateTarget { target: None }];
        m.reason = "r".repeat(300);
    });
    assert_eq!(paths(mixed), "InvalidField targets[1] reason");
}

#[tokio::test]
async fn what_is_asked_is_handed_on() {
    let good = of_member(|m| {
        m.member.as_mut().expect("given").alias = "email".into();
        m.min_version = time(1, 500_000_000);
        let params = [("email".to_owned(), "old@x".to_owned())].into();
        m.known_aliases = vec![pb::AliasValue { alias: "email".into(), params }];
    });
    let good = good.expect("a good request");
    assert_eq!((good.mode, good.effect), (Mode::Remove, Effect::Real));
    let [Target::Member(member)] = &good.targets[..] else { panic!("a member") };
    assert_eq!((member.entity.as_str(), member.alias.as_deref()), ("user", Some("email")));
    assert_eq!(member.min_version, Some(Stated::Time(Duration::from_millis(1_500))));
    assert_eq!(member.known_aliases[0].params.get("email"), Some("old@x"));

    let logout = pb::SubjectTarget { who: Some(Said::CookieValue("good".into())), forget: true };
    let good = aimed(Aimed::Subject(logout)).expect("a good request");
    let [Target::Subject { subject, history }] = &good.targets[..] else { panic!("a subject") };
    assert_eq!((subject.user(), *history), ("7", History::Forget));
    assert_eq!(asked(|m| m.dry_run = true).expect("a good request").effect, Effect::Preview);
}

#[tokio::test]
async fn a_pending_answer_names_its_job() {
    let job = JobId::new("3-1700000000000-0").expect("a good id");
    let state = State::Pending { job, durability: Durability::Pod, cause: Cause::NodeUnavailable };
    let answer = Answer {
        trace: call().trace.trace_id(),
        state,
        counts: Counts { matched: 3, removed: 2, ..Counts::default() },
        target_counts: vec![Counts::default(); 2],
        sample_keys: vec!["user:7".into()],
        change: None,
    };
    let told = response(answer);
    let Some(Shown::Pending(pending)) = &told.state else { panic!("pending") };
    assert_eq!((pending.job_id.as_str(), pending.durability()), ("3-1700000000000-0", pb::Durability::Pod));
    assert_eq!(pending.cause(), pb::PendingCause::NodeUnavailable);
    let counts = told.counts.expect("always given");
    assert_eq!((counts.matched, counts.removed, told.target_counts.len()), (3, 2, 2));
}
