//! The one integration binary: flows over real stores and real sources, the process as a whole, the failover table.
//! One binary links once; `cargo test --test it <name>` runs a part of it.

mod acl;
mod commands;
mod cookies;
mod door;
mod door_guards;
mod door_invalidate;
mod door_recipe;
mod fills;
mod flows;
mod invalidate;
mod invalidate_cluster;
mod invalidate_faults;
mod invalidate_world;
mod lease_contract;
mod prediction;
mod probes;
mod process;
mod process_invalidate;
mod references;
mod refused;
mod remote_access;
mod remote_cluster;
mod remote_confirm;
mod remote_failover;
mod remote_journal;
mod remote_removal;
mod remote_sentinel;
mod remote_standalone;
mod remote_upheaval;
mod removal_contract;
mod source_http;
mod store_contract;
mod support;
mod sweep;
mod usefulness;
