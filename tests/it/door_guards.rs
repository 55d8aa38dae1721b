//! The names of Hydrant's keys beside an app's key, as vectors for apps that fill and invalidate by themselves: what our
//! code makes of each key, and what a real server says of the slots.
//!
//! `BLESS=1 cargo test guard_vectors` writes the file anew.

use std::path::PathBuf;

use hydrant::domain::key::{Key, Sibling};
use serde::{Deserialize, Serialize};

use crate::support::redis::RedisCluster;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Vector {
    key: String,
    slot: u16,
    /// Holds the claim of a fill; deleted together with the key.
    guard: String,
    /// Names the member's aliases.
    index: String,
}

/// Plain, with braces of every kind that Redis reads differently, and beyond ASCII.
const KEYS: [&str; 16] = [
    "user:id:123",
    "user:email:ada@example.org",
    "session:token:eyJhbGciOiJIUzI1NiJ9",
    "oauth:7:google",
    "a",
    "user name:1",
    "user:id:ü",
    "пользователь:7",
    "用户:7",
    "🦀:1",
    "{shop}:user:7",
    "shop:{7}:cart",
    "{}user:7",
    "user:{7",
    "user:7}",
    "a{b}{c}",
];

fn path() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/guards.json"))
}

fn vector(text: &str) -> Vector {
    let key = Key::new(text.to_owned()).expect("a good key");
    let sibling = |kind| String::from_utf8(key.sibling(kind)).expect("made of text");
    Vector { key: text.to_owned(), slot: key.slot(), guard: sibling(Sibling::Guard), index: sibling(Sibling::Index) }
}

fn written() -> Vec<Vector> {
    serde_json::from_str(&std::fs::read_to_string(path()).expect("the vectors are there")).expect("vectors")
}

#[test]
fn the_guard_vectors_are_what_the_code_says() {
    let vectors: Vec<Vector> = KEYS.iter().map(|key| vector(key)).collect();
    if std::env::var_os("BLESS").is_some() {
        let mut text = serde_json::to_string_pretty(&vectors).expect("JSON");
        text.push('\n');
        std::fs::write(path(), text).expect("writable");
    }
    assert_eq!(written(), vectors, "`BLESS=1 cargo test guard_vectors` writes them anew");
}

#[tokio::test]
async fn a_server_puts_guard_and_index_where_the_key_is() {
    let cluster = RedisCluster::shared().await;
    for Vector { key, slot, guard, index } in written() {
        for name in [&key, &guard, &index] {
            let told = cluster.nodes[0].command(&["CLUSTER", "KEYSLOT", name]);
            assert_eq!(told, redis::Value::Int(i64::from(slot)), "{name} beside {key}");
        }
    }
}
