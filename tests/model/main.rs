//! The consistency protocol, explored exhaustively in small worlds: what is promised holds in every interleaving of the
//! bounds named, and every way in which the protocol was deliberately broken is found.
//!
//! One test a model; `cargo test --test model -- --nocapture` prints the table. docs/consistency/models.md tells what each
//! covers and what none of them can see.

mod alias;
mod combined;
mod failover;
mod fill;
mod lease;
mod migration;
mod restart;
mod sweep;
mod tags;
mod world;

use world::{Case, judge};

/// Those of the list that a model can express; the others need a real clock, a real push or a real value.
const MUTANTS: [&str; 15] =
    ["M1", "M2", "M3", "M4", "M5", "M6", "M7", "M8", "M9", "M10", "M14", "M15", "M16", "M18", "M19"];

const MODELS: [fn() -> Vec<Case>; 9] = [
    fill::cases,
    alias::cases,
    failover::cases,
    restart::cases,
    combined::cases,
    sweep::cases,
    tags::cases,
    lease::cases,
    migration::cases,
];

#[test]
fn every_mutant_that_a_model_can_express_has_a_case() {
    let cases: Vec<Case> = MODELS.iter().flat_map(|cases| cases()).collect();
    for mutant in MUTANTS {
        assert!(cases.iter().any(|case| case.mutant == Some(mutant)), "{mutant} has no case");
    }
    let known = cases.iter().filter_map(|case| case.mutant).all(|mutant| MUTANTS.contains(&mutant));
    assert!(known, "a case names a mutant that is not on the list");
}

#[test]
fn a_fill_never_undoes_an_invalidation() {
    judge(fill::cases());
}

#[test]
fn an_old_alias_dies_with_its_member() {
    judge(alias::cases());
}

#[test]
fn a_failover_brings_nothing_back() {
    judge(failover::cases());
}

#[test]
fn a_sweep_leaves_nothing_that_was_there_before() {
    judge(sweep::cases());
}

#[test]
fn a_tag_leads_to_every_key_filled_under_it() {
    judge(tags::cases());
}

#[test]
fn aliases_failover_and_journal_together_keep_the_promise() {
    judge(combined::cases());
}

#[test]
fn a_lost_lease_starts_no_new_work() {
    judge(lease::cases());
}

#[test]
fn a_restart_from_disk_is_swept_away() {
    judge(restart::cases());
}

#[test]
fn a_moving_slot_keeps_the_promise() {
    judge(migration::cases());
}
