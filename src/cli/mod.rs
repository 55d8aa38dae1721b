//! The command line: one file per command. Nothing is decided here but which command runs, and how it ends.

mod acl;
pub mod check;
mod demo;
pub mod exit;
mod functions;
mod healthcheck;
mod invalidate;
mod job;
mod named;
mod prehydrate;
mod serve;
mod verify;
mod warm;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::cli::exit::Exit;
use crate::domain::secret::Secret;
use crate::domain::version::VERSION;
use crate::grpc::client::credentials::{ClientCertificate, Credentials};
use crate::grpc::client::{CallError, Client};

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
    Invalidate(Box<invalidate::Args>),
    Job(job::Args),
    Warm(warm::Args),
    Healthcheck(healthcheck::Args),
    Functions(functions::Args),
    Acl(acl::Args),
    Verify(verify::Args),
    /// Print completions for a shell: `source <(hydrant completions bash)`.
    Completions {
        shell: Shell,
    },
}

/// Where a running sidecar answers, and who asks.
#[derive(Clone, Debug, clap::Args)]
struct EndpointArg {
    /// `http://host:port` or `unix:/path` in the pod, `https://host:port` from elsewhere; HYDRANT_ENDPOINT if it is not
    /// given, else http://127.0.0.1:4770.
    #[arg(long)]
    endpoint: Option<String>,
    /// With https://: the authority to trust, as PEM; HYDRANT_CA if it is not given, else the system's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// With https://: the name in the server's certificate, where it is not the endpoint's.
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// With https://: a file with the JWT that says who calls; HYDRANT_TOKEN_FILE if it is not given.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// With https://: the certificate that says who calls, as PEM.
    #[arg(long, value_name = "FILE", requires = "key_file")]
    cert: Option<PathBuf>,
    /// The certificate's key, as PEM.
    #[arg(long = "cert-key", value_name = "FILE", requires = "cert")]
    key_file: Option<PathBuf>,
}

/// Which configuration file is meant.
#[derive(Debug, clap::Args)]
struct ConfigArg {
    /// The configuration; HYDRANT_CONFIG if it is not given, else hydrant.yaml.
    #[arg(long, short)]
    config: Option<PathBuf>,
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
        Err(message) if message.use_stderr() => write!(out.errors, "{message}").map(|()| Exit::Usage),
        Err(message) => write!(out.text, "{message}").map(|()| Exit::Ok),
    };
    // A closed pipe (`hydrant check | head`) is how some readers say "enough".
    done.unwrap_or(Exit::System)
}

fn dispatch(command: Command, env: &BTreeMap<String, String>, out: &mut Out<'_>) -> std::io::Result<Exit> {
    match command {
        Command::Serve(args) => serve::run(args, env, out),
        Command::Check(args) => check::run(&args, env, out),
        Command::Demo(args) => demo::run(&args, env, out),
        Command::Prehydrate(args) => prehydrate::run(args, env, out),
        Command::Invalidate(args) => invalidate::run(*args, env, out),
        Command::Job(args) => job::run(&args, env, out),
        Command::Warm(args) => warm::run(&args, env, out),
        Command::Healthcheck(args) => healthcheck::run(&args, env, out),
        Command::Functions(args) => functions::run(&args, env, out),
        Command::Acl(args) => acl::run(&args, env, out),
        Command::Verify(args) => verify::run(&args, env, out),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "hydrant", &mut out.text);
            Ok(Exit::Ok)
        }
    }
}

impl EndpointArg {
    fn resolve(&self, env: &BTreeMap<String, String>) -> String {
        let given = self.endpoint.as_ref().or_else(|| env.get("HYDRANT_ENDPOINT").filter(|e| !e.is_empty()));
        given.map_or_else(|| "http://127.0.0.1:4770".to_owned(), Clone::clone)
    }

    /// A connection to it, as whoever the files say.
    async fn connect(&self, env: &BTreeMap<String, String>, deadline: Duration) -> Result<Client, CallError> {
        Client::connect_as(&self.resolve(env), deadline, self.credentials(env)?).await
    }

    fn credentials(&self, env: &BTreeMap<String, String>) -> Result<Credentials, CallError> {
        let file = |given: &Option<PathBuf>, variable: &str| {
            let named = env.get(variable).filter(|path| !path.is_empty()).map(PathBuf::from);
            given.clone().or(named).map(|path| read(&path)).transpose()
        };
        let certificate = match (&self.cert, &self.key_file) {
            (Some(certificate), Some(key)) => {
                Some(ClientCertificate { certificate: read(certificate)?, key: Secret::new(read(key)?) })
            }
            (None | Some(_), None) | (None, Some(_)) => None,
        };
        Ok(Credentials {
            authority: file(&self.ca, "HYDRANT_CA")?,
            server_name: self.server_name.clone(),
            certificate,
            token: file(&self.token_file, "HYDRANT_TOKEN_FILE")?.map(Secret::new),
        })
    }
}

fn read(path: &Path) -> Result<String, CallError> {
    std::fs::read_to_string(path).map_err(|error| CallError::BadCredentials(format!("{}: {error}", path.display())))
}

impl ConfigArg {
    fn resolve(&self, env: &BTreeMap<String, String>) -> PathBuf {
        let named = env.get("HYDRANT_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
        self.config.clone().or(named).unwrap_or_else(|| PathBuf::from("hydrant.yaml"))
    }
}

/// A runtime of one thread, for commands that make a call.
fn block_on<T>(work: impl Future<Output = T>) -> std::io::Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_the_one_named_then_the_environments_then_the_one_here() {
        let env = BTreeMap::from([("HYDRANT_CONFIG".to_owned(), "b.yaml".to_owned())]);
        let file = |given: Option<&str>, env| ConfigArg { config: given.map(PathBuf::from) }.resolve(env);
        assert_eq!(file(Some("a.yaml"), &env), PathBuf::from("a.yaml"));
        assert_eq!(file(None, &env), PathBuf::from("b.yaml"));
        assert_eq!(file(None, &BTreeMap::new()), PathBuf::from("hydrant.yaml"));
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
