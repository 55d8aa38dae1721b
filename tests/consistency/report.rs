//! What a run has shown, for people and as JSON.

use serde::Serialize;

use crate::ledger::{Sums, Verdict};
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

impl Report {
    pub fn violations(&self) -> u64 {
        self.sums.stale.get(&Verdict::Violation).map_or(0, |stale| stale.count)
    }

    /// Something was found that must not be.
    pub fn has_found(&self) -> bool {
        self.violations() > 0 || !self.quiet.is_well()
    }

    /// A run in which nothing happens keeps every promise.
    pub fn trouble(&self) -> Option<String> {
        let done = self.sums.invalidations.get("DONE").copied().unwrap_or_default();
        let little = self.sums.hits < LEAST_HITS || done < LEAST_DONE;
        self.trouble.clone().or_else(|| little.then(|| format!("only {} hits and {done} done", self.sums.hits)))
    }

    pub fn text(&self) -> String {
        let Self { fault, seconds, strikes, sums, quiet, .. } = self;
        let counts = |counts: &std::collections::BTreeMap<String, u64>| {
            counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
        };
        let mut lines = vec![
            format!("{fault}: {seconds} s, struck {strikes} times"),
            format!(
                "  reads           {} ({} hits, hit rate {:.1} %, {} errors), {} writes by applications",
                sums.reads,
                sums.hits,
                sums.hit_rate * 100.0,
                sums.read_errors,
                sums.app_writes
            ),
            format!(
                "  invalidations   {}; p50 {:.1} ms, p99 {:.1} ms",
                counts(&sums.invalidations),
                sums.invalidate_p50_ms,
                sums.invalidate_p99_ms
            ),
            format!("  pending         p50 {:.0} ms, longest {:.0} ms", sums.pending_p50_ms, sums.pending_longest_ms),
            format!("  fills           {}", counts(&sums.fills)),
        ];
        for (verdict, stale) in &sums.stale {
            let name = if *verdict == Verdict::Violation { "VIOLATIONS" } else { "outside P1" };
            lines.push(format!(
                "  {name}      {} reads, the oldest {} ms after it was acknowledged",
                stale.count, stale.oldest_ms
            ));
            lines.extend(stale.examples.iter().take(if *verdict == Verdict::Violation { 5 } else { 1 }).map(|one| {
                format!(
                    "    {} after {} ms, acked version {}, at {} ms: {}: {}",
                    one.key, one.age_ms, one.acked_version, one.at_ms, one.why, one.value
                )
            }));
        }
        if self.violations() == 0 {
            lines.push(format!("  violations      none in {} hits: below {:.1e} (95 %)", sums.hits, sums.bound));
        }
        lines.push(format!(
            "  at the end      {} values compared, {} wrong, {} outside, {} invalidations owed, {} intents, {} claims left",
            quiet.compared, quiet.wrong, quiet.outside, quiet.owed, quiet.intents, quiet.claims
        ));
        lines.extend(quiet.examples.iter().map(|example| format!("    {example}")));
        lines.extend(self.trouble().map(|trouble| format!("  NOTHING PROVEN  {trouble}")));
        lines.join("\n")
    }
}
