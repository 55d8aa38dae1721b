//! Applications that write the same keys as Hydrant does, by cache-aside and with no claim: they read the source, think,
//! and `SETEX` what may be old by then. Two of them, for the entity with `writers: shared` (promise P4).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use redis::AsyncCommands;
use tokio::time::sleep;

use crate::run::Run;
use crate::truth::{Entity, PRICES};

/// As long as Hydrant's own values of that entity.
const TTL_SECONDS: u64 = 120;
/// The promise is about values written within 2 s of an invalidation; a read before it and this much thought stay within.
const LONGEST_THOUGHT_MS: u64 = 1_200;

pub async fn write(run: Arc<Run>, number: u64) {
    let mut random = StdRng::seed_from_u64(run.seed ^ (0xa99 << 16) ^ number);
    let mut connection = run.ordinary_client().await;
    while !run.is_over() {
        let id = random.random_range(0..PRICES);
        let key = Entity::Price.key(id);
        let held: Result<Option<Vec<u8>>, _> = connection.get(&key).await;
        // Now and then one renews what is there, as refresh-ahead does.
        if matches!(held, Ok(None)) || random.random_ratio(1, 8) {
            let state = run.truth.now(Entity::Price, id);
            let mut value = run.truth.value(Entity::Price, id, state, &format!("app {number}"));
            // Mostly a moment, often a long one.
            let longest = if random.random_ratio(2, 5) { LONGEST_THOUGHT_MS } else { 30 };
            // tidy: waits because an application that thinks between reading and writing is the point
            sleep(Duration::from_millis(random.random_range(0..=longest))).await;
            value["app_wrote_ms"] = (run.truth.started.elapsed().as_millis() as u64).into();
            if connection.set_ex::<_, _, ()>(&key, value.to_string(), TTL_SECONDS).await.is_ok() {
                run.ledger.app_writes.fetch_add(1, Ordering::Relaxed);
            }
        }
        // tidy: waits because it is a writer with a rate
        sleep(Duration::from_millis(random.random_range(1..20))).await;
    }
}
