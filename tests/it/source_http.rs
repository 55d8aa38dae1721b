//! The HTTP source against a real origin: every way a call can end, what is sent and to whom, and how much.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use hydrant::domain::budget::Budget;
use hydrant::domain::entity::load::Ask;
use hydrant::domain::entity::{Draft, Entity, Load, Member};
use hydrant::domain::random::Random;
use hydrant::domain::secret::{Secret, SecretCell};
use hydrant::domain::source::{FetchAsk, FetchError, Fetched, Source};
use hydrant::domain::template::{Params, Template};
use hydrant::domain::trace::TraceContext;
use hydrant::source::http::{BuildError, Config, HttpSource, ServiceCredential, SessionStyle, SourceTls};
use hydrant::source::metrics::Metrics;
use hyper::Version;
use hyper::header::{ACCEPT_ENCODING, AUTHORIZATION, COOKIE, USER_AGENT};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::support::catalog::{draft, name, subject_draft};
use crate::support::certificates::{Certificates, Clients};
use crate::support::origin::{Answer, Origin};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn config(origin: &str) -> Config {
    Config {
        origin: origin.to_owned(),
        timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(5),
        session: Some(SessionStyle::Bearer),
        service: None,
        concurrency: 64,
        retries: 0,
        max_bytes: 1024 * 1024,
        tls: SourceTls::default(),
    }
}

fn build(config: Config) -> Result<HttpSource, BuildError> {
    HttpSource::build(name("backend"), config, Random::from_seed(1), &Metrics::register(&mut Registry::default()))
}

fn source(config: Config) -> HttpSource {
    build(config).expect("a good configuration")
}

fn member(draft: Draft, id: &str) -> Member {
    let entity = Arc::new(Entity::new(draft).expect("a good entity"));
    let params: Params = [("id", id)].into_iter().collect();
    let key = entity.key().key(&params, entity.ids()).expect("a good key");
    Member { entity, params, key }
}

/// `/user/1`, with service credentials.
fn user() -> Member {
    member(draft("user"), "1")
}

/// `/me/<id>`, with the subject's session.
fn me(id: &str) -> Member {
    member(subject_draft("me"), id)
}

async fn ask(
    source: &HttpSource,
    member: &Member,
    session: Option<&str>,
    within: Duration,
) -> Result<Fetched, FetchError> {
    let (session, budget) = (session.map(Secret::new), Budget::new(64 * 1024 * 1024));
    let ask = FetchAsk {
        member,
        session: session.as_ref(),
        trace: TraceContext::parse(TRACE).expect("well formed"),
        deadline: Instant::now() + within,
        max_bytes: 512 * 1024,
        meter: &budget.meter(),
    };
    source.fetch(ask).await
}

async fn fetch(source: &HttpSource, member: &Member) -> Result<Fetched, FetchError> {
    ask(source, member, None, Duration::from_secs(20)).await
}

fn text(fetched: Result<Fetched, FetchError>) -> String {
    match fetched {
        Ok(Fetched::Found(body)) => String::from_utf8(body.to_vec()).expect("UTF-8"),
        other => panic!("not found: {other:?}"),
    }
}

#[tokio::test]
async fn a_body_comes_as_it_was_sent() {
    let origin = Origin::start().await;
    origin.json("/user/1", " {\"n\": 1.0} ");
    assert_eq!(text(fetch(&source(config(&origin.url())), &user()).await), " {\"n\": 1.0} ");
    let seen = &origin.seen()[0];
    assert_eq!((seen.method.as_str(), seen.version), ("GET", Version::HTTP_11));
}

#[tokio::test]
async fn every_answer_has_its_meaning() {
    let origin = Origin::start().await;
    let source = source(Config { timeout: Duration::from_secs(1), ..config(&origin.url()) });
    for (answer, meaning) in [
        (Answer::Status(204), Ok(Fetched::Absent)),
        (Answer::Status(404), Ok(Fetched::Absent)),
        (Answer::Status(410), Ok(Fetched::Absent)),
        (Answer::Status(401), Err(FetchError::Denied)),
        (Answer::Status(403), Err(FetchError::Denied)),
        (Answer::Status(400), Err(FetchError::Status(400))),
        (Answer::Status(429), Err(FetchError::Status(429))),
        (Answer::Status(500), Err(FetchError::Status(500))),
        (Answer::Status(202), Err(FetchError::Broken)),
        (Answer::Large(10_000_000), Err(FetchError::TooLarge)),
        (Answer::LargeInChunks(10_000_000), Err(FetchError::TooLarge)),
        (Answer::HangUp, Err(FetchError::Broken)),
        (Answer::With("content-encoding", "gzip", Box::new(Answer::Json("{}".into()))), Err(FetchError::Broken)),
        (Answer::Hang, Err(FetchError::Timeout)),
        (Answer::Json("{}".into()), Ok(Fetched::Found("{}".into()))),
        (Answer::HangInBody, Err(FetchError::Timeout)),
    ] {
        origin.on("/user/1", answer.clone());
        assert_eq!(fetch(&source, &user()).await, meaning, "{answer:?}");
    }
}

#[tokio::test]
async fn garbage_and_silence_are_told_apart() {
    let origin = Origin::start().await;
    origin.on("/user/1", Answer::Garbage(b"\x00\xff not HTTP at all\r\n\r\n"));
    assert_eq!(fetch(&source(config(&origin.url())), &user()).await, Err(FetchError::Broken));
    assert_eq!(origin.calls("/user/1"), 1);

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let nobody = format!("http://{}", listener.local_addr().expect("bound"));
    drop(listener);
    assert_eq!(fetch(&source(config(&nobody)), &user()).await, Err(FetchError::Unreachable));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (origin, other) = (Origin::start().await, Origin::start().await);
    origin.on("/me/1", Answer::Redirect(format!("{}/steal", other.url())));
    let source = source(config(&origin.url()));
    let fetched = ask(&source, &me("1"), Some("s3ss10n"), Duration::from_secs(5)).await;
    assert_eq!(fetched, Err(FetchError::Redirect));
    assert_eq!((origin.calls("/"), other.calls("/")), (1, 0));
}

#[tokio::test]
async fn a_session_goes_only_where_it_is_asked_for() {
    let origin = Origin::start().await;
    origin.on("/*", Answer::Echo);
    let service = ServiceCredential::Bearer { token: SecretCell::new(Secret::new("service\n")) };
    let source = source(Config { service: Some(service), ..config(&origin.url()) });

    let echo = text(ask(&source, &user(), Some("s3ss10n"), Duration::from_secs(5)).await);
    assert!(!echo.contains("s3ss10n") && echo.contains("\"authorization\":\"Bearer service\""), "{echo}");
    let echo = text(ask(&source, &me("1"), Some("s3ss10n"), Duration::from_secs(5)).await);
    assert!(!echo.contains("service") && echo.contains("\"authorization\":\"Bearer s3ss10n\""), "{echo}");

    let calls = origin.calls("/");
    assert_eq!(fetch(&source, &me("1")).await, Err(FetchError::NoSession));
    for bad in ["a\r\nX-Admin: 1", "a b", "ü"] {
        assert_eq!(ask(&source, &me("1"), Some(bad), Duration::from_secs(5)).await, Err(FetchError::NoSession));
    }
    assert_eq!(origin.calls("/"), calls);
}

#[tokio::test]
async fn sessions_travel_in_the_style_that_the_source_takes() {
    let origin = Origin::start().await;
    origin.on("/*", Answer::Echo);
    let styled = |session| source(Config { session, ..config(&origin.url()) });
    let cookie = styled(Some(SessionStyle::Cookie { name: "sid".into() }));
    ask(&cookie, &me("1"), Some("abc"), Duration::from_secs(5)).await.expect("answered");
    let header = styled(Some(SessionStyle::Header { name: "X-Session".into() }));
    ask(&header, &me("1"), Some("abc"), Duration::from_secs(5)).await.expect("answered");
    let seen = origin.seen();
    assert_eq!(seen[0].headers[COOKIE], "sid=abc");
    assert_eq!(seen[1].headers["x-session"], "abc");
    assert!(seen.iter().all(|seen| !seen.headers.contains_key(AUTHORIZATION)));
    let none = ask(&styled(None), &me("1"), Some("abc"), Duration::from_secs(5)).await;
    assert_eq!(none, Err(FetchError::NoSession));
}

#[tokio::test]
async fn sessions_of_concurrent_calls_are_never_mixed() {
    let origin = Origin::start().await;
    origin.on("/me/*", Answer::After(Duration::from_millis(5), Box::new(Answer::Echo)));
    let source = source(Config { concurrency: 8, ..config(&origin.url()) });
    let calls = (0..64).map(|n| {
        let source = &source;
        async move {
            let (member, session) = (me(&n.to_string()), format!("session-{n:03}"));
            let echo = text(ask(source, &member, Some(&session), Duration::from_secs(20)).await);
            assert_eq!(echo.matches("session-").count(), 1, "{echo}");
            assert!(echo.contains(&session), "{session}: {echo}");
        }
    });
    join_all(calls).await;
    for seen in origin.seen() {
        let n: usize = seen.path["/me/".len()..].parse().expect("a number");
        assert_eq!(seen.headers[AUTHORIZATION], format!("Bearer session-{n:03}"));
    }
    assert!(origin.most_in_flight() <= 8, "{}", origin.most_in_flight());
}

#[tokio::test]
async fn a_rotated_credential_is_followed() {
    let origin = Origin::start().await;
    origin.on("/*", Answer::Echo);
    let value = SecretCell::new(Secret::new("old"));
    let service = ServiceCredential::Header { name: "X-Api-Key".into(), value: value.clone() };
    let source = source(Config { service: Some(service), ..config(&origin.url()) });
    fetch(&source, &user()).await.expect("answered");
    value.set(Secret::new("new"));
    fetch(&source, &user()).await.expect("answered");
    value.set(Secret::new("broken\nin two"));
    assert_eq!(fetch(&source, &user()).await, Err(FetchError::Denied));
    let sent: Vec<_> = origin.seen().iter().map(|seen| seen.headers["x-api-key"].clone()).collect();
    assert_eq!(sent, ["old", "new"]);
}

#[tokio::test]
async fn no_secret_is_printed() {
    let token = SecretCell::new(Secret::new("s3rv1ce"));
    let service = Some(ServiceCredential::Bearer { token });
    let source = source(Config { service, ..config("http://127.0.0.1:1") });
    let error = ask(&source, &me("1"), Some("s3ss10n\n"), Duration::from_secs(5)).await.expect_err("refused");
    let printed = format!("{source:?} {error:?} {error}");
    let login = build(config("http://user:s3cr3t@127.0.0.1")).expect_err("a login in the origin");
    let printed = format!("{printed} {login:?} {login}");
    assert!(!["s3rv1ce", "s3ss10n", "s3cr3t"].iter().any(|secret| printed.contains(secret)), "{printed}");
}

#[tokio::test]
async fn a_request_says_who_asks_and_continues_the_trace() {
    let origin = Origin::start().await;
    origin.json("/user/1", "{}");
    fetch(&source(config(&origin.url())), &user()).await.expect("answered");
    let headers = &origin.seen()[0].headers;
    let trace = headers["traceparent"].to_str().expect("text");
    // The span it is asked under, which is exported: an id of its own would be a parent that nobody knows.
    assert_eq!(trace, TRACE);
    assert!(headers[USER_AGENT].to_str().expect("text").starts_with("hydrant/"));
    assert!(!headers.contains_key(ACCEPT_ENCODING) && !headers.contains_key("referer"));
}

#[tokio::test]
async fn connections_are_used_again() {
    let origin = Origin::start().await;
    origin.on("/user/1", Answer::InTurn(vec![Answer::Status(404), Answer::Status(400), Answer::Json("{}".into())]));
    let source = source(config(&origin.url()));
    for _ in 0..10 {
        let _ = fetch(&source, &user()).await;
    }
    assert_eq!((origin.calls("/"), origin.connections()), (10, 1));
}

#[tokio::test]
async fn calls_that_wait_too_long_for_their_turn_are_shed() {
    let origin = Origin::start().await;
    origin.on("/user/1", Answer::Hang);
    let source = source(Config { concurrency: 2, ..config(&origin.url()) });
    let member = user();
    let calls = (0..6).map(|_| ask(&source, &member, None, Duration::from_secs(2)));
    let results = join_all(calls).await;
    assert_eq!(results.iter().filter(|r| **r == Err(FetchError::Timeout)).count(), 2, "{results:?}");
    assert_eq!(results.iter().filter(|r| **r == Err(FetchError::Shed)).count(), 4, "{results:?}");
    assert_eq!((origin.calls("/"), origin.most_in_flight()), (2, 2));
}

#[tokio::test]
async fn an_answer_that_does_not_fit_the_processs_budget_is_shed() {
    let origin = Origin::start().await;
    let (source, member, budget) = (source(config(&origin.url())), user(), Budget::new(1_000));
    for answer in [Answer::Large(10_000), Answer::LargeInChunks(10_000)] {
        origin.on("/user/1", answer);
        let trace = TraceContext::parse(TRACE).expect("well formed");
        let deadline = Instant::now() + Duration::from_secs(5);
        let meter = budget.meter();
        let ask = FetchAsk { member: &member, session: None, trace, deadline, max_bytes: 100_000, meter: &meter };
        assert_eq!(source.fetch(ask).await, Err(FetchError::Shed));
        drop(meter);
        assert_eq!(budget.left(), 1_000);
    }
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let origin = Origin::start().await;
    let source = source(Config { retries: 2, ..config(&origin.url()) });
    let turns = [Answer::Status(503), Answer::Status(502), Answer::Json("{}".into())];
    origin.on("/user/1", Answer::InTurn(turns.to_vec()));
    assert_eq!(text(fetch(&source, &user()).await), "{}");
    assert_eq!(origin.calls("/user/1"), 3);
    // A broken program stays broken, and what is refused stays refused.
    for (id, status) in [("2", 500), ("3", 400), ("4", 401)] {
        origin.on(&format!("/user/{id}"), Answer::Status(status));
        fetch(&source, &member(draft("user"), id)).await.expect_err("refused");
        assert_eq!(origin.calls(&format!("/user/{id}")), 1, "{status}");
    }
}

#[tokio::test]
async fn a_silent_try_is_given_up_for_another() {
    let origin = Origin::start().await;
    let timeout = Duration::from_secs(1);
    let source = source(Config { timeout, retries: 1, ..config(&origin.url()) });
    origin.on("/user/1", Answer::InTurn(vec![Answer::Hang, Answer::Json("{}".into())]));
    assert_eq!(text(fetch(&source, &user()).await), "{}");
    // Once an answer has begun it is too late to ask again.
    origin.on("/user/2", Answer::HangInBody);
    assert_eq!(fetch(&source, &member(draft("user"), "2")).await, Err(FetchError::Timeout));
    assert_eq!((origin.calls("/user/1"), origin.calls("/user/2")), (2, 1));
}

#[tokio::test]
async fn retries_run_out_when_everything_fails() {
    const CALLS: usize = 200;
    let origin = Origin::start().await;
    let source = source(Config { retries: 3, ..config(&origin.url()) });
    origin.json("/user/1", "{}");
    origin.on("/user/2", Answer::Status(503));
    let (good, bad) = (user(), member(draft("user"), "2"));
    // Good calls in between, so that the breaker stays out of it.
    for _ in 0..CALLS / 2 {
        fetch(&source, &bad).await.expect_err("fails");
        fetch(&source, &good).await.expect("answers");
    }
    let retries = origin.calls("/") - CALLS;
    assert!((10..=CALLS / 10 + 10).contains(&retries), "{retries} retries");
}

#[tokio::test]
async fn a_source_that_keeps_failing_is_left_alone_until_a_probe_succeeds() {
    let origin = Origin::start().await;
    origin.on("/user/1", Answer::Status(500));
    let source = source(config(&origin.url()));
    for _ in 0..5 {
        assert_eq!(fetch(&source, &user()).await, Err(FetchError::Status(500)));
    }
    assert_eq!(fetch(&source, &user()).await, Err(FetchError::Shed));
    assert_eq!(origin.calls("/"), 5);

    origin.json("/user/1", "{}");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3)).await;
    tokio::time::resume();
    assert_eq!(text(fetch(&source, &user()).await), "{}");
    assert_eq!(text(fetch(&source, &user()).await), "{}");
}

#[tokio::test]
async fn answers_that_blame_the_caller_do_not_open_the_breaker() {
    let origin = Origin::start().await;
    let source = source(config(&origin.url()));
    for status in [400, 401, 403, 404, 429] {
        origin.on("/user/1", Answer::Status(status));
        for _ in 0..6 {
            let _ = fetch(&source, &user()).await;
        }
    }
    // Nor does a caller without patience.
    origin.on("/user/1", Answer::Hang);
    for _ in 0..6 {
        assert_eq!(ask(&source, &user(), None, Duration::from_millis(20)).await, Err(FetchError::Timeout));
    }
    origin.json("/user/1", "{}");
    assert_eq!(text(fetch(&source, &user()).await), "{}");
}

#[tokio::test]
async fn the_deadline_beats_the_timeout_and_the_retries() {
    let origin = Origin::start().await;
    origin.on("/user/1", Answer::Hang);
    let timeout = Duration::from_secs(3600);
    let source = source(Config { timeout, retries: 5, ..config(&origin.url()) });
    let member = user();
    let fetched = ask(&source, &member, None, Duration::from_millis(100));
    let fetched = tokio::time::timeout(Duration::from_secs(60), fetched);
    assert_eq!(fetched.await.expect("ends by itself"), Err(FetchError::Timeout));
    assert_eq!(origin.calls("/"), 1);
}

#[tokio::test]
async fn a_path_that_would_lead_elsewhere_is_not_called() {
    let origin = Origin::start().await;
    let template = |text| Template::parse(text).expect("parses");
    let load = |path| Load::plain(name("backend"), Ask::Get(template(path)));
    let source = source(config(&origin.url()));
    for path in ["/user/.{id}", "user/{id}", "@evil.example/{id}"] {
        let draft = Draft { load: Some(load(path)), ..draft("user") };
        assert_eq!(fetch(&source, &member(draft, ".")).await, Err(FetchError::Unreachable), "{path}");
    }
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn tls_trusts_the_given_authority_and_speaks_http_2() {
    let certificates = Certificates::new();
    let origin = Origin::start_tls(&certificates, Clients::Anyone).await;
    origin.json("/user/1", "{}");
    let tls = SourceTls { ca: Some(certificates.ca_file()), ..SourceTls::default() };
    let trusting = source(Config { tls, ..config(&origin.url()) });
    let member = user();
    let results = join_all((0..20).map(|_| fetch(&trusting, &member))).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert!(origin.seen().iter().all(|seen| seen.version == Version::HTTP_2));

    let strange = SourceTls { ca: Some(Certificates::new().ca_file()), ..SourceTls::default() };
    // The files are gone with their authority, so this one must be kept.
    assert!(matches!(build(Config { tls: strange, ..config(&origin.url()) }), Err(BuildError::File { .. })));
    let other = Certificates::new();
    let tls = SourceTls { ca: Some(other.ca_file()), ..SourceTls::default() };
    let distrusting = source(Config { tls, ..config(&origin.url()) });
    assert_eq!(fetch(&distrusting, &user()).await, Err(FetchError::Unreachable));
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_one_is_asked_for() {
    let certificates = Certificates::new();
    let origin = Origin::start_tls(&certificates, Clients::WithCertificate).await;
    origin.json("/user/1", "{}");
    let bare = SourceTls { ca: Some(certificates.ca_file()), ..SourceTls::default() };
    let tls = SourceTls {
        client_certificate: Some(certificates.client_file()),
        client_key: Some(certificates.client_key_file()),
        ..bare.clone()
    };
    assert_eq!(text(fetch(&source(Config { tls, ..config(&origin.url()) }), &user()).await), "{}");
    let refused = fetch(&source(Config { tls: bare, ..config(&origin.url()) }), &user()).await;
    assert!(matches!(refused, Err(FetchError::Unreachable | FetchError::Broken)), "{refused:?}");
    assert_eq!(origin.calls("/"), 1);
}

#[tokio::test]
async fn a_bad_configuration_names_its_field() {
    let good = || config("http://127.0.0.1:1");
    let key_alone = SourceTls { client_key: Some("/nowhere".into()), ..SourceTls::default() };
    for (bad, field) in [
        (Config { origin: "http://a/path".into(), ..good() }, "origin"),
        (Config { timeout: Duration::ZERO, ..good() }, "timeout"),
        (Config { concurrency: 0, ..good() }, "concurrency"),
        (Config { session: Some(SessionStyle::Header { name: "Host".into() }), ..good() }, "auth.session"),
        (Config { session: Some(SessionStyle::Cookie { name: "a=b".into() }), ..good() }, "auth.session"),
        (Config { origin: "https://a".into(), tls: key_alone, ..good() }, "tls.client_key"),
    ] {
        assert_eq!(build(bad).expect_err("a bad configuration").field(), field);
    }
}
