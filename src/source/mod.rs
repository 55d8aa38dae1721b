//! The hands that reach the systems of record.

pub mod any;
mod bulk;
mod gate;
mod health;
pub mod http;
pub mod listing;
pub mod metrics;
pub mod postgres;
