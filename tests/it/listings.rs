//! Listings against real servers: every member once, page by page, from where it stopped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hydrant::domain::listing::{Cursor, Listing, PageAsk};
use hydrant::domain::projection::paths::Place;
use hydrant::domain::query::Query;
use hydrant::domain::random::Random;
use hydrant::domain::source::FetchError;
use hydrant::domain::template::Template;
use hydrant::domain::trace::TraceContext;
use hydrant::source::any::{self, AnySource};
use hydrant::source::http::{self, SourceTls};
use hydrant::source::listing::{BuildError, Config, Pages, build};
use hydrant::source::metrics::Metrics;
use hydrant::tasks::Tasks;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use crate::support::catalog::name;
use crate::support::origin::{Answer, Origin};
use crate::support::postgres::PostgresServer;

fn sources(config: any::Config) -> BTreeMap<hydrant::domain::entity::Name, AnySource> {
    let (tasks, _) = Tasks::new();
    let metrics = Metrics::register(&mut Registry::default());
    let source = AnySource::build(name("s"), config, Random::from_seed(1), &metrics, &tasks);
    BTreeMap::from([(name("s"), source.expect("a good configuration"))])
}

fn http(origin: &Origin) -> any::Config {
    any::Config::Http(http::Config {
        origin: origin.url(),
        timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(5),
        session: None,
        service: None,
        concurrency: 4,
        retries: 0,
        max_bytes: 1 << 20,
        tls: SourceTls::default(),
    })
}

fn pages(get: &str, next: Option<&str>) -> Pages {
    let place = |text: &str| Place::parse(text).expect("a place");
    Pages {
        source: name("s"),
        get: Template::parse(get).expect("a path"),
        items: place("$.data"),
        params: BTreeMap::from([("id".to_owned(), place("$.id"))]),
        next: next.map(place),
        first_page: 1,
    }
}

/// Every id there is, and how many pages they came in.
async fn all(listing: &Arc<dyn Listing>, limit: usize) -> Result<(Vec<String>, usize), FetchError> {
    let (mut ids, mut after, mut count): (_, Option<Cursor>, _) = (Vec::new(), None, 0);
    loop {
        let trace =
            TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").expect("well formed");
        let deadline = Instant::now() + Duration::from_secs(20);
        let page = listing.page(PageAsk { after: after.as_ref(), limit, trace, deadline }).await?;
        assert!(page.members.len() <= limit, "{} members", page.members.len());
        ids.extend(page.members.iter().map(|params| params["id"].clone()));
        count += 1;
        after = page.next;
        if after.is_none() {
            return Ok((ids, count));
        }
    }
}

#[tokio::test]
async fn rows_come_page_by_page_whichever_way() {
    let server = PostgresServer::shared().await;
    server.execute("create table listed (id int primary key, seen int); insert into listed select n, 100 - n from generate_series(1, 25) n").await;
    let sources = sources(any::Config::Postgres(server.config()));
    let listing = |text: &str, page_by: Option<&str>| {
        let query = Query::parse(text, &[]).expect("a query");
        build(&Config::Query { source: name("s"), query, page_by: page_by.map(str::to_owned) }, &sources)
    };
    let ascending: Vec<String> = (1..=25).map(|n| n.to_string()).collect();
    let by_id = listing("select id from listed", Some("id")).expect("built");
    assert_eq!(all(&by_id, 10).await, Ok((ascending.clone(), 3)));
    assert_eq!(all(&by_id, 5).await.expect("read").0, ascending);
    let best_first = listing("select id from listed order by seen", None).expect("built");
    let descending: Vec<String> = ascending.iter().rev().cloned().collect();
    assert_eq!(all(&best_first, 10).await, Ok((descending, 3)));
    assert_eq!(
        all(&listing("select id from listed where false", Some("id")).expect("built"), 3).await,
        Ok((vec![], 1))
    );
    assert_eq!(all(&listing("select id from nowhere", None).expect("built"), 3).await, Err(FetchError::Refused));
    assert_eq!(listing("select {id} as id", None).err(), Some(BuildError::Parameters));
}

#[tokio::test]
async fn lists_are_paged_in_every_usual_way() {
    let origin = Origin::start().await;
    let page = |ids: &[u32], next: &str| {
        let items: Vec<String> = ids.iter().map(|id| format!("{{\"id\":{id},\"x\":[1]}}")).collect();
        Answer::Json(format!("{{\"data\":[{}],\"next\":{next}}}", items.join(",")))
    };
    let in_turn = [page(&[1, 2, 3], "null"), page(&[4, 5], "null"), page(&[], "null")];
    let sources = sources(http(&origin));
    let expected: Vec<String> = (1..=5).map(|n| n.to_string()).collect();
    let listing = |get: &str, next: Option<&str>| build(&Config::Pages(pages(get, next)), &sources).expect("built");

    origin.on("/numbered", Answer::InTurn(in_turn.to_vec()));
    assert_eq!(all(&listing("/numbered?page={page}&size={limit}", None), 3).await, Ok((expected.clone(), 3)));
    origin.on("/offset", Answer::InTurn(in_turn.to_vec()));
    assert_eq!(all(&listing("/offset?from={offset}", None), 3).await, Ok((expected.clone(), 3)));
    origin.on("/token", Answer::InTurn(vec![page(&[1, 2, 3], "\"t/2\""), page(&[4, 5], "null")]));
    assert_eq!(all(&listing("/token?after={cursor}", Some("$.next")), 3).await, Ok((expected.clone(), 2)));
    let link = format!("\"{}/linked/2?x=1\"", origin.url());
    origin.on("/linked/1", page(&[1, 2, 3], &link));
    origin.on("/linked/2", page(&[4, 5], "\"\""));
    assert_eq!(all(&listing("/linked/1", Some("$.next")), 3).await, Ok((expected.clone(), 2)));
    origin.on("/whole", page(&[1, 2, 3, 4, 5], "null"));
    assert_eq!(all(&listing("/whole", None), 2).await, Ok((expected, 3)), "more than was asked for");

    let paths: Vec<String> = origin.seen().into_iter().map(|seen| seen.path).collect();
    for path in ["/numbered?page=3&size=3", "/offset?from=5", "/token?after=", "/token?after=t%2F2", "/linked/2?x=1"] {
        assert!(paths.iter().any(|seen| seen == path), "{path} in {paths:?}");
    }
    origin.on("/away", page(&[1], "\"http://evil.example/x\""));
    assert_eq!(all(&listing("/away", Some("$.next")), 3).await, Err(FetchError::Redirect), "another origin");
}

#[tokio::test]
async fn what_cannot_be_listed_is_refused() {
    let origin = Origin::start().await;
    let sources = sources(http(&origin));
    let refused = |config: Config| build(&config, &sources).err();
    let query = || Query::parse("select 1", &[]).expect("a query");
    let on = |source| Config::Query { source: name(source), query: query(), page_by: None };
    assert_eq!(refused(on("none")), Some(BuildError::NoSource(name("none"))));
    assert_eq!(refused(on("s")), Some(BuildError::NotPostgres(name("s"))));
    let get = |get: &str, next| Config::Pages(pages(get, next));
    assert_eq!(refused(get("/x?page={page}&from={offset}", None)), Some(BuildError::TwoPlaces));
    assert_eq!(refused(get("/x?after={cursor}", None)), Some(BuildError::NoNext));
    assert_eq!(refused(get("/x?id={id}", None)), Some(BuildError::Placeholder("id".to_owned())));
    origin.on("/odd", Answer::Json("{\"data\":{}}".to_owned()));
    let odd = build(&get("/odd", None), &sources).expect("built");
    assert_eq!(all(&odd, 3).await, Err(FetchError::Broken));
}
