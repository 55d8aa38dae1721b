//! A caller of the tenant `acme`: what it may name, and what it may not.

use std::time::SystemTime;

use tokio::time::Instant;

use super::*;
use crate::domain::caller::Right;
use crate::domain::entity::sample::{alias, shared};
use crate::domain::entity::{Alias, AliasValue, Draft, Scope};
use crate::domain::journal::JobId;
use crate::domain::trace::TraceContext;
use crate::grpc::caller::Grant;
use crate::grpc::metrics::Metrics;
use crate::invalidate::jobs::{Detail, JobState};
use crate::invalidate::request::{Cause, Counts, Durability, Effect, History, KnownAlias, Mode};

/// `order` and `cart` are a tenant's; `plan` is everybody's; `user` is one subject's, and its key has no tenant.
fn catalog() -> Catalog {
    let tag = |text: &str| Template::parse(text).expect("a good template");
    let order = Draft {
        scope: Scope::Tenant,
        aliases: vec![alias("order:{tenant}:number:{number}")],
        tags: vec![tag("tenant:{tenant}"), tag("orders:{tenant}:{id}")],
        ..shared("order", "o:{tenant}:{id}")
    };
    let by_name = Alias { value: AliasValue::Full, ..alias("cart:name:{name}") };
    let cart = Draft { scope: Scope::Tenant, aliases: vec![by_name], ..shared("cart", "c:{id}:{tenant}") };
    let plan = Draft { tags: vec![tag("plan:{id}")], ..shared("plan", "plan:{id}") };
    let user = Draft {
        scope: Scope::Subject,
        bind: [("id".to_owned(), Fact::User)].into(),
        tags: vec![tag("home:{tenant}")],
        ..shared("user", "user:{id}")
    };
    let setting = Draft { scope: Scope::Tenant, ..shared("setting", "s:{tenant}") };
    let entities = [order, cart, plan, user, setting].map(|draft| Entity::new(draft).expect("a good entity"));
    Catalog::new(entities.into()).expect("no clash")
}

fn caller(tenants: Tenants) -> Caller {
    Caller::new("ci".into(), Grant { tenants, ..Grant::default() }, &Metrics::register(&mut Default::default()))
}

fn acme() -> Caller {
    caller(Tenants::Only(["acme".to_owned()].into()))
}

fn params(pairs: &[(&str, &str)]) -> Params {
    pairs.iter().copied().collect()
}

fn subject(tenant: Option<&str>) -> Subject {
    Subject::new("7".into(), None, tenant.map(str::to_owned), Params::default()).expect("a good subject")
}

fn request(target: Target) -> Request {
    let trace = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").expect("well formed");
    let (mode, effect, until) = (Mode::Remove, Effect::Real, Instant::now());
    Request { targets: vec![target], mode, effect, reason: String::new(), within: Vec::new(), trace, until }
}

fn member(entity: &str, alias: Option<&str>, pairs: &[(&str, &str)]) -> Target {
    let alias = alias.map(str::to_owned);
    let (entity, params) = (entity.to_owned(), params(pairs));
    Target::Member(MemberTarget {
        entity,
        alias,
        params,
        known_aliases: Vec::new(),
        min_version: None,
        replacement: None,
    })
}

/// The tenants it stays within, or the fields that are refused.
fn invalidating(caller: &Caller, target: Target) -> Result<Vec<String>, Vec<String>> {
    invalidation(caller, &catalog(), &request(target), Instant::now()).map_err(|error| {
        assert_eq!(error.kind, Kind::TenantDenied);
        error.fields.into_iter().map(|field| field.path).collect()
    })
}

#[test]
fn a_caller_of_all_tenants_is_not_looked_at() {
    let all = caller(Tenants::All);
    for target in [
        Target::All { entities: Vec::new() },
        Target::Pattern("o:*".into()),
        Target::Tag("plan:1".into()),
        member("user", None, &[("id", "7")]),
        Target::Subject { subject: subject(None), history: History::Keep },
    ] {
        assert_eq!(invalidating(&all, target), Ok(Vec::new()));
    }
}

#[test]
fn members_say_whose_they_are_or_are_refused() {
    let ours = Ok(vec!["acme".to_owned()]);
    let own = member("order", None, &[("tenant", "acme"), ("id", "1")]);
    assert_eq!(invalidating(&acme(), own), ours);
    let by_alias = member("order", Some("email"), &[("tenant", "acme"), ("number", "1")]);
    assert_eq!(invalidating(&acme(), by_alias), ours);
    let at = |path: &str| Err(vec![format!("targets[0].member.member{path}")]);
    assert_eq!(invalidating(&acme(), member("order", None, &[("tenant", "evil"), ("id", "1")])), at(".params.tenant"));
    assert_eq!(invalidating(&acme(), member("order", None, &[("id", "1")])), at(".params.tenant"));
    assert_eq!(invalidating(&acme(), member("user", None, &[("id", "7")])), at(""));
    assert_eq!(invalidating(&acme(), member("plan", None, &[("id", "7"), ("tenant", "acme")])), at(""));
    // The alias is not made from a tenant, so naming one proves nothing.
    let blind = member("cart", Some("email"), &[("name", "x"), ("tenant", "acme")]);
    assert_eq!(invalidating(&acme(), blind), at(""));
}

#[test]
fn known_aliases_may_not_reach_further_than_their_member() {
    let with = |entity: &str, known: &[(&str, &str)]| {
        let Target::Member(member) = member(entity, None, &[("tenant", "acme"), ("id", "1")]) else {
            panic!("a member")
        };
        let known_aliases = vec![KnownAlias { alias: "email".into(), params: params(known) }];
        invalidating(&acme(), Target::Member(MemberTarget { known_aliases, ..member }))
    };
    assert!(with("order", &[("number", "1")]).is_ok());
    assert!(with("order", &[("number", "1"), ("tenant", "acme")]).is_ok());
    let alias = |rest: &str| Err(vec![format!("targets[0].member.known_aliases[0]{rest}")]);
    assert_eq!(with("order", &[("number", "1"), ("tenant", "evil")]), alias(".params.tenant"));
    assert_eq!(with("cart", &[("name", "x")]), alias(""));
}

#[test]
fn keys_are_read_back_and_each_that_is_not_ours_is_named() {
    let keys = ["o:acme:1", "c:1:acme", "o:evil:1", "user:7", "plan:acme", "order:acme:number:9", "s:evil"];
    let wrong = invalidating(&acme(), Target::Keys(keys.map(str::to_owned).into())).expect_err("refused");
    assert_eq!(wrong, [2, 3, 4, 6].map(|at| format!("targets[0].keys.keys[{at}]")));
    assert!(invalidating(&acme(), Target::Keys(vec!["o:acme:1".into(), "s:acme".into()])).is_ok());
}

#[test]
fn a_tag_must_hold_the_tenant_in_every_reading() {
    for tag in ["tenant:acme", "orders:acme:1", "home:acme"] {
        assert_eq!(invalidating(&acme(), Target::Tag(tag.into())), Ok(vec!["acme".to_owned()]), "{tag}");
    }
    for tag in [
        "tenant:evil",
        "tenant:acme2",
        "tenant:acm",
        "tenant:",
        "plan:acme",
        "plan:1",
        "nobody:acme",
        "orders:evil:1",
        // Of the tenant `acme`, or of one called `acme:x`?
        "orders:acme:x:1",
        "tenant:acme:x",
    ] {
        assert_eq!(invalidating(&acme(), Target::Tag(tag.into())), Err(vec!["targets[0].tag.tag".into()]), "{tag}");
    }
}

#[test]
fn a_pattern_must_begin_with_the_tenant() {
    for pattern in ["o:acme:*", "o:acme:1?", "order:acme:number:*", "o:acme:[1-3]", "s:acme"] {
        assert_eq!(invalidating(&acme(), Target::Pattern(pattern.into())), Ok(vec!["acme".to_owned()]), "{pattern}");
    }
    for pattern in [
        "o:*",
        "o:acme*",
        "o:acm?:*",
        "o:evil:*",
        "o:[a]cme:*",
        "o:\\acme:*",
        "*",
        "c:1:acme",
        "c:*:acme",
        "user:*",
        "plan:acme*",
        "s:acme*",
        "order:*",
    ] {
        let refused = Err(vec!["targets[0].pattern.pattern".to_owned()]);
        assert_eq!(invalidating(&acme(), Target::Pattern(pattern.into())), refused, "{pattern}");
    }
}

#[test]
fn everything_is_for_callers_of_all_tenants() {
    let all = Target::All { entities: vec!["order".into()] };
    assert_eq!(invalidating(&acme(), all), Err(vec!["targets[0].all".to_owned()]));
}

#[test]
fn a_subject_without_a_tenant_is_nobodys() {
    let of = |tenant| Target::Subject { subject: subject(tenant), history: History::Forget };
    assert!(invalidating(&acme(), of(Some("acme"))).is_ok());
    for tenant in [None, Some("evil")] {
        assert_eq!(invalidating(&acme(), of(tenant)), Err(vec!["targets[0].subject".to_owned()]));
    }
}

#[tokio::test(start_paused = true)]
async fn clearing_is_counted_by_itself() {
    let rate = crate::domain::bucket::Rate::new(2, std::time::Duration::from_secs(60)).expect("a rate");
    let grant = Grant { limits: [(Act::Clear, rate)].into(), ..Grant::default() };
    let caller = Caller::new("ci".into(), grant, &Metrics::register(&mut Default::default()));
    let clear = |target| invalidation(&caller, &catalog(), &request(target), Instant::now());
    assert!(clear(Target::Pattern("o:acme:*".into())).is_ok());
    assert!(clear(Target::All { entities: Vec::new() }).is_ok());
    let error = clear(Target::Pattern("o:acme:*".into())).expect_err("over the limit");
    assert_eq!((error.kind, error.retry_after), (Kind::RateLimited, Some(std::time::Duration::from_secs(30))));
    assert!(clear(Target::Keys(vec!["o:acme:1".into()])).is_ok(), "what is named is not a clearing");
}

#[test]
fn a_prehydration_is_for_the_callers_tenants_alone() {
    let named = |entity: &str, pairs: &[(&str, &str)]| MemberRef { entity: entity.to_owned(), params: params(pairs) };
    let run = |tenant, members: &[MemberRef]| {
        let subject = subject(tenant);
        let error = prehydration(&acme(), &catalog(), ("subject.tenant", &subject), members).err();
        error.map(|error| error.fields.into_iter().map(|field| field.path).collect::<Vec<_>>())
    };
    let ours = [named("order", &[("id", "1")]), named("user", &[]), named("order", &[("tenant", "acme"), ("id", "1")])];
    assert_eq!(run(Some("acme"), &ours), None);
    let theirs = [named("order", &[("tenant", "evil"), ("id", "1")])];
    assert_eq!(run(Some("acme"), &theirs), Some(vec!["members[0].params.tenant".to_owned()]));
    assert_eq!(run(Some("evil"), &[]), Some(vec!["subject.tenant".to_owned()]));
    assert_eq!(run(None, &[]), Some(vec!["subject.tenant".to_owned()]));
}

#[test]
fn who_states_a_subject_needs_the_right_and_who_states_its_tenant_one_more() {
    let with = |rights: &[Right]| {
        let grant = Grant { rights: rights.iter().copied().collect(), ..Grant::default() };
        Caller::new("ci".into(), grant, &Metrics::register(&mut Default::default()))
    };
    let lacks = |caller: &Caller, who: Who| caller.may_name(&who).err().and_then(|error| error.lacks);
    let stated = |tenant| Who::Subject(subject(tenant));
    assert_eq!(lacks(&with(&[]), Who::CookieValue(crate::domain::secret::Secret::new("c"))), None);
    assert_eq!(lacks(&with(&[]), stated(None)), Some(Right::AssertSubject));
    assert_eq!(lacks(&with(&[Right::AssertSubject]), stated(None)), None);
    assert_eq!(lacks(&with(&[Right::AssertSubject]), stated(Some("acme"))), Some(Right::AssertTenant));
    assert_eq!(lacks(&with(&[Right::AssertSubject, Right::AssertTenant]), stated(Some("acme"))), None);
}

#[test]
fn reads_and_explanations_and_watches_say_whose_they_are() {
    let member = |entity: &str, pairs: &[(&str, &str)]| pb::Member {
        entity: entity.to_owned(),
        alias: String::new(),
        params: pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    };
    let (ours, theirs) =
        (member("order", &[("tenant", "acme"), ("id", "1")]), member("order", &[("tenant", "evil"), ("id", "1")]));
    let item = |by| pb::LookupItem { by: Some(by) };
    let keyed = |key: &str| item(pb::lookup_item::By::Key(key.to_owned()));
    let named = |member: &pb::Member| item(pb::lookup_item::By::Member(member.clone()));
    let look = |items: &[pb::LookupItem]| lookup(&acme(), &catalog(), None, items);
    assert!(look(&[keyed("o:acme:1"), named(&ours)]).is_ok());
    let error = look(&[keyed("o:evil:1"), named(&theirs), keyed("user:7")]).expect_err("refused");
    let paths: Vec<&str> = error.fields.iter().map(|field| field.path.as_str()).collect();
    assert_eq!(paths, ["items[0].key", "items[1].member.params.tenant", "items[2].key"]);

    let explain = |what| explanation(&acme(), &catalog(), &pb::ExplainRequest { what: Some(what) });
    assert!(explain(pb::explain_request::What::Member(ours.clone())).is_ok());
    assert!(explain(pb::explain_request::What::Member(theirs)).is_err());
    assert!(explain(pb::explain_request::What::Key("o:evil:1".into())).is_err());

    let selecting = |entity: &str, pairs: &[(&str, &str)]| {
        let pb::Member { entity, params, .. } = member(entity, pairs);
        let selectors = vec![pb::WatchSelector { entity, params }];
        watch(&acme(), &catalog(), &pb::WatchRequest { selectors, ..Default::default() })
    };
    assert!(selecting("order", &[("tenant", "acme")]).is_ok());
    assert!(selecting("order", &[]).is_err());
    assert!(selecting("order", &[("tenant", "evil")]).is_err());
    assert!(selecting("plan", &[]).is_err());
    assert!(acme().must_see_all().is_err() && caller(Tenants::All).must_see_all().is_ok());
}

#[test]
fn a_report_of_a_read_is_of_the_callers_tenants_alone() {
    let report = |user: Option<&str>, tenant: &str, key: &str| {
        let access = pb::Access {
            subject: user.map(|user| pb::access::Subject::UserId(user.to_owned())),
            tenant: tenant.to_owned(),
            what: Some(pb::access::What::Key(key.to_owned())),
            ..Default::default()
        };
        access_of(&access)
    };
    fn access_of(it: &pb::Access) -> Option<&'static str> {
        access(&acme(), &catalog(), it).err().map(|refused| refused.path)
    }
    assert_eq!(report(Some("7"), "acme", "o:acme:1"), None);
    assert_eq!(report(Some("7"), "acme", "user:7"), None);
    assert_eq!(report(None, "", "o:acme:1"), None);
    assert_eq!(report(Some("7"), "evil", "o:acme:1"), Some("tenant"));
    assert_eq!(report(Some("7"), "", "o:acme:1"), Some("tenant"));
    assert_eq!(report(Some("7"), "acme", "o:evil:1"), Some("key"));
    assert_eq!(report(None, "", "user:7"), Some("key"));
    let hashed = pb::Access {
        subject: Some(pb::access::Subject::SubjectHash("0".repeat(32))),
        tenant: "acme".into(),
        ..Default::default()
    };
    assert_eq!(access_of(&hashed), Some("subject_hash"));
}

#[test]
fn a_job_is_seen_by_those_who_could_have_caused_it() {
    let job = |within: &[&str]| Job {
        id: JobId::new("3-1").expect("a good id"),
        state: JobState::Running,
        trace: String::new(),
        created: SystemTime::UNIX_EPOCH,
        updated: SystemTime::UNIX_EPOCH,
        finished: None,
        attempts: 1,
        next_attempt: None,
        holder: String::new(),
        durability: Durability::Fleet,
        reason: String::new(),
        within: within.iter().map(|tenant| (*tenant).to_owned()).collect(),
        message: String::new(),
        mode: Mode::Remove,
        counts: Counts::default(),
        detail: Detail::Invalidation { cause: Cause::Deadline },
    };
    assert!(acme().may_see(&job(&["acme"])).is_ok());
    for within in [&[][..], &["evil"], &["acme", "evil"]] {
        assert_eq!(acme().may_see(&job(within)).err().map(|error| error.kind), Some(Kind::UnknownJob));
        assert!(caller(Tenants::All).may_see(&job(within)).is_ok());
    }
}
