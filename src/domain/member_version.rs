//! How new a member is, in the terms of its source: a row version, or the time of its last change.
//!
//! Versions are compared only within one member. They are kept as scores of a sorted set in Redis, which are doubles, so
//! a version is at most 2^53: enough for row versions and for microseconds until the year 2255.

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u64);

const MAX: u64 = 1 << 53;

impl Version {
    pub const fn new(number: u64) -> Option<Self> {
        if number <= MAX { Some(Self(number)) } else { None }
    }

    pub const fn number(self) -> u64 {
        self.0
    }
}
