//! The end of a plan whose session a source did not accept: what is the subject's own is neither asked for nor written
//! any more, and what this plan has written of it is removed again, under all its keys.
//!
//! Whoever stole an old cookie, or was locked out a moment ago, may still hold a token that is signed well; a source that
//! says no knows better. What is not the subject's own was loaded without the session, and is left as it is.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::domain::entity::{Entity, Member, Scope};
use crate::domain::outcome::Outcome;
use crate::domain::trace::TraceContext;
use crate::domain::watched::Watched;
use crate::prehydrate::ending::{Done, Ending};
use crate::prehydrate::{Prehydrate, Work};

/// Removes members with all their keys, and voids the fills of them: the invalidation beside this flow.
pub type Withdraw = Arc<dyn Fn(Vec<Member>, TraceContext) -> BoxFuture<'static, ()> + Send + Sync>;

/// Whether a plan goes on.
#[derive(Debug)]
pub struct Session(Watched<bool>);

impl Session {
    pub fn accepted() -> Self {
        Self(Watched::new(true))
    }

    pub fn is_refused(&self) -> bool {
        self.0.look(|is_accepted| !is_accepted)
    }

    /// Ends when a source has refused it.
    pub async fn refused(&self) {
        self.0.wait_for(|is_accepted| (!is_accepted).then_some(())).await;
    }

    /// Answers whether this is the first to say so.
    fn refuse(&self) -> bool {
        self.0.replace(false)
    }
}

impl Prehydrate {
    /// Says what became of one item of a plan, and where that is a refused session, ends the plan.
    pub(super) async fn settle(&self, work: &Work, done: Done) {
        let Done { at, ending, is_session_refused } = done;
        if is_session_refused && work.session.refuse() {
            let own = work.run.unsettled_or_filled(|member| is_own(&member.entity));
            tracing::debug!(items = own.len(), "a source refused the session: the plan is stopped");
            (self.withdraw)(own.iter().map(|(_, member)| member.clone()).collect(), work.login.trace).await;
            own.into_iter().for_each(|(at, _)| work.run.settle(at, denied()));
        }
        // Another refusal may have come first, and settled it.
        work.run.settle(at, ending);
    }
}

/// Whether a refused session concerns it.
pub fn is_own(entity: &Entity) -> bool {
    match entity.scope() {
        Scope::Subject => true,
        Scope::Tenant | Scope::Shared => false,
    }
}

pub fn denied() -> Ending {
    Ending::not_filled(Outcome::Denied, "a source of this plan refused the session")
}
