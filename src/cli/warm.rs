//! `hydrant warm`: runs plans now; a line for each step, and between them, on a terminal, a bar that moves.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use crate::cli::exit::Exit;
use crate::cli::{EndpointArg, Out, block_on};
use crate::grpc::client::CallError;
use crate::grpc::client::warm::{AskWarmUp, Event, StepEnd, What};

/// Run warm-up plans now, and show how they go.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Plans by name; none are all.
    plans: Vec<String>,
    /// Wait up to so many seconds for a plan that another sidecar is running; 0: skip it.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=600))]
    wait: u32,
    /// Only show what each step would warm.
    #[arg(long)]
    dry_run: bool,
    /// Why, for logs and jobs.
    #[arg(long, default_value_t)]
    reason: String,
    /// Answer as JSON, one document for each event.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoint: EndpointArg,
}

/// To connect; the plans take as long as they take.
const CONNECT: Duration = Duration::from_secs(5);
/// Cells of a bar.
const WIDTH: u64 = 24;

pub fn run(args: &Args, env: &BTreeMap<String, String>, out: &mut Out<'_>) -> io::Result<Exit> {
    let ask = AskWarmUp {
        plans: args.plans.clone(),
        wait_seconds: (args.wait > 0).then_some(args.wait),
        dry_run: args.dry_run,
        reason: args.reason.clone(),
    };
    // What is redirected is read by a machine, or later.
    let bar = if io::stdout().is_terminal() && !args.json { Bar::Moving } else { Bar::Off };
    let mut seen = Vec::new();
    let told = block_on(async {
        let client = args.endpoint.connect(env, CONNECT).await?;
        let mut events = client.warm_up(ask).await?;
        while let Some(event) = events.next().await? {
            // A closed pipe: the plans go on, and their end is still what the exit code tells.
            let _ = match args.json {
                true => {
                    serde_json::to_string(&event).map_err(io::Error::from).and_then(|text| writeln!(out.text, "{text}"))
                }
                false => show(out.text, &event, bar),
            };
            seen.extend(result(&event.what));
        }
        Ok::<(), CallError>(())
    })?;
    match told {
        Ok(()) => Ok(exit(&seen)),
        Err(error) => {
            writeln!(out.errors, "hydrant: {error}")?;
            Ok(Exit::of_error(&error))
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bar {
    Moving,
    Off,
}

/// How one plan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Well,
    Partly,
    No,
    Skipped,
}

fn result(what: &What) -> Option<End> {
    match what {
        What::Finished { result, .. } => Some(match result.as_str() {
            "SUCCESS" => End::Well,
            "PARTIAL" => End::Partly,
            _ => End::No,
        }),
        What::Skipped { .. } => Some(End::Skipped),
        What::Started { .. }
        | What::StepStarted { .. }
        | What::Progress { .. }
        | What::StepFinished(_)
        | What::StepPlanned { .. }
        | What::Unknown => None,
    }
}

/// All well, none at all, or something between. A plan that another runs is busy, not failed.
fn exit(ends: &[End]) -> Exit {
    let all = |end: End| !ends.is_empty() && ends.iter().all(|other| *other == end);
    match () {
        () if all(End::Well) => Exit::Ok,
        () if all(End::Skipped) => Exit::Busy,
        () if ends.iter().all(|end| matches!(end, End::No | End::Skipped)) => Exit::No,
        () => Exit::Partial,
    }
}

fn show(text: &mut dyn Write, event: &Event, bar: Bar) -> io::Result<()> {
    if let What::Progress { step, done, total, failed, per_second, .. } = &event.what {
        if bar == Bar::Moving {
            write!(text, "\r\x1b[2K  {step:<20} {} {per_second:.0}/s{}", filled(*done, *total), failures(*failed))?;
            return text.flush();
        }
        return Ok(());
    }
    if bar == Bar::Moving {
        write!(text, "\r\x1b[2K")?;
    }
    match line(&event.plan, &event.what) {
        Some(line) => writeln!(text, "{line}"),
        None => Ok(()),
    }
}

/// `[########................] 4096 of 12000`
fn filled(done: u64, total: u64) -> String {
    if total == 0 {
        return format!("{done}");
    }
    let cells = (done.min(total) * WIDTH / total) as usize;
    format!("[{}{}] {done} of {total}", "#".repeat(cells), ".".repeat(WIDTH as usize - cells))
}

fn failures(failed: u64) -> String {
    if failed == 0 { String::new() } else { format!(", {failed} failed") }
}

fn line(plan: &str, what: &What) -> Option<String> {
    let said = |message: &str| if message.is_empty() { String::new() } else { format!(": {message}") };
    Some(match what {
        What::Started { trace_id, fence, resumed, .. } => {
            let resumed = if *resumed { ", goes on where an earlier run was cut off" } else { "" };
            format!("{plan}: begins, trace {trace_id}, fence {fence}{resumed}")
        }
        What::Skipped { reason, holder, holder_trace_id, until } => {
            let pod = if holder.is_empty() { String::new() } else { format!(" by {holder}") };
            let held = match (holder_trace_id.as_str(), until) {
                ("", _) => String::new(),
                (trace, Some(until)) => format!(": held{pod} until {until}, trace {trace}"),
                (trace, None) => format!(": held{pod}, trace {trace}"),
            };
            format!("{plan}: skipped, {reason}{held}")
        }
        What::StepFinished(StepEnd { step, result, attempts, keys_warmed, failed, fresh, elapsed_ms, message }) => {
            let tries = if *attempts > 1 { format!(", {attempts} tries") } else { String::new() };
            let failed = failures(*failed);
            let seconds = elapsed_ms / 1e3;
            format!(
                "  {step:<20} {result}, {keys_warmed} warmed, {fresh} fresh{failed}, {seconds:.1}s{tries}{}",
                said(message)
            )
        }
        What::Finished { result, keys_warmed, failed, elapsed_ms, lease_lost, message } => {
            let lost = if *lease_lost { ", its lease was lost" } else { "" };
            let (failed, seconds) = (failures(*failed), elapsed_ms / 1e3);
            format!("{plan}: {result}, {keys_warmed} warmed{failed}, {seconds:.1}s{lost}{}", said(message))
        }
        What::StepPlanned { step, entity, origin, total, sample_keys } => {
            let total = if *total == 0 { String::new() } else { format!(", {total}") };
            let what = if entity.is_empty() { String::new() } else { format!(" {entity} by") };
            let keys = if sample_keys.is_empty() { String::new() } else { format!(": {}", sample_keys.join(" ")) };
            format!("  {step:<20}{what} {origin}{total}{keys}")
        }
        What::StepStarted { .. } | What::Progress { .. } | What::Unknown => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_tells_how_the_plans_ended() {
        use End::{No, Partly, Skipped, Well};
        let cases: [(&[End], Exit); 7] = [
            (&[Well, Well], Exit::Ok),
            (&[Well, Partly], Exit::Partial),
            (&[Well, No], Exit::Partial),
            (&[No], Exit::No),
            (&[Skipped, Skipped], Exit::Busy),
            (&[Skipped, Well], Exit::Partial),
            (&[], Exit::No),
        ];
        for (ends, code) in cases {
            assert_eq!(exit(ends), code, "{ends:?}");
        }
    }

    #[test]
    fn a_bar_fills_up() {
        assert_eq!(filled(0, 8), format!("[{}] 0 of 8", ".".repeat(24)));
        assert_eq!(filled(2, 8), format!("[{}{}] 2 of 8", "#".repeat(6), ".".repeat(18)));
        assert_eq!(filled(9, 8), format!("[{}] 9 of 8", "#".repeat(24)));
        assert_eq!(filled(9, 0), "9");
    }
}
