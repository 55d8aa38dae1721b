//! What may happen to a cluster while sidecars work: each kind is a short story of its own.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use tokio::time::Instant;

use crate::cluster::node::{Link, Standing};
use crate::time::{pause, up_to};
use crate::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A node drops its connections.
    Disconnect,
    /// A node stops for a while, and goes on.
    Hang,
    /// A sidecar and a node lose each other.
    Cut,
    /// Keys with an end are evicted.
    Evict,
    /// A node loses its functions.
    ForgetFunctions,
    /// No memory is left.
    Full,
    /// A slot moves to another node, key by key.
    Move,
    /// A replica takes over, with everything.
    HandOver,
    /// A primary is killed, and a replica takes over with what it has.
    Fail,
    /// A primary hangs, a replica takes over, and the primary wakes without knowing.
    FailHung,
    /// A primary loses its replicas and goes on serving until it notices; then one of them takes over.
    Isolate,
    /// Replicas hear nothing for a while, or all of it late; the primary may die then.
    Lag,
    /// A primary is killed and starts again from its disk before anybody takes over.
    Restart,
    /// Primaries write to their disks.
    Save,
    /// A sidecar dies.
    Crash,
}

/// What can lose the tail of what a primary has answered: `WAIT` is against that.
pub const FAILOVERS: &[Kind] = &[Kind::Fail, Kind::FailHung, Kind::Isolate, Kind::Lag];

/// What brings an old memory back.
pub const RESTARTS: &[Kind] = &[Kind::Restart, Kind::Save, Kind::Disconnect, Kind::Hang, Kind::Cut];

/// Everything that an acknowledged invalidation must survive.
pub const ALL: &[Kind] = &[
    Kind::Disconnect,
    Kind::Hang,
    Kind::Cut,
    Kind::Evict,
    Kind::ForgetFunctions,
    Kind::Full,
    Kind::Move,
    Kind::HandOver,
    Kind::Crash,
    Kind::Fail,
    Kind::FailHung,
    Kind::Isolate,
    Kind::Lag,
];

pub const NONE: &[Kind] = &[];

/// What loses nothing that was acknowledged.
pub const MILD: &[Kind] = &[
    Kind::Disconnect,
    Kind::Hang,
    Kind::Cut,
    Kind::Evict,
    Kind::ForgetFunctions,
    Kind::Full,
    Kind::Move,
    Kind::HandOver,
    Kind::Crash,
];

/// So many kinds or more are too many for one run.
const FEW: usize = 3;

/// One fault after the other until the time is over; then everything is mended.
pub async fn storm(world: &World, kinds: &[Kind]) {
    let mut rng = world.rng(1_000);
    // Each run has a few kinds of its own, so that they meet in many ways, and some runs have hardly any: where little
    // fails, much happens.
    let share = [0.1, 0.3, 0.6][rng.random_range(0..3)];
    let chosen: Vec<Kind> = kinds.iter().copied().filter(|_| kinds.len() < FEW || rng.random_bool(share)).collect();
    while Instant::now() < world.ends {
        pause(Duration::from_millis(rng.random_range(20..500))).await;
        if let Some(kind) = (!chosen.is_empty()).then(|| chosen[rng.random_range(0..chosen.len())]) {
            befall(world, kind, &mut rng).await;
        }
    }
    mend(world);
}

async fn befall(world: &World, kind: Kind, rng: &mut StdRng) {
    let primaries = world.net.cluster().primaries();
    let node = primaries[rng.random_range(0..primaries.len())];
    let moment = Duration::from_millis(rng.random_range(10..800));
    match kind {
        Kind::Disconnect => world.net.cluster().disconnect(node),
        Kind::Hang => {
            world.net.cluster().stand(node, Standing::Hung);
            pause(moment).await;
            world.net.cluster().stand(node, Standing::Up);
        }
        Kind::Cut => {
            world.net.cut(rng.random_range(0..world.sidecars.len()), node);
            pause(moment).await;
            world.net.mend_all();
        }
        Kind::Evict => {
            let share = rng.random_range(0.1..1.0);
            world.net.cluster().evict(node, || rng.random_bool(share));
        }
        Kind::ForgetFunctions => {
            let mut cluster = world.net.cluster();
            cluster.command(node, &["FUNCTION", "FLUSH"]);
            cluster.command(node, &["SCRIPT", "FLUSH"]);
        }
        Kind::Full => {
            world.net.cluster().nodes[node].server.is_full = true;
            pause(moment).await;
            world.net.cluster().nodes[node].server.is_full = false;
        }
        Kind::Move => move_slot(world, rng).await,
        Kind::HandOver => hand_over(world, node, rng),
        Kind::Fail => fail(world, node, rng).await,
        Kind::FailHung => {
            world.net.cluster().stand(node, Standing::Hung);
            pause(moment).await;
            let wakes = Duration::from_millis(rng.random_range(0..300));
            succeed(world, node, wakes + Duration::from_millis(rng.random_range(0..30)), rng);
            pause(wakes).await;
            world.net.cluster().stand(node, Standing::Up);
        }
        Kind::Isolate => isolate(world, node, moment, rng).await,
        Kind::Lag => {
            let replicas = world.net.cluster().replicas_of(node);
            for replica in &replicas {
                let link = if rng.random() { Link::Cut } else { Link::Up { lag: rng.random_range(5..300) } };
                world.net.cluster().set_link(*replica, link);
            }
            pause(moment).await;
            if rng.random() {
                return fail(world, node, rng).await;
            }
            for replica in replicas {
                world.net.cluster().set_link(replica, Link::Up { lag: 1 });
            }
        }
        Kind::Restart => {
            if rng.random() {
                world.net.cluster().save();
                pause(up_to(rng, 200)).await;
            }
            world.net.cluster().kill(node);
            pause(moment / 4).await;
            world.net.cluster().restart(node);
        }
        Kind::Save => world.net.cluster().save(),
        Kind::Crash => world.crash_one(rng),
    }
}

/// When nobody changes anything any more, a primary comes back with what it had earlier.
pub fn relapse(world: &World, kinds: &[Kind]) {
    if kinds.contains(&Kind::Restart) {
        let mut cluster = world.net.cluster();
        let node = cluster.primaries()[0];
        cluster.kill(node);
        cluster.restart(node);
    }
}

async fn fail(world: &World, primary: usize, rng: &mut StdRng) {
    world.net.cluster().kill(primary);
    pause(up_to(rng, 800)).await;
    succeed(world, primary, Duration::ZERO, rng);
    pause(up_to(rng, 600)).await;
    world.net.cluster().restart(primary);
}

/// One of the replicas takes the primary's place; the old one hears of it after `late`, the others in their time.
fn succeed(world: &World, primary: usize, late: Duration, rng: &mut StdRng) {
    let mut cluster = world.net.cluster();
    let replicas = cluster.replicas_of(primary);
    let Some(heir) = (!replicas.is_empty()).then(|| replicas[rng.random_range(0..replicas.len())]) else { return };
    let now = cluster.now();
    let late = late.as_millis() as u64;
    cluster.promote(heir, |node| now + if node == primary { late } else { rng.random_range(0..400) });
    for replica in cluster.replicas_of(heir) {
        cluster.set_link(replica, Link::Up { lag: 1 });
    }
}

/// On the primary's side of the partition everything goes on until it notices; only then can another be elected.
async fn isolate(world: &World, primary: usize, notices: Duration, rng: &mut StdRng) {
    {
        let mut cluster = world.net.cluster();
        for replica in cluster.replicas_of(primary) {
            cluster.set_link(replica, Link::Cut);
        }
    }
    pause(notices).await;
    world.net.cluster().stand(primary, Standing::Alone);
    pause(up_to(rng, 200)).await;
    succeed(world, primary, Duration::from_millis(rng.random_range(0..500)), rng);
}

/// The slot of one of the keys that matter goes to another primary.
async fn move_slot(world: &World, rng: &mut StdRng) {
    let (slot, to) = {
        let cluster = world.net.cluster();
        let keys = cluster.checker.watched();
        let slot = hydrant::domain::key::slot_of(&keys[rng.random_range(0..keys.len())]);
        let from = cluster.truth.owner(slot);
        let others: Vec<usize> = cluster.primaries().into_iter().filter(|node| *node != from).collect();
        (slot, others[rng.random_range(0..others.len())])
    };
    world.net.cluster().begin_move(slot, to);
    pause(up_to(rng, 200)).await;
    while world.net.cluster().move_key(slot) {
        pause(up_to(rng, 60)).await;
    }
    // What is written between the last key and the end has to move as well; the end leaves no time for more.
    let mut cluster = world.net.cluster();
    while cluster.move_key(slot) {}
    let now = cluster.now();
    cluster.end_move(slot, |_| now + rng.random_range(0..400));
}

fn hand_over(world: &World, primary: usize, rng: &mut StdRng) {
    let mut cluster = world.net.cluster();
    let replicas = cluster.replicas_of(primary);
    if replicas.is_empty() || cluster.nodes[primary].standing != Standing::Up {
        return;
    }
    let heir = replicas[rng.random_range(0..replicas.len())];
    let now = cluster.now();
    cluster.hand_over(heir, |node| if node == primary { 0 } else { now + rng.random_range(0..400) });
}

fn mend(world: &World) {
    world.net.mend_all();
    let mut cluster = world.net.cluster();
    for index in 0..cluster.nodes.len() {
        cluster.nodes[index].server.is_full = false;
        match cluster.nodes[index].standing {
            Standing::Up => {}
            Standing::Hung | Standing::Alone => cluster.stand(index, Standing::Up),
            Standing::Down => cluster.restart(index),
        }
        cluster.set_link(index, Link::Up { lag: 1 });
    }
}
