//! The Postgres source against a real server: what a row becomes, every way a call can end, what runs at the server and
//! for how long.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use hydrant::domain::budget::Budget;
use hydrant::domain::entity::load::{Ask, Bulk, BulkAsk, Rows};
use hydrant::domain::entity::{Draft, Entity, Load, Member};
use hydrant::domain::field;
use hydrant::domain::projection::paths::Place;
use hydrant::domain::query::Query;
use hydrant::domain::random::Random;
use hydrant::domain::secret::{Secret, SecretCell};
use hydrant::domain::source::{FetchAsk, FetchError, FetchManyAsk, Fetched, Source};
use hydrant::domain::template::{Params, Template};
use hydrant::domain::trace::TraceContext;
use hydrant::source::metrics::Metrics;
use hydrant::source::postgres::{ClientCertificate, Config, PostgresSource, Tls};
use hydrant::tasks::Tasks;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use crate::support::catalog::{draft, name};
use crate::support::certificates::Certificates;
use crate::support::postgres::PostgresServer;
use crate::support::wait::until;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A source and what it runs on.
struct Rig {
    source: PostgresSource,
    tasks: Tasks,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.tasks.stopping().cancel();
    }
}

fn rig(config: Config) -> Rig {
    let (tasks, _deaths) = Tasks::new();
    let metrics = Metrics::register(&mut Registry::default());
    let source = PostgresSource::build(name("db"), config, Random::from_seed(1), &metrics, &tasks);
    Rig { source: source.expect("a good configuration"), tasks }
}

fn loaded(key: &str, rows: Rows, query: &str, bulk: Option<(&str, &[&str])>) -> Entity {
    let key = Template::for_key(key).expect("a good template");
    let params: Vec<&str> = key.params().collect();
    let parse = |text: &str| Query::parse(text, &params).expect("a good query");
    let bulk = bulk.map(|(query, columns)| Bulk {
        ask: BulkAsk::Query { query: parse(query), columns: columns.iter().map(|c| (*c).to_owned()).collect() },
        most: 100,
    });
    let load = Load { bulk, ..Load::plain(name("db"), Ask::Query { query: parse(query), rows }) };
    Entity::new(Draft { load: Some(load), key: key.clone(), ..draft("x") }).expect("a good entity")
}

fn member(entity: &Arc<Entity>, pairs: &[(&str, &str)]) -> Member {
    let params: Params = pairs.iter().copied().collect();
    // What a query is given need not be able to stand in a key.
    let key =
        entity.key().key(&params, entity.ids()).unwrap_or_else(|_| hydrant::domain::key::Key::new("x").expect("a key"));
    Member { entity: entity.clone(), params, key }
}

fn one(query: &str) -> Arc<Entity> {
    Arc::new(loaded("x:{id}", Rows::One, query, None))
}

async fn ask_within(source: &PostgresSource, member: &Member, within: Duration) -> Result<Fetched, FetchError> {
    let budget = Budget::new(1 << 20);
    let ask = FetchAsk {
        member,
        session: None,
        trace: TraceContext::parse(TRACE).expect("well formed"),
        deadline: Instant::now() + within,
        max_bytes: 64 * 1024,
        meter: &budget.meter(),
    };
    source.fetch(ask).await
}

async fn fetch(source: &PostgresSource, member: &Member) -> Result<Fetched, FetchError> {
    ask_within(source, member, Duration::from_secs(20)).await
}

async fn fetch_many(source: &PostgresSource, members: &[Member]) -> Vec<Result<Fetched, FetchError>> {
    let (members, budget): (Vec<&Member>, _) = (members.iter().collect(), Budget::new(1 << 20));
    let ask = FetchManyAsk {
        members: &members,
        trace: TraceContext::parse(TRACE).expect("well formed"),
        deadline: Instant::now() + Duration::from_secs(20),
        max_bytes: 1024,
        meter: &budget.meter(),
    };
    source.fetch_many(ask).await
}

fn found(text: &str) -> Result<Fetched, FetchError> {
    Ok(Fetched::Found(text.to_owned().into()))
}

#[tokio::test]
async fn a_row_comes_column_by_column_as_json() {
    let server = PostgresServer::shared().await;
    let rig = rig(server.config());
    let entity = one(
        "select {id}::int8 as \"bigId\", 12345678901234567890.1234567890::numeric as exact, 1.5::float8 as half, \
         true as yes, null::text as nothing, 'q\"uo\\te'::text as text, timestamptz '2026-01-02 03:04:05.678+02' as at, \
         date '2026-01-02' as day, interval '1 day 2 hours' as span, '{\"b\":1,\"a\":[1.0]}'::json as doc, \
         '{\"k\": 1.0}'::jsonb as docb, array[1, null, 3] as list, \
         'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid as uuid, '\\xdeadbeef'::bytea as bytes, 'NaN'::float8 as nan",
    );
    let expected = "{\"bigId\":9007199254740993,\"exact\":12345678901234567890.1234567890,\"half\":1.5,\"yes\":true,\
         \"nothing\":null,\"text\":\"q\\\"uo\\\\te\",\"at\":\"2026-01-02T01:04:05.678+00:00\",\"day\":\"2026-01-02\",\
         \"span\":\"P1DT2H\",\"doc\":{\"b\":1,\"a\":[1.0]},\"docb\":{\"k\": 1.0},\"list\":[1,null,3],\
         \"uuid\":\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\",\"bytes\":\"\\\\xdeadbeef\",\"nan\":\"NaN\"}";
    assert_eq!(fetch(&rig.source, &member(&entity, &[("id", "9007199254740993")])).await, found(expected));
}

#[tokio::test]
async fn rows_are_one_member_or_a_list() {
    let server = PostgresServer::shared().await;
    let rig = rig(server.config());
    let query = "select n from generate_series(1, {id}) as n";
    let of = |rows, id| (Arc::new(loaded("x:{id}", rows, query, None)), id);
    for ((entity, id), expected) in [
        (of(Rows::One, "0"), Ok(Fetched::Absent)),
        (of(Rows::One, "1"), found("{\"n\":1}")),
        (of(Rows::One, "2"), Err(FetchError::Ambiguous)),
        (of(Rows::List, "0"), found("[]")),
        (of(Rows::List, "2"), found("[{\"n\":1},{\"n\":2}]")),
        (of(Rows::List, "10001"), Err(FetchError::TooLarge)),
    ] {
        assert_eq!(fetch(&rig.source, &member(&entity, &[("id", id)])).await, expected, "{id}");
    }
}

#[tokio::test]
async fn values_stay_values() {
    let server = PostgresServer::shared().await;
    server.execute("create table victims (name text primary key); insert into victims values ('ada')").await;
    let rig = rig(server.config());
    let entity = Arc::new(loaded(
        "x:{id}",
        Rows::One,
        "select name from victims where name = {id}",
        Some(("select name from victims where name = any({id})", &["name"])),
    ));
    let attempts = [
        "' or '1'='1",
        "'; drop table victims; --",
        "ada' --",
        "$1",
        "{id}",
        "\\'",
        "\",\"ada",
        "{ada}",
        "NULL",
        "ada\u{0}",
    ];
    for id in attempts {
        let fetched = fetch(&rig.source, &member(&entity, &[("id", id)])).await;
        assert!(matches!(fetched, Ok(Fetched::Absent) | Err(FetchError::Refused)), "{id}: {fetched:?}");
    }
    let members: Vec<Member> = attempts[..9].iter().map(|id| member(&entity, &[("id", id)])).collect();
    assert_eq!(fetch_many(&rig.source, &members).await, vec![Ok(Fetched::Absent); 9]);
    assert_eq!(fetch(&rig.source, &member(&entity, &[("id", "ada")])).await, found("{\"name\":\"ada\"}"));
    assert_eq!(server.count("select count(*) from victims").await, 1);
}

#[tokio::test]
async fn what_cannot_be_asked_is_told_by_its_kind() {
    let server = PostgresServer::shared().await;
    server.execute("create table closed (id int); create role nobody_else login").await;
    let rig = rig(server.config());
    for (query, expected) in [
        ("select 1 where {id} = 7", FetchError::Refused),
        ("select {id} from nowhere", FetchError::Refused),
        ("select 1 / ({id}::int - 1)", FetchError::Refused),
        ("select 1 where {id} = nextval('nothing')", FetchError::Refused),
        ("with gone as (delete from closed returning id) select id from gone where id = {id}", FetchError::Refused),
        ("select repeat({id}, 100000) as long", FetchError::TooLarge),
    ] {
        let id = if expected == FetchError::Refused && query.contains("= 7") { "seven" } else { "1" };
        assert_eq!(fetch(&rig.source, &member(&one(query), &[("id", id)])).await, Err(expected), "{query}");
    }
    let other = super::source_postgres::rig(server.config_of(&server.url_of("nobody_else", "")));
    let denied = fetch(&other.source, &member(&one("select id from closed where id = {id}"), &[("id", "1")])).await;
    assert_eq!(denied, Err(FetchError::Denied));
    // None of this is the server's fault.
    assert_eq!(fetch(&rig.source, &member(&one("select {id} as a"), &[("id", "1")])).await, found("{\"a\":\"1\"}"));
}

#[tokio::test]
async fn what_runs_too_long_ends_at_the_server() {
    let server = PostgresServer::shared().await;
    let short = rig(Config { statement_timeout: Duration::from_millis(100), ..server.config() });
    let slow = |mark: &str| one(&format!("select pg_sleep(60), '{mark}', {{id}}::text"));
    let (by_server, by_us) = (slow("by-server"), slow("by-us"));
    assert_eq!(fetch(&short.source, &member(&by_server, &[("id", "1")])).await, Err(FetchError::Timeout));

    let patient = rig(server.config());
    let in_time = ask_within(&patient.source, &member(&by_us, &[("id", "1")]), Duration::from_millis(200)).await;
    assert_eq!(in_time, Err(FetchError::Timeout));
    // A caller that hangs up is no different.
    let hung_up = member(&by_us, &[("id", "2")]);
    let dropped = tokio::time::timeout(Duration::from_millis(200), fetch(&patient.source, &hung_up)).await;
    assert!(dropped.is_err());
    for mark in ["by-server", "by-us"] {
        let sql = format!(
            "select count(*) from pg_stat_activity where state = 'active' and query like '%''{mark}''%' and pid <> pg_backend_pid()"
        );
        until("a query that is cancelled", async || server.count(&sql).await == 0).await;
    }
    assert_eq!(fetch(&patient.source, &member(&one("select {id} as a"), &[("id", "1")])).await, found("{\"a\":\"1\"}"));
}

#[tokio::test]
async fn the_pool_is_bounded_and_used_again() {
    let server = PostgresServer::shared().await;
    server.execute("create role bounded login").await;
    let rig = rig(Config { pool: 2, ..server.config_of(&server.url_of("bounded", "")) });
    let entity = one("select pg_backend_pid() as pid, pg_sleep(0.02)::text, {id} as a");
    let members: Vec<Member> = (0..12).map(|n| member(&entity, &[("id", &n.to_string())])).collect();
    let mut pids = BTreeSet::new();
    for fetched in join_all(members.iter().map(|member| fetch(&rig.source, member))).await {
        let Ok(Fetched::Found(body)) = fetched else { panic!("{fetched:?}") };
        pids.insert(field::at(&body, &Place::field("pid")).expect("a pid").into_owned());
    }
    assert_eq!(pids.len(), 2, "{pids:?}");
    assert_eq!(server.count("select count(*) from pg_stat_activity where usename = 'bounded'").await, 2);
}

#[tokio::test]
async fn a_restarted_server_is_met_again() {
    let mut server = PostgresServer::start().await;
    let rig = rig(server.config());
    rig.source.connect(Instant::now() + Duration::from_secs(20)).await.expect("connected");
    let (entity, sessions) =
        (one("select {id} as a"), "select count(*) from pg_stat_activity where application_name = 'hydrant'");
    assert_eq!(server.count(sessions).await, 4, "the whole pool");
    assert_eq!(fetch(&rig.source, &member(&entity, &[("id", "1")])).await, found("{\"a\":\"1\"}"));
    server.restart().await;
    assert_eq!(fetch(&rig.source, &member(&entity, &[("id", "2")])).await, found("{\"a\":\"2\"}"));
    server.stop();
    assert_eq!(fetch(&rig.source, &member(&entity, &[("id", "3")])).await, Err(FetchError::Unreachable));
}

#[tokio::test]
async fn a_table_that_has_changed_under_its_statement_is_read_again() {
    let server = PostgresServer::shared().await;
    server.execute("create table changing (id int); insert into changing values (1)").await;
    let (rig, entity) = (rig(server.config()), one("select * from changing where id = {id}"));
    let member = member(&entity, &[("id", "1")]);
    assert_eq!(fetch(&rig.source, &member).await, found("{\"id\":1}"));
    server.execute("alter table changing add name text default 'x'").await;
    let fetched = fetch(&rig.source, &member).await;
    assert!(matches!(&fetched, Ok(Fetched::Found(_))), "{fetched:?}");
}

#[tokio::test]
async fn passwords_are_asked_for_and_followed() {
    let server = PostgresServer::shared().await;
    let (entity, password) = (one("select {id} as a"), SecretCell::new(Secret::new("wrong")));
    let of = |url: &str, password: Option<&SecretCell>| {
        rig(Config { password: password.cloned(), ..server.config_of(&server.url_of(url, "")) })
    };
    let member = member(&entity, &[("id", "1")]);
    let rotated = of("reader", Some(&password));
    assert_eq!(fetch(&rotated.source, &member).await, Err(FetchError::Denied));
    password.set(Secret::new("s3cret\n"));
    assert_eq!(fetch(&rotated.source, &member).await, found("{\"a\":\"1\"}"));
    // The connection of the old password is not used any more.
    password.set(Secret::new("wrong again"));
    assert_eq!(fetch(&rotated.source, &member).await, Err(FetchError::Denied));
    assert_eq!(fetch(&of("reader:s3cret", None).source, &member).await, found("{\"a\":\"1\"}"));
    let printed = format!("{:?} {:?}", rotated.source, server.config_of(&server.url_of("reader:s3cret", "")));
    assert!(!printed.contains("s3cret"), "{printed}");
}

#[tokio::test]
async fn tls_is_verified() {
    let (ours, others) = (Certificates::new(), Certificates::new());
    let server = PostgresServer::start_with(Some(&ours)).await;
    let entity = one("select ssl, {id} as a from pg_stat_ssl where pid = pg_backend_pid()");
    let member = member(&entity, &[("id", "1")]);
    let of = |tls, url: &str| rig(Config { tls, ..server.config_of(&server.url_of("app", url)) });
    let trusting = |certificates: &Certificates| {
        let client = ClientCertificate { certificate: ours.client_file(), key: ours.client_key_file() };
        Some(Tls { ca: Some(certificates.ca_file()), client: Some(client) })
    };
    let encrypted = found("{\"ssl\":true,\"a\":\"1\"}");
    assert_eq!(fetch(&of(trusting(&ours), "").source, &member).await, encrypted);
    assert_eq!(fetch(&of(trusting(&others), "").source, &member).await, Err(FetchError::Unreachable));
    assert_eq!(
        fetch(&of(None, "?sslmode=require").source, &member).await,
        Err(FetchError::Unreachable),
        "the system's authorities"
    );
    assert_eq!(fetch(&of(None, "?sslmode=disable").source, &member).await, found("{\"ssl\":false,\"a\":\"1\"}"));
    let plain = PostgresServer::shared().await;
    let refused = rig(Config { tls: trusting(&ours), ..plain.config() });
    assert_eq!(fetch(&refused.source, &member).await, Err(FetchError::Unreachable), "a server without TLS");
}

#[tokio::test]
async fn what_does_not_fit_the_processs_budget_is_shed() {
    let server = PostgresServer::shared().await;
    let (rig, budget) = (rig(server.config()), Budget::new(1_000));
    let entity = one("select repeat({id}, 5000) as long");
    let meter = budget.meter();
    let ask = FetchAsk {
        member: &member(&entity, &[("id", "x")]),
        session: None,
        trace: TraceContext::parse(TRACE).expect("well formed"),
        deadline: Instant::now() + Duration::from_secs(20),
        max_bytes: 64 * 1024,
        meter: &meter,
    };
    assert_eq!(rig.source.fetch(ask).await, Err(FetchError::Shed));
    drop(meter);
    assert_eq!(budget.left(), 1_000);
}

#[tokio::test]
async fn a_source_that_keeps_failing_is_left_alone() {
    let server = PostgresServer::shared().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let rig = rig(server.config_of(&format!("postgres://app@{nobody}/postgres")));
    let (entity, mut errors) = (one("select {id} as a"), Vec::new());
    for _ in 0..7 {
        errors.push(fetch(&rig.source, &member(&entity, &[("id", "1")])).await.expect_err("nobody is there"));
    }
    assert_eq!(errors[..5], [FetchError::Unreachable; 5]);
    assert_eq!(errors[5..], [FetchError::Shed; 2]);
}

#[tokio::test]
async fn many_members_are_one_query() {
    let server = PostgresServer::shared().await;
    server.execute("create table many (id int primary key, name text); insert into many select n, 'n' || n from generate_series(1, 50) n").await;
    server.execute("insert into many values (60, repeat('x', 2000))").await;
    let rig = rig(server.config());
    let by_id = Arc::new(loaded(
        "x:{id}",
        Rows::One,
        "select * from many where id = {id}",
        Some(("select * from many where id = any({id})", &["id"])),
    ));
    let of = |ids: &[&str]| ids.iter().map(|id| member(&by_id, &[("id", id)])).collect::<Vec<_>>();
    let results = fetch_many(&rig.source, &of(&["7", "99", "60", "3"])).await;
    let expected = [
        found("{\"id\":7,\"name\":\"n7\"}"),
        Ok(Fetched::Absent),
        Err(FetchError::TooLarge),
        found("{\"id\":3,\"name\":\"n3\"}"),
    ];
    assert_eq!(results, expected);
    // Written otherwise than the column writes it: nobody can say whose the row is.
    assert_eq!(fetch_many(&rig.source, &of(&["007", "8"])).await[0], Err(FetchError::Ambiguous));
    // One that is no number spoils the whole; the fill looks for it.
    assert_eq!(fetch_many(&rig.source, &of(&["x", "8"])).await, [Err(FetchError::Refused), Err(FetchError::Refused)]);
}

#[tokio::test]
async fn pairs_and_lists_are_loaded_in_bulk() {
    let server = PostgresServer::shared().await;
    server.execute("create table roles (org text, person int, role text)").await;
    server.execute("insert into roles values ('a', 1, 'x'), ('a', 1, 'y'), ('b', 1, 'z')").await;
    let rig = rig(server.config());
    let entity = Arc::new(loaded(
        "roles:{org}:{person}",
        Rows::List,
        "select role from roles where org = {org} and person = {person}",
        Some((
            "select * from roles where (org, person) in (select * from unnest({org}::text[], {person}::int[])) order by role",
            &["org", "person"],
        )),
    ));
    let of = |org, person| member(&entity, &[("org", org), ("person", person)]);
    let results = fetch_many(&rig.source, &[of("b", "1"), of("a", "1"), of("a", "2")]).await;
    assert_eq!(results[0], found("[{\"org\":\"b\",\"person\":1,\"role\":\"z\"}]"));
    assert!(
        matches!(&results[1], Ok(Fetched::Found(body)) if body.starts_with(b"[{\"org\":\"a\",\"person\":1,\"role\":\"x\"},"))
    );
    assert_eq!(results[2], found("[]"));
}
