//! Hydrant keeps a shared Redis warm and true while applications go on reading it directly.
//!
//! The house has floors; a module imports only from floors below its own (`tests/tidy.rs` checks it, `ARCHITECTURE.md`
//! explains it):
//!
//! ```text
//! 4  main → cli → app → config                      names every module; nothing names them
//! 3  grpc admin | remote local source | telemetry   doors and hands
//! 2  prehydrate invalidate warm verify              flows: decide what happens
//! 1  fill                                           claim, fetch, commit
//! 0  domain, tasks                                  words, pure decisions; the one place that spawns
//! ```

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod domain;
pub mod fill;
pub mod grpc;
pub mod invalidate;
pub mod local;
pub mod prehydrate;
pub mod remote;
pub mod source;
pub mod tasks;
pub mod telemetry;
pub mod verify;
pub mod warm;
