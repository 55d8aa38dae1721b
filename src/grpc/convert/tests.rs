//! Each limit of the contract, the paths that are reported, and what is shown of secret members.

use std::sync::Arc;

use super::*;
use crate::domain::catalog::Catalog;
use crate::domain::entity::{Class, Draft, Entity, Name, Scope, Writers};
use crate::domain::outcome::{Resource, Written};
use crate::domain::projection::{Projection, Spec};
use crate::domain::random::Random;
use crate::domain::template::{Ids, Template};
use crate::domain::ttl::Ttl;

fn subject() -> pb::Subject {
    pb::Subject { user_id: "7".into(), ..Default::default() }
}

fn asked(change: impl FnOnce(&mut pb::PrehydrateRequest)) -> Result<Request, Error> {
    let mut message = pb::PrehydrateRequest { who: Some(Shown::Subject(subject())), ..Default::default() };
    change(&mut message);
    request(message, TraceContext::start(&Random::from_seed(1)), Instant::now())
}

fn stated(request: &Request) -> &Subject {
    let Who::Subject(subject) = &request.who else { panic!("a subject was stated") };
    subject
}

fn paths(result: Result<Request, Error>) -> (Kind, Vec<String>) {
    let error = result.expect_err("refused");
    (error.kind, error.fields.into_iter().map(|field| field.path).collect())
}

fn member(entity: &str, params: &[(&str, &str)]) -> pb::Member {
    let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    pb::Member { entity: entity.into(), alias: String::new(), params }
}

#[tokio::test]
async fn a_plain_request_is_accepted_and_waits_for_nothing() {
    let request = asked(|m| m.members = vec![member("user", &[("id", "7")])]).expect("a good request");
    let subject = stated(&request);
    assert_eq!(subject.user(), "7");
    assert_eq!((subject.session(), subject.tenant()), (None, None));
    assert_eq!((request.wait, request.freshness), (Wait::Accepted, Freshness::Keep));
    assert_eq!(request.members[0].params.get("id"), Some("7"));
}

#[tokio::test]
async fn how_to_answer_is_taken_over() {
    let completed = asked(|m| m.mode = pb::PrehydrateMode::Completed.into()).expect("a good request");
    assert!(matches!(completed.wait, Wait::Completed { .. }));
    let dry = asked(|m| (m.mode, m.dry_run, m.refresh) = (2, true, true)).expect("a good request");
    assert_eq!((dry.wait, dry.freshness), (Wait::DryRun, Freshness::Refresh));
    assert_eq!(paths(asked(|m| m.mode = 77)), (Kind::InvalidField, vec!["mode".into()]));
}

#[tokio::test]
async fn a_request_about_nobody_is_refused() {
    assert_eq!(paths(asked(|m| m.who = None)), (Kind::InvalidField, vec!["who".into()]));
}

#[tokio::test]
async fn all_violations_are_reported_at_once_with_their_paths() {
    let result = asked(|m| {
        m.who = Some(Shown::Subject(pb::Subject {
            user_id: String::new(),
            session_token: "s".repeat(8_193),
            tenant: "t".repeat(129),
            attributes: [("role".to_owned(), "r".repeat(1_025)), ("n".repeat(65), "x".into())].into(),
        }));
        m.members = vec![
            member("user", &[("id", "1")]),
            member("", &[("id", "1")]),
            member(&"e".repeat(65), &[("id", ""), ("other", &"v".repeat(513))]),
        ];
        m.mode = -1;
    });
    let expected = [
        "subject.user_id",
        "subject.session_token",
        "subject.tenant",
        "subject.attributes",
        "subject.attributes.role",
        "members[1].entity",
        "members[2].entity",
        "members[2].params.id",
        "members[2].params.other",
        "mode",
    ];
    assert_eq!(paths(result), (Kind::InvalidField, expected.map(str::to_owned).to_vec()));
}

#[tokio::test]
async fn limits_are_inclusive() {
    let request = asked(|m| {
        m.who = Some(Shown::Subject(pb::Subject {
            user_id: "u".repeat(256),
            session_token: "s".repeat(8_192),
            tenant: "t".repeat(128),
            attributes: (0..32).map(|n| (format!("{n:064}"), "a".repeat(1_024))).collect(),
        }));
        let params: Vec<_> = (0..16).map(|n| (format!("{n:064}"), "v".repeat(512))).collect();
        let full = pb::Member { entity: "e".repeat(64), alias: String::new(), params: params.into_iter().collect() };
        m.members = vec![full; 256];
    });
    assert_eq!(request.expect("within the limits").members.len(), 256);
}

#[tokio::test]
async fn too_many_of_anything_is_one_violation() {
    let many = |count: usize| (0..count).map(|n| (n.to_string(), "v".to_owned())).collect();
    let crowd = asked(|m| m.members = vec![member("", &[]); 257]);
    assert_eq!(paths(crowd).1, ["members"]);
    let params = asked(|m| m.members = vec![pb::Member { params: many(17), ..member("user", &[]) }]);
    assert_eq!(paths(params).1, ["members[0].params"]);
    let attributes = pb::Subject { attributes: many(33), ..subject() };
    assert_eq!(paths(asked(|m| m.who = Some(Shown::Subject(attributes)))).1, ["subject.attributes"]);
}

#[tokio::test]
async fn empty_text_in_a_subject_means_not_given() {
    let blank = pb::Subject { attributes: [("role".to_owned(), String::new())].into(), ..subject() };
    let request = asked(|m| m.who = Some(Shown::Subject(blank))).expect("a good request");
    let role = crate::domain::subject::Fact::Attribute("role".into());
    assert_eq!(stated(&request).fact(&role), None);
}

#[tokio::test]
async fn what_comes_later_is_refused_as_not_built() {
    let alias = asked(|m| m.members = vec![pb::Member { alias: "email".into(), ..member("user", &[]) }]);
    assert_eq!(paths(alias), (Kind::NotBuilt, vec!["members[0].alias".into()]));
}

#[tokio::test]
async fn a_cookie_within_its_limit_is_handed_on_unread() {
    let header = |length: usize| asked(|m| m.who = Some(Shown::CookieHeader("c".repeat(length))));
    let value = |length: usize| asked(|m| m.who = Some(Shown::CookieValue("c".repeat(length))));
    let whole = header(16_384).expect("a good request");
    assert!(matches!(&whole.who, Who::CookieHeader(cookie) if cookie.expose().len() == 16_384));
    let alone = value(8_192).expect("a good request");
    assert!(matches!(&alone.who, Who::CookieValue(cookie) if cookie.expose().len() == 8_192));
    assert!(!format!("{whole:?} {alone:?}").contains("ccc"));
    for length in [0, 16_385] {
        assert_eq!(paths(header(length)), (Kind::InvalidField, vec!["cookie_header".into()]));
    }
    for length in [0, 8_193] {
        assert_eq!(paths(value(length)), (Kind::InvalidField, vec!["cookie_value".into()]));
    }
}

fn session_entity(secret: bool) -> Catalog {
    let draft = Draft {
        name: Name::new("session").expect("a good name"),
        key: Template::for_key("session:token:{token}").expect("a good template"),
        ids: Ids::Plain,
        aliases: Vec::new(),
        scope: Scope::Shared,
        class: Class::Reference,
        bind: BTreeMap::new(),
        follows: None,
        load: None,
        ttl: Ttl::new(Duration::from_secs(60), 0, 0, None).expect("a good ttl"),
        projection: Projection::new(Spec { max_bytes: 1, allow: vec!["*".into()], ..Spec::default() }).expect("good"),
        owner: None,
        version: None,
        soft: None,
        writers: Writers::Hydrant,
        tags: Vec::new(),
        secret,
    };
    Catalog::new(vec![Entity::new(draft).expect("a good entity")]).expect("one template")
}

fn answered(catalog: &Catalog) -> pb::ResourceOutcome {
    let member = catalog.member("session", [("token", "abc")].into_iter().collect()).expect("a member");
    let _: &Arc<Entity> = &member.entity;
    let resource = Resource {
        member,
        outcome: Outcome::Filled,
        reason: String::new(),
        elapsed: Duration::from_millis(1_500),
        written: Some(Written { bytes: 12, ttl: Duration::from_secs(60), is_marked: false }),
        is_session_refused: false,
    };
    let planned = Planned { wanted: Wanted::Member(resource.member.clone()), why: Why::certain(Reason::Requested) };
    outcome_out(Line { planned, ending: Ending::of(resource) })
}

#[test]
fn a_resource_is_answered_with_its_key_and_size() {
    let line = answered(&session_entity(false));
    assert_eq!((line.key.as_str(), line.bytes, line.score), ("session:token:abc", 12, 1.0));
    assert_eq!(line.outcome(), pb::FillOutcome::Filled);
    assert_eq!(line.elapsed, Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }));
    assert_eq!((line.tier(), line.ttl.map(|ttl| ttl.seconds)), (pb::Tier::Redis, Some(60)));
}

#[test]
fn a_secret_id_is_answered_as_a_hash() {
    let line = answered(&session_entity(true));
    assert_eq!(line.key, "session:token:#ba7816bf8f01cfea");
    assert_eq!(line.member.expect("always given").params["token"], "#ba7816bf8f01cfea");
}
