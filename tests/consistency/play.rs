//! One run from its beginning to its end: everybody starts, the fault strikes again and again, writers settle what they
//! owe, and when it is quiet somebody looks.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::runtime::Builder;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::faults::{BETWEEN, Fault};
use crate::fills::{Missed, QUEUE, fill};
use crate::ledger::Ledger;
use crate::net::{CLIENTS, Place, SIDECARS};
use crate::quiet::Quiet;
use crate::report::Report;
use crate::run::{Run, Until, Way};
use crate::stage::Stage;
use crate::{apps, quiet, readers, writers};

const READERS: u64 = 8;
const WRITERS: u64 = 4;
const APPS: u64 = 2;
const FILLERS: usize = 2 * SIDECARS;
/// Of one strike: whatever it waits for has a bound of its own below this.
const LONGEST_STRIKE: Duration = Duration::from_secs(60);

/// What to play.
#[derive(Clone, Copy, Debug)]
pub struct Act {
    pub fault: Fault,
    pub way: Way,
    pub seconds: u64,
    pub until: Until,
    pub seed: u64,
}

pub async fn play(stage: &Stage, act: Act) -> Report {
    let Act { fault, way, seconds, until, seed } = act;
    let (missed, inbox) = mpsc::channel(QUEUE);
    let run = Arc::new(Run {
        truth: stage.truth.clone(),
        ledger: Ledger::default(),
        sidecars: stage.sidecars.clone(),
        way,
        leeway: fault.leeway(way),
        until,
        stop: CancellationToken::new(),
        restarted_ms: AtomicU64::new(0),
        busy: Default::default(),
        missed,
        seeds: stage.seeds(),
        seed,
    });
    let clients: Vec<_> = (0..CLIENTS).map(|client| start_client(stage, run.clone(), client)).collect();
    let (mut fillers, inbox): (_, Missed) = (JoinSet::new(), Arc::new(Mutex::new(inbox)));
    for number in 0..FILLERS {
        fillers.spawn(fill(run.clone(), inbox.clone(), number));
    }
    let (strikes, mut trouble) = strike(stage, &run, fault, Duration::from_secs(seconds)).await;
    stage.net.heal();
    stage.origin.be_well();
    trouble = trouble.or(stage.cluster.repair().await.err());
    run.stop.cancel();
    fillers.join_all().await;
    let mut owed = 0;
    for client in clients {
        // Writers may take a while to be rid of what they owe.
        owed +=
            tokio::task::spawn_blocking(move || client.join()).await.expect("joined").expect("clients do not panic");
    }
    let quiet = if run.has_seen_enough() { Quiet::default() } else { quiet::look(stage, &run, owed).await };
    // What one fault has left behind must not be laid at the next one's door.
    stage.cluster.flush().await;
    Report { fault: fault.name(), seconds, strikes, sums: run.ledger.sums(), quiet, trouble }
}

async fn strike(stage: &Stage, run: &Run, fault: Fault, time: Duration) -> (u32, Option<String>) {
    let mut random = StdRng::seed_from_u64(run.seed);
    let (end, mut strikes) = (Instant::now() + time, 0);
    // tidy: waits because values are to be cached before anything happens
    sleep(BETWEEN).await;
    while Instant::now() < end && !run.has_seen_enough() {
        if timeout_at(Instant::now() + LONGEST_STRIKE, fault.strike(stage, run, &mut random)).await.is_err() {
            return (strikes, Some("the fault itself hung".to_owned()));
        }
        strikes += 1;
        if let Err(trouble) = stage.cluster.repair().await {
            return (strikes, Some(trouble));
        }
        // tidy: waits because what comes after a fault is part of what is looked at
        sleep(BETWEEN.min(end.saturating_duration_since(Instant::now()))).await;
    }
    (strikes, None)
}

/// A thread in the client's place, with its share of the readers, writers and applications. Answers what is owed.
fn start_client(stage: &Stage, run: Arc<Run>, client: usize) -> thread::JoinHandle<usize> {
    let net = stage.net.clone();
    thread::spawn(move || {
        net.enter(Place::Client(client));
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut tasks: JoinSet<usize> = JoinSet::new();
            for task in share(&run, client) {
                tasks.spawn(task);
            }
            tasks.join_all().await.into_iter().sum()
        })
    })
}

/// One in four is cut off with the minority.
fn share(run: &Arc<Run>, client: usize) -> Vec<BoxFuture<'static, usize>> {
    let is_mine = |number: u64| (number % 4 == 3) == (client == 1);
    let mut share: Vec<BoxFuture<'static, usize>> = Vec::new();
    for number in (0..READERS).filter(|number| is_mine(*number)) {
        let run = run.clone();
        share.push(Box::pin(async move {
            readers::read(run, number).await;
            0
        }));
    }
    for number in (0..WRITERS).filter(|number| is_mine(*number)) {
        share.push(Box::pin(writers::write(run.clone(), number)));
    }
    for number in (0..APPS).filter(|number| is_mine(*number)) {
        let run = run.clone();
        share.push(Box::pin(async move {
            apps::write(run, number).await;
            0
        }));
    }
    share
}
