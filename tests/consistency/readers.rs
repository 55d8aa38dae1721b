//! Plain readers: an application's own cluster client and `GET`, by id and by alias, eight of them. They ask what is
//! acknowledged, then read, then compare; they never speak to Hydrant.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use redis::AsyncCommands;
use redis::cluster_async::ClusterConnection;
use serde_json::Value;
use tokio::time::sleep;

use crate::run::{Read, Run};
use crate::truth::{Entity, Found, PRICES, alias_keys};

/// Reads that are under way together, as in an application with many requests.
const TOGETHER: usize = 8;
/// Between one lot and the next: the machine is for the sidecars too.
const PAUSE: Duration = Duration::from_millis(3);

/// One key to read.
struct Aim {
    entity: Entity,
    id: usize,
    key: String,
    /// For a key that holds an id alone.
    epoch: Option<u64>,
    /// A key that should not be there any more is no miss.
    counts: bool,
}

pub async fn read(run: Arc<Run>, number: u64) {
    let mut random = StdRng::seed_from_u64(run.seed ^ (0x5eed << 16) ^ number);
    let connection = run.ordinary_client().await;
    while !run.is_over() {
        let aims: Vec<Aim> = (0..TOGETHER).map(|_| aim(&run, &mut random)).collect();
        join_all(aims.iter().map(|aim| read_one(&run, connection.clone(), aim))).await;
        // tidy: waits because it is a reader with a rate
        sleep(PAUSE).await;
    }
}

fn aim(run: &Run, random: &mut StdRng) -> Aim {
    let id = random.random_range(0..run.truth.members());
    let now = run.truth.now(Entity::User, id).epoch;
    // Mostly the alias as it is, often the one before.
    let epoch = now.saturating_sub([0, 0, 1, 1, 2][random.random_range(0..5)]);
    let plain = |entity: Entity| Aim { entity, id, key: entity.key(id), epoch: None, counts: true };
    match random.random_range(0..100) {
        0..40 => plain(Entity::User),
        40..60 => {
            let [key, _] = alias_keys(id, epoch);
            Aim { entity: Entity::User, id, key, epoch: None, counts: epoch == now }
        }
        60..75 => {
            let [_, key] = alias_keys(id, epoch);
            Aim { entity: Entity::User, id, key, epoch: Some(epoch), counts: epoch == now }
        }
        75..85 => plain(Entity::Basket),
        85..95 => {
            let id = id % PRICES;
            Aim { entity: Entity::Price, id, key: Entity::Price.key(id), epoch: None, counts: true }
        }
        _ => plain(Entity::Note),
    }
}

async fn read_one(run: &Run, mut connection: ClusterConnection, aim: &Aim) {
    let acked = run.truth.acked(aim.entity, aim.id);
    let Ok(value) = connection.get::<_, Option<Vec<u8>>>(&aim.key).await else {
        run.ledger.read_errors.fetch_add(1, Ordering::Relaxed);
        return;
    };
    if aim.counts || value.is_some() {
        run.ledger.read(value.is_some());
    }
    let Some(value) = value else {
        // Somebody fills what an application misses; a full queue means that enough is asked for.
        let _ = run.missed.try_send((aim.entity, aim.id));
        return;
    };
    let (found, app_wrote) = match aim.epoch {
        Some(epoch) => (Found::Epoch(epoch), None),
        None => {
            let parsed: Value = serde_json::from_slice(&value).unwrap_or_default();
            let written = parsed["app_wrote_ms"].as_u64().map(Duration::from_millis);
            (Found::Version(parsed["version"].as_u64().unwrap_or_default()), written.map(|at| run.truth.started + at))
        }
    };
    run.judge(Read { entity: aim.entity, id: aim.id, key: &aim.key, value: &value, found, acked, app_wrote });
}
