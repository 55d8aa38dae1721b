//! A circuit breaker: after a few failures in a row nothing is tried for a while, then one probe decides.
//!
//! It knows neither Redis nor tasks. Time and jitter are arguments; whoever owns one keeps it behind a short lock.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::backoff::Backoff;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Failures in a row that open it.
    pub failures: u32,
    pub waits: Backoff,
}

#[derive(Debug)]
pub struct Breaker {
    config: Config,
    state: State,
    /// When it opened last.
    opened: Option<Instant>,
    /// While it is closed.
    last_failure: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Closed {
        failures: u32,
    },
    /// Nothing is let through until then.
    Open {
        until: Instant,
        round: u32,
    },
    /// One probe is under way; nothing else is let through. A probe that never reports is replaced after its deadline.
    Probing {
        round: u32,
        deadline: Instant,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Go ahead.
    Yes,
    /// Go ahead: this one call decides whether it closes again.
    Probe,
    /// Not now; trying again helps from this moment on.
    No { until: Instant },
}

/// A change worth a log line and a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    None,
    Opened { wait: Duration },
    Closed,
}

/// A probe that has not reported by then was lost with its caller.
const PROBE_LIFE: Duration = Duration::from_secs(5);

impl Breaker {
    pub fn new(config: Config) -> Self {
        Self { config, state: State::Closed { failures: 0 }, opened: None, last_failure: None }
    }

    pub fn state(&self) -> State {
        self.state
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    pub fn admit(&mut self, now: Instant) -> Admission {
        match self.state {
            State::Closed { .. } => Admission::Yes,
            State::Open { until, round } if now >= until => {
                self.state = State::Probing { round, deadline: now + PROBE_LIFE };
                Admission::Probe
            }
            State::Open { until, .. } => Admission::No { until },
            State::Probing { round, deadline } if now >= deadline => {
                self.state = State::Probing { round, deadline: now + PROBE_LIFE };
                Admission::Probe
            }
            State::Probing { deadline, .. } => Admission::No { until: deadline },
        }
    }

    /// Of a call that began at `started`.
    pub fn succeeded(&mut self, started: Instant) -> Change {
        let was_closed = self.is_closed();
        match self.state {
            _ if self.is_stale(started) => Change::None,
            State::Open { .. } => Change::None,
            State::Closed { .. } | State::Probing { .. } => {
                self.state = State::Closed { failures: 0 };
                if was_closed { Change::None } else { Change::Closed }
            }
        }
    }

    /// Of a call that began at `started`. "In a row" means one after the other: of many calls that were under way
    /// together when something stalled, only the first says something new. `unit` is drawn from 0..1 and spreads the wait.
    pub fn failed(&mut self, started: Instant, now: Instant, unit: f64) -> Change {
        if self.is_closed() && self.last_failure.replace(now).is_some_and(|last| started < last) {
            return Change::None;
        }
        match self.state {
            _ if self.is_stale(started) => Change::None,
            State::Closed { failures } if failures + 1 < self.config.failures => {
                self.state = State::Closed { failures: failures + 1 };
                Change::None
            }
            State::Closed { .. } => self.open(now, 0, unit),
            State::Probing { round, .. } => self.open(now, round.saturating_add(1), unit),
            State::Open { .. } => Change::None,
        }
    }

    /// What a call that began before it opened comes to, however late, was known when it opened: it neither closes it
    /// nor opens it again.
    fn is_stale(&self, started: Instant) -> bool {
        self.opened.is_some_and(|opened| started < opened)
    }

    fn open(&mut self, now: Instant, round: u32, unit: f64) -> Change {
        let wait = self.config.waits.jittered(round, unit);
        self.state = State::Open { until: now + wait, round };
        self.opened = Some(now);
        Change::Opened { wait }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn breaker() -> Breaker {
        let waits = Backoff::new(Duration::from_secs(2), Duration::from_secs(60)).expect("a good backoff");
        Breaker::new(Config { failures: 3, waits })
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_a_probe_closes_it() {
        let (mut breaker, start) = (breaker(), Instant::now());
        assert_eq!(breaker.failed(start, start, 0.0), Change::None);
        assert_eq!(breaker.succeeded(start), Change::None);
        breaker.failed(start, start, 0.0);
        breaker.failed(start, start, 0.0);
        assert_eq!(breaker.failed(start, start, 0.0), Change::Opened { wait: Duration::from_secs(2) });
        assert_eq!(breaker.admit(start), Admission::No { until: start + Duration::from_secs(2) });
        assert_eq!(breaker.admit(start + Duration::from_secs(2)), Admission::Probe);
        assert!(matches!(breaker.admit(start + Duration::from_secs(2)), Admission::No { .. }));
        assert_eq!(breaker.succeeded(start + Duration::from_secs(2)), Change::Closed);
        assert_eq!(breaker.admit(start), Admission::Yes);
    }

    #[test]
    fn failed_probes_wait_longer_each_time() {
        let (mut breaker, mut now) = (breaker(), Instant::now());
        (0..3).for_each(|_| {
            breaker.failed(now, now, 0.0);
        });
        for wait in [2, 4, 8, 16, 32, 60, 60] {
            assert!(matches!(
                breaker.admit(now + Duration::from_secs(wait) - Duration::from_millis(1)),
                Admission::No { .. }
            ));
            now += Duration::from_secs(wait);
            assert_eq!(breaker.admit(now), Admission::Probe);
            breaker.failed(now, now, 0.0);
        }
    }

    #[test]
    fn a_lost_probe_is_replaced() {
        let (mut breaker, now) = (breaker(), Instant::now());
        (0..3).for_each(|_| {
            breaker.failed(now, now, 0.0);
        });
        assert_eq!(breaker.admit(now + Duration::from_secs(2)), Admission::Probe);
        assert_eq!(breaker.admit(now + Duration::from_secs(2) + PROBE_LIFE), Admission::Probe);
    }

    #[test]
    fn what_began_before_it_opened_neither_closes_it_nor_opens_it_again() {
        let (mut breaker, start) = (breaker(), Instant::now());
        let (opened, probed) = (start + Duration::from_secs(1), start + Duration::from_secs(3));
        (0..3).for_each(|_| {
            breaker.failed(opened, opened, 0.0);
        });
        assert_eq!(breaker.admit(probed), Admission::Probe);
        assert_eq!(breaker.succeeded(start), Change::None);
        assert_eq!(breaker.failed(start, probed, 0.0), Change::None);
        assert_eq!(breaker.succeeded(probed), Change::Closed);
        (0..3).for_each(|_| {
            assert_eq!(breaker.failed(start, probed, 0.0), Change::None);
        });
        assert!(breaker.is_closed());
    }

    #[test]
    fn failures_that_were_under_way_together_count_as_one() {
        let (mut breaker, start) = (breaker(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        for late in 1..50 {
            assert_eq!(breaker.failed(start, at(late), 0.0), Change::None);
        }
        assert_eq!(breaker.failed(at(60), at(61), 0.0), Change::None);
        assert_eq!(breaker.failed(at(62), at(63), 0.0), Change::Opened { wait: Duration::from_secs(2) });
    }

    proptest! {
        /// Whatever happens, an open breaker lets one call through at a time, and never waits longer than the longest.
        #[test]
        fn one_probe_at_a_time(steps in proptest::collection::vec((0u8..3, 0u64..5_000), 1..200)) {
            let (mut breaker, mut now) = (breaker(), Instant::now());
            for (step, pause) in steps {
                now += Duration::from_millis(pause);
                match step {
                    0 => { breaker.succeeded(now); }
                    1 => { breaker.failed(now, now, 0.5); }
                    _ => {
                        let open = !breaker.is_closed();
                        let first = breaker.admit(now);
                        if open && first == Admission::Probe {
                            let second = breaker.admit(now);
                            let refused = matches!(second, Admission::No { .. });
                            prop_assert!(refused, "two probes at once");
                        }
                        if let Admission::No { until } = first {
                            prop_assert!(until <= now + Duration::from_secs(60));
                        }
                    }
                }
            }
        }
    }
}
