//! Waiting for a condition, with a bound: never for a time.

use std::time::Duration;

use tokio::time::Instant;

/// Generous: a busy machine is slow, and a condition that holds ends the wait.
pub const LONGEST: Duration = Duration::from_secs(30);

/// Looks every few milliseconds until it holds; panics with the name of what never came.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + LONGEST;
    while !holds().await {
        assert!(Instant::now() < end, "never came: {what}");
        // tidy: waits because it looks again and again, with a bound
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
