//! A budget of bytes for the whole process, so that many large answers at once cannot exhaust its memory.
//!
//! Nobody waits for it: two half-read answers that wait for each other would never end. What does not fit is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Cloning shares the budget.
#[derive(Clone, Debug)]
pub struct Budget {
    left: Arc<AtomicUsize>,
}

/// What one piece of work has taken; dropping it gives all of it back.
#[derive(Debug)]
pub struct Meter {
    budget: Budget,
    taken: AtomicUsize,
}

impl Budget {
    pub fn new(bytes: usize) -> Self {
        Self { left: Arc::new(AtomicUsize::new(bytes)) }
    }

    pub fn meter(&self) -> Meter {
        Meter { budget: self.clone(), taken: AtomicUsize::new(0) }
    }

    pub fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }
}

impl Meter {
    /// Takes this many more bytes; false, and nothing taken, where the budget has not so much left.
    pub fn grow(&self, bytes: usize) -> bool {
        let take = |left: usize| left.checked_sub(bytes);
        let taken = self.budget.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
        if taken {
            self.taken.fetch_add(bytes, Ordering::Relaxed);
        }
        taken
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.budget.left.fetch_add(*self.taken.get_mut(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back_when_the_meter_goes() {
        let budget = Budget::new(10);
        let meter = budget.meter();
        assert!(meter.grow(6));
        assert!(!budget.meter().grow(5));
        assert_eq!(budget.left(), 4);
        drop(meter);
        assert_eq!(budget.left(), 10);
    }
}
