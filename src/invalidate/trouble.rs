//! What an attempt to remove something met: of several things that went wrong the one that says most is told.

use crate::domain::store::{Refusal, StoreError};
use crate::invalidate::request::Cause;

#[derive(Default)]
pub struct Trouble(pub Option<Cause>);

impl Trouble {
    pub fn met(&mut self, error: StoreError) {
        self.note(Self::of(error));
    }

    pub fn of(error: StoreError) -> Cause {
        match error {
            StoreError::Refused(Refusal::Moved) => Cause::Topology,
            StoreError::Unreachable
            | StoreError::Timeout
            | StoreError::Overloaded
            | StoreError::Refused(
                Refusal::NotServing
                | Refusal::OutOfMemory
                | Refusal::NotAllowed
                | Refusal::BadCredentials
                | Refusal::NoFunctions
                | Refusal::WrongType
                | Refusal::Other,
            ) => Cause::NodeUnavailable,
        }
    }

    /// Of two causes the one that says more: a node that is away, then slots that move, then replicas.
    pub fn note(&mut self, cause: Cause) {
        let rank = |cause: Cause| match cause {
            Cause::NodeUnavailable => 4,
            Cause::Topology => 3,
            Cause::ReplicasLate => 2,
            Cause::Sweep => 1,
            Cause::Deadline => 0,
        };
        if self.0.is_none_or(|known| rank(known) < rank(cause)) {
            self.0 = Some(cause);
        }
    }
}
