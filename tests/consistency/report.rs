//! What a run has shown, for people and as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::ledger::{Example, Sums, Verdict};
use crate::quiet::Quiet;

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub fault: String,
    pub seconds: u64,
    pub strikes: u32,
    pub sums: Sums,
    pub quiet: Quiet,
    /// Why the run itself is worth nothing: a cluster that did not become well, too little done.
    pub trouble: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct Whole {
    pub network: String,
    pub invalidate: &'static str,
    pub mutant: Option<String>,
    pub seed: u64,
    pub redis: String,
    pub hydrant: &'static str,
    pub runs: Vec<Report>,
    pub hits: u64,
    pub violations: u64,
    pub bound: f64,
    pub seconds: u64,
}

/// Fewer say nothing.
const LEAST_HITS: u64 = 500;
const LEAST_DONE: u64 = 20;
/// Of each violation's kind; the JSON has as many.
const EXAMPLES: usize = 5;

impl Report {
    pub fn violations(&self) -> u64 {
        let broken = self.sums.stale.values().filter(|stale| stale.verdict == Verdict::Violation);
        broken.map(|stale| stale.count).sum()
    }

    /// Something was found that must not be.
    pub fn has_found(&self) -> bool {
        self.violations() > 0 || self.sums.unfinished > 0 || !self.quiet.is_well()
    }

    /// A run in which nothing happens keeps every promise.
    pub fn trouble(&self) -> Option<String> {
        let done = self.sums.invalidations.get("DONE").copied().unwrap_or_default();
        let little = self.sums.hits < LEAST_HITS || done < LEAST_DONE;
        self.trouble.clone().or_else(|| little.then(|| format!("only {} hits and {done} done", self.sums.hits)))
    }

    pub fn text(&self) -> String {
        let Self { fault, seconds, strikes, sums, quiet, .. } = self;
        let mut lines = vec![
            format!("{fault}: {seconds} s, struck {strikes} times"),
            format!(
                "  reads           {}: {} hits, {:.1} %; {} errors; {} writes by applications",
                sums.reads,
                sums.hits,
                sums.hit_rate * 100.0,
                sums.read_errors,
                sums.app_writes
            ),
            format!("  invalidations   {}", listed(&sums.invalidations)),
            format!("                  p50 {:.1} ms, p99 {:.1} ms", sums.invalidate_p50_ms, sums.invalidate_p99_ms),
            format!(
                "  jobs            p50 {:.0} ms, longest {:.0} ms; {} not finished",
                sums.pending_p50_ms, sums.pending_longest_ms, sums.unfinished
            ),
            format!("  fills           {}", listed(&sums.fills)),
        ];
        for (why, stale) in &sums.stale {
            let (name, shown) = match stale.verdict {
                Verdict::Violation => ("VIOLATIONS", EXAMPLES),
                Verdict::Open => ("left open ", 1),
            };
            lines.push(format!("  {name}      {} reads, up to {} ms: {why}", stale.count, stale.oldest_ms));
            lines.extend(stale.examples.iter().take(shown).map(|one| {
                let Example { key, value, acked_version, age_ms, at_ms } = one;
                format!("    {key} at {at_ms} ms, version {acked_version} acknowledged {age_ms} ms before: {value}")
            }));
        }
        if self.violations() == 0 {
            lines.push(format!("  violations      none in {} hits: below {:.1e} (95 %)", sums.hits, sums.bound));
        }
        lines.push(format!(
            "  at the end      {} values compared, {} wrong, {} left open; {} owed, {} intents, {} claims",
            quiet.compared, quiet.wrong, quiet.outside, quiet.owed, quiet.intents, quiet.claims
        ));
        lines.extend(quiet.examples.iter().map(|example| format!("    {example}")));
        lines.extend(self.trouble().map(|trouble| format!("  NOTHING PROVEN  {trouble}")));
        lines.join("\n")
    }
}

fn listed(counts: &BTreeMap<String, u64>) -> String {
    counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}
