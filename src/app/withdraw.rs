//! Leads a plan whose session was refused to the invalidation: the two flows know nothing of each other.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::entity::Member;
use crate::invalidate::Invalidate;
use crate::invalidate::request::{Effect, MAX_TARGETS, MemberTarget, Mode, Request, Target};
use crate::prehydrate::refused::Withdraw;

/// A plan waits this long for what it takes back; the removal goes on without it.
const WITHDRAWAL: Duration = Duration::from_secs(2);

/// How a plan takes back what it wrote. What cannot be removed now is finished by the journal, like any invalidation.
pub fn through(invalidate: Invalidate) -> Withdraw {
    Arc::new(move |members, trace| {
        let invalidate = invalidate.clone();
        Box::pin(async move {
            for some in members.chunks(MAX_TARGETS) {
                let target = |member: &Member| {
                    let (entity, params) = (member.entity.name().to_string(), member.params.clone());
                    let (alias, known_aliases, min_version, replacement) = (None, Vec::new(), None, None);
                    Target::Member(MemberTarget { entity, alias, params, known_aliases, min_version, replacement })
                };
                let (mode, effect) = (Mode::Remove, Effect::Real);
                let (reason, until) = ("session refused".to_owned(), Instant::now() + WITHDRAWAL);
                let targets = some.iter().map(target).collect();
                if let Err(error) =
                    invalidate.run(Request { targets, mode, effect, reason, within: Vec::new(), trace, until }).await
                {
                    tracing::warn!(%error, "what a refused session had filled could not be removed");
                }
            }
        })
    })
}
