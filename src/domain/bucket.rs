//! So many calls in so long a time: a bucket that is full at first, gives one token a call, and fills again evenly.
//!
//! What is kept is one moment, the one at which it will be full again: there is nothing to refill, no timer, and no
//! rounding that adds up. Time is an argument; whoever owns one keeps it behind a short lock.

use std::time::Duration;

use tokio::time::Instant;

/// At most `calls` at once, and `calls` in every `per` from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    calls: u32,
    per: Duration,
}

#[derive(Clone, Debug)]
pub struct Bucket {
    rate: Rate,
    /// None: it has never been touched.
    full_at: Option<Instant>,
}

/// More is no limit: a token would be worth less than the time it takes to count it.
pub const MAX_CALLS: u32 = 1_000_000;

impl Rate {
    /// None where it allows nothing, or more than [`MAX_CALLS`].
    pub fn new(calls: u32, per: Duration) -> Option<Self> {
        ((1..=MAX_CALLS).contains(&calls) && !per.is_zero()).then_some(Self { calls, per })
    }

    pub const fn calls(self) -> u32 {
        self.calls
    }

    pub const fn per(self) -> Duration {
        self.per
    }

    /// How long one token takes to come back.
    fn each(self) -> Duration {
        self.per / self.calls
    }
}

impl Bucket {
    pub const fn new(rate: Rate) -> Self {
        Self { rate, full_at: None }
    }

    /// Takes a token, or says how long it is until there is one.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        let spent = full_at.saturating_duration_since(now) + self.rate.each();
        if spent > self.rate.per {
            return Err(spent - self.rate.per);
        }
        self.full_at = Some(full_at + self.rate.each());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(calls: u32, per: u64) -> Bucket {
        Bucket::new(Rate::new(calls, Duration::from_secs(per)).expect("a good rate"))
    }

    #[test]
    fn as_many_as_its_rate_at_once_and_then_one_for_each_share_of_the_time() {
        for calls in [1, 2, 5, 7, 1_000] {
            let (mut bucket, start) = (bucket(calls, 60), Instant::now());
            for _ in 0..calls {
                assert_eq!(bucket.take(start), Ok(()), "{calls} a minute");
            }
            let wait = bucket.take(start).expect_err("it is empty");
            assert_eq!(bucket.take(start + wait - Duration::from_nanos(1)), Err(Duration::from_nanos(1)));
            assert_eq!(bucket.take(start + wait), Ok(()), "{calls} a minute");
            assert!(bucket.take(start + wait).is_err());
        }
    }

    #[test]
    fn a_refusal_costs_nothing() {
        let (mut bucket, start) = (bucket(2, 60), Instant::now());
        assert!(bucket.take(start).is_ok() && bucket.take(start).is_ok());
        for _ in 0..100 {
            assert_eq!(bucket.take(start), Err(Duration::from_secs(30)));
        }
        assert!(bucket.take(start + Duration::from_secs(30)).is_ok());
    }

    #[test]
    fn what_was_not_used_is_not_saved_up() {
        let (mut bucket, start) = (bucket(2, 60), Instant::now());
        assert!(bucket.take(start).is_ok());
        let later = start + Duration::from_secs(86_400);
        assert!(bucket.take(later).is_ok() && bucket.take(later).is_ok());
        assert!(bucket.take(later).is_err());
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_gives_nothing() {
        let (mut bucket, start) = (bucket(1, 60), Instant::now() + Duration::from_secs(60));
        assert!(bucket.take(start).is_ok());
        assert_eq!(bucket.take(start - Duration::from_secs(10)), Err(Duration::from_secs(70)));
    }

    #[test]
    fn a_rate_allows_something_and_not_everything() {
        assert!(Rate::new(0, Duration::from_secs(1)).is_none());
        assert!(Rate::new(1, Duration::ZERO).is_none());
        assert!(Rate::new(MAX_CALLS + 1, Duration::from_secs(1)).is_none());
    }
}
