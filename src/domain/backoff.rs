//! How long to wait before the next try: doubling from a first wait up to a longest one, spread by jitter.

use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackoffError {
    #[error("the first wait must be longer than nothing")]
    Zero,
    #[error("the longest wait must not be shorter than the first")]
    Shrinks,
}

impl Backoff {
    pub const fn new(first: Duration, longest: Duration) -> Result<Self, BackoffError> {
        if first.is_zero() {
            return Err(BackoffError::Zero);
        }
        if longest.as_nanos() < first.as_nanos() {
            return Err(BackoffError::Shrinks);
        }
        Ok(Self { first, longest })
    }

    /// The wait before try `attempt` (the first is 0), without jitter.
    pub fn wait(&self, attempt: u32) -> Duration {
        let factor = 2u32.checked_pow(attempt).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.longest)
    }

    /// The same with up to a fifth taken off, so that a fleet does not come back in step. `unit` is drawn from 0..1.
    pub fn jittered(&self, attempt: u32, unit: f64) -> Duration {
        self.wait(attempt).mul_f64(1.0 - 0.2 * unit.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(60)).expect("a good backoff");
        let waits: Vec<u64> = (0..8).map(|n| backoff.wait(n).as_secs()).collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(backoff.wait(1_000).as_secs(), 60);
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(Backoff::new(Duration::ZERO, Duration::ZERO), Err(BackoffError::Zero));
        assert_eq!(Backoff::new(Duration::from_secs(2), Duration::from_secs(1)), Err(BackoffError::Shrinks));
    }
}
