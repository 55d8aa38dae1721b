//! Where intents of the spool wait whose turn to be worked on has not come: more of them are kept on disk than are worked
//! on at once, and none that was promised is ever dropped.
//!
//! They wait by name alone, what they say stays on disk; but their slots are shut to fills as for those that are worked
//! on. What cannot be done for long gives way to those who wait, and waits anew: a node that is away must not keep from
//! the others what is theirs.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::domain::journal::JobId;
use crate::domain::watched::Watched;
use crate::invalidate::shut::Shut;

/// Cloning shares it. There are no more in it than the spool has files.
#[derive(Clone)]
pub struct Line(Arc<Watched<VecDeque<Waiting>>>);

/// An intent in the spool.
pub struct Waiting {
    pub id: JobId,
    /// Where it stands in the journal too, of which the replicas say nothing.
    pub also: Option<JobId>,
    /// No fill begins before it is carried out.
    pub shut: Shut,
}

impl Line {
    pub fn new() -> Self {
        Self(Arc::new(Watched::new(VecDeque::new())))
    }

    pub fn join(&self, last: Waiting) {
        self.0.change(|waiting| waiting.push_back(last));
    }

    pub fn is_empty(&self) -> bool {
        self.0.look(VecDeque::is_empty)
    }

    pub async fn somebody(&self) {
        self.0.wait_for(|waiting| (!waiting.is_empty()).then_some(())).await;
    }

    pub fn first(&self) -> Option<Waiting> {
        let mut first = None;
        self.0.change(|waiting| first = waiting.pop_front());
        first
    }
}
