//! Each mutant of Hydrant (`src/domain/mutant.rs`) that a simulation can see must be found within a few seeds.
//!
//! A mutant is chosen once for a process, so each has one of its own: this very binary, asked for one test.
//! `cargo test --features mutants --test sim mutant`.

use std::process::{Command, Stdio};

use hydrant::domain::mutant::{self, Mutant};

use crate::faults::{self, Kind};
use crate::runs::{FLOW, RESTARTS, find};
use crate::world::Scenario;

/// What finds each, and the seeds it may take.
fn hunt(mutant: Mutant) -> Option<(Scenario, u64)> {
    Some(match mutant {
        Mutant::M1NoClaim | Mutant::M3CounterNonces | Mutant::M8FetchBeforeClaim => (FLOW, 20),
        Mutant::M2NoWait => (Scenario { faults: faults::FAILOVERS, ..FLOW }, 40),
        Mutant::M4AliasClaimedLate | Mutant::M5IndexCleared => (FLOW, 100),
        Mutant::M18IndexReadFirst => (Scenario { faults: faults::NONE, ..FLOW }, 300),
        Mutant::M7TokenSurvivesReconnect => (Scenario { faults: &[Kind::Restart], ..RESTARTS }, 300),
        // Not within a thousand seeds, since deletes ride with their WAIT: the models see it.
        Mutant::M16NoWaitForRegistration => return None,
        // Nothing that was acknowledged breaks: the models see what is left half done.
        Mutant::M10JournalLate => return None,
        // No warm-up takes part: the tests of the lease catch them.
        Mutant::M14LeaseFromReply | Mutant::M15ReleaseUnasked => return None,
        // Nothing in a simulation is a secret: the tests of the projection catch it.
        Mutant::M17DetectorsOff => return None,
        Mutant::M19OnePass => (Scenario { faults: faults::NONE, ..FLOW }, 400),
    })
}

#[test]
fn every_mutant_that_a_simulation_can_see_is_found() {
    let myself = std::env::current_exe().expect("a test is a file");
    let mut missed = Vec::new();
    for mutant in Mutant::ALL.into_iter().filter(|mutant| hunt(*mutant).is_some()) {
        let output = Command::new(&myself)
            .args(["--exact", "mutants::the_mutant_of_this_process_is_found", "--nocapture"])
            .env("HYDRANT_MUTANT", mutant.name())
            .stdin(Stdio::null())
            .output()
            .expect("runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.success() {
            true => crate::runs::tell(&format!("{}: {}", mutant.name(), told.lines().last().unwrap_or_default())),
            false => missed.push(mutant.name()),
        }
    }
    assert!(missed.is_empty(), "not found: {}", missed.join(", "));
}

#[test]
fn the_mutant_of_this_process_is_found() {
    if let Some((scenario, seeds)) = Mutant::ALL.into_iter().find(|mutant| mutant::on(*mutant)).and_then(hunt) {
        find(scenario, seeds);
    }
}
