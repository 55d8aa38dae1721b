//! The promise about planted secrets, as properties: whatever the answer, wherever the secret stands and however its
//! name is spelled, it is not in what is kept.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::domain::json::MAX_DEPTH;

/// JSON as it is written: names may stand twice, numbers keep their digits.
#[derive(Clone, Debug)]
enum Tree {
    Word(&'static str),
    Number(&'static str),
    Text(String),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

/// One step from a planted secret outwards.
#[derive(Clone, Debug)]
enum Wrap {
    Element(Vec<Tree>),
    Member(String, Vec<(String, Tree)>),
    /// The whole, as JSON in a string.
    Quoted(u64),
}

/// What a plant is recognised by when it gets through.
const MARK: &str = "planted-treasure";

impl Tree {
    /// Writes it with white space and `\u` escapes drawn from the seed.
    fn render(&self, seed: &mut u64) -> String {
        let space = [" ", "", "\n", "", ""][draw(seed, 5)];
        let inner = match self {
            Self::Word(word) => (*word).to_owned(),
            Self::Number(number) => (*number).to_owned(),
            Self::Text(text) => quote(text, seed),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(|item| item.render(seed)).collect();
                format!("[{}]", items.join(","))
            }
            Self::Map(members) => {
                let member = |(name, value): &(String, Tree)| format!("{}:{}", quote(name, seed), value.render(seed));
                let members: Vec<String> = members.iter().map(member).collect();
                format!("{{{}}}", members.join(","))
            }
        };
        format!("{space}{inner}{space}")
    }
}

fn draw(seed: &mut u64, below: u64) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    ((*seed >> 33) % below) as usize
}

fn quote(text: &str, seed: &mut u64) -> String {
    let plain = serde_json::to_string(text).expect("a string");
    if draw(seed, 3) > 0 {
        return plain;
    }
    let unit = |unit: u16| if draw(seed, 2) == 0 { format!("\\u{unit:04x}") } else { format!("\\u{unit:04X}") };
    format!("\"{}\"", text.encode_utf16().map(unit).collect::<String>())
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![5 => "[a-e]", 2 => "(items|address|city|x-y|é|)", 1 => "[a-zA-Z0-9_ ]{1,10}"]
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        prop::sample::select(vec!["true", "false", "null"]).prop_map(Tree::Word),
        prop::sample::select(vec!["0", "-1.0", "1e400", "12345678901234567890", "1.10", "4E-7"]).prop_map(Tree::Number),
        "[a-z {\\[\":é\\\\]{0,12}".prop_map(Tree::Text),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Tree::List),
            prop::collection::vec((name(), inner), 0..5).prop_map(Tree::Map),
        ]
    })
}

fn wrap() -> impl Strategy<Value = Wrap> {
    prop_oneof![
        3 => prop::collection::vec(tree(), 0..3).prop_map(Wrap::Element),
        5 => (name(), prop::collection::vec((name(), tree()), 0..3)).prop_map(|(n, s)| Wrap::Member(n, s)),
        1 => any::<u64>().prop_map(Wrap::Quoted),
    ]
}

/// A never-cache name in one of its spellings, over a value of any kind.
fn named_secret() -> impl Strategy<Value = Tree> {
    let names = vec![
        "password",
        "hashed password",
        "two factor secret",
        "recovery codes",
        "api key",
        "access token",
        "private key",
        "ssn",
        "cvv",
        "pin",
        "session token",
        "authorization",
        "cookie",
        "salary band",
    ];
    let value = prop_oneof![
        Just(Tree::Text(MARK.to_owned())),
        Just(Tree::List(vec![Tree::Text(MARK.to_owned())])),
        Just(Tree::Map(vec![("a".to_owned(), Tree::Text(MARK.to_owned()))])),
    ];
    (prop::sample::select(names), prop::sample::select(vec!["", "_", "-", " ", "."]), any::<u64>(), value).prop_map(
        |(name, separator, mut seed, value)| {
            let spelled = name.replace(' ', separator);
            let case = |c: char| if draw(&mut seed, 2) == 0 { c.to_ascii_uppercase() } else { c };
            Tree::Map(vec![(spelled.chars().map(case).collect(), value)])
        },
    )
}

/// A value that is a secret by its looks; each ends in the mark, so that any part of it shows.
fn shaped_secret() -> impl Strategy<Value = Tree> {
    let shapes = vec![
        format!("eyJhbGciOiJIUzI1NiJ9.e30.{MARK}"),
        format!("-----BEGIN {} KEY-----\nMII{MARK}", "PRIVATE"),
        format!("AKIA{} {MARK}", "IOSFODNN7EXAMPLE"),
        format!("ghp_{}{MARK}", "a".repeat(36)),
        format!("$2b$12${}{MARK}", "a".repeat(53)),
        format!("https://app:{MARK}@example.com/"),
        format!("4111-1111-1111-1111 {MARK}"),
        format!("bearer 0{MARK}"),
    ];
    prop_oneof![
        prop::sample::select(shapes.clone()).prop_map(Tree::Text),
        prop::sample::select(shapes).prop_map(|shape| Tree::Map(vec![(shape, Tree::Word("true"))])),
    ]
}

fn buried(secret: impl Strategy<Value = Tree>) -> impl Strategy<Value = Tree> {
    (secret, prop::collection::vec(wrap(), 0..7)).prop_map(|(secret, wraps)| {
        wraps.into_iter().fold(secret, |inner, wrap| match wrap {
            Wrap::Element(mut others) => {
                others.insert(others.len() / 2, inner);
                Tree::List(others)
            }
            Wrap::Member(name, mut others) => {
                others.insert(others.len() / 2, (name, inner));
                Tree::Map(others)
            }
            Wrap::Quoted(mut seed) => Tree::Text(inner.render(&mut seed)),
        })
    })
}

fn projection(allow: &[&str]) -> Projection {
    let allow = allow.iter().map(|path| (*path).to_owned()).collect();
    let spec = Spec { allow, never: vec!["salary_band".to_owned()], max_bytes: 1 << 20, ..Spec::default() };
    Projection::new(spec).expect("a good spec")
}

fn apply(allow: &[&str], body: &str) -> Result<String, Refusal> {
    projection(allow).apply(body.as_bytes()).map(|kept| String::from_utf8(kept.to_vec()).expect("UTF-8"))
}

fn any_allow() -> impl Strategy<Value = Projection> {
    let lists: Vec<&[&str]> = vec![&["*"], &["a", "b", "items"], &["a.b", "a.c", "items.a", "address"]];
    prop::sample::select(lists).prop_map(projection)
}

/// Whether the first is the second with parts left out.
fn is_part_of(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            part.iter().all(|(name, value)| whole.get(name).is_some_and(|w| is_part_of(value, w)))
        }
        (Value::Array(part), Value::Array(whole)) => {
            let mut rest = whole.iter();
            part.iter().all(|value| rest.any(|w| is_part_of(value, w)))
        }
        (part, whole) => part == whole,
    }
}

proptest! {
    #[test]
    fn projection_is_total(projection in any_allow(), bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[\\[\\]{}:,\"ab1\\\\u ]{0,40}") {
        let _ = projection.apply(&bytes);
        let _ = projection.apply(text.as_bytes());
    }

    #[test]
    fn a_planted_name_is_never_kept(projection in any_allow(), tree in buried(named_secret()), mut seed in any::<u64>()) {
        let body = tree.render(&mut seed);
        match projection.apply(body.as_bytes()) {
            Ok(kept) => {
                let kept = String::from_utf8_lossy(&kept).into_owned();
                let decoded = serde_json::from_str::<Box<serde_json::value::RawValue>>(&kept).expect("JSON");
                prop_assert!(!decoded.get().contains("planted"), "{} gave {}", body, kept);
                prop_assert!(!kept.contains("\\u0070\\u006c\\u0061\\u006e\\u0074"), "{} gave {}", body, kept);
            }
            Err(refusal) => prop_assert!(!refusal.to_string().contains("planted"), "{}", refusal),
        }
    }

    #[test]
    fn a_planted_shape_is_never_kept(projection in any_allow(), tree in buried(shaped_secret()), mut seed in any::<u64>()) {
        let body = tree.render(&mut seed);
        match projection.apply(body.as_bytes()) {
            Ok(kept) => prop_assert!(!String::from_utf8_lossy(&kept).contains("treasure"), "{}", body),
            Err(refusal) => prop_assert!(!refusal.to_string().contains("treasure"), "{}", refusal),
        }
    }

    #[test]
    fn where_everything_is_allowed_a_planted_shape_refuses_the_whole(tree in buried(shaped_secret()), mut seed in any::<u64>()) {
        prop_assert!(projection(&["*"]).apply(tree.render(&mut seed).as_bytes()).is_err());
    }

    #[test]
    fn what_is_kept_is_a_part_of_what_came_and_stays_when_projected_again(projection in any_allow(), tree in tree(), mut seed in any::<u64>()) {
        let body = tree.render(&mut seed);
        if let Ok(kept) = projection.apply(body.as_bytes()) {
            prop_assert_eq!(projection.apply(&kept), Ok(kept.clone()), "{}", body);
            // serde_json judges the size of numbers and keeps one of two equal names: such answers are left to the others.
            if let (Ok(part), Ok(whole)) = (serde_json::from_slice::<Value>(&kept), serde_json::from_str::<Value>(&body)) {
                let twice = body.matches(':').count() > 0 && has_name_twice(&tree);
                prop_assert!(twice || is_part_of(&part, &whole), "{} of {}", part, body);
            }
        }
    }

    /// With everything allowed and no secret in it, what serde_json reads is kept, and nothing else is.
    #[test]
    fn what_is_json_is_kept_whole(tree in tree(), mut seed in any::<u64>(), cut in 0usize..400) {
        let body = tree.render(&mut seed);
        let kept = projection(&["*"]).apply(body.as_bytes());
        let plain: String = body.split_whitespace().collect();
        let squeezed = |bytes: Bytes| String::from_utf8_lossy(&bytes).split_whitespace().collect::<String>();
        prop_assert_eq!(kept.map(squeezed), Ok(plain));
        if cut < body.len() && body.is_char_boundary(cut) && serde_json::from_str::<serde::de::IgnoredAny>(&body[..cut]).is_err() {
            prop_assert!(matches!(projection(&["*"]).apply(&body.as_bytes()[..cut]), Err(Refusal::Malformed(_))));
        }
    }
}

fn has_name_twice(tree: &Tree) -> bool {
    match tree {
        Tree::Word(_) | Tree::Number(_) | Tree::Text(_) => false,
        Tree::List(items) => items.iter().any(has_name_twice),
        Tree::Map(members) => {
            let twice =
                |(at, (name, _)): (usize, &(String, Tree))| members[..at].iter().any(|(other, _)| other == name);
            members.iter().enumerate().any(twice) || members.iter().any(|(_, value)| has_name_twice(value))
        }
    }
}

#[test]
fn values_keep_their_numbers_order_and_escapes() {
    let body = r#" { "z" : 1.0 , "a" : [ 1e400, 12345678901234567890 , -0 ],"t":"\u00e9\/ \n","n":null } "#;
    let kept = r#"{"z":1.0,"a":[1e400,12345678901234567890,-0],"t":"\u00e9\/ \n","n":null}"#;
    assert_eq!(apply(&["*"], body).as_deref(), Ok(kept));
}

#[test]
fn only_what_is_listed_is_kept_at_any_depth() {
    let body =
        r#"[{"id":1,"name":"Ada","address":{"city":"London","zip":"N1"},"tags":[{"a":1,"b":2},7,null]},{"name":"x"}]"#;
    assert_eq!(
        apply(&["id", "address.city", "tags.a"], body).as_deref(),
        Ok(r#"[{"id":1,"address":{"city":"London"},"tags":[{"a":1},null]},{}]"#)
    );
    assert!(matches!(apply(&["id"], "\"bare\""), Err(Refusal::Malformed(_))));
    assert_eq!(apply(&["id"], "null").as_deref(), Ok("null"));
    assert_eq!(apply(&["id"], "[1,\"a\"]").as_deref(), Ok("[]"));
}

#[test]
fn never_cache_names_go_from_what_is_listed() {
    let body = r#"{"user":{"id":1,"pass\u0077ord":"x","HASHED-PASSWORD":"y","oauth":[{"access_token":"z","has_password":true}],"hasPassword":"w"},"salaryBand":3}"#;
    assert_eq!(apply(&["user", "other"], body).as_deref(), Ok(r#"{"user":{"id":1,"oauth":[{"has_password":true}]}}"#));
    assert_eq!(apply(&["*"], r#"{"a":1,"a":{"ssn":2},"ssn":1,"ssn":{}}"#).as_deref(), Ok(r#"{"a":1,"a":{}}"#));
}

#[test]
fn a_secret_refuses_the_whole_and_is_named_by_its_place_only() {
    let refused = |body: &str| match apply(&["*"], body) {
        Err(Refusal::Secret { path, .. }) => path,
        other => panic!("{body} gave {other:?}"),
    };
    assert_eq!(refused(r#"{"user":{"notes":["fine","Bearer 0123456789abcdef"]}}"#), "user.notes");
    assert_eq!(refused(r#"{"id":4111111111111111}"#), "id");
    assert_eq!(refused(r#""Bearer 0123456789abcdef""#), "$");
    assert_eq!(refused(r#"{"by_id":{"user-7":{"n":"Bearer 0123456789abcdef"}}}"#), "by_id.?.n");
    assert_eq!(refused(r#"{"prefs":"{\"theme\":\"x\",\"Pass\\u0077ord\":\"y\"}"}"#), "prefs");
    assert_eq!(refused(r#"{"log":"sent {\"password\": \"y"}"#), "log");
    assert_eq!(refused(r#"{"log":"{'api_key': 'y'}"}"#), "log");
    assert_eq!(refused(r#"{"log":"\"{\\\"pin\\\":1}\""}"#), "log");
}

/// A mutant is chosen once for a process, so it has one of its own: this very binary, asked for the test before this.
#[cfg(feature = "mutants")]
#[test]
fn without_detectors_the_tests_would_notice() {
    let caught = |mutant: &str| {
        let myself = std::env::current_exe().expect("a test is a file");
        let test = "domain::projection::tests::a_secret_refuses_the_whole_and_is_named_by_its_place_only";
        let output = std::process::Command::new(myself).args(["--exact", test]).env("HYDRANT_MUTANT", mutant).output();
        let output = output.expect("runs");
        assert!(String::from_utf8_lossy(&output.stdout).contains("running 1 test"), "{test} is not there any more");
        !output.status.success()
    };
    assert!(caught("M17"));
    assert!(!caught("M1"), "it is this mutant that is caught, and no other");
}

#[test]
fn what_is_left_out_may_hold_anything_that_is_json() {
    let body = r#"{"id":1,"session":{"token":"Bearer 0123456789abcdef"},"card":4111111111111111}"#;
    assert_eq!(apply(&["id"], body).as_deref(), Ok(r#"{"id":1}"#));
    assert!(matches!(apply(&["id"], r#"{"id":1,"x":01}"#), Err(Refusal::Malformed(_))));
}

#[test]
fn trust_silences_detectors_but_no_name() {
    let spec = Spec {
        allow: vec!["order".into(), "note".into()],
        trust: vec!["order.number".into()],
        max_bytes: 1000,
        ..Spec::default()
    };
    let projection = Projection::new(spec).expect("a good spec");
    let kept = |body: &str| projection.apply(body.as_bytes());
    assert!(kept(r#"{"order":{"number":"4111111111111111"}}"#).is_ok());
    assert!(kept(r#"{"order":[{"number":[4111111111111111]}]}"#).is_ok());
    assert!(kept(r#"{"order":{"other":"4111111111111111"}}"#).is_err());
    assert!(kept(r#"{"order":{"number":"{\"pin\":1}"}}"#).is_err());
    assert_eq!(kept(r#"{"order":{"number":{"pin":1}}}"#).expect("kept"), r#"{"order":{"number":{}}}"#);
}

#[test]
fn the_body_is_unwrapped_and_what_surrounds_it_is_checked() {
    let at = |place: &str, body: &str| {
        let spec = Spec { body: Some(place.into()), allow: vec!["*".into()], max_bytes: 1000, ..Spec::default() };
        Projection::new(spec).expect("a good spec").apply(body.as_bytes())
    };
    assert_eq!(at("$.data", r#"{"status":"ok","data":{"id":1.0},"x":[]}"#).expect("kept"), r#"{"id":1.0}"#);
    assert_eq!(at("$.a.b[1]", r#"{"a":{"b":[0,{"c":2},3]}}"#).expect("kept"), r#"{"c":2}"#);
    assert_eq!(at("$.data", r#"{"\u0064ata":7}"#).expect("kept"), "7");
    for nothing in [r#"{"other":1}"#, "[]", "7", r#"{"data2":1}"#] {
        assert_eq!(at("$.data", nothing), Err(Refusal::NoBody("$.data".into())), "{nothing}");
    }
    assert!(matches!(at("$.data", r#"{"data":1,"data":2}"#), Err(Refusal::Malformed(_))));
    assert!(matches!(at("$.data", r#"{"data":1} x"#), Err(Refusal::Malformed(_))));
    assert!(matches!(at("$.data", r#"{"data":1,"x":}"#), Err(Refusal::Malformed(_))));
}

#[test]
fn sizes_are_capped_before_and_after() {
    let sized = |max_bytes| {
        let spec = Spec { allow: vec!["a".into()], max_bytes, ..Spec::default() };
        Projection::new(spec).expect("a good spec")
    };
    let body = format!(r#"{{"a":"{}","b":"{}"}}"#, "x".repeat(100), "y".repeat(900));
    assert!(sized(200).apply(body.as_bytes()).is_ok());
    assert_eq!(sized(100).apply(body.as_bytes()), Err(Refusal::TooLarge { limit: 100 }));
    let huge = vec![b' '; BODY_FLOOR + 1];
    assert_eq!(sized(100).apply(&huge), Err(Refusal::TooLarge { limit: BODY_FLOOR }));
}

#[test]
fn what_is_no_json_is_refused() {
    let deep = "[".repeat(MAX_DEPTH + 1) + &"]".repeat(MAX_DEPTH + 1);
    for bad in ["", "{", "NaN", "{} {}", "{\"a\":1}x", "\"\\ud800\"", deep.as_str(), "<html>"] {
        assert!(matches!(apply(&["*"], bad), Err(Refusal::Malformed(_))), "{bad}");
    }
    assert!(projection(&["*"]).apply(b"\"\xff\"").is_err());
}

#[test]
fn every_problem_of_a_spec_is_reported_with_its_field() {
    let strings = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
    let spec = Spec {
        body: Some("data".into()),
        allow: strings(&["id", "user.Api-Key", "a..b"]),
        never: strings(&["_"]),
        trust: strings(&["*"]),
        max_bytes: 0,
    };
    let fields: Vec<&str> = Projection::new(spec).expect_err("a bad spec").iter().map(|e| e.field).collect();
    assert_eq!(fields, ["fields.never", "load.body", "fields.allow", "fields.allow", "fields.trust", "max_bytes"]);

    let refused = |spec: Spec| Projection::new(Spec { max_bytes: 1, ..spec }).expect_err("a bad spec")[0].field;
    assert_eq!(refused(Spec::default()), "fields.allow");
    let allow = strings(&["id"]);
    assert_eq!(refused(Spec { allow: allow.clone(), never: allow.clone(), ..Spec::default() }), "fields.allow");
    assert_eq!(refused(Spec { allow: allow.clone(), trust: strings(&["name"]), ..Spec::default() }), "fields.trust");
    assert_eq!(refused(Spec { allow, body: Some("$.secret".into()), ..Spec::default() }), "load.body");
}
