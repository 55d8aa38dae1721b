//! What a login fills only once another answer is there: the user's organisation is known from the profile, and whose
//! hierarchy is needed follows from that.

use std::time::Duration;

use hydrant::domain::pseudonym::Pseudonym;
use hydrant::grpc::client::{Answer, Ask, AskMember, Mode};

use crate::support::origin::{Answer as Says, Origin};
use crate::support::redis::RedisServer;
use crate::support::sidecar::{Sidecar, login};
use crate::support::wait::until;

/// `hierarchy` follows from `profile`, `board` from `hierarchy`; `desk` is the subject's own.
fn shop(server: &RedisServer, origin: &Origin, prehydrate: &str) -> String {
    format!(
        r#"
group: dependents
redis: {{ mode: standalone, nodes: ["redis://127.0.0.1:{}"] }}
sources:
  api: {{ http: {{ origin: "{}", auth: {{ session: bearer }} }} }}
entities:
  profile:
    key: "d:profile:{{id}}"
    load: {{ source: api, get: "/profile/{{id}}" }}
    ttl: 5m
    fields: {{ allow: [name, org] }}
  hierarchy:
    key: "d:hierarchy:{{org}}"
    scope: shared
    follows: {{ from: profile, by: {{ org: $.org.id }} }}
    load: {{ source: api, get: "/hierarchy/{{org}}", credential: service }}
    ttl: 5m
    fields: {{ allow: ["*"] }}
  desk:
    key: "d:desk:{{org}}:{{id}}"
    bind: {{ id: user }}
    follows: {{ from: profile, by: {{ org: $.org.id }} }}
    load: {{ source: api, get: "/desk/{{org}}/{{id}}" }}
    ttl: 5m
    fields: {{ allow: ["*"] }}
  board:
    key: "d:board:{{top}}"
    scope: shared
    follows: {{ from: hierarchy, by: {{ top: $.top }} }}
    load: {{ source: api, get: "/board/{{top}}", credential: service }}
    ttl: 5m
    fields: {{ allow: ["*"] }}
prehydrate: {{ {prehydrate} }}
"#,
        server.port,
        origin.url()
    )
}

fn answers(origin: &Origin) {
    origin.json("/profile/*", r#"{"name":"Ann","org":{"id":5}}"#);
    origin.json("/hierarchy/*", r#"{"top":"t-1"}"#);
    origin.json("/board/*", r#"{"members":[]}"#);
    origin.json("/desk/*", r#"{"place":3}"#);
}

/// Without the parameters that follow.
fn named(user: &str, entities: &[&str]) -> Ask {
    let member = |entity: &&str| AskMember { entity: (*entity).to_owned(), params: [].into() };
    Ask { members: entities.iter().map(member).collect(), ..login(user, &[]) }
}

async fn ask(sidecar: &Sidecar, ask: Ask) -> Answer {
    sidecar.client().await.prehydrate(ask).await.expect("served")
}

fn outcomes(answer: &Answer) -> Vec<(&str, &str, &str)> {
    let mut lines: Vec<(&str, &str, &str)> =
        answer.resources.iter().map(|line| (line.entity.as_str(), line.key.as_str(), line.outcome.as_str())).collect();
    lines.sort_unstable();
    lines
}

#[tokio::test]
async fn what_follows_from_an_answer_is_filled_in_the_same_login() {
    let (server, origin) = (RedisServer::start().await, Origin::start().await);
    answers(&origin);
    let sidecar = Sidecar::start(&shop(&server, &origin, "always: [board, desk]")).await;
    let answer = ask(&sidecar, login("7", &[])).await;
    let expected = |outcome| {
        [
            ("board", "d:board:t-1", outcome),
            ("desk", "d:desk:5:7", outcome),
            ("hierarchy", "d:hierarchy:5", outcome),
            ("profile", "d:profile:7", outcome),
        ]
    };
    assert_eq!(outcomes(&answer), expected("FILLED"), "what they wait for is in the plan as well");
    assert_eq!(server.text(&["GET", "d:board:t-1"]), r#"{"members":[]}"#);
    let session = |path: &str| {
        let seen = origin.seen().into_iter().find(|seen| seen.path.starts_with(path)).expect("asked");
        seen.headers.get("authorization").map(|value| value.to_str().expect("text").to_owned())
    };
    assert_eq!(session("/desk"), Some("Bearer session-of-7".to_owned()));
    assert_eq!((session("/hierarchy"), session("/board")), (None, None), "what is everybody's is asked without it");

    server.command(&["DEL", "d:board:t-1"]);
    let again = ask(&sidecar, login("7", &[])).await;
    let fresh: Vec<&str> = outcomes(&again).iter().map(|(_, _, outcome)| *outcome).collect();
    assert_eq!(fresh, ["FILLED", "FRESH", "FRESH", "FRESH"], "read where it was fresh");
    let told = answer.resources.iter().find(|line| line.entity == "board").expect("in the plan");
    assert_eq!((told.why.as_str(), told.score), ("DEPENDENT", 1.0));
}

#[tokio::test]
async fn a_failing_answer_costs_only_what_follows_from_it() {
    let (server, origin) = (RedisServer::start().await, Origin::start().await);
    answers(&origin);
    let sidecar = Sidecar::start(&shop(&server, &origin, "always: [profile]")).await;
    let wanted = || named("7", &["board", "desk"]);

    origin.on("/hierarchy/*", Says::Status(500));
    let answer = ask(&sidecar, wanted()).await;
    let expected = [
        ("board", "", "FAILED"),
        ("desk", "d:desk:5:7", "FILLED"),
        ("hierarchy", "d:hierarchy:5", "FAILED"),
        ("profile", "d:profile:7", "FILLED"),
    ];
    assert_eq!(outcomes(&answer), expected);
    let why = |answer: &Answer, entity: &str| {
        answer.resources.iter().find(|line| line.entity == entity).expect("in the plan").reason.clone()
    };
    assert_eq!(why(&answer, "board"), "`hierarchy`, which it follows from, is not there: failed");

    for (profile, outcome, reason) in [
        (r#"{"name":"Ann"}"#, "ABSENT", "nothing stands at `$.org.id` of `profile`"),
        (r#"{"org":{"id":["5"]}}"#, "FAILED", "neither a text nor a whole number stands at `$.org.id` of `profile`"),
        (
            r#"{"org":{"id":"a{5}"}}"#,
            "FAILED",
            "what `profile` tells cannot be its id: the parameter `org` contains a brace, which would change the key's slot",
        ),
    ] {
        server.command(&["FLUSHALL"]);
        origin.json("/profile/*", profile);
        let answer = ask(&sidecar, wanted()).await;
        let fates: Vec<&str> = outcomes(&answer).iter().map(|(_, _, outcome)| *outcome).collect();
        assert_eq!(fates, [outcome, outcome, outcome, "FILLED"], "{profile}: {answer:?}");
        assert_eq!(why(&answer, "desk"), reason);
    }
    assert_eq!(origin.calls("/board"), 0);
}

#[tokio::test]
async fn a_refused_session_takes_what_is_the_subjects_own_and_leaves_the_rest() {
    let (server, origin) = (RedisServer::start().await, Origin::start().await);
    answers(&origin);
    origin.on("/desk/*", Says::After(Duration::from_millis(200), Box::new(Says::Status(401))));
    let sidecar = Sidecar::start(&shop(&server, &origin, "always: [board, desk]")).await;
    let answer = ask(&sidecar, login("7", &[])).await;
    let fates: Vec<&str> = outcomes(&answer).iter().map(|(_, _, outcome)| *outcome).collect();
    assert_eq!(fates, ["FILLED", "DENIED", "FILLED", "DENIED"], "{answer:?}");
    assert_eq!(server.text(&["EXISTS", "d:profile:7", "d:desk:5:7"]), "0");

    server.command(&["FLUSHALL"]);
    origin.on("/profile/*", Says::Status(403));
    let answer = ask(&sidecar, login("8", &[])).await;
    let fates: Vec<&str> = outcomes(&answer).iter().map(|(_, _, outcome)| *outcome).collect();
    assert_eq!(fates, ["FAILED", "DENIED", "FAILED", "DENIED"], "{answer:?}");
}

#[tokio::test]
async fn a_habit_that_follows_from_an_answer_is_predicted_without_its_id() {
    let (server, origin) = (RedisServer::start().await, Origin::start().await);
    answers(&origin);
    let sidecar = Sidecar::start(&shop(&server, &origin, "plan: { cohort: [] }")).await;
    let history = format!("hydrant:{{dependents:{}}}:history", Pseudonym::new("dependents", None, "7"));
    server.command(&["HSET", &history, "s:board", "0.8", "s:profile", "0.1", "s:desk", "0.2"]);
    let plan = ask(&sidecar, Ask { mode: Mode::DryRun, ..login("7", &[]) }).await.resources;
    let line = |entity: &str| {
        let line = plan.iter().find(|line| line.entity == entity).expect("considered");
        (line.key.clone(), line.why.clone(), line.outcome.clone(), (line.score * 10.0).round() / 10.0)
    };
    let expected =
        |key: &str, why: &str, outcome: &str, score| (key.to_owned(), why.to_owned(), outcome.to_owned(), score);
    assert_eq!(line("profile"), expected("d:profile:7", "HISTORY", "PLANNED", 0.8), "as likely as what needs it");
    assert_eq!(line("hierarchy"), expected("", "DEPENDENT", "PLANNED", 0.8));
    assert_eq!(line("board"), expected("", "DEPENDENT", "PLANNED", 0.8));
    assert_eq!(line("desk"), expected("", "DEPENDENT", "BELOW_FLOOR", 0.2));
    assert_eq!(origin.seen().len(), 0);

    let answer = ask(&sidecar, login("7", &[])).await;
    let filled: Vec<&str> = outcomes(&answer).iter().map(|(_, key, _)| *key).collect();
    assert_eq!(filled, ["d:board:t-1", "d:hierarchy:5", "d:profile:7"]);
    until("the visit is on record", async || server.text(&["HEXISTS", &history, "login"]) == "1").await;
    let plan = ask(&sidecar, Ask { mode: Mode::DryRun, ..login("7", &[]) }).await.resources;
    let board = plan.iter().find(|line| line.entity == "board").expect("considered");
    assert!(board.bytes == 14 && board.elapsed_ms > 0.0, "what it will cost is known by now: {board:?}");
}
