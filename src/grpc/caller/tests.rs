//! Who is known, by what it shows.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use serde_json::{Value, json};

use super::*;
use crate::domain::secret::{Secret, SecretCell};
use crate::prehydrate::identity::settings::{Algorithm, Expiry, JwtKey, Rules, SharedSecret, Written};

const SECRET: &str = "a-secret-of-the-issuer-of-tokens-000001";

/// After every test has run.
const END: u64 = 4_000_000_000;

fn sign(header: &Value, claims: &Value) -> String {
    let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let signed = format!("{}.{}", b64(header.to_string().as_bytes()), b64(claims.to_string().as_bytes()));
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), signed.as_bytes());
    format!("{signed}.{}", b64(mac.as_ref()))
}

fn token(claims: &Value) -> String {
    sign(&json!({ "alg": "HS256", "kid": "a" }), claims)
}

fn says(sub: &str) -> Value {
    json!({ "sub": sub, "aud": "hydrant", "exp": END, "groups": ["ops", "dev"] })
}

fn bearing(token: &str) -> HeaderMap {
    HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}")).expect("ascii"))])
}

fn common(name: &str) -> Names {
    Names { common: [name.to_owned()].into(), ..Names::default() }
}

fn by_claims(claims: &[(&str, &str)]) -> Shows {
    let jwt = claims.iter().map(|(claim, text)| ((*claim).to_owned(), (*text).to_owned())).collect();
    Shows { jwt, certificate: None }
}

fn callers(declared: &[(&str, Shows)]) -> Callers {
    let text = SecretCell::new(Secret::new(SECRET));
    let key = JwtKey { id: Some("a".into()), key: Algorithm::Hs256(SharedSecret { text, written: Written::Text }) };
    let rules = Rules {
        issuers: Vec::new(),
        audiences: vec!["hydrant".to_owned()],
        leeway: Duration::ZERO,
        expiry: Expiry::Required,
    };
    let remote = declared
        .iter()
        .map(|(name, shows)| ((*name).to_owned(), Declared { shows: shows.clone(), grant: Grant::default() }));
    let jwt = Some(token::Config { keys: vec![key], types: Vec::new(), rules });
    let config = Config { pod: Grant::default(), jwt, remote: remote.collect() };
    Callers::new(config, Clock::System, Metrics::register(&mut Default::default())).expect("good callers")
}

fn found(callers: &Callers, headers: &HeaderMap, certificate: Option<&Names>) -> Result<String, Refused> {
    let book = callers.book.load();
    book.find(headers, certificate, callers.clock.unix()).map(|caller| caller.name().to_owned())
}

fn refused(headers: &HeaderMap) -> &'static str {
    let callers = callers(&[("ci", by_claims(&[("sub", "ci")]))]);
    found(&callers, headers, None).expect_err("refused").as_str()
}

#[test]
fn a_caller_is_who_all_its_claims_say() {
    let callers = callers(&[
        ("ci", by_claims(&[("sub", "ci")])),
        ("operator", by_claims(&[("sub", "ada"), ("groups", "ops")])),
        ("billing", by_claims(&[("sub", "bob"), ("groups", "money")])),
    ]);
    assert_eq!(found(&callers, &bearing(&token(&says("ci"))), None).as_deref(), Ok("ci"));
    assert_eq!(found(&callers, &bearing(&token(&says("ada"))), None).as_deref(), Ok("operator"));
    assert_eq!(found(&callers, &bearing(&token(&says("bob"))), None), Err(Refused::UnknownCaller));
    assert_eq!(found(&callers, &bearing(&token(&says("mallory"))), None), Err(Refused::UnknownCaller));
}

#[test]
fn every_token_that_is_not_for_us_and_for_now_is_refused() {
    let with = |name: &str, value: Value| {
        let mut claims = says("ci");
        claims[name] = value;
        bearing(&token(&claims))
    };
    let header = |header: Value| bearing(&sign(&header, &says("ci")));
    assert_eq!(refused(&HeaderMap::new()), "no_credential");
    assert_eq!(refused(&with("exp", json!(1_000))), "expired");
    assert_eq!(refused(&with("exp", Value::Null)), "time");
    assert_eq!(refused(&with("nbf", json!(END - 1))), "not_yet_valid");
    assert_eq!(refused(&with("aud", json!("somebody else"))), "audience");
    assert_eq!(refused(&with("aud", Value::Null)), "audience");
    assert_eq!(refused(&header(json!({ "alg": "HS256", "kid": "b" }))), "unknown_key");
    assert_eq!(refused(&header(json!({ "alg": "HS256" }))), "unknown_key");
    assert_eq!(refused(&header(json!({ "alg": "none", "kid": "a" }))), "algorithm");
    assert_eq!(refused(&header(json!({ "alg": "RS256", "kid": "a" }))), "algorithm");
    assert_eq!(refused(&header(json!({ "alg": "HS256", "kid": "a", "jku": "https://x" }))), "forbidden_header");
    let good = token(&says("ci"));
    assert_eq!(refused(&bearing(&good[..good.len() - 4])), "signature");
    assert_eq!(refused(&bearing(good.rsplit_once('.').expect("parts").0)), "malformed");
    assert_eq!(refused(&bearing(&"a".repeat(9_000))), "too_large");
}

#[test]
fn a_header_that_could_be_read_in_two_ways_is_refused() {
    let good = token(&says("ci"));
    let mut twice = bearing(&good);
    twice.append(AUTHORIZATION, HeaderValue::from_static("Bearer x"));
    assert_eq!(refused(&twice), "malformed");
    for text in [good.clone(), format!("Basic {good}"), "Bearer".to_owned()] {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::try_from(text).expect("ascii"))]);
        assert_eq!(refused(&headers), "malformed");
    }
    let lower = HeaderValue::try_from(format!("bearer {good}")).expect("ascii");
    let callers = callers(&[("ci", by_claims(&[("sub", "ci")]))]);
    assert!(found(&callers, &HeaderMap::from_iter([(AUTHORIZATION, lower)]), None).is_ok());
}

#[test]
fn a_token_that_is_shown_decides_over_a_certificate() {
    let by_certificate = Shows { certificate: Some(common("proxy")), ..Shows::default() };
    let both = Shows { certificate: Some(common("proxy")), ..by_claims(&[("sub", "ada")]) };
    let callers = callers(&[("proxy", by_certificate), ("ada", both), ("ci", by_claims(&[("sub", "ci")]))]);
    let (none, proxy, other) = (HeaderMap::new(), common("proxy"), common("other"));
    let [ada, ci] = ["ada", "ci"].map(|sub| bearing(&token(&says(sub))));
    assert_eq!(found(&callers, &none, Some(&proxy)).as_deref(), Ok("proxy"));
    assert_eq!(found(&callers, &ada, Some(&proxy)).as_deref(), Ok("ada"));
    assert_eq!(found(&callers, &ci, Some(&proxy)).as_deref(), Ok("ci"));
    assert_eq!(found(&callers, &ada, None), Err(Refused::UnknownCaller));
    assert_eq!(found(&callers, &ada, Some(&other)), Err(Refused::UnknownCaller));
    assert_eq!(found(&callers, &none, Some(&other)), Err(Refused::UnknownCaller));
    assert_eq!(found(&callers, &bearing("x.y.z"), Some(&proxy)).map_err(Refused::as_str), Err("malformed"));
}

#[test]
fn two_callers_that_fit_one_credential_are_neither() {
    let callers = callers(&[("a", by_claims(&[("sub", "ci")])), ("b", by_claims(&[("groups", "ops")]))]);
    assert_eq!(found(&callers, &bearing(&token(&says("ci"))), None), Err(Refused::UnknownCaller));
    assert_eq!(found(&callers, &bearing(&token(&says("ada"))), None).as_deref(), Ok("b"));
}

#[test]
fn a_refusal_tells_the_caller_nothing_and_the_metric_all() {
    let callers = callers(&[("ci", by_claims(&[("sub", "ci")]))]);
    let headers = [HeaderMap::new(), bearing("x"), bearing(&token(&says("mallory")))];
    let told: Vec<Error> =
        headers.iter().map(|headers| callers.remote(headers, None).err().expect("refused")).collect();
    assert!(told.iter().all(|error| *error == told[0]), "{told:?}");
    for refused in [Refused::NoCredential, Refused::Token(Why::Malformed), Refused::UnknownCaller] {
        assert_eq!(callers.metrics.callers_refused(refused), 1, "{}", refused.as_str());
    }
}

#[test]
fn a_reload_changes_who_may_call() {
    let callers = callers(&[("ci", by_claims(&[("sub", "ci")]))]);
    assert!(callers.remote(&bearing(&token(&says("ci"))), None).is_ok());
    callers.replace(Config { pod: Grant::default(), jwt: None, remote: BTreeMap::new() }).expect("good callers");
    assert!(callers.remote(&bearing(&token(&says("ci"))), None).is_err());
}
