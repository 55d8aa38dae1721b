//! `hydrant functions`: the functions that fills need, on the servers.
//!
//! Loading code is a right that a sidecar should not have. So an operator, or a job that runs before the sidecars do,
//! installs them with a user of its own; the credentials are those of the configuration, or of the environment over it
//! (`HYDRANT__REDIS__USERNAME`, `HYDRANT__REDIS__PASSWORD`).

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use clap::Subcommand;
use tokio::time::{Instant, sleep};

use crate::cli::exit::Exit;
use crate::cli::{ConfigArg, Out, block_on};
use crate::config::{self, Store};
use crate::domain::random::Random;
use crate::domain::store::{Refusal, Store as _, StoreError, StoreState};
use crate::remote;
use crate::remote::install::Installed;
use crate::remote::library::{Functions, Loaded, NAME};
use crate::remote::metrics::Metrics;
use crate::tasks::Tasks;

/// Install the functions that fills need in Redis, or show them.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Load them on every primary; replicas get them by replication. Harmless where they are there already.
    Install(Install),
    /// Print the library, as `FUNCTION LOAD` takes it.
    Print,
}

#[derive(Debug, clap::Args)]
struct Install {
    #[command(flatten)]
    config: ConfigArg,
    /// Wait so long for every primary to answer, in milliseconds.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    deadline_ms: u64,
}

/// Between looks at whether all primaries answer.
const LOOK: Duration = Duration::from_millis(20);

pub fn run(args: &Args, env: &BTreeMap<String, String>, out: &mut Out<'_>) -> io::Result<Exit> {
    match &args.command {
        Command::Install(args) => install(args, env, out),
        Command::Print => {
            write!(out.text, "{}", Functions::new().text())?;
            Ok(Exit::Ok)
        }
    }
}

fn install(args: &Install, env: &BTreeMap<String, String>, out: &mut Out<'_>) -> io::Result<Exit> {
    let file = args.config.resolve(env);
    let loaded = match config::load(&file, env) {
        Ok(loaded) => loaded,
        Err(problems) => {
            writeln!(out.errors, "{problems}")?;
            return Ok(Exit::Usage);
        }
    };
    let Store::Redis(redis) = loaded.config.store else {
        writeln!(out.errors, "hydrant: {} names no Redis, so there is nothing to install", file.display())?;
        return Ok(Exit::No);
    };
    let (installed, is_whole) = block_on(load(*redis, Duration::from_millis(args.deadline_ms)))?;
    for Installed { node, result } in &installed {
        match result {
            Ok(Loaded::Now) => writeln!(out.text, "{node}  {NAME} loaded")?,
            Ok(Loaded::Before) => writeln!(out.text, "{node}  {NAME} was there")?,
            Err(error) => writeln!(out.errors, "{node}  {error}")?,
        }
    }
    if !is_whole {
        writeln!(out.errors, "hydrant: the owners of all slots could not be found")?;
    }
    Ok(exit(&installed, is_whole))
}

async fn load(redis: remote::Config, longest: Duration) -> (Vec<Installed>, bool) {
    let (tasks, _deaths) = Tasks::new();
    let store = remote::build(redis, &tasks, Random::from_os(), Metrics::register(&mut Default::default()));
    let end = Instant::now() + longest;
    while store.state() != StoreState::Up && Instant::now() < end {
        sleep(LOOK).await;
    }
    let installed = store.install_functions().await;
    // Connections end with the process; there is nothing to wait for.
    tasks.drain(Duration::ZERO).await;
    installed
}

fn exit(installed: &[Installed], is_whole: bool) -> Exit {
    let failures: Vec<StoreError> = installed.iter().filter_map(|node| node.result.as_ref().err().copied()).collect();
    let is_forbidden =
        |error: &StoreError| matches!(error, StoreError::Refused(Refusal::NotAllowed | Refusal::BadCredentials));
    match failures.len() {
        0 if is_whole => Exit::Ok,
        count if count < installed.len() => Exit::Partial,
        0 => Exit::Unreachable,
        _ if failures.iter().all(is_forbidden) => Exit::NotAllowed,
        _ => Exit::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_says_how_many_have_them() {
        let ended = |results: &[Result<Loaded, StoreError>], is_whole| {
            let node = |result: &Result<Loaded, StoreError>| Installed { node: String::new(), result: *result };
            exit(&results.iter().map(node).collect::<Vec<_>>(), is_whole)
        };
        let forbidden = Err(StoreError::Refused(Refusal::NotAllowed));
        assert_eq!(ended(&[Ok(Loaded::Now), Ok(Loaded::Before)], true), Exit::Ok);
        assert_eq!(ended(&[Ok(Loaded::Now)], false), Exit::Partial);
        assert_eq!(ended(&[Ok(Loaded::Now), Err(StoreError::Unreachable)], true), Exit::Partial);
        assert_eq!(ended(&[forbidden, forbidden], true), Exit::NotAllowed);
        assert_eq!(ended(&[forbidden, Err(StoreError::Timeout)], true), Exit::Unreachable);
        assert_eq!(ended(&[], false), Exit::Unreachable);
    }
}
