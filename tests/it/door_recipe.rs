//! What an app may do by itself, as the documentation tells it: the page of Python is run against a server whose functions
//! Hydrant has put there. Where Python or its Redis client is missing (`scripts/prepare test`), it says so and passes; but
//! not in CI, where it would go unread.

use std::process::{Command, Stdio};

use hydrant::domain::store::Committed;
use hydrant::remote::Mode;

use crate::support::redis::RedisServer;
use crate::support::store::{Rig, TTL, claim, commit, config, key, miss};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Runs Python with the recipe at hand; none where there is no Python, or no client.
#[expect(clippy::print_stdout, reason = "a test that could not look says so")]
fn python(args: &[&str]) -> Option<String> {
    let path = format!("{ROOT}/docs/recipes:{ROOT}/target/python");
    let run = |args: &[&str]| {
        let command =
            Command::new("python3").arg("-B").args(args).env("PYTHONPATH", &path).stdin(Stdio::null()).output();
        command.ok()
    };
    if !run(&["-c", "import redis"]).is_some_and(|output| output.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "python3 or redis-py is missing: run scripts/prepare test");
        println!("python3 or redis-py is missing: the recipe is not tested here");
        return None;
    }
    let output = run(args).expect("it ran a moment ago");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).expect("text"))
}

#[test]
fn the_recipe_names_keys_as_we_do() {
    let recipe = format!("{ROOT}/docs/recipes/safe_fill.py");
    if let Some(told) = python(&[&recipe]) {
        assert!(told.contains("vectors agree"), "{told}");
    }
}

const STORY: &str = r#"
import sys, redis, safe_fill
r = redis.Redis(port=int(sys.argv[1]))
for key in (b"recipe:1", b"{recipe}:2", "recipe:ü".encode()):
    assert safe_fill.fill(r, key, lambda: b"one", 60_000) == b"one"
    assert r.get(key) == b"one" and r.exists(safe_fill.guard(key)) == 0
    assert safe_fill.fill(r, key, lambda: b"two", 60_000) == b"one", "it is cached"
    safe_fill.invalidate(r, key)
    assert r.get(key) is None
    def late():
        safe_fill.invalidate(r, key)
        return b"old"
    assert safe_fill.fill(r, key, late, 60_000) == b"old" and r.get(key) is None, "an invalidation wins"
    assert safe_fill.fill(r, key, lambda: None, 60_000) is None and r.exists(safe_fill.guard(key)) == 0
# Hydrant is filling this one.
assert safe_fill.fill(r, b"recipe:claimed", lambda: b"mine", 60_000) == b"mine" and r.get("recipe:claimed") is None
safe_fill.invalidate(r, b"recipe:claimed")
"#;

#[tokio::test]
async fn an_app_that_keeps_to_the_recipe_never_brings_back_an_old_value() {
    let server = RedisServer::start().await;
    let rig = Rig::up(config(Mode::Standalone { address: server.address() })).await;
    // The first claim puts the functions there.
    let key = key("recipe:claimed");
    let claim = claim(&*rig.store, miss(&key)).await;
    if python(&["-c", STORY, &server.port.to_string()]).is_none() {
        return;
    }
    // Its invalidation has ended our claim.
    assert_eq!(commit(claim, "ours", TTL).await, Ok(Committed::Fenced));
}
