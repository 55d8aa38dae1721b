//! What an entity asks of an invalidation of its members, in the flow's own terms.

use std::time::Duration;

use crate::domain::entity::{Entity, Writers};
use crate::domain::member_version::Version;
use crate::domain::random::Nonce;
use crate::domain::removal::Mark;

/// The mark to leave beside a member's key; none where no write would ever ask for it. The nonce is of whoever weeds.
pub fn mark(entity: &Entity, nonce: Option<Nonce>, floor: Option<Version>) -> Option<Mark> {
    Some(Mark { nonce: nonce.filter(|_| is_shared(entity)), life: entity.mark_life()?, floor })
}

/// How long old values may live on after a soft invalidation; none where the entity allows none.
pub fn grace(entity: &Entity) -> Option<Duration> {
    entity.soft()
}

/// Apps write its keys as well.
pub fn is_shared(entity: &Entity) -> bool {
    match entity.writers() {
        Writers::Hydrant => false,
        Writers::Shared => true,
    }
}
