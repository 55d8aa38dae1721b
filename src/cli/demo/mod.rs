//! `hydrant demo`: the whole login story in some seconds, with nothing to install.
//!
//! Real parts: the sidecar itself, built as `serve` builds it, a login through gRPC, backends over HTTP. The store is a
//! Redis of its own where `redis-server` is on the PATH, else the memory store.

mod backends;
mod chart;
mod redis;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::time::Instant;

use crate::app::{App, Surroundings};
use crate::cli::demo::backends::BACKENDS;
use crate::cli::demo::chart::{From, Load, Page, Story, ms};
use crate::cli::demo::redis::Redis;
use crate::cli::exit::Exit;
use crate::cli::{Out, block_on};
use crate::config;
use crate::domain::budget::Budget;
use crate::domain::clock::Clock;
use crate::domain::entity::Member;
use crate::domain::random::Random;
use crate::domain::secret::Secret;
use crate::domain::source::FetchAsk;
use crate::domain::trace::TraceContext;
use crate::fill::settings::Settings;
use crate::grpc::client::{Ask, Client, Mode, Stated, Who};
use crate::tasks::Tasks;

const CONFIG: &str = include_str!("demo.yaml");

/// Show what Hydrant does for a login, on this machine, in a few seconds.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Answer as JSON.
    #[arg(long)]
    json: bool,
    /// Use the memory store even where redis-server is installed.
    #[arg(long)]
    memory: bool,
    /// Only print the configuration that the demo runs with.
    #[arg(long)]
    print_config: bool,
}

pub fn run(args: &Args, env: &BTreeMap<String, String>, out: &mut Out<'_>) -> std::io::Result<Exit> {
    if args.print_config {
        return write!(out.text, "{CONFIG}").map(|()| Exit::Ok);
    }
    match block_on(tell(args, env))? {
        Ok(story) => {
            let text = if args.json { serde_json::to_string_pretty(&story)? + "\n" } else { story.table() };
            write!(out.text, "{text}").map(|()| Exit::Ok)
        }
        Err(error) => writeln!(out.errors, "hydrant: the demo failed: {error:#}").map(|()| Exit::Defect),
    }
}

async fn tell(args: &Args, env: &BTreeMap<String, String>) -> anyhow::Result<Story> {
    let (tasks, _deaths) = Tasks::new();
    let backends = backends::start(&tasks).await.context("starting the backends")?;
    let path = env.get("PATH").map(String::as_str).unwrap_or_default();
    let redis = match redis::find(path).filter(|_| !args.memory) {
        Some(binary) => Some(Redis::start(&binary).await.context("starting redis-server")?),
        None => None,
    };
    let (store, told) = match &redis {
        Some(redis) => (
            format!("redis: {{ mode: standalone, nodes: [\"redis://{}\"] }}", redis.address),
            "redis-server of this machine",
        ),
        None if args.memory => ("store: memory".to_owned(), "memory, as asked"),
        None => ("store: memory".to_owned(), "memory (no redis-server on the PATH)"),
    };
    // Only what the demo sets counts: variables of the newcomer's shell must not change the story.
    let env = BTreeMap::from([("DEMO_BACKENDS".to_owned(), backends.to_string())]);
    let loaded = config::load_text(&format!("{CONFIG}{store}\n"), Path::new("demo.yaml"), &env)
        .map_err(|problems| anyhow::anyhow!("{problems}"))?;
    let around =
        Surroundings { file: None, env: &env, telemetry: None, clock: Clock::System, random: Random::from_os() };
    let app = App::start(loaded, around).await?;
    let client = Client::connect(&format!("http://{}", app.api()), Duration::from_secs(5)).await?;

    let without = first_page(&app, "ada").await?;
    let (accepted, warm) = log_in(&client, "grace").await?;
    let with = first_page(&app, "grace").await?;
    app.drain().await;
    tasks.drain(Duration::from_secs(1)).await;
    Ok(Story { store: told.to_owned(), accepted_ms: ms(accepted), warm_after_ms: ms(warm), without, with })
}

/// Logs in as an app would: says who, does not wait. The second call joins the plan and so learns when it is done.
async fn log_in(client: &Client, user: &str) -> anyhow::Result<(Duration, Duration)> {
    let stated = Stated { user: user.to_owned(), session: Some(session_of(user)), ..Stated::default() };
    let ask = |mode| Ask { mode, ..Ask::new(Who::Stated(stated.clone())) };
    let started = Instant::now();
    client.prehydrate(ask(Mode::Accepted)).await?;
    let accepted = started.elapsed();
    client.prehydrate(ask(Mode::Completed)).await?;
    Ok((accepted, started.elapsed() - accepted))
}

/// What the app does after a login: reads each key, and asks the backend for what is not there.
async fn first_page(app: &App, user: &str) -> anyhow::Result<Page> {
    let settings = app.settings();
    let started = Instant::now();
    let mut resources = Vec::new();
    for backend in &BACKENDS {
        let member = settings.catalog.member(backend.name, [("user", user)].into_iter().collect())?;
        let began = Instant::now();
        let cached = app.store().read(std::slice::from_ref(&member.key)).await?.remove(0);
        let from = match cached {
            Some(_) => From::Cache,
            None => ask_backend(&settings, &member, user).await,
        };
        resources.push(Load { name: backend.name, from, ms: ms(began.elapsed()) });
    }
    Ok(Page { total_ms: ms(started.elapsed()), resources })
}

async fn ask_backend(settings: &Arc<Settings>, member: &Member, user: &str) -> From {
    let Some(source) = member.entity.load().and_then(|load| settings.sources.get(&load.source)) else {
        return From::Failed;
    };
    let (session, meter) = (session_of(user), Budget::new(64 * 1024).meter());
    let fetched = source.fetch(FetchAsk {
        member,
        session: Some(&session),
        trace: TraceContext::start(&Random::from_os()),
        deadline: Instant::now() + Duration::from_secs(3),
        max_bytes: 64 * 1024,
        meter: &meter,
    });
    if fetched.await.is_ok() { From::Backend } else { From::Failed }
}

fn session_of(user: &str) -> Secret {
    Secret::new(format!("session-of-{user}"))
}
