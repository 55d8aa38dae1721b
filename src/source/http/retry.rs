//! The retry budget: further tries, all calls together, stay at a tenth of the calls and a few more.
//!
//! Retries help when one call in a hundred fails. When all of them fail, retries are a second attack on a source that
//! is down already; the budget makes them run out.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// What one retry costs, in calls.
const PRICE: u32 = 10;
/// Ten retries: a source that is seldom called may retry too, and a quiet hour saves up no storm.
const FULL: u32 = 10 * PRICE;

const FIRST_WAIT: Duration = Duration::from_millis(25);
/// The wait stops doubling here, at 400 ms: deadlines are a few seconds.
const DOUBLINGS: u32 = 4;

#[derive(Debug)]
pub struct Budget(AtomicU32);

impl Budget {
    pub fn full() -> Self {
        Self(AtomicU32::new(FULL))
    }

    pub fn call_started(&self) {
        let earn = |saved: u32| (saved < FULL).then_some(saved + 1);
        // Already full: nothing to save.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earn);
    }

    /// Pays for one retry; false where there is not enough left.
    pub fn take(&self) -> bool {
        let pay = |saved: u32| saved.checked_sub(PRICE);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay).is_ok()
    }
}

/// Anything from nothing to the doubled wait, so that callers who failed together do not come back together. `unit` is
/// drawn from 0..1.
pub fn wait(attempt: u32, unit: f64) -> Duration {
    FIRST_WAIT.saturating_mul(1 << attempt.min(DOUBLINGS)).mul_f64(unit.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_stay_at_a_tenth_of_the_calls() {
        let budget = Budget::full();
        let mut retries = 0;
        for _ in 0..10_000 {
            budget.call_started();
            while budget.take() {
                retries += 1;
            }
        }
        assert!((1_000..=1_010).contains(&retries), "{retries}");
    }

    #[test]
    fn waits_double_and_are_spread_over_all_of_their_length() {
        assert_eq!(wait(0, 1.0), Duration::from_millis(25));
        assert_eq!(wait(3, 0.5), Duration::from_millis(100));
        assert_eq!(wait(1_000, 1.0), Duration::from_millis(400));
        assert_eq!(wait(5, 0.0), Duration::ZERO);
    }
}
