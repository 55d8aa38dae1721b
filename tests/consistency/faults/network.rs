//! Faults of the network. Packets vanish: no connection is reset, and nobody is told.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use tokio::time::sleep;

use crate::faults::servers::{await_promotion, shard};
use crate::net::{NODES, Place, SIDECARS};
use crate::node::NODE_TIMEOUT;
use crate::stage::Stage;

/// The sidecar and the client that find themselves on the wrong side.
const INSIDE: usize = 2;

/// The primary goes on taking writes that its replica will never have; then it dies, and the replica takes its place.
pub async fn cut_then_kill(stage: &Stage, random: &mut StdRng) {
    let shard = shard(stage, random).await;
    for replica in &shard.replicas {
        stage.net.cut(Place::Node(shard.primary), Place::Node(*replica));
    }
    // tidy: waits because the fault lasts: writes are lost in this time
    sleep(Duration::from_millis(random.random_range(500..1_500))).await;
    stage.cluster.nodes[shard.primary].kill();
    stage.cluster.nodes[shard.primary].forget_disk();
    await_promotion(stage, &shard).await;
    stage.net.heal();
}

/// A primary, a sidecar and clients are cut off together: they go on with each other until the primary notices that it is
/// alone, while the others elect its replica.
pub async fn minority(stage: &Stage, random: &mut StdRng) {
    let shard = shard(stage, random).await;
    stage.net.cut_off(&[Place::Node(shard.primary), Place::Sidecar(INSIDE), Place::Client(1)]);
    await_promotion(stage, &shard).await;
    // tidy: waits because the fault lasts beyond the failover
    sleep(NODE_TIMEOUT / 2).await;
    stage.net.heal();
}

/// One hears the other, and is not heard.
pub async fn one_way(stage: &Stage, random: &mut StdRng) {
    let shard = shard(stage, random).await;
    let primary = Place::Node(shard.primary);
    let replica = Place::Node(shard.replicas[0]);
    let sidecar = Place::Sidecar(random.random_range(0..stage.sidecars.len()));
    let pairs = [(primary, replica), (replica, primary), (primary, sidecar), (sidecar, primary)];
    match pairs.choose(random) {
        Some((from, to)) if random.random_bool(0.75) => stage.net.drop_packets(*from, *to),
        // Nobody hears the primary any more, and it hears everybody.
        _ => Place::all().filter(|to| *to != primary).for_each(|to| stage.net.drop_packets(primary, to)),
    }
    // tidy: waits because the fault lasts: longer than a failover takes
    sleep(NODE_TIMEOUT * 2).await;
    stage.net.heal();
}

/// No sidecar reaches any server; readers do.
pub async fn redis_away(stage: &Stage) {
    for (sidecar, node) in (0..SIDECARS).flat_map(|sidecar| (0..NODES).map(move |node| (sidecar, node))) {
        stage.net.cut(Place::Sidecar(sidecar), Place::Node(node));
    }
    // tidy: waits because the fault lasts: long enough for breakers to open
    sleep(NODE_TIMEOUT * 2).await;
    stage.net.heal();
}
