//! The contract as prost and tonic see it, generated from `proto/` by `build.rs`.
//!
//! Its messages are for this module and for callers of the door: the command line, the demo, benches, tests. The flows
//! below have words of their own and never see these.

#![allow(missing_debug_implementations, reason = "generated")]
#![allow(clippy::all, reason = "generated")]

tonic::include_proto!("hydrant.v1");

/// The compiled contract with its comments, for reflection.
pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("hydrant.v1");
