//! The command line: one file per command. Nothing is decided here but which command runs, and how it ends.

pub mod exit;
mod serve;
mod check;
mod demo;
mod prehydrate;
mod healthcheck;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::future::Future;
use std::io::Write;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::cli::exit::Exit;

/// With the commit, since "which version runs here?" is asked about builds, not releases.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("HYDRANT_COMMIT"), ")");

/// Keeps a shared Redis warm and true while applications go on reading it directly.
#[derive(Debug, Parser)]
#[command(name = "hydrant", version = VERSION, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Check(check::Args),
    Demo(demo::Args),
    Prehydrate(prehydrate::Args),
    Healthcheck(healthcheck::Args),
    /// Print completions for a shell: `source <(hydrant completions bash)`.
    Completions { shell: Shell },
}

/// Where a running sidecar answers.
#[derive(Debug, clap::Args)]
struct EndpointArg {
    /// `http://host:port` or `unix:/path`.
    #[arg(long, env = "HYDRANT_ENDPOINT", default_value = "http://127.0.0.1:4770")]
    endpoint: String,
}

/// Where a command writes.
pub struct Out<'a> {
    pub text: &'a mut dyn Write,
    pub errors: &'a mut dyn Write,
}

/// Runs one command line. The environment is an argument, so that a test can hand in its own.
pub fn run(args: impl IntoIterator<Item = OsString>, env: &BTreeMap<String, String>, out: &mut Out<'_>) -> Exit {
    let done = match Cli::try_parse_from(args) {
        Ok(cli) => dispatch(cli.command, env, out),
        // Help and version are answers, not errors, and clap says which.
        Err(message) if message.use_stderr() => write!(out.errors, "{}", message.render().ansi()).map(|()| Exit::Usage),
        Err(message) => write!(out.text, "{}", message.render().ansi()).map(|()| Exit::Ok),
    };
    // A closed pipe (`hydrant check | head`) is how some readers say "enough".
    done.unwrap_or(Exit::System)
}

fn dispatch(command: Command, env: &BTreeMap<String, String>, out: &mut Out<'_>) -> std::io::Result<Exit> {
    match command {
        Command::Serve(args) => serve::run(&args, env, out),
        Command::Check(args) => check::run(&args, env, out),
        Command::Demo(args) => demo::run(&args, env, out),
        Command::Prehydrate(args) => prehydrate::run(args, out),
        Command::Healthcheck(args) => healthcheck::run(&args, out),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "hydrant", &mut out.text);
            Ok(Exit::Ok)
        }
    }
}

/// A runtime of one thread, for commands that make a call.
fn block_on<T>(work: impl Future<Output = T>) -> std::io::Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work))
}
