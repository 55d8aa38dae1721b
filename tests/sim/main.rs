//! Many sidecars over one Redis Cluster, all of it in this process and on one clock that jumps; whatever can go wrong
//! between them does, and one number repeats a run.
//!
//! ```text
//! world      one run: sidecars fill and invalidate, things go wrong, then it must end well
//!   writers  who change members at the source, and say so until it is acknowledged
//!   sidecar  the real `remote`, `fill` and so on, each with its own randomness
//!   source   the system of record: members with versions
//!   faults   what happens to the cluster
//!   net      below `remote`, at `Dial`: bytes, delays, connections that break at any point
//!   cluster  nodes, replicas that lag, slots that move, redirects, `WAIT`
//!   redis    one server: keys, commands, and our scripts in a real Lua
//!   checker  the promise, looked at whenever what an app would read may have changed
//! mutants    must be found
//! real       holds `redis` against a real server
//! ```
//!
//! `cargo test --test sim` runs every seed. Where one fails it says which; `SEED=17 cargo test --test sim <name> --
//! --nocapture` repeats it and tells all of it. What this covers and cannot see: docs/consistency/simulation.md.

mod checker;
mod cluster;
mod defects;
mod entity;
mod faults;
mod log;
#[cfg(feature = "mutants")]
mod mutants;
mod net;
mod real;
mod redis;
mod runs;
mod sidecar;
mod source;
mod time;
mod world;
mod writers;
