//! `hydrant healthcheck`: asks a running sidecar whether it serves. For container health checks, where no shell is.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cli::exit::Exit;
use crate::cli::{Out, block_on};

/// Ask a running sidecar whether it serves: exit 0 if so.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Give up after this many milliseconds.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    deadline_ms: u64,
    #[command(flatten)]
    endpoint: crate::cli::EndpointArg,
}

pub fn run(args: &Args, env: &BTreeMap<String, String>, out: &mut Out<'_>) -> std::io::Result<Exit> {
    let deadline = Duration::from_millis(args.deadline_ms);
    let asked = block_on(async {
        let client = args.endpoint.connect(env, deadline).await?;
        client.is_healthy().await
    })?;
    match asked {
        Ok(true) => writeln!(out.text, "serving").map(|()| Exit::Ok),
        Ok(false) => writeln!(out.errors, "hydrant: not serving").map(|()| Exit::No),
        Err(error) => {
            writeln!(out.errors, "hydrant: {error}")?;
            // Container runtimes know only 0 and 1, and reserve the rest.
            Ok(Exit::No)
        }
    }
}
