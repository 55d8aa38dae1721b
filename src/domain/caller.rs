//! What a caller may do: rights, the acts that limits count, and the tenants it is held to.
//!
//! A right is named by the contract. An act is what is done with one: each rpc is one, and clearing is one more, because
//! an invalidation that has Redis scanned costs the fleet what a removal by name does not.

use std::collections::BTreeSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    Prehydrate,
    Invalidate,
    Jobs,
    WarmUp,
    Stats,
    Explain,
    Lookup,
    Watch,
    Record,
    /// Say who a user is, in place of showing the user's cookie.
    AssertSubject,
    /// Say which tenant that user belongs to.
    AssertTenant,
    /// See ids where others see hashes.
    ReadIds,
}

/// What limits are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Act {
    Prehydrate,
    Invalidate,
    /// An invalidation by a pattern, or of everything; it counts as an invalidation too.
    Clear,
    Jobs,
    WarmUp,
    Stats,
    Explain,
    Lookup,
    Watch,
    Record,
}

/// Whose data a caller may see and touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tenants {
    All,
    /// Of these and of nobody else: what does not say whose it is, is not theirs.
    Only(BTreeSet<String>),
}

impl Right {
    pub const ALL: [Self; 12] = [
        Self::Prehydrate,
        Self::Invalidate,
        Self::Jobs,
        Self::WarmUp,
        Self::Stats,
        Self::Explain,
        Self::Lookup,
        Self::Watch,
        Self::Record,
        Self::AssertSubject,
        Self::AssertTenant,
        Self::ReadIds,
    ];

    /// As the contract and the configuration call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prehydrate => "prehydrate",
            Self::Invalidate => "invalidate",
            Self::Jobs => "jobs",
            Self::WarmUp => "warm_up",
            Self::Stats => "stats",
            Self::Explain => "explain",
            Self::Lookup => "lookup",
            Self::Watch => "watch",
            Self::Record => "record",
            Self::AssertSubject => "assert_subject",
            Self::AssertTenant => "assert_tenant",
            Self::ReadIds => "read_ids",
        }
    }
}

impl Act {
    pub const fn right(self) -> Right {
        match self {
            Self::Prehydrate => Right::Prehydrate,
            Self::Invalidate | Self::Clear => Right::Invalidate,
            Self::Jobs => Right::Jobs,
            Self::WarmUp => Right::WarmUp,
            Self::Stats => Right::Stats,
            Self::Explain => Right::Explain,
            Self::Lookup => Right::Lookup,
            Self::Watch => Right::Watch,
            Self::Record => Right::Record,
        }
    }
}

impl Tenants {
    pub fn has(&self, tenant: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(tenant),
        }
    }
}
