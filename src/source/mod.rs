//! The hands that reach the systems of record.

pub mod http;
pub mod metrics;
