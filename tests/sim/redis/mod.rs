//! One server: a keyspace, the commands over it, and the scripts that ship, run in the Lua that Redis has.
//!
//! Nothing here knows of sockets, replicas or slots (`cluster/`). `real.rs` holds it against a real server.

pub mod commands;
pub mod keyspace;
pub mod lua;
pub mod server;
pub mod wire;
