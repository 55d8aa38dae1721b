//! `hydrant serve`: the sidecar itself, from its configuration to its last signal.

use std::collections::BTreeMap;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::{App, Surroundings};
use crate::cli::exit::Exit;
use crate::cli::{ConfigArg, Out};
use crate::config;
use crate::domain::clock::Clock;
use crate::domain::random::Random;
use crate::grpc::server::Drained;
use crate::telemetry;

/// Run the sidecar.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
}

pub fn run(args: Args, env: &BTreeMap<String, String>, out: &mut Out<'_>) -> std::io::Result<Exit> {
    let file = args.config.resolve(env);
    let loaded = match config::load(&file, env) {
        Ok(loaded) => loaded,
        Err(problems) => {
            writeln!(out.errors, "{problems}")?;
            return Ok(Exit::Usage);
        }
    };
    let runtime = runtime(loaded.config.workers)?;
    let ended = runtime.block_on(async {
        let (signals, random) = (Signals::new()?, Random::from_os());
        let telemetry = Some(telemetry::init(&loaded.config.telemetry, env, random.clone())?);
        let around = Surroundings { file: Some(&file), env, telemetry, clock: Clock::System, random };
        let app = App::start(loaded, around).await?;
        Ok::<_, anyhow::Error>(serve(app, signals).await)
    });
    // What did not end within the drain is dropped here rather than waited for.
    runtime.shutdown_background();
    match ended {
        Ok(exit) => Ok(exit),
        Err(error) => {
            writeln!(out.errors, "hydrant: {error:#}")?;
            Ok(Exit::System)
        }
    }
}

/// One worker by default, on the thread we have: a sidecar shares its pod's processors with the app.
fn runtime(workers: usize) -> std::io::Result<Runtime> {
    match workers {
        0 | 1 => Builder::new_current_thread().enable_all().build(),
        more => Builder::new_multi_thread().worker_threads(more).enable_all().build(),
    }
}

async fn serve(mut app: App, mut signals: Signals) -> Exit {
    tokio::select! {
        biased;
        name = signals.next() => tracing::info!(signal = name.as_str(), "stopping"),
        ended = app.died() => {
            tracing::error!(task = ended.name, panicked = ended.panicked, "a task that must live has ended; leaving");
            app.drain().await;
            return Exit::Defect;
        }
    }
    tokio::select! {
        biased;
        name = signals.next() => {
            tracing::warn!(signal = name.as_str(), "a second signal: leaving at once");
            Exit::Cut(name.number())
        }
        drained = app.drain() => match drained {
            Drained::Whole => Exit::Ok,
            Drained::Cut => Exit::No,
        },
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

#[derive(Clone, Copy)]
enum Which {
    Interrupt,
    Terminate,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> Which {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => Which::Interrupt,
            _ = self.terminate.recv() => Which::Terminate,
        }
    }
}

impl Which {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Interrupt => 2,
            Self::Terminate => 15,
        }
    }
}
