//! `hydrant verify`: compares what is cached with its sources, here and now, for members named or for a sample.
//!
//! It needs the configuration and no sidecar: it reads Redis and asks the sources by itself, and changes nothing. It has
//! heard of no invalidation, so whatever still differs when it is looked at again counts: either an invalidation did not
//! hold, or somebody changed the source and did not invalidate.

mod told;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::app;
use crate::cli::exit::Exit;
use crate::cli::named;
use crate::cli::verify::told::Told;
use crate::cli::{ConfigArg, Out, block_on};
use crate::config::{self, Config, Store};
use crate::domain::catalog::Catalog;
use crate::domain::entity::Name;
use crate::domain::key::Key;
use crate::domain::random::Random;
use crate::domain::store::{Store as _, StoreState};
use crate::domain::template::Params;
use crate::fill::settings::Live;
use crate::remote;
use crate::remote::metrics::Metrics;
use crate::remote::store::Remote;
use crate::tasks::Tasks;
use crate::verify::case::Case;
use crate::verify::line::{Line, age, step};
use crate::verify::look::Looker;
use crate::verify::pace::Pace;
use crate::verify::sample::{self, Members, Sample, Spec};

/// Compare what is cached with its sources, and say what differs.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A member with all its keys: `user:id=7`, or `user id=7`. Without members and keys a sample is drawn.
    #[arg(long = "member", num_args = 1.., value_name = "ENTITY PARAM=VALUE")]
    members: Vec<String>,
    /// A key, as it stands in Redis.
    #[arg(long = "key", num_args = 1..)]
    keys: Vec<String>,
    /// Draw from these entities only.
    #[arg(long = "entity", value_name = "ENTITY", conflicts_with_all = ["members", "keys"])]
    entities: Vec<String>,
    /// Keys to draw, at most.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    sample: u32,
    /// Keys to look through for it, at most: Redis is scanned, slowly.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(500..=1_000_000_000))]
    scan: u32,
    /// Members to look at in a second: each is a question to its source.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Look at each of them again 1, 10 and 60 seconds later.
    #[arg(long)]
    again: bool,
    /// Answer as JSON.
    #[arg(long)]
    json: bool,
    /// Wait so long for every primary to answer, in milliseconds.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    deadline_ms: u64,
    #[command(flatten)]
    config: ConfigArg,
}

/// Why there is nothing to tell.
enum Failed {
    Usage(String),
    Unreachable(String),
}

/// A member that is looked at once has no second look to wait for.
const ONCE: [Duration; 1] = [Duration::ZERO];
const AGAIN: [Duration; 4] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(60)];
/// Bytes a second, whatever the rate: a tenth of a common network link.
const BYTES: u64 = 12 << 20;
/// Between looks at whether all primaries answer.
const LOOK: Duration = Duration::from_millis(20);

pub fn run(args: &Args, env: &BTreeMap<String, String>, out: &mut Out<'_>) -> io::Result<Exit> {
    let file = args.config.resolve(env);
    let config = match config::load(&file, env) {
        Ok(loaded) => loaded.config,
        Err(problems) => {
            writeln!(out.errors, "{problems}")?;
            return Ok(Exit::Usage);
        }
    };
    match block_on(verify(args, config))? {
        Ok(told) if args.json => {
            writeln!(out.text, "{}", serde_json::to_string_pretty(&told)?)?;
            Ok(told.exit())
        }
        Ok(told) => {
            write!(out.text, "{told}")?;
            writeln!(out.errors, "{}", told.summary())?;
            Ok(told.exit())
        }
        Err(Failed::Usage(mistake)) => {
            writeln!(out.errors, "hydrant: {mistake}")?;
            Ok(Exit::Usage)
        }
        Err(Failed::Unreachable(mistake)) => {
            writeln!(out.errors, "hydrant: {mistake}")?;
            Ok(Exit::Unreachable)
        }
    }
}

async fn verify(args: &Args, config: Config) -> Result<Told, Failed> {
    let Store::Redis(redis) = config.store else {
        return Err(Failed::Usage("the configuration names no redis: there is nothing to read".to_owned()));
    };
    let catalog = config.live.catalog.clone();
    let named = args.named(&catalog).map_err(Failed::Usage)?;
    let entities = args.entities(&catalog).map_err(Failed::Usage)?;
    let random = Random::from_os();
    let (tasks, _deaths) = Tasks::new();
    let settings = app::settings(&config.live, random.clone(), &tasks);
    let settings = settings.map_err(|error| Failed::Usage(format!("{error:#}")))?;
    let store = remote::build(*redis, &tasks, random.clone(), Metrics::register(&mut Default::default()));
    let told = async {
        reached(&store, Duration::from_millis(args.deadline_ms)).await?;
        let spec = Spec { entities, most: args.sample as usize, scanned: args.scan.into() };
        let (members, sample) = members(&store, &catalog, named, &spec, &random).await?;
        let looker = Looker::new(store.clone(), Live::new(settings), random.clone());
        let looks: &'static [Duration] = if args.again { &AGAIN } else { &ONCE };
        let pace = Pace::new(args.rate.saturating_mul(60), BYTES);
        Ok(compare(&looker, &catalog, members, looks, pace, Told::new(sample)).await)
    };
    let told = told.await;
    // Connections end with the process; there is nothing to wait for.
    tasks.drain(Duration::ZERO).await;
    told
}

async fn reached(store: &Remote, longest: Duration) -> Result<(), Failed> {
    let end = Instant::now() + longest;
    while store.state() != StoreState::Up {
        if Instant::now() >= end {
            return Err(Failed::Unreachable("not every redis primary can be reached".to_owned()));
        }
        sleep(LOOK).await;
    }
    Ok(())
}

async fn members(
    store: &Arc<Remote>,
    catalog: &Catalog,
    named: Vec<Key>,
    spec: &Spec,
    random: &Random,
) -> Result<(Members, Option<Sample>), Failed> {
    let away = |error| Failed::Unreachable(format!("redis cannot be read: {error}"));
    let (keys, sample) = match named.is_empty() {
        false => (named, None),
        true => {
            let sample = sample::draw(store.as_ref(), catalog, spec, random).await.map_err(away)?;
            (sample.keys.clone(), Some(sample))
        }
    };
    Ok((sample::members(store.as_ref(), catalog, &keys).await.map_err(away)?, sample))
}

/// Looks at all of them, and again at what differs, until there is nothing more to look at.
async fn compare(
    looker: &Looker,
    catalog: &Catalog,
    members: Members,
    looks: &'static [Duration],
    pace: Pace,
    mut told: Told,
) -> Told {
    let (mut line, now) = (Line::default(), Instant::now());
    for (at, (key, aliases)) in members.into_iter().enumerate() {
        match looker.entity_of(&key) {
            Ok(entity) => {
                // None begins before its turn: else the later looks of the last would come right after its first.
                let since = now + pace.every * u32::try_from(at).unwrap_or(u32::MAX);
                let case = Case::new(at as u64, key, entity.name().clone(), aliases, since, looks).at_once();
                line.add(case, since);
            }
            Err(skip) => told.skip(catalog, &key, skip),
        }
    }
    while let Some(due) = line.next_due() {
        sleep_until(due).await;
        let Some(mut case) = line.take() else { break };
        let stepped = step(looker, &mut case).await;
        if let Some(found) = stepped.found {
            told.take(catalog, &case, found, age(&case));
        }
        if let Some(due) = stepped.next {
            line.add(case, due);
        }
        sleep(pace.pause(stepped.bytes)).await;
    }
    told
}

impl Args {
    /// The keys of what was named.
    fn named(&self, catalog: &Catalog) -> Result<Vec<Key>, String> {
        let mut keys = Vec::new();
        for member in named::in_a_row(&self.members)? {
            let params: Params = member.params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let member = catalog.member(&member.name, params).map_err(|error| format!("--member: {error}"))?;
            keys.push(member.key);
        }
        for text in &self.keys {
            let key = Key::new(text.clone()).map_err(|error| format!("--key: {error}"))?;
            if catalog.find(text).is_none() {
                return Err("--key: belongs to no entity of this configuration".to_owned());
            }
            keys.push(key);
        }
        Ok(keys)
    }

    fn entities(&self, catalog: &Catalog) -> Result<Vec<Name>, String> {
        let known = |text: &String| catalog.entity(text).map(|entity| entity.name().clone());
        let named = self.entities.iter().map(|text| known(text).ok_or_else(|| format!("there is no entity `{text}`")));
        named.collect()
    }
}
