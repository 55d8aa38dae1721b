//! Writers: a new version at the source, then its invalidation through a sidecar chosen at random; four of them.
//!
//! Only `DONE` counts as acknowledged, at the moment when it arrives. A `PENDING` counts when its job has succeeded, as
//! any sidecar tells. What failed was not promised: it is owed, and asked for again until somebody takes it.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::invalidate::{Asked, By, Told, follow, invalidate};
use crate::run::Run;
use crate::truth::{Entity, PRICES, State};

/// Jobs that one writer follows at a time; of those beyond, only the end of the run tells whether they were finished.
const FOLLOWED: usize = 64;
/// The longest a job is followed.
const LONGEST_JOB: Duration = Duration::from_secs(60);
/// What is owed and not taken: beyond it a writer stops changing things, as a shop with a full outbox would.
const OWED: usize = 256;

/// Runs until the run is over, then until nothing is owed; answers what still is.
pub async fn write(run: Arc<Run>, number: u64) -> usize {
    let mut random = StdRng::seed_from_u64(run.seed ^ (0x3217 << 16) ^ number);
    let mut by = By::new(&run).await;
    let (mut owed, mut jobs): (Vec<Asked>, JoinSet<()>) = (Vec::new(), JoinSet::new());
    while !run.is_over() {
        if let Some(asked) = owed.pop() {
            settle(&run, &mut by, asked, &mut owed, &mut jobs, &mut random).await;
        }
        if owed.len() < OWED {
            let asked = change(&run, &mut random);
            settle(&run, &mut by, asked, &mut owed, &mut jobs, &mut random).await;
        }
        while jobs.try_join_next().is_some() {}
        // tidy: waits because it is a writer with a rate
        sleep(Duration::from_millis(random.random_range(5..25))).await;
    }
    let end = Instant::now() + LONGEST_JOB;
    while let Some(asked) = owed.pop() {
        settle(&run, &mut by, asked, &mut owed, &mut jobs, &mut random).await;
        if Instant::now() > end {
            break;
        }
    }
    let _ = timeout(LONGEST_JOB, jobs.join_all()).await;
    owed.len()
}

/// Changes something at the source, and says what has to be invalidated for it.
fn change(run: &Run, random: &mut StdRng) -> Asked {
    let entity = match random.random_range(0..100) {
        0..74 => Entity::User,
        74..82 => Entity::Basket,
        82..92 => Entity::Price,
        _ => Entity::Note,
    };
    let members = if entity == Entity::Price { PRICES } else { run.truth.members() };
    let id = random.random_range(0..members);
    let renames = entity == Entity::User && random.random_bool(0.3);
    let (old, new) = run.truth.change(entity, id, renames);
    Asked::draw(run, entity, id, old, new, random)
}

async fn settle(
    run: &Arc<Run>,
    by: &mut By,
    asked: Asked,
    owed: &mut Vec<Asked>,
    jobs: &mut JoinSet<()>,
    random: &mut StdRng,
) {
    let sidecar = random.random_range(0..run.sidecars.len());
    let started = Instant::now();
    match invalidate(run, by, sidecar, &asked).await {
        Told::Done => {
            acknowledge(run, &asked.promised);
            run.ledger.answered("DONE", started.elapsed());
        }
        Told::Pending { job, durability, cause } => {
            run.ledger.answered(&format!("PENDING {durability} {cause}"), started.elapsed());
            if jobs.len() < FOLLOWED {
                let run = run.clone();
                jobs.spawn(async move {
                    if follow(&run, &job, LONGEST_JOB).await {
                        run.ledger.job_finished(started.elapsed());
                        acknowledge(&run, &asked.promised);
                    } else {
                        run.ledger.job_was_not_finished();
                    }
                });
            }
        }
        Told::Failed(why) => {
            run.ledger.answered(&why, started.elapsed());
            owed.push(asked);
            // tidy: waits because a sidecar that is down is not stormed
            sleep(Duration::from_millis(20)).await;
        }
    }
}

fn acknowledge(run: &Run, promised: &[(Entity, usize, State)]) {
    for (entity, id, state) in promised {
        run.truth.acknowledge(*entity, *id, *state);
    }
}
