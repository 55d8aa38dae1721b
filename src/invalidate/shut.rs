//! Holding fills up where something is to be removed that cannot be removed yet: when Redis is back, that comes first.
//!
//! What is shut are slots, as many as can be named; all of them where a tag names more. A fill there waits until its own
//! deadline, and would have been work for nothing.

use crate::fill::gate::Gate;
use crate::invalidate::intent::Intent;
use crate::invalidate::tools::Tools;

/// Slots in which no fill begins until this is dropped: it would be work for nothing.
pub struct Shut {
    gate: Gate,
    /// None: all of them.
    slots: Option<Vec<u16>>,
}

impl Shut {
    pub fn of(tools: &Tools, intent: &Intent) -> Self {
        let gate = tools.hands.filler.gate().clone();
        let slots = intent.slots();
        match &slots {
            Some(slots) => gate.hold(slots),
            None => gate.hold_all(),
        }
        Self { gate, slots }
    }
}

impl Drop for Shut {
    fn drop(&mut self) {
        match &self.slots {
            Some(slots) => self.gate.release(slots),
            None => self.gate.release_all(),
        }
    }
}
