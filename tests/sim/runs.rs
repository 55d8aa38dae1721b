//! The runs: a thousand seeds that must end well, defects that must be found, and one seed again and again.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::world::{Counts, Report, Scenario, run};
use crate::{defects, faults};

const FILLS: Scenario = Scenario { name: "fills", faults: faults::MILD, dress: defects::none };

#[test]
fn what_was_removed_does_not_come_back() {
    hold(FILLS, 300);
}

#[test]
fn a_claim_that_is_taken_too_late_is_found() {
    find(Scenario { dress: defects::late_claims, ..FILLS }, 50);
}

#[test]
fn a_removal_that_waits_for_no_replica_is_undone_by_a_failover() {
    find(Scenario { faults: faults::FAILOVERS, ..FILLS }, 50);
}

#[test]
fn a_restart_from_disk_brings_old_values_back() {
    find(Scenario { faults: faults::RESTARTS, ..FILLS }, 50);
}

#[test]
fn one_seed_gives_one_run() {
    for seed in [1, 2, 3] {
        let (first, second) = (run(seed, FILLS), run(seed, FILLS));
        let differs = first.log.iter().zip(&second.log).find(|(first, second)| first != second);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.log.len(), second.log.len(), "seed {seed}");
    }
}

/// Every seed must end well.
fn hold(scenario: Scenario, seeds: u64) {
    let mut counts = Counts::default();
    if let Some(failed) = search(scenario, seeds, |counted| {
        counts.commands += counted.commands;
        counts.filled += counted.filled;
        counts.acknowledged += counted.acknowledged;
        counts.seen += counted.seen;
    }) {
        let Report { seed, problems, story, .. } = failed;
        panic!("{}: seed {seed}\n{story}\n{}\nSEED={seed} repeats it", scenario.name, problems.join("\n"));
    }
    assert!(counts.filled > seeds && counts.acknowledged > seeds, "hardly anything happened: {counts:?}");
    tell(&format!("{}: {seeds} seeds, {counts:?}", scenario.name));
}

/// One of the seeds must break the promise.
fn find(scenario: Scenario, seeds: u64) {
    let failed =
        search(scenario, seeds, |_| {}).unwrap_or_else(|| panic!("{}: not found in {seeds} seeds", scenario.name));
    tell(&format!("{}: found by seed {}: {}", scenario.name, failed.seed, failed.problems[0]));
}

#[expect(clippy::print_stderr, reason = "the figures are what a test run with `--nocapture` is for")]
fn tell(what: &str) {
    eprintln!("{what}");
}

/// Runs the seeds on two threads; answers the lowest seed that fails.
fn search(scenario: Scenario, seeds: u64, mut count: impl FnMut(Counts) + Send) -> Option<Report> {
    let (next, lowest) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
    let results = std::sync::Mutex::new((None::<Report>, &mut count));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds || seed > lowest.load(Ordering::Relaxed) {
                        return;
                    }
                    let report = run(seed, scenario);
                    let mut results = results.lock().expect("unpoisoned");
                    (results.1)(report.counts);
                    if !report.problems.is_empty() && lowest.fetch_min(seed, Ordering::Relaxed) > seed {
                        results.0 = Some(report);
                    }
                }
            });
        }
    });
    results.into_inner().expect("unpoisoned").0
}
