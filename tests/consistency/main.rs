//! The consistency harness: a real Redis Cluster of three primaries and three replicas, three real sidecars, plain
//! readers, writers, and applications that write as well, while servers, sidecars, the source and the network fail. It
//! looks for one thing: a value older than what was acknowledged before it was asked for.
//!
//! `make consistency`, and docs/consistency.md. With a mutant it must find something: then finding nothing is the failure.

#![expect(clippy::print_stdout, reason = "it tells its result")]

mod apps;
mod args;
mod cluster;
mod faults;
mod fills;
mod invalidate;
mod ledger;
mod net;
mod node;
mod origin;
mod play;
mod quiet;
mod readers;
mod report;
mod run;
mod sidecar;
mod stage;
mod truth;
mod writers;

#[path = "../it/support"]
mod support {
    #![allow(dead_code, reason = "shared with the tests, which use more of it")]

    pub mod certificates;
    pub mod redis;
    pub mod wait;
}

use std::process::ExitCode;

use hydrant::domain::mutant::Mutant;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::args::Args;
use crate::net::{CLIENTS, NODES, Net, SIDECARS};
use crate::play::{Act, play};
use crate::report::{Report, Whole};
use crate::run::{Until, Way};
use crate::stage::Stage;

fn main() -> ExitCode {
    let args = match Args::read(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(problem) => {
            println!("consistency: {problem}");
            return ExitCode::from(64);
        }
    };
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let code = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).expect("a signal can be listened for");
        tokio::select! {
            biased;
            // So that servers and namespaces go with it.
            _ = tokio::signal::ctrl_c() => ExitCode::from(130),
            _ = terminate.recv() => ExitCode::from(143),
            code = all(args) => code,
        }
    });
    net::remove_own();
    code
}

async fn all(args: Args) -> ExitCode {
    let started = Instant::now();
    let net = args.loopback.clone().map_or_else(Net::make, Net::loopback);
    let network = match net.fallback() {
        None => format!("network namespaces ({NODES} servers, {SIDECARS} sidecars, {CLIENTS} clients)"),
        Some(why) => format!("plain loopback, without the faults that need a cut: no namespaces ({why})"),
    };
    println!("consistency: {network}; seed {}", args.seed);
    let has_namespaces = net.fallback().is_none();
    let mutant = args.mutant.map(Mutant::name);
    let stage = Stage::set(net, args.seed, mutant.as_deref()).await;
    let until = if mutant.is_some() { Until::SomethingIsFound } else { Until::TimeIsOver };
    let mut runs: Vec<Report> = Vec::new();
    for fault in &args.faults {
        if fault.needs_namespaces() && !has_namespaces {
            println!("{}: left out, it needs network namespaces", fault.name());
            continue;
        }
        let (way, seconds, seed) = (args.way, args.seconds, args.seed);
        let report = play(&stage, Act { fault: *fault, way, seconds, until, seed }).await;
        println!("{}", report.text());
        let enough = mutant.is_some() && report.has_found();
        runs.push(report);
        if enough {
            break;
        }
    }
    let info = stage.cluster.nodes[0].text(&["INFO", "server"]).await;
    let redis = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or_default().to_owned();
    drop(stage);
    let hits = runs.iter().map(|run| run.sums.hits).sum::<u64>();
    let whole = Whole {
        network,
        invalidate: if args.way == Way::App { "app" } else { "hydrant" },
        mutant,
        seed: args.seed,
        redis,
        hydrant: env!("CARGO_PKG_VERSION"),
        hits,
        violations: runs.iter().map(Report::violations).sum(),
        bound: 3.0 / hits.max(1) as f64,
        runs,
        seconds: started.elapsed().as_secs(),
    };
    let json = serde_json::to_string_pretty(&whole).expect("plain data");
    std::fs::write(&args.json, json).expect("the file for the report can be written");
    conclude(&whole, &args)
}

fn conclude(whole: &Whole, args: &Args) -> ExitCode {
    let found = whole.runs.iter().any(Report::has_found);
    let trouble = whole.runs.is_empty() || whole.runs.iter().any(|run| run.trouble().is_some());
    let (well, verdict) = match (&whole.mutant, found) {
        (Some(mutant), true) => (true, format!("{mutant} was caught")),
        (Some(mutant), false) => (false, format!("{mutant} was NOT caught")),
        (None, true) => (false, "a promise was BROKEN".to_owned()),
        (None, false) if trouble => (false, "nothing was proven".to_owned()),
        (None, false) => {
            (true, format!("no promise was broken in {} hits: below {:.1e} (95 %)", whole.hits, whole.bound))
        }
    };
    println!("consistency: {verdict}; {} s; {}", whole.seconds, args.json.display());
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
