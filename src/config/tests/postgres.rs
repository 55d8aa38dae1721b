//! Postgres in the configuration: what a good one becomes, and one example for each refusal.

use super::*;
use crate::domain::entity::load::{Ask, BulkAsk, Rows};
use crate::source::any;

const GOOD: &str = r#"
group: shop
store: memory
sources:
  db: { postgres: { url: "postgres://hydrant@db.internal/shop" } }
entities:
  user:
    key: "user:{id}"
    scope: shared
    load:
      source: db
      query: "select * from users where id = $1"
      bulk: { query: "select * from users where id = any({id})" }
    ttl: 5m
    fields: { allow: [id] }
"#;

fn told(part: &str, by: &str) -> String {
    assert!(GOOD.contains(part), "{part}");
    let problems = refused(&GOOD.replace(part, by), &[]);
    problems.list.iter().map(|p| format!("{}: {}", p.path, p.problem)).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_query_is_read_with_the_parameters_of_its_key() {
    let loaded = loaded(GOOD, &[]);
    assert_eq!(loaded.warnings.len(), 0, "a URL without a password is no secret: {:?}", loaded.warnings);
    let live = loaded.config.live;
    assert!(matches!(live.sources["db"], any::Config::Postgres(_)));
    let user = live.catalog.entity("user").expect("declared");
    let load = user.load().expect("loaded");
    assert!(matches!(&load.ask, Ask::Query { query, rows: Rows::One } if query.params().eq(["id"])), "{load:?}");
    let bulk = load.bulk.as_ref().expect("in bulk");
    assert_eq!(bulk.most, 500);
    assert!(matches!(&bulk.ask, BulkAsk::Query { columns, .. } if columns == &["id"]), "{bulk:?}");
}

#[test]
fn a_password_in_the_file_is_told_and_so_is_a_url_in_the_clear() {
    let warned = |url: &str| {
        let text = GOOD.replace("postgres://hydrant@db.internal/shop", url);
        loaded(&text, &[]).warnings.iter().map(|warning| warning.problem.clone()).collect::<Vec<_>>()
    };
    assert_eq!(warned("postgres://hydrant:pw@db.internal/shop"), ["a secret stands in the file itself"]);
    assert_eq!(warned("postgres://hydrant@db.internal/shop?sslmode=disable"), ["Postgres is used without TLS"]);
    assert_eq!(warned("postgres://hydrant@127.0.0.1/shop?sslmode=disable"), [""; 0]);
}

#[test]
fn what_cannot_work_is_refused() {
    for (part, by, expected) in [
        ("postgres://hydrant@", "mysql://hydrant@", "sources.db.postgres.url: it is not a URL of Postgres"),
        ("/shop\"", "/shop?sslmode=prefer\"", "sources.db.postgres.url: `sslmode=prefer` can be turned off"),
        (
            "/shop\"",
            "/shop\", statement_timeout: 20s",
            "sources.db.postgres.statement_timeout: a query may take 20s, but the claim",
        ),
        ("url: \"postgres://hydrant@db.internal/shop\"", "", "sources.db.postgres.url: `url` is missing"),
        (
            "postgres: {",
            "http: { origin: \"https://a\" }, postgres: {",
            "sources.db: a source is behind `http` or behind",
        ),
        ("where id = $1", "where id = $2", "entities.user.load.query: `$2` stands for a parameter that is not there"),
        ("where id = $1", "where id = {name}", "entities.user.load.query: `{name}` is not a parameter of the key"),
        ("where id = $1", "where id = $1; select 1", "entities.user.load.query: `select"),
        ("query: \"select * from users where id = $1\"", "get: \"/u\"", "entities.user.load.get: the source is behind"),
        ("query: \"select * from users where id = $1\"", "", "entities.user.load: `query` is missing"),
        ("id = any({id})", "id = any({ids})", "entities.user.load.bulk.query: the key's parameters are what"),
        ("id = any({id})\"", "id = any({id})\", key: \"a, b\"", "entities.user.load.bulk.key: 2 columns tell"),
        (
            "bulk: { query",
            "bulk: { items: \"$.x\", query",
            "entities.user.load.bulk.items: the source is of the other kind",
        ),
    ] {
        assert!(told(part, by).contains(expected), "{by}\n{}", told(part, by));
    }
}
