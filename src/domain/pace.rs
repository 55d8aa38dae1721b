//! How many calls at once a piece of background work may make: few at first, more while answers stay quick, half as many
//! when there was no room for it.
//!
//! It stands behind live traffic: it learns from its own answers alone that others need the source or the store, so it
//! takes growing latency as a sign to go back before anything is shed. One window is as many answers as there may be
//! calls at once. What is quick is what was seen, and is forgotten slowly, so that a source that has become slower for
//! good is not starved of work for ever.

use std::time::Duration;

/// Work begins with so many.
const FIRST: usize = 2;
/// A window's mean that is above the best one by more than this factor is slower.
const SLOWER: f64 = 2.0;
/// Below this factor there is room for more.
const QUICK: f64 = 1.5;
/// Differences below this are the machine's own.
const NOISE: Duration = Duration::from_millis(2);
/// What one window takes off the memory of the best.
const FORGETTING: f64 = 1.02;
/// How long nothing is begun after there was no room.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone, Debug, PartialEq)]
pub struct Pace {
    most: usize,
    now: usize,
    /// It doubles until it is told for the first time that this is too much.
    is_new: bool,
    window: Window,
    /// The best mean of a window, in seconds.
    best: Option<f64>,
}

/// How one call ended, as far as the pace is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Whatever was answered, it came in this time.
    After(Duration),
    /// There was no room for it, or no answer in time.
    NoRoom,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Window {
    answers: usize,
    seconds: f64,
    was_halved: bool,
}

impl Pace {
    /// At most `most` at once; at least one.
    pub fn new(most: usize) -> Self {
        let most = most.max(1);
        Self { most, now: FIRST.min(most), is_new: true, window: Window::default(), best: None }
    }

    /// Calls that may be under way.
    pub const fn limit(&self) -> usize {
        self.now
    }

    /// Learns how a call ended. Answers how long nothing should be begun.
    pub fn learn(&mut self, answer: Answer) -> Duration {
        self.window.answers += 1;
        let pause = match answer {
            Answer::After(elapsed) => {
                self.window.seconds += elapsed.as_secs_f64();
                Duration::ZERO
            }
            Answer::NoRoom => {
                // Those that were under way together failed for one reason.
                if !self.window.was_halved {
                    self.now = (self.now / 2).max(1);
                    self.is_new = false;
                    self.window = Window { was_halved: true, ..Window::default() };
                }
                PAUSE
            }
        };
        if self.window.answers >= self.now.max(FIRST) {
            self.end_window();
        }
        pause
    }

    fn end_window(&mut self) {
        let Window { answers, seconds, was_halved } = std::mem::take(&mut self.window);
        if was_halved || answers == 0 {
            return;
        }
        let mean = seconds / answers as f64;
        let best = self.best.map_or(mean, |best| (best * FORGETTING).min(mean));
        self.best = Some(best);
        let noise = NOISE.as_secs_f64();
        if mean > best * SLOWER + noise {
            self.now = (self.now - self.now.div_ceil(8)).max(1);
            self.is_new = false;
        } else if mean <= best * QUICK + noise {
            self.now = if self.is_new { self.now * 2 } else { self.now + 1 }.min(self.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(millis: u64) -> Answer {
        Answer::After(Duration::from_millis(millis))
    }

    fn learn(pace: &mut Pace, answer: Answer, times: usize) {
        for _ in 0..times {
            pace.learn(answer);
        }
    }

    #[test]
    fn it_begins_with_little_and_grows_while_answers_are_quick() {
        let mut pace = Pace::new(32);
        assert_eq!(pace.limit(), 2);
        learn(&mut pace, after(10), 2);
        assert_eq!(pace.limit(), 4);
        learn(&mut pace, after(10), 200);
        assert_eq!(pace.limit(), 32, "and no further");
    }

    #[test]
    fn it_halves_once_for_a_window_in_which_there_was_no_room() {
        let mut pace = Pace::new(32);
        learn(&mut pace, after(10), 200);
        assert_eq!(pace.learn(Answer::NoRoom), PAUSE);
        assert_eq!(pace.limit(), 16);
        learn(&mut pace, Answer::NoRoom, 10);
        assert_eq!(pace.limit(), 16);
        learn(&mut pace, Answer::NoRoom, 500);
        assert_eq!(pace.limit(), 1, "but never stops");
    }

    #[test]
    fn it_goes_back_before_anything_is_shed_when_answers_become_slow() {
        let mut pace = Pace::new(32);
        learn(&mut pace, after(10), 200);
        learn(&mut pace, after(50), 64);
        assert!(pace.limit() < 30, "{}", pace.limit());
    }

    #[test]
    fn a_source_that_has_become_slower_for_good_is_not_starved() {
        let mut pace = Pace::new(32);
        learn(&mut pace, after(10), 200);
        learn(&mut pace, after(100), 20_000);
        assert_eq!(pace.limit(), 32);
    }

    #[test]
    fn after_trouble_it_grows_by_one() {
        let mut pace = Pace::new(32);
        learn(&mut pace, after(10), 200);
        pace.learn(Answer::NoRoom);
        learn(&mut pace, after(10), 16);
        assert_eq!(pace.limit(), 16, "the window in which it was halved says nothing");
        learn(&mut pace, after(10), 16);
        assert_eq!(pace.limit(), 17);
    }
}
