//! Faults of Redis itself: servers that die, change roles, come back with an old disk, sleep, forget or run full; slots
//! that move.

use std::time::Duration;

use hydrant::domain::key::slot_of;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use tokio::time::{Instant, sleep};

use crate::cluster::Shard;
use crate::node::NODE_TIMEOUT;
use crate::run::Run;
use crate::stage::Stage;

/// Beyond it a failover is not coming; the repair then says what is wrong.
const PROMOTION: Duration = Duration::from_secs(12);
/// Slots that move in one strike.
const SLOTS_AT_ONCE: usize = 6;

/// One of those that own slots and have a replica.
pub async fn shard(stage: &Stage, random: &mut StdRng) -> Shard {
    let shards = stage.cluster.shards().await;
    let whole: Vec<&Shard> = shards.iter().filter(|shard| !shard.replicas.is_empty()).collect();
    (*whole.choose(random).expect("the cluster was well before the fault")).clone()
}

/// Waits until a replica has taken the place of its primary.
pub async fn await_promotion(stage: &Stage, old: &Shard) {
    let end = Instant::now() + PROMOTION;
    while Instant::now() < end {
        for replica in &old.replicas {
            if stage.cluster.nodes[*replica].text(&["INFO", "replication"]).await.contains("role:master") {
                return;
            }
        }
        // tidy: waits because it looks again and again, with a bound
        sleep(Duration::from_millis(50)).await;
    }
}

pub async fn kill_primary(stage: &Stage, random: &mut StdRng) {
    let shard = shard(stage, random).await;
    stage.cluster.nodes[shard.primary].kill();
    stage.cluster.nodes[shard.primary].forget_disk();
    await_promotion(stage, &shard).await;
}

pub async fn fail_over(stage: &Stage, random: &mut StdRng) {
    let shard = shard(stage, random).await;
    // One that is refused, because another is under way, is no fault.
    let _ = stage.cluster.nodes[shard.replicas[0]].command(&["CLUSTER", "FAILOVER"]).await;
    await_promotion(stage, &shard).await;
}

/// The primary is back, with the disk of a moment ago, before anybody has noticed that it was gone.
pub async fn restart_in_place(stage: &Stage, run: &Run, random: &mut StdRng) {
    let shard = shard(stage, random).await;
    let node = &stage.cluster.nodes[shard.primary];
    node.text(&["SAVE"]).await;
    // tidy: waits because what changes in this time is forgotten
    sleep(Duration::from_millis(random.random_range(500..1_500))).await;
    run.restarted_now();
    node.kill();
    node.launch();
    node.wait_until_up().await;
    node.forget_disk();
    if let Some(bound) = run.leeway.swept_within {
        // tidy: waits because after this time nothing old may be left
        sleep(bound + Duration::from_secs(2)).await;
    }
}

/// Just short of a failover.
pub async fn debug_sleep(stage: &Stage, random: &mut StdRng) {
    let shard = shard(stage, random).await;
    let seconds = format!("{:.1}", NODE_TIMEOUT.as_secs_f64() * 0.6);
    stage.cluster.nodes[shard.primary].text(&["DEBUG", "SLEEP", &seconds]).await;
}

/// `FLUSHALL`, `FUNCTION FLUSH`, `CLIENT KILL`: at once and for good.
pub async fn on_a_primary(stage: &Stage, random: &mut StdRng, command: &[&str]) {
    let shard = shard(stage, random).await;
    // A connection that kills itself has no answer.
    let _ = stage.cluster.nodes[shard.primary].command(command).await;
}

/// Every primary is kept just under what it holds, so that it has to let go of something at every write.
pub async fn evict(stage: &Stage, policy: &str) {
    let shards = stage.cluster.shards().await;
    let end = Instant::now() + NODE_TIMEOUT * 2;
    while Instant::now() < end {
        for node in shards.iter().map(|shard| &stage.cluster.nodes[shard.primary]) {
            let info = node.text(&["INFO", "memory"]).await;
            let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")?.trim().parse::<u64>().ok());
            let limit = used.unwrap_or_default().saturating_sub(32 * 1024).to_string();
            let _ = node.command(&["CONFIG", "SET", "maxmemory-policy", policy, "maxmemory", &limit]).await;
        }
        // tidy: waits because memory is kept short for a while
        sleep(Duration::from_millis(250)).await;
    }
    for node in shards.iter().map(|shard| &stage.cluster.nodes[shard.primary]) {
        let _ = node.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    }
}

/// A few slots that hold users move to another primary, key by key, under load.
pub async fn migrate(stage: &Stage, random: &mut StdRng) {
    let from = shard(stage, random).await;
    let shards = stage.cluster.shards().await;
    let others: Vec<&Shard> = shards.iter().filter(|shard| shard.primary != from.primary).collect();
    let to = others.choose(random).expect("there are three").primary;
    let users = stage.cluster.keys("user:id:").await;
    let mut slots: Vec<u16> =
        users.iter().filter(|(node, _)| *node == from.primary).map(|(_, key)| slot_of(key)).collect();
    slots.sort_unstable();
    slots.dedup();
    for slot in slots.choose_multiple(random, SLOTS_AT_ONCE) {
        move_slot(stage, from.primary, to, &slot.to_string()).await;
    }
}

async fn move_slot(stage: &Stage, from: usize, to: usize, slot: &str) {
    let (source, target) = (&stage.cluster.nodes[from], &stage.cluster.nodes[to]);
    let (source_id, target_id) = (stage.cluster.id(from), stage.cluster.id(to));
    let [ip, port, _] = target.meeting_point();
    let _ = target.command(&["CLUSTER", "SETSLOT", slot, "IMPORTING", source_id]).await;
    let _ = source.command(&["CLUSTER", "SETSLOT", slot, "MIGRATING", target_id]).await;
    // tidy: waits because keys go one by one, and others work in between
    let pause = || sleep(Duration::from_millis(20));
    for _ in 0..1_000 {
        pause().await;
        let keys = source.command(&["CLUSTER", "GETKEYSINSLOT", slot, "1"]).await;
        let keys: Vec<Vec<u8>> = keys.and_then(|keys| Ok(redis::from_redis_value(keys)?)).unwrap_or_default();
        let Some(key) = keys.first() else { break };
        let words: [&[u8]; 9] =
            [b"MIGRATE", ip.as_bytes(), port.as_bytes(), b"", b"0", b"1000", b"REPLACE", b"KEYS", key];
        let _ = source.command(&words).await;
    }
    pause().await;
    // The new owner first, so that there is always one.
    for node in [target, source].into_iter().chain(&stage.cluster.nodes) {
        let _ = node.command(&["CLUSTER", "SETSLOT", slot, "NODE", target_id]).await;
    }
}
