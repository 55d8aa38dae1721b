//! What a step has done so far, and how fast of late.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::outcome::Outcome;
use crate::domain::shards::Done;
use crate::warm::request::{Counts, Ended};

/// Over how long the rate is told.
const WINDOW: Duration = Duration::from_secs(10);
/// From one mark to the next.
const MARK: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub struct Tally {
    counts: Counts,
    /// Sidecars that share it.
    workers: u32,
    /// When, and how many were done then: at most one for each second of the window, and one before it.
    marks: VecDeque<(Instant, u64)>,
}

/// What is to be done about a fill that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Done,
    /// It may work another time.
    Again,
    /// It would fail again.
    Lost,
}

impl Tally {
    pub fn new(now: Instant) -> Self {
        Self { counts: Counts::default(), workers: 1, marks: VecDeque::from([(now, 0)]) }
    }

    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// There are so many, as far as is known; never fewer than are done.
    pub fn expect(&mut self, total: u64) {
        self.counts.total = total;
    }

    pub fn expect_more(&mut self, more: u64) {
        self.counts.total += more;
    }

    pub fn filled(&mut self, outcome: Outcome, now: Instant) {
        match outcome {
            Outcome::Filled => self.counts.warmed += 1,
            Outcome::Fresh => self.counts.fresh += 1,
            _ => {}
        }
        self.finish(1, now);
    }

    pub fn failed(&mut self, keys: u64, now: Instant) {
        self.counts.failed += keys;
        self.finish(keys, now);
    }

    pub const fn workers(&self) -> u32 {
        self.workers
    }

    /// What all who share it have done so far.
    pub fn shared(&mut self, all: Done, workers: u32, now: Instant) {
        let Done { done, warmed, fresh, failed } = all;
        self.finish(done.saturating_sub(self.counts.done), now);
        (self.counts.warmed, self.counts.fresh, self.counts.failed) = (warmed, fresh, failed);
        self.workers = workers;
    }

    /// Keys finished per second.
    pub fn rate(&self, now: Instant) -> f64 {
        let oldest = self.marks.iter().find(|(at, _)| now.duration_since(*at) <= WINDOW);
        let Some((at, done)) = oldest.or(self.marks.back()) else { return 0.0 };
        let seconds = now.duration_since(*at).as_secs_f64();
        if seconds > 0.0 { (self.counts.done - done) as f64 / seconds } else { 0.0 }
    }

    pub fn ended(&self, is_whole: bool) -> Ended {
        let Counts { warmed, fresh, failed, done, .. } = self.counts;
        match () {
            () if failed == 0 && is_whole => Ended::Success,
            () if warmed + fresh > 0 || done > failed => Ended::Partial,
            () => Ended::Failed,
        }
    }

    fn finish(&mut self, keys: u64, now: Instant) {
        if self.marks.back().is_none_or(|(at, _)| now.duration_since(*at) >= MARK) {
            self.marks.push_back((now, self.counts.done));
            if self.marks.len() > 1 + WINDOW.as_secs() as usize {
                self.marks.pop_front();
            }
        }
        self.counts.done += keys;
        self.counts.total = self.counts.total.max(self.counts.done);
    }
}

impl Verdict {
    pub const fn on(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Filled | Outcome::Fresh | Outcome::Absent | Outcome::Disabled => Self::Done,
            // Fenced: it was invalidated meanwhile, and what is there now may be fetched.
            Outcome::InFlight | Outcome::Fenced | Outcome::Timeout | Outcome::Shed | Outcome::Failed => Self::Again,
            Outcome::Denied | Outcome::TooLarge => Self::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_that_of_the_last_seconds() {
        let mut tally = Tally::new(Instant::now());
        for _ in 0..600 {
            tokio::time::advance(Duration::from_millis(100)).await;
            tally.filled(Outcome::Filled, Instant::now());
        }
        assert!((tally.rate(Instant::now()) - 10.0).abs() < 1.5, "{}", tally.rate(Instant::now()));
        tokio::time::advance(Duration::from_secs(30)).await;
        assert!(tally.rate(Instant::now()) < 1.0);
        assert_eq!(tally.counts(), Counts { done: 600, total: 600, warmed: 600, ..Counts::default() });
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_failed_makes_it_partial_and_nothing_but_failures_failed() {
        let now = Instant::now();
        let mut tally = Tally::new(now);
        assert_eq!(tally.ended(true), Ended::Success, "there was nothing to do");
        assert_eq!(tally.ended(false), Ended::Failed);
        tally.failed(3, now);
        assert_eq!(tally.ended(true), Ended::Failed);
        tally.filled(Outcome::Fresh, now);
        assert_eq!(tally.ended(true), Ended::Partial);
    }
}
