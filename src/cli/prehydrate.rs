//! `hydrant prehydrate`: one call to a running sidecar, its answer as a table or as JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cli::exit::Exit;
use crate::cli::named::{self, Named, pair};
use crate::cli::{Out, block_on};
use crate::domain::secret::Secret;
use crate::grpc::client::{Answer, Ask, AskMember, CallError, Line, Mode, Stated, Who};

/// Fill for one user: what is always filled at a login, and the members named here.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The user's id.
    #[arg(long)]
    user: Option<String>,
    /// The value of the user's cookie, for a sidecar that reads it, in place of --user; HYDRANT_COOKIE if neither is
    /// given, which keeps it out of the shell's history.
    #[arg(long, conflicts_with_all = ["user", "session", "tenant", "attributes"])]
    cookie: Option<String>,
    /// The user's session token, for backends that ask for it; HYDRANT_SESSION if it is not given, which keeps it out
    /// of the shell's history.
    #[arg(long, requires = "user")]
    session: Option<String>,
    #[arg(long, requires = "user")]
    tenant: Option<String>,
    /// A further fact of the user: `role=admin`.
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = pair, requires = "user")]
    attributes: Vec<(String, String)>,
    /// A member to fill: `user`, `user:id=123`, `oauth:userId=7,provider=google`. May be given often.
    #[arg(long = "member", value_name = "ENTITY[:PARAM=VALUE,…]", value_parser = member)]
    members: Vec<AskMember>,
    /// Answer only when everything is settled.
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    /// Fetch again what is fresh.
    #[arg(long)]
    refresh: bool,
    /// Show what would be filled, and fill nothing.
    #[arg(long)]
    dry_run: bool,
    /// Give up after this many milliseconds.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    deadline_ms: u64,
    /// Answer as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoint: crate::cli::EndpointArg,
}

pub fn run(args: Args, env: &BTreeMap<String, String>, out: &mut Out<'_>) -> std::io::Result<Exit> {
    let json = args.json;
    let Some(who) = args.who(env) else {
        writeln!(out.errors, "hydrant: say whose login it is: --user, or --cookie")?;
        return Ok(Exit::Usage);
    };
    match block_on(call(args, who, env))? {
        Ok(answer) => {
            let text = if json { serde_json::to_string_pretty(&answer)? } else { table(&answer) };
            writeln!(out.text, "{text}")?;
            Ok(Exit::of_answer(&answer))
        }
        Err(error) => {
            writeln!(out.errors, "hydrant: {error}")?;
            Ok(Exit::of_error(&error))
        }
    }
}

async fn call(args: Args, who: Who, env: &BTreeMap<String, String>) -> Result<Answer, CallError> {
    let client = args.endpoint.connect(env, Duration::from_millis(args.deadline_ms)).await?;
    let mode = match (args.wait, args.dry_run) {
        (_, true) => Mode::DryRun,
        (true, false) => Mode::Completed,
        (false, false) => Mode::Accepted,
    };
    client.prehydrate(Ask { who, members: args.members, mode, refresh: args.refresh }).await
}

impl Args {
    /// What the command line says counts before the environment.
    fn who(&self, env: &BTreeMap<String, String>) -> Option<Who> {
        let variable = |name: &str| env.get(name).filter(|text| !text.is_empty()).cloned();
        let Some(user) = self.user.clone() else {
            let cookie = self.cookie.clone().or_else(|| variable("HYDRANT_COOKIE"));
            return cookie.map(Secret::new).map(Who::CookieValue);
        };
        Some(Who::Stated(Stated {
            user,
            session: self.session.clone().or_else(|| variable("HYDRANT_SESSION")).map(Secret::new),
            tenant: self.tenant.clone(),
            attributes: self.attributes.iter().cloned().collect(),
        }))
    }
}

fn table(answer: &Answer) -> String {
    let mut text = format!("{} in {:.1} ms, trace {}", answer.status, answer.elapsed_ms, answer.trace_id);
    if let Some(retry) = answer.retry_after_ms {
        text.push_str(&format!(", try again in {retry:.0} ms"));
    }
    // What follows from another's answer has no key yet.
    let called = |r: &Line| if r.key.is_empty() { format!("({})", r.entity) } else { r.key.clone() };
    let widest = answer.resources.iter().map(|r| called(r).chars().count()).max().unwrap_or(0);
    for r in &answer.resources {
        let line = format!(
            "\n  {:<widest$}  {:<9} {:>8.1} ms {:>8} B  {:<12} {}",
            called(r),
            r.outcome,
            r.elapsed_ms,
            r.bytes,
            r.source,
            r.reason
        );
        text.push_str(line.trim_end());
    }
    text
}

fn member(text: &str) -> Result<AskMember, String> {
    named::named(text).map(|Named { name, params }| AskMember { entity: name, params })
}
