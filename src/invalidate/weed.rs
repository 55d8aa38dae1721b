//! Removing what applications write back: a reader that fetched before an invalidation and writes after it.
//!
//! Blind second deletes would cost the hit rate; so only a value goes that no fill wrote since, and only while this
//! invalidation is the key's newest, which the store checks in one step.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::{Instant, sleep_until};

use crate::domain::key::Key;
use crate::domain::random::Nonce;
use crate::domain::store::StoreError;
use crate::invalidate::tools::Tools;

/// When, after the keys were removed: a fast writer, a slow one, one that had to repeat its query.
const AFTER: [Duration; 3] = [Duration::from_millis(50), Duration::from_millis(500), Duration::from_secs(2)];
/// Keys that could not be looked at are tried so often again; by then the marks have ended.
const AGAIN: u32 = 28;
/// Keys at once; each is a command of its own.
const AT_ONCE: usize = 64;

pub async fn weed(tools: &Tools, keys: Vec<Key>, nonce: Nonce) {
    if keys.is_empty() {
        return;
    }
    let removed = Instant::now();
    let mut left = Vec::new();
    for after in AFTER {
        sleep_until(removed + after).await;
        left = sweep(tools, &keys, nonce).await;
    }
    for again in 1..=AGAIN {
        if left.is_empty() {
            return;
        }
        sleep_until(removed + AFTER[2] * (again + 1)).await;
        left = sweep(tools, &left, nonce).await;
    }
    if !left.is_empty() {
        tracing::warn!(keys = left.len(), "keys that applications write could not be looked at after an invalidation");
    }
}

/// Answers the keys that could not be looked at.
async fn sweep(tools: &Tools, keys: &[Key], nonce: Nonce) -> Vec<Key> {
    let weed = async |key: &Key| (key.clone(), tools.hands.removal.weed(key, nonce).await);
    let mut weeded = stream::iter(keys).map(weed).buffer_unordered(AT_ONCE);
    let mut left = Vec::new();
    while let Some((key, done)) = weeded.next().await {
        match done {
            Ok(true) => {
                (tools.forget)(std::slice::from_ref(&key));
                tools.means.metrics.key_weeded();
            }
            Ok(false) => {}
            Err(error) => {
                let _: StoreError = error;
                left.push(key);
            }
        }
    }
    left
}
