//! Where the process stands in its life: what health checks and probes answer from.
//!
//! `App` keeps the sending half of a `watch` and everybody who answers for the process holds a receiver, so that the two
//! doors can never say different things.

use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The configuration is being built; nothing listens yet.
    Starting,
    Serving,
    /// Asked to stop: what is under way is finished, and nothing new should be sent here.
    Stopping,
}

/// Who may change it, and what everybody else reads it from. Further readers `subscribe` at the sender.
pub fn channel() -> (watch::Sender<Phase>, watch::Receiver<Phase>) {
    watch::channel(Phase::Starting)
}

impl Phase {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Stopping => "stopping",
        }
    }

    /// Whether the process has come up, however it goes on: a startup probe ends with this.
    pub const fn has_started(self) -> bool {
        matches!(self, Self::Serving | Self::Stopping)
    }
}
