//! What an invalidation leaves beside a key, and what the writes that follow have to ask it.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::key::Key;
use crate::domain::member_version::Version;
use crate::domain::random::Nonce;
use crate::domain::removal::Mark;
use crate::domain::store::Rules;
use crate::domain::tag::Tag;

/// One process has one group; its memory is nobody else's.
pub const GROUP: &str = "memory";

#[derive(Clone, Copy, Debug)]
pub struct Tombstone {
    /// Of the newest invalidation that weeds.
    pub nonce: Option<Nonce>,
    pub floor: Option<Version>,
    /// Some invalidation since then named no version.
    pub is_open: bool,
    pub since: Instant,
    pub ends: Instant,
}

impl Tombstone {
    /// The newest invalidation counts, of those that weed the newest; the highest floor stands as long as any.
    pub fn after(before: Option<Self>, mark: Mark, now: Instant) -> Self {
        let Mark { nonce, life, floor } = mark;
        Self {
            nonce: nonce.or(before.and_then(|before| before.nonce)),
            floor: floor.max(before.and_then(|before| before.floor)),
            is_open: floor.is_none() || before.is_some_and(|before| before.is_open),
            since: now,
            ends: now + life,
        }
    }

    pub fn refuses(&self, rules: Rules) -> bool {
        rules.has_floor && self.floor.is_some_and(|floor| rules.version.is_none_or(|version| version < floor))
    }

    /// Whether a value of this version may be written past every claim.
    pub fn believes(&self, version: Version) -> bool {
        !self.is_open && self.floor.is_none_or(|floor| version >= floor)
    }

    /// What is left of a life where the source may still lag.
    pub fn cut(&self, ttl: Duration, rules: Rules, now: Instant) -> Duration {
        let left = rules.lag.map(|lag| lag.saturating_sub(now - self.since));
        left.filter(|left| !left.is_zero()).map_or(ttl, |left| ttl.min(left))
    }
}

/// Where a subject's tombstone stands: where Redis has its tag.
pub fn grave(tag: &Tag) -> Option<Key> {
    match tag {
        Tag::Subject(_) => tag.key(GROUP, 0).ok(),
        Tag::Declared(_) => None,
    }
}
