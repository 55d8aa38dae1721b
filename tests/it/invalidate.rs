//! Invalidation over the memory store: every target and every mode, and everything that is refused.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join;
use hydrant::domain::declared_version::DeclaredVersion;
use hydrant::domain::entity::{AliasValue, Credential, Draft, Entity, Load};
use hydrant::domain::error::{Error, Kind};
use hydrant::domain::key::Key;
use hydrant::domain::outcome::Outcome;
use hydrant::domain::projection::paths::Place;
use hydrant::domain::projection::{Projection, Spec};
use hydrant::domain::pseudonym::Pseudonym;
use hydrant::domain::subject::{Fact, Subject};
use hydrant::domain::template::{Params, Template};
use hydrant::invalidate::jobs::{Detail, JobState};
use hydrant::invalidate::request::{
    Answer, Cause, Counts, Effect, Exactness, History, KnownAlias, MemberTarget, Mode, NewValue, State, Stated, Target,
};
use tokio::time::{advance, sleep};

use crate::invalidate_world::{Redis, Sidecar, alias, member, params, request, user};
use crate::support::catalog::{draft, subject_draft};
use crate::support::wait::until;

const BODY: &str = r#"{"id":"7","email":"a@b.c"}"#;

fn is_done(answer: &Answer) {
    assert!(matches!(answer.state, State::Done { .. }), "{:?}", answer.state);
}

fn by_email(email: &str) -> MemberTarget {
    let alias = Some("email".to_owned());
    MemberTarget { alias, params: params(&[("email", email)]), ..member("user", "7") }
}

fn keys(names: &[&str]) -> Target {
    Target::Keys(names.iter().map(|name| (*name).to_owned()).collect())
}

#[tokio::test(start_paused = true)]
async fn a_member_goes_with_every_key_that_leads_to_it() {
    let redis = Redis::new();
    let sidecar = Sidecar::new(&redis, 1, vec![user()], None);
    assert_eq!(sidecar.fill("user", "7", BODY).await, Outcome::Filled);
    redis.put("user:email:old@b.c", "7");
    redis.put("user:8", "another");
    let known = KnownAlias { alias: "email".to_owned(), params: params(&[("email", "old@b.c")]) };
    let target = MemberTarget { known_aliases: vec![known], ..member("user", "7") };
    let answer = sidecar.call(Mode::Remove, vec![Target::Member(target)]).await.expect("done");
    is_done(&answer);
    assert_eq!(answer.counts, Counts { matched: 3, removed: 3, ..Counts::default() });
    assert_eq!(answer.sample_keys, ["user:7", "user:email:a@b.c", "user:email:old@b.c"]);
    for gone in ["user:7", "user:email:a@b.c", "user:email:old@b.c"] {
        assert_eq!(redis.value(gone).await, None, "{gone}");
    }
    assert!(redis.value("user:8").await.is_some());
    assert_eq!(redis.backlog().await, 0);
    assert_eq!(sidecar.metric(r#"hydrant_invalidate_calls_total{mode="remove",outcome="done"}"#), 1);
    assert_eq!(sidecar.metric("hydrant_invalidate_keys_removed_total"), 3);
}

#[tokio::test(start_paused = true)]
async fn aliases_that_are_declared_elsewhere_go_as_well() {
    let redis = Redis::new();
    let newer = Sidecar::new(&redis, 1, vec![user()], None);
    let older = Sidecar::new(&redis, 2, vec![draft("user")], None);
    assert_eq!(newer.fill("user", "7", BODY).await, Outcome::Filled);
    is_done(&older.call(Mode::Remove, vec![Target::Member(member("user", "7"))]).await.expect("done"));
    assert_eq!(redis.value("user:email:a@b.c").await, None);
}

#[tokio::test(start_paused = true)]
async fn an_alias_becomes_its_member_or_is_refused() {
    let redis = Redis::new();
    let full = Draft { aliases: vec![alias("email", AliasValue::Full)], ..draft("user") };
    for draft in [user(), full] {
        let sidecar = Sidecar::new(&redis, 1, vec![draft], None);
        for target in [Target::Member(by_email("a@b.c")), keys(&["user:email:a@b.c"])] {
            assert_eq!(sidecar.fill("user", "7", BODY).await, Outcome::Filled);
            let answer = sidecar.call(Mode::Remove, vec![target.clone()]).await.expect("done");
            is_done(&answer);
            assert_eq!(answer.counts.removed, 2);
            assert_eq!(redis.value("user:7").await, None);
            // Now nothing says whose it was.
            redis.put("user:7", "filled by an app");
            let error = sidecar.call(Mode::Remove, vec![target]).await.expect_err("nobody knows whose");
            assert_eq!(error.kind, Kind::MemberUnresolved);
            assert!(redis.value("user:7").await.is_some(), "nothing was removed");
            redis.remove("user:7").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fill_in_flight_is_voided_and_nobody_joins_it_any_more() {
    let redis = Redis::new();
    let sidecar = Sidecar::new(&redis, 1, vec![draft("user")], None);
    sidecar.source.shut_gate();
    sidecar.source.found("/user/7", r#""old""#);
    let mut fill = Box::pin(sidecar.fill_as_it_is("user", "7"));
    assert!(fill.as_mut().now_or_never().is_none());
    let answer = sidecar.call(Mode::Remove, vec![Target::Member(member("user", "7"))]).await.expect("done");
    assert_eq!(answer.counts, Counts { matched: 1, fenced: 1, ..Counts::default() });
    let mut after = Box::pin(sidecar.fill_as_it_is("user", "7"));
    assert!(after.as_mut().now_or_never().is_none(), "one of its own, at the source");
    sidecar.source.open_gate();
    assert_eq!(fill.await, Outcome::Fenced);
    assert_eq!(after.await, Outcome::Filled);
}

#[tokio::test(start_paused = true)]
async fn a_tag_takes_everything_that_was_filled_under_it() {
    let redis = Redis::new();
    let tags = vec![Template::parse("all:{id}").expect("a good template")];
    let sidecar = Sidecar::new(&redis, 1, vec![Draft { tags, ..user() }, draft("order")], None);
    assert_eq!(sidecar.fill("user", "7", BODY).await, Outcome::Filled);
    assert_eq!(sidecar.fill("order", "7", "1").await, Outcome::Filled);
    let preview = Effect::Preview;
    let targets = vec![Target::Tag("all:7".to_owned())];
    let dry = hydrant::invalidate::request::Request { effect: preview, ..request(Mode::Remove, targets.clone()) };
    let answer = sidecar.invalidate.run(dry).await.expect("a preview");
    assert_eq!(answer.state, State::Preview { exactness: Exactness::Counted });
    assert_eq!((answer.counts.matched, answer.counts.removed), (1, 1));
    assert!(redis.value("user:7").await.is_some(), "nothing was changed");
    let answer = sidecar.call(Mode::Remove, targets).await.expect("done");
    is_done_after_weeds(&answer);
    assert_eq!(redis.value("user:7").await, None);
    assert_eq!(redis.value("user:email:a@b.c").await, None);
    assert!(redis.value("order:7").await.is_some());
}

fn is_done_after_weeds(answer: &Answer) {
    is_done(answer);
    assert_eq!(answer.counts.removed, 2);
}

#[tokio::test(start_paused = true)]
async fn a_logout_takes_what_is_the_subjects_and_what_was_asked_for_before_it() {
    let redis = Redis::new();
    let load =
        |d: Draft| Draft { load: d.load.clone().map(|load| Load { credential: Credential::Service, ..load }), ..d };
    let sidecar = Sidecar::new(&redis, 1, vec![load(subject_draft("profile")), draft("product")], None);
    let subject = Subject::new("7".to_owned(), None, None, Params::default()).expect("a subject");
    let history = format!("hydrant:{{shop:{}}}:history", Pseudonym::of("shop", &subject));
    redis.put("product:7", "everybody's");
    assert_eq!(sidecar.fill("profile", "7", "1").await, Outcome::Filled);
    redis.store.put(&Key::new(history.clone()).expect("a key"), Bytes::from_static(b"x"), None);
    let early = tokio::time::Instant::now();
    advance(Duration::from_millis(10)).await;
    let targets = vec![Target::Subject { subject: subject.clone(), history: History::Keep }];
    is_done(&sidecar.call(Mode::Remove, targets).await.expect("done"));
    assert_eq!(redis.value("profile:7").await, None);
    assert!(redis.value("product:7").await.is_some());
    assert!(redis.value(&history).await.is_some());
    assert_eq!(sidecar.fill_since("profile", "7", early).await, Outcome::Fenced, "it was queued before");
    advance(Duration::from_millis(10)).await;
    assert_eq!(sidecar.fill_as_it_is("profile", "7").await, Outcome::Filled, "asked for after it");
    let targets = vec![Target::Subject { subject, history: History::Forget }];
    is_done(&sidecar.call(Mode::Remove, targets).await.expect("done"));
    assert_eq!(redis.value(&history).await, None);
}

fn versioned() -> Draft {
    Draft { version: Some(DeclaredVersion::Number(Place::field("rev"))), ..user() }
}

fn replacing(value: &'static str, version: Option<i64>) -> Vec<Target> {
    let value = Bytes::from_static(value.as_bytes());
    let replacement = Some(NewValue { value, version: version.map(Stated::Number) });
    vec![Target::Member(MemberTarget { replacement, ..member("user", "7") })]
}

#[tokio::test(start_paused = true)]
async fn nothing_older_than_the_floor_is_cached() {
    let redis = Redis::new();
    let sidecar = Sidecar::new(&redis, 1, vec![versioned()], None);
    let target = MemberTarget { min_version: Some(Stated::Number(5)), ..member("user", "7") };
    is_done(&sidecar.call(Mode::Remove, vec![Target::Member(target)]).await.expect("done"));
    assert_eq!(sidecar.fill("user", "7", r#"{"rev":4}"#).await, Outcome::Fenced, "its source lags");
    assert_eq!(sidecar.fill("user", "7", r#"{"rev":5}"#).await, Outcome::Filled);
}

#[tokio::test(start_paused = true)]
async fn a_replacement_is_projected_and_written_unless_something_newer_is_known() {
    let redis = Redis::new();
    let spec = Spec { allow: vec!["id".to_owned(), "rev".to_owned()], max_bytes: 1_024, ..Spec::default() };
    let projection = Projection::new(spec).expect("a good projection");
    let sidecar = Sidecar::new(&redis, 1, vec![Draft { projection, aliases: Vec::new(), ..versioned() }], None);
    redis.put("user:7", "old");
    let answer = sidecar.call(Mode::Replace, replacing(r#"{"id":"7","rev":3,"ssn":1}"#, Some(3))).await.expect("done");
    is_done(&answer);
    assert_eq!((answer.counts.replaced, answer.counts.superseded), (1, 0));
    assert_eq!(redis.value("user:7").await.as_deref(), Some(r#"{"id":"7","rev":3}"#));

    let answer = sidecar.call(Mode::Replace, replacing(r#"{"id":"7","rev":2}"#, Some(2))).await.expect("done");
    assert_eq!((answer.counts.replaced, answer.counts.superseded), (0, 1));
    assert_eq!(redis.value("user:7").await, None, "and what stood there is not vouched for");

    is_done(&sidecar.call(Mode::Remove, vec![Target::Member(member("user", "7"))]).await.expect("done"));
    let answer = sidecar.call(Mode::Replace, replacing(r#"{"id":"7","rev":9}"#, Some(9))).await.expect("done");
    assert_eq!(answer.counts.superseded, 1, "after one that named no version nobody knows what is newer");
}

#[tokio::test(start_paused = true)]
async fn a_replacement_that_comes_too_late_to_be_compared_is_not_written() {
    let redis = Redis::new();
    let sidecar = Sidecar::new(&redis, 1, vec![versioned()], None);
    redis.put("user:7", "old");
    redis.faults.now().keys.insert("user:7".to_owned());
    let answer = sidecar.call(Mode::Replace, replacing(r#"{"id":"7","rev":3}"#, Some(3))).await.expect("promised");
    assert!(matches!(answer.state, State::Pending { .. }), "{:?}", answer.state);
    // Longer than marks stand: what was said of it meanwhile is forgotten.
    sleep(versioned_life() + Duration::from_secs(1)).await;
    redis.faults.now().keys.clear();
    until("an empty journal", async || redis.backlog().await == 0).await;
    assert_eq!(redis.value("user:7").await, None, "only removed");
}

fn versioned_life() -> Duration {
    Entity::new(versioned()).expect("a good entity").mark_life().expect("it has versions")
}

#[tokio::test(start_paused = true)]
async fn a_replacement_about_another_user_is_refused() {
    let redis = Redis::new();
    let owner = Some(Place::field("id"));
    let version = versioned().version;
    let sidecar = Sidecar::new(&redis, 1, vec![Draft { owner, version, ..subject_draft("user") }], None);
    redis.put("user:7", "old");
    for value in [r#"{"id":"8","rev":3}"#, r#"{"rev":3}"#] {
        let error = sidecar.call(Mode::Replace, replacing(value, Some(3))).await.expect_err("refused");
        assert_eq!((error.kind, error.fields.len()), (Kind::ValueRefused, 1), "{error}");
    }
    let answer = sidecar.call(Mode::Replace, replacing(r#"{"id":7,"rev":3}"#, Some(3))).await.expect("done");
    assert_eq!(answer.counts.replaced, 1);
}

#[tokio::test(start_paused = true)]
async fn a_replacement_without_a_version_is_loaded_again() {
    let redis = Redis::new();
    let sidecar = Sidecar::new(&redis, 1, vec![user()], None);
    assert_eq!(sidecar.fill("user", "7", BODY).await, Outcome::Filled);
    sidecar.source.found("/user/7", r#"{"id":"7","email":"n@b.c"}"#);
    let answer = sidecar.call(Mode::Replace, replacing(r#"{"id":"7","email":"x"}"#, None)).await.expect("done");
    is_done(&answer);
    assert_eq!(answer.counts.replaced, 0);
    until("it is loaded", async || redis.value("user:email:n@b.c").await.is_some()).await;
    assert_eq!(redis.value("user:email:a@b.c").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_loads_again_what_was_cached() {
    let redis = Redis::new();
    let sidecar = Sidecar::new(&redis, 1, vec![draft("user"), subject_draft("secret")], None);
    assert_eq!(sidecar.fill("user", "7", "1").await, Outcome::Filled);
    redis.put("secret:7", "old");
    sidecar.source.found("/user/7", "2");
    let targets = [member("user", "7"), member("user", "8"), member("secret", "7")].map(Target::Member);
    is_done(&sidecar.call(Mode::Refresh, targets.into()).await.expect("done"));
    until("it is loaded", async || redis.value("user:7").await.as_deref() == Some("2")).await;
    assert_eq!(redis.value("secret:7").await, None, "nobody's session is at hand");
    let paths: Vec<String> = sidecar.source.calls().into_iter().map(|call| call.path).collect();
    assert_eq!(paths, ["/user/7", "/user/7"], "what was not cached is not loaded");
    assert_eq!(sidecar.metric(r#"hydrant_invalidate_refills_total{outcome="filled"}"#), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stop_leaves_no_claim_of_what_is_loaded_again() {
    let redis = Redis::new();
    let sidecar = Sidecar::new(&redis, 1, vec![draft("user")], None);
    for key in ["user:7", "user:8"] {
        redis.put(key, "old");
    }
    sidecar.source.found("/user/7", "1");
    sidecar.source.shut_gate();
    is_done(&sidecar.call(Mode::Refresh, vec![keys(&["user:7"])]).await.expect("done"));
    until("a fetch", async || !sidecar.source.calls().is_empty()).await;
    let stopping = sidecar.tasks.drain(Duration::from_secs(5));
    let opened = async {
        sleep(Duration::from_secs(1)).await;
        sidecar.source.open_gate();
    };
    assert!(join(stopping, opened).await.0, "it ends in time");
    assert_eq!(redis.value("user:7").await.as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn what_a_logout_finds_by_its_tag_alone_is_not_loaded_again() {
    let redis = Redis::new();
    let own = |name, key| {
        let load = draft(name).load.map(|load| Load { credential: Credential::Service, ..load });
        let key = Template::for_key(key).expect("a good template");
        Draft { key, bind: [("id".to_owned(), Fact::User)].into(), load, ..subject_draft(name) }
    };
    let drafts = vec![own("profile", "profile:{id}"), own("cart", "cart:{id}:{part}")];
    let sidecar = Sidecar::new(&redis, 1, drafts, None);
    for key in ["profile:7", "cart:7:main"] {
        redis.put(key, "old");
    }
    sidecar.source.found("/profile/7", "1");
    sidecar.source.found("/cart/7", "1");
    let answer = sidecar.call(Mode::Refresh, vec![keys(&["profile:7", "cart:7:main"])]).await.expect("done");
    assert_eq!((answer.counts.removed, answer.counts.refreshing), (2, 1));
    until("it is loaded", async || redis.value("profile:7").await.is_some()).await;
    assert_eq!(redis.value("cart:7:main").await, None, "it would be registered under a user of no tenant");
}

#[tokio::test(start_paused = true)]
async fn a_soft_invalidation_lets_the_old_value_live_until_the_new_one_is_there() {
    let redis = Redis::new();
    let soft = Some(Duration::from_secs(5));
    let sidecar = Sidecar::new(&redis, 1, vec![Draft { soft, ..draft("user") }], None);
    assert_eq!(sidecar.fill("user", "7", "1").await, Outcome::Filled);
    sidecar.source.shut_gate();
    sidecar.source.found("/user/7", "2");
    let targets = vec![Target::Member(member("user", "7"))];
    let answer = sidecar.call(Mode::Soft, targets).await.expect("done");
    is_done(&answer);
    assert_eq!(answer.counts.removed, 1, "shortened");
    assert_eq!(redis.value("user:7").await.as_deref(), Some("1"));
    sidecar.source.open_gate();
    until("the new one", async || redis.value("user:7").await.as_deref() == Some("2")).await;
}

#[tokio::test(start_paused = true)]
async fn a_scan_is_a_job() {
    let redis = Redis::new();
    let sidecar = Sidecar::new(&redis, 1, vec![user()], None);
    let targets = vec![Target::Pattern("user:email:*".to_owned())];
    let answer = sidecar.call(Mode::Remove, targets).await.expect("promised");
    let State::Pending { job, cause: Cause::Sweep, .. } = answer.state else { panic!("{:?}", answer.state) };
    let job = sidecar.invalidate.job(job.as_str()).await.expect("known");
    assert_eq!(job.state, JobState::Running);
    let Detail::Sweep { pattern, .. } = job.detail else { panic!("{:?}", job.detail) };
    assert_eq!(pattern, "user:email:*");
}

#[tokio::test(start_paused = true)]
async fn ids_of_secret_entities_are_shown_as_hashes() {
    let redis = Redis::new();
    let sidecar = Sidecar::new(&redis, 1, vec![Draft { secret: true, ..draft("session") }], None);
    let answer = sidecar.call(Mode::Remove, vec![keys(&["session:abc"])]).await.expect("done");
    assert_eq!(answer.sample_keys, ["session:#ba7816bf8f01cfea"]);
}

#[tokio::test(start_paused = true)]
async fn an_alias_takes_its_own_parameters_and_no_others() {
    let by = |given: &[(&str, &str)]| {
        let target = MemberTarget { alias: Some("email".to_owned()), ..member("user", "7") };
        vec![Target::Member(MemberTarget { params: params(given), ..target })]
    };
    let (kind, fields) = refused(by(&[("email", "a@b.c"), ("id", "8")]), Mode::Remove).await;
    assert_eq!((kind, fields), (Kind::InvalidField, vec!["targets[0].member.member.params.id".to_owned()]));
    let known = KnownAlias { alias: "email".to_owned(), params: params(&[("email", "old@b.c"), ("id", "8")]) };
    let target = MemberTarget { known_aliases: vec![known], ..member("user", "7") };
    let (kind, fields) = refused(vec![Target::Member(target)], Mode::Remove).await;
    assert_eq!((kind, fields), (Kind::InvalidField, vec!["targets[0].member.known_aliases[0].params.id".to_owned()]));
}

async fn refused(targets: Vec<Target>, mode: Mode) -> (Kind, Vec<String>) {
    let redis = Redis::new();
    let timed = Draft { version: Some(DeclaredVersion::Time(Place::field("at"))), ..draft("timed") };
    let sidecar = Sidecar::new(&redis, 1, vec![user(), timed], None);
    for key in ["user:7", "user:email:a@b.c"] {
        redis.put(key, "7");
    }
    let error: Error = sidecar.call(mode, targets).await.expect_err("refused");
    for key in ["user:7", "user:email:a@b.c"] {
        assert!(redis.value(key).await.is_some(), "nothing is removed");
    }
    (error.kind, error.fields.into_iter().map(|field| field.path).collect())
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_is_refused_with_its_field_and_nothing_is_removed() {
    let aliased = |alias: &str, email: &str| {
        let known = KnownAlias { alias: alias.to_owned(), params: params(&[("email", email)]) };
        Target::Member(MemberTarget { known_aliases: vec![known], ..member("user", "7") })
    };
    let by = |alias: &str| Target::Member(MemberTarget { alias: Some(alias.to_owned()), ..by_email("a@b.c") });
    let floor = |entity, stated| Target::Member(MemberTarget { min_version: Some(stated), ..member(entity, "7") });
    let id = |id: &str| Target::Member(member("user", id));
    let all = |entity: &str| Target::All { entities: vec![entity.to_owned()] };
    for (target, kind, path) in [
        (Target::Pattern("*".into()), Kind::InvalidField, "pattern.pattern"),
        (Target::Pattern("us*".into()), Kind::InvalidField, "pattern.pattern"),
        (Target::Pattern("order:*".into()), Kind::ForeignKey, "pattern.pattern"),
        (Target::Pattern(String::new()), Kind::InvalidField, "pattern.pattern"),
        (keys(&[]), Kind::InvalidField, "keys.keys"),
        (keys(&["user:7", "order:7"]), Kind::ForeignKey, "keys.keys[1]"),
        (keys(&["{user:7}:g"]), Kind::ForeignKey, "keys.keys[0]"),
        (keys(&["user:*"]), Kind::InvalidField, "keys.keys[0]"),
        (id("*"), Kind::InvalidField, "member.member.params.id"),
        (id("{7"), Kind::InvalidField, "member.member.params.id"),
        (id("email:a@b.c"), Kind::InvalidField, "member.member.params"),
        (Target::Member(member("order", "7")), Kind::UnknownEntity, "member.member.entity"),
        (by("phone"), Kind::UnknownAlias, "member.member.alias"),
        (aliased("phone", "x"), Kind::UnknownAlias, "member.known_aliases[0].alias"),
        (aliased("email", "{x"), Kind::InvalidField, "member.known_aliases[0].params.email"),
        (floor("user", Stated::Number(1)), Kind::InvalidField, "member.min_version"),
        (floor("timed", Stated::Number(1)), Kind::InvalidField, "member.min_version"),
        (Target::Tag(String::new()), Kind::InvalidField, "tag.tag"),
        (all("order"), Kind::UnknownEntity, "all.entities[0]"),
    ] {
        let said = refused(vec![id("7"), target], Mode::Remove).await;
        assert_eq!(said, (kind, vec![format!("targets[1].{path}")]));
    }
    assert_eq!(refused(Vec::new(), Mode::Remove).await, (Kind::InvalidField, vec!["targets".to_owned()]));
    assert_eq!(refused(vec![id("7")], Mode::Soft).await, (Kind::InvalidField, vec!["mode".to_owned()]));
    let path = |path: &str| vec![format!("targets[0]{path}")];
    assert_eq!(refused(vec![id("7")], Mode::Replace).await, (Kind::InvalidField, path(".member.replacement")));
    assert_eq!(refused(vec![all("user")], Mode::Replace).await, (Kind::InvalidField, path("")));
    let value = path(".member.replacement.value");
    assert_eq!(refused(replacing("{", None), Mode::Replace).await, (Kind::ValueRefused, value));
    assert_eq!(
        refused(replacing("{}", Some(1)), Mode::Replace).await,
        (Kind::InvalidField, path(".member.replacement.version"))
    );
}
