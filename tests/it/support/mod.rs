//! What integration tests share.

pub mod certs;
pub mod redis;
pub mod store;
pub mod wait;
