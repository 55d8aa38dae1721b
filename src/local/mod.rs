//! This process's memory as a store: the embedded default of the demo and of an app's own CI, and what fast tests use.

/// Bounds of the memory store; both hold at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    pub bytes: usize,
    pub items: usize,
}
