//! What the tests build with. Everything starts on a free port or in memory and ends when it is dropped.

pub mod catalog;
pub mod certificates;
pub mod cookies;
pub mod door;
pub mod far;
pub mod faulty;
pub mod origin;
pub mod peer;
pub mod postgres;
pub mod prehydration;
pub mod redis;
pub mod shop;
pub mod sidecar;
pub mod store;
pub mod stub;
pub mod wait;
