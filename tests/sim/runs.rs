//! The runs: a thousand seeds that must end well, defects that must be found, and one seed again and again.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::world::{Counts, LIFE, Removes, Report, Scenario, run};
use crate::{defects, faults};

pub const FILLS: Scenario =
    Scenario { name: "fills", faults: faults::MILD, dress: defects::none, removes: Removes::Plainly, life: LIFE };
/// A value that is filled last is still there when a run has ended.
pub const LONG: Duration = Duration::from_secs(120);

const FAILOVERS: Scenario =
    Scenario { name: "failovers", faults: faults::FAILOVERS, removes: Removes::Confirmed, ..FILLS };

pub const RESTARTS: Scenario =
    Scenario { name: "restart", faults: faults::RESTARTS, removes: Removes::Plainly, ..FILLS };
const SWEEPS: Scenario = Scenario { name: "sweeps", removes: Removes::ByFlow, life: LONG, ..RESTARTS };
pub const FLOW: Scenario = Scenario { name: "flow", faults: faults::ALL, removes: Removes::ByFlow, ..FILLS };

#[test]
fn what_was_invalidated_stays_so_whatever_happens_by_the_flow() {
    hold(FLOW, 300);
}

#[test]
fn what_was_removed_does_not_come_back() {
    hold(FILLS, 300);
}

#[test]
fn what_replicas_have_confirmed_survives_failovers() {
    hold(FAILOVERS, 250);
}

#[test]
fn no_fill_brings_back_what_a_restart_from_disk_has_not() {
    hold(RESTARTS, 100);
}

#[test]
fn what_a_restart_from_disk_has_brought_back_is_swept_away() {
    hold(SWEEPS, 50);
}

#[test]
fn a_claim_that_is_taken_too_late_is_found() {
    find(Scenario { dress: defects::late_claims, ..FILLS }, 50);
}

#[test]
fn a_removal_that_waits_for_no_replica_is_undone_by_a_failover() {
    find(Scenario { removes: Removes::Plainly, ..FAILOVERS }, 50);
}

#[test]
fn what_a_restart_from_disk_has_brought_back_stays_without_a_sweep() {
    find(Scenario { removes: Removes::Plainly, ..SWEEPS }, 50);
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

/// Shown of one run: what follows from the first is of little interest.
const PROBLEMS: usize = 5;

/// Every seed must end well; or the one that `SEED` names, which is then told in full.
fn hold(scenario: Scenario, seeds: u64) {
    let wanted = wanted();
    let mut counts = Counts::default();
    let failed = search(
        scenario,
        wanted.map_or(0..seeds, |seed| seed..seed + 1),
        |report| !report.problems.is_empty(),
        |report| {
            counts.add(report.counts);
            if wanted.is_some() {
                report.log.iter().for_each(|(at, what)| tell(&format!("{at:>7} ms  {what}")));
            }
        },
    );
    if let Some(Report { seed, problems, story, .. }) = failed {
        let shown: Vec<String> = problems.into_iter().take(PROBLEMS).collect();
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        let again = format!("all of it: SEED={seed} cargo test --test sim {test} -- --nocapture");
        panic!("{}: seed {seed}\n{story}\n{}\n{again}", scenario.name, shown.join("\n"));
    }
    let busy = wanted.is_some() || (counts.filled > seeds && counts.acknowledged > seeds);
    assert!(busy, "hardly anything happened: {counts:?}");
    tell(&format!("{}: {seeds} seeds, {counts:?}", scenario.name));
}

#[expect(clippy::disallowed_methods, reason = "a test has no main that could hand it down")]
fn wanted() -> Option<u64> {
    std::env::var("SEED").ok()?.parse().ok()
}

/// One of the seeds must break the promise, not merely end badly.
pub fn find(scenario: Scenario, seeds: u64) {
    let failed = search(scenario, 0..seeds, |report| report.is_broken, |_| {});
    let failed = failed.unwrap_or_else(|| panic!("{}: not found in {seeds} seeds", scenario.name));
    tell(&format!("{}: found by seed {}: {}", scenario.name, failed.seed, failed.problems[0]));
}

#[expect(clippy::print_stderr, reason = "the figures are what a test run with `--nocapture` is for")]
pub fn tell(what: &str) {
    eprintln!("{what}");
}

/// Runs the seeds on two threads; answers the lowest seed that fails.
fn search(
    scenario: Scenario,
    seeds: Range<u64>,
    fails: fn(&Report) -> bool,
    mut see: impl FnMut(&Report) + Send,
) -> Option<Report> {
    let (next, lowest) = (AtomicU64::new(seeds.start), AtomicU64::new(u64::MAX));
    let results = Mutex::new((None::<Report>, &mut see));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || seed > lowest.load(Ordering::Relaxed) {
                        return;
                    }
                    let report = run(seed, scenario);
                    let mut results = results.lock().expect("unpoisoned");
                    (results.1)(&report);
                    if fails(&report) && lowest.fetch_min(seed, Ordering::Relaxed) > seed {
                        results.0 = Some(report);
                    }
                }
            });
        }
    });
    results.into_inner().expect("unpoisoned").0
}
