//! Those who change members at the source, and then say so through some sidecar, until it has been acknowledged.

use std::time::Duration;

use hydrant::domain::error::Kind;
use hydrant::domain::journal::JobId;
use hydrant::invalidate::jobs::JobState;
use hydrant::invalidate::request::{KnownAlias, MemberTarget, Mode, State, Target};
use rand::Rng;
use rand::rngs::StdRng;
use tokio::time::Instant;

use crate::checker::{Looks, own_key};
use crate::entity::{TAG, params};
use crate::sidecar::Sidecar;
use crate::source::Row;
use crate::time::{pause, up_to};
use crate::world::{LIFE, MEMBERS, Removes, World, id};

/// Virtual time after the storm in which everything must have been acknowledged.
const PATIENCE: Duration = Duration::from_secs(60);

/// What became of one call.
enum Told {
    Done,
    /// To be followed by its name.
    Pending(JobId),
    Refused,
}

/// Changes and invalidates until the storm is over. Answers what could not be acknowledged.
pub async fn write(world: &World, lane: u64) -> Vec<String> {
    let mut rng = world.rng(100 + lane);
    let mut problems = Vec::new();
    while Instant::now() < world.ends {
        let all = world.removes == Removes::ByFlow && rng.random_ratio(1, 8);
        let rows: Vec<Row> = match all {
            true => (0..MEMBERS).map(|index| change(world, &id(index))).collect(),
            false => vec![change(world, &id(rng.random_range(0..MEMBERS)))],
        };
        if !make_known(world, &rows, &mut rng).await {
            let what = rows.iter().map(|row| format!("{} {}", own_key(&row.id), row.version)).collect::<Vec<_>>();
            problems.push(format!("{}: never acknowledged", what.join(", ")));
        }
        pause(up_to(&mut rng, 120)).await;
    }
    problems
}

fn change(world: &World, id: &str) -> Row {
    let mut cluster = world.net.cluster();
    let row = world.origin.change(id);
    cluster.note(|| format!("the source has {row:?}"));
    let looks = match world.removes {
        Removes::Plainly | Removes::Confirmed => Looks::OwnKeys,
        Removes::ByFlow if world.life > LIFE => Looks::AllKeysInTheEnd,
        Removes::ByFlow => Looks::AllKeys,
    };
    cluster.checker.changed(&row, looks);
    row
}

/// Until somebody who lives has done it, through whichever sidecar.
async fn make_known(world: &World, rows: &[Row], rng: &mut StdRng) -> bool {
    let mut job = None;
    while Instant::now() < world.ends + PATIENCE {
        let sidecar = world.sidecar(rng);
        let told = match &job {
            None => tell(world, sidecar, rows, rng).await,
            Some(job) => follow(world, sidecar, job).await,
        };
        // A caller hears nothing more of a sidecar that has died.
        let told = if world.net.is_dead(sidecar.index) { Told::Refused } else { told };
        match told {
            Told::Done => {
                rows.iter().for_each(|row| acknowledge(world, row));
                return true;
            }
            Told::Pending(id) => job = Some(id),
            Told::Refused if job.is_none() || world.net.is_dead(sidecar.index) => {}
            // It is not known any more: say it again.
            Told::Refused => job = None,
        }
        pause(up_to(rng, 100)).await;
    }
    false
}

async fn tell(world: &World, sidecar: &Sidecar, rows: &[Row], rng: &mut StdRng) -> Told {
    let first = &rows[0];
    let is_done = match world.removes {
        Removes::Plainly => sidecar.remove(&first.id).await,
        Removes::Confirmed => sidecar.erase(&first.id).await,
        Removes::ByFlow => {
            let target = match rows {
                [row] => member(row, rng),
                _ => everybody(rng),
            };
            let mode = if rng.random_ratio(1, 5) { Mode::Refresh } else { Mode::Remove };
            let answer = sidecar.invalidate(target, mode).await;
            world.net.cluster().note(|| match &answer {
                Ok(answer) => format!("the flow of {} answers {:?}", own_key(&first.id), answer.state),
                Err(error) => format!("the flow of {} answers {error:?}", own_key(&first.id)),
            });
            return match answer.map(|answer| answer.state) {
                Ok(State::Done { .. }) => Told::Done,
                Ok(State::Pending { job, .. }) => Told::Pending(job),
                Ok(State::Preview { .. }) | Err(_) => Told::Refused,
            };
        }
    };
    if is_done { Told::Done } else { Told::Refused }
}

async fn follow(world: &World, sidecar: &Sidecar, job: &JobId) -> Told {
    match sidecar.invalidate.job(job.as_str()).await {
        Ok(known) if known.state == JobState::Succeeded => {
            world.net.cluster().note(|| format!("the job {job} has succeeded"));
            Told::Done
        }
        Ok(_) => Told::Pending(job.clone()),
        Err(error) if error.kind == Kind::UnknownJob => Told::Refused,
        Err(_) => Told::Pending(job.clone()),
    }
}

/// All members, found by their tag or by going through all keys.
fn everybody(rng: &mut StdRng) -> Target {
    match rng.random_range(0..4) {
        0 => Target::All { entities: vec!["user".to_owned()] },
        1 => Target::All { entities: Vec::new() },
        _ => Target::Tag(TAG.to_owned()),
    }
}

/// The member by its id, sometimes with what the caller knows of its names.
fn member(row: &Row, rng: &mut StdRng) -> Target {
    let known = |alias: &str, value: &str| KnownAlias { alias: alias.to_owned(), params: params(alias, value) };
    let known_aliases = match rng.random_ratio(1, 4) {
        true => vec![known("email", &row.email), known("name", &row.name)],
        false => Vec::new(),
    };
    Target::Member(MemberTarget {
        entity: "user".to_owned(),
        alias: None,
        params: params("id", &row.id),
        known_aliases,
        min_version: None,
        replacement: None,
    })
}

fn acknowledge(world: &World, row: &Row) {
    let mut cluster = world.net.cluster();
    cluster.note(|| format!("{} acknowledged at version {}", own_key(&row.id), row.version));
    cluster.acknowledge(&row.id, row.version);
}
