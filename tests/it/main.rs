//! The one integration binary: flows over real stores and real sources, the process as a whole, the failover table.
//! One binary links once; `cargo test --test it <name>` runs a part of it.

mod commands;
mod cookies;
mod door;
mod door_guards;
mod door_invalidate;
mod door_recipe;
mod fills;
mod flows;
mod probes;
mod process;
mod process_invalidate;
mod references;
mod remote_access;
mod remote_cluster;
mod remote_failover;
mod remote_journal;
mod remote_sentinel;
mod remote_standalone;
mod removal_contract;
mod source_http;
mod store_contract;
mod support;
