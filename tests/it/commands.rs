//! The command line as a person or a script uses it: what it prints, and how it ends.

use serde_json::Value;

use crate::support::origin::Origin;
use crate::support::sidecar::{Sidecar, hydrant};

async fn sidecar() -> (Sidecar, Origin) {
    let origin = Origin::start().await;
    origin.json("/users/7", r#"{"name":"Ada"}"#);
    let config = format!(
        r#"
group: test
store: memory
sources: {{ api: {{ http: {{ origin: "{}" }} }} }}
entities:
  user: {{ key: "c:user:{{id}}", scope: shared, load: {{ source: api, get: "/users/{{id}}" }}, ttl: 5m, fields: {{ allow: [name] }} }}
"#,
        origin.url()
    );
    (Sidecar::start(&config).await, origin)
}

#[tokio::test(flavor = "multi_thread")]
async fn prehydrate_tells_each_resource_and_ends_by_the_outcome() {
    let (sidecar, _origin) = sidecar().await;
    let endpoint = format!("http://{}", sidecar.api);
    let call = |args: &[&str]| hydrant(&[&["prehydrate", "--endpoint", &endpoint, "--user", "1"], args].concat(), &[]);

    let filled = call(&["--member", "user:id=7", "--wait"]);
    assert_eq!(filled.code, Some(0), "{}", filled.errors);
    assert!(filled.text.contains("c:user:7  FILLED"), "{}", filled.text);

    let partly = call(&["--member", "user:id=7", "--member", "user:id=8", "--wait", "--json"]);
    let answer: Value = serde_json::from_str(&partly.text).expect("JSON");
    assert_eq!(answer["resources"][0]["outcome"], "FRESH");
    assert_eq!(answer["resources"][1]["outcome"], "ABSENT");

    let planned = call(&["--member", "user:id=9", "--dry-run"]);
    assert!(planned.text.starts_with("PLANNED"), "{}", planned.text);

    let refused = call(&["--member", "nobody:id=7"]);
    assert_eq!(refused.code, Some(64));
    assert!(refused.errors.contains("members[0].entity"), "{}", refused.errors);
}

#[tokio::test(flavor = "multi_thread")]
async fn healthcheck_says_yes_or_no() {
    let (sidecar, _origin) = sidecar().await;
    let endpoint = format!("http://{}", sidecar.api);
    assert_eq!(hydrant(&["healthcheck"], &[("HYDRANT_ENDPOINT", &endpoint)]).code, Some(0));
    drop(sidecar);
    let nobody = hydrant(&["healthcheck", "--endpoint", &endpoint], &[]);
    assert_eq!(nobody.code, Some(1));
    assert!(nobody.errors.contains("nobody answers"), "{}", nobody.errors);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_endpoint_says_what_is_wrong_with_it() {
    let (sidecar, _origin) = sidecar().await;
    let call = |endpoint: &str| hydrant(&["prehydrate", "--user", "1", "--endpoint", endpoint], &[]);
    for nonsense in ["127.0.0.1:4770", "nonsense", "ftp://127.0.0.1:4770", ""] {
        let said = call(nonsense);
        assert_eq!(said.code, Some(64), "{nonsense}: {}", said.errors);
        assert!(said.errors.contains("write http://host:port"), "{nonsense}: {}", said.errors);
    }
    // The probe port speaks HTTP/2, and not this.
    let said = call(&format!("http://{}", sidecar.probes));
    assert_eq!(said.code, Some(69), "{}", said.errors);
    assert!(said.errors.contains("is not hydrant's API"), "{}", said.errors);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_named() {
    let (sidecar, _origin) = sidecar().await;
    let (config, api) = (sidecar.config_path(), sidecar.api.to_string());
    let config = config.to_str().expect("text");
    let second = hydrant(
        &["serve", "--config", config],
        &[("HYDRANT__LISTEN__API", &api), ("HYDRANT__LISTEN__PROBES", "127.0.0.1:0")],
    );
    assert_eq!(second.code, Some(71), "{}", second.errors);
    let told: Vec<&str> = second.errors.lines().filter(|line| line.starts_with("hydrant: ")).collect();
    assert!(told.len() == 1 && told[0].contains(&api), "{}", second.errors);
    assert_eq!(told[0].matches("in use").count(), 1, "{}", second.errors);
}

#[cfg(target_os = "linux")]
#[test]
fn a_spool_that_cannot_be_written_is_named_at_the_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("hydrant.yaml");
    std::fs::write(&file, "group: test\nstore: memory\ninvalidate: { spool: /proc/self }\n").expect("writable");
    // A port that is taken ends it, should the spool not.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let api = taken.local_addr().expect("bound").to_string();
    let ports = [("HYDRANT__LISTEN__API", api.as_str()), ("HYDRANT__LISTEN__PROBES", "127.0.0.1:0")];
    let said = hydrant(&["serve", "--config", file.to_str().expect("text")], &ports);
    assert_eq!(said.code, Some(71), "{}", said.errors);
    assert!(said.errors.contains("hydrant: `invalidate.spool.directory` cannot be used"), "{}", said.errors);
}

#[test]
fn serve_without_a_store_is_refused_with_a_hint() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("hydrant.yaml");
    std::fs::write(&file, "group: test\n").expect("writable");
    let said = hydrant(&["serve", "--config", file.to_str().expect("text")], &[]);
    assert_eq!(said.code, Some(64));
    assert!(said.errors.contains("store: memory"), "{}", said.errors);
}

#[test]
fn a_wrong_command_line_ends_with_64_and_help_with_0() {
    assert_eq!(hydrant(&["serve", "--nope"], &[]).code, Some(64));
    assert_eq!(hydrant(&[], &[]).code, Some(64));
    assert_eq!(hydrant(&["--help"], &[]).code, Some(0));
    let version = hydrant(&["--version"], &[]);
    assert!(version.text.starts_with(concat!("hydrant ", env!("CARGO_PKG_VERSION"), " (")), "{}", version.text);
    assert!(hydrant(&["completions", "bash"], &[]).text.contains("_hydrant"));
}

#[test]
fn the_demo_tells_its_story_and_ends_by_itself() {
    let said = hydrant(&["demo", "--memory", "--json"], &[]);
    assert_eq!(said.code, Some(0), "{}", said.errors);
    let story: Value = serde_json::from_str(&said.text).expect("JSON");
    let from = |page: &str, at: usize| story[page]["resources"][at]["from"].clone();
    for at in 0..4 {
        assert_eq!((from("without", at), from("with", at)), ("backend".into(), "cache".into()));
    }
    assert_eq!((from("without", 4), from("with", 4)), ("failed".into(), "failed".into()));
    assert!(hydrant(&["demo"], &[]).text.contains("First page"));
}

/// What a newcomer copies must be accepted as it stands.
#[test]
fn the_readmes_first_configuration_is_fine() {
    let readme = include_str!("../../README.md");
    let after = readme.split_once("```yaml\n").expect("a configuration").1;
    let yaml = after.split_once("```").expect("an end").0;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("hydrant.yaml");
    std::fs::write(&file, yaml).expect("writable");
    let said = hydrant(&["check", "--config", file.to_str().expect("text")], &[]);
    assert_eq!(said.code, Some(0), "{}", said.errors);
    assert!(said.text.contains("user:id:{id}"), "{}", said.text);
}
