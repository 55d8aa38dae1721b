//! The consistency protocol, explored exhaustively in small worlds: what is promised holds in every interleaving of the
//! bounds named, and every way in which the protocol was deliberately broken is found.
//!
//! One test a model; `cargo test --test model -- --nocapture` prints the table. docs/consistency/models.md tells what each
//! covers and what none of them can see.

mod alias;
mod failover;
mod fill;
mod sweep;
mod tags;
mod world;

use world::judge;

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
