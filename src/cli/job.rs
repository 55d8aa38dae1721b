//! `hydrant job`: how a job stands, or all its states until the last.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use crate::cli::exit::Exit;
use crate::cli::{EndpointArg, Out, block_on};
use crate::grpc::client::invalidate::Counts;
use crate::grpc::client::job::{Job, Progress, Sweep};
use crate::grpc::client::{CallError, Client};

/// Show what became of a pending invalidation, a sweep or a warm-up.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The id that the answer named.
    id: String,
    /// Follow it to its end: a line for every change.
    #[arg(long)]
    watch: bool,
    /// Give up after this many milliseconds; following a job takes as long as the job.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    deadline_ms: u64,
    /// Answer as JSON, one document for each state.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoint: EndpointArg,
}

pub fn run(args: &Args, env: &BTreeMap<String, String>, out: &mut Out<'_>) -> io::Result<Exit> {
    let (endpoint, deadline) = (args.endpoint.resolve(env), Duration::from_millis(args.deadline_ms));
    let mut tell = |job: &Job| {
        let text = if args.json { serde_json::to_string(job)? } else { line(job) };
        writeln!(out.text, "{text}")
    };
    let last = block_on(async {
        let client = args.endpoint.connect(env, deadline).await?;
        if args.watch {
            return follow(&client, &args.id, tell).await;
        }
        let job = client.get_job(&args.id).await?;
        // A closed pipe shows again at the exit.
        let _ = tell(&job);
        Ok::<_, CallError>(Some(job))
    })?;
    match last {
        Ok(Some(job)) => Ok(Exit::of_job(&job)),
        Ok(None) => {
            writeln!(out.errors, "hydrant: {endpoint} stopped before the job did; ask again")?;
            Ok(Exit::Unreachable)
        }
        Err(error) => {
            writeln!(out.errors, "hydrant: {error}")?;
            Ok(Exit::of_error(&error))
        }
    }
}

/// Tells every state of a job; answers the final one, or none where the sidecar stopped first.
pub async fn follow(
    client: &Client,
    id: &str,
    mut tell: impl FnMut(&Job) -> io::Result<()>,
) -> Result<Option<Job>, CallError> {
    let mut watch = client.watch_job(id).await?;
    while let Some(job) = watch.next().await? {
        // Nobody reads any more; the job goes on, and its end is still what the exit code tells.
        let _ = tell(&job);
        if job.is_final() {
            return Ok(Some(job));
        }
    }
    Ok(None)
}

/// One state in one line.
pub fn line(job: &Job) -> String {
    let mut text = format!("{} {}", job.kind, job.state);
    if let Some(Sweep { pass, scanned, nodes_done, nodes_total, .. }) = &job.sweep {
        text.push_str(&format!(", pass {pass}, {nodes_done} of {nodes_total} nodes, {scanned} keys looked at"));
    }
    if let Some(Progress { done, total, failed: _, per_second }) = job.progress {
        let total = if total == 0 { String::new() } else { format!(" of {total}") };
        text.push_str(&format!(", {done}{total} done, {per_second:.0}/s"));
    }
    if let Some(counts) = &job.counts {
        text.push_str(&format!(", {}", counted(counts)));
    }
    if let Some(cause) = job.cause.as_ref().filter(|_| !job.is_final()) {
        text.push_str(&format!(", {cause}"));
    }
    if job.attempts > 1 {
        text.push_str(&format!(", attempt {}", job.attempts));
    }
    for (what, said) in [("held by ", &job.holder), ("", &job.message)] {
        if !said.is_empty() {
            text.push_str(&format!(", {what}{said}"));
        }
    }
    text
}

/// What was concerned, in words; what did not happen is left out.
pub fn counted(counts: &Counts) -> String {
    let Counts { matched, removed, refreshing, replaced, superseded, fenced } = *counts;
    let rest = [
        (refreshing, "to be loaded again"),
        (replaced, "replaced"),
        (superseded, "superseded"),
        (fenced, "fills refused"),
    ];
    let rest = rest.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!(", {count} {what}"));
    std::iter::once(format!("{matched} matched, {removed} removed")).chain(rest).collect()
}
