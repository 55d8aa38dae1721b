//! When a plan is due, by the calendar: a cron expression, with seconds or without, in a time zone.
//!
//! The expression is parsed once, by croner; what is due next is asked of it with a time as the argument. Nothing of it
//! is ever printed but its text: the parsed form is a table of years.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use croner::Cron;
use croner::errors::CronError;
use croner::parser::CronParser;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

#[derive(Clone)]
pub struct Schedule {
    text: String,
    cron: Cron,
    zone: Zone,
}

/// A time zone by its name in the IANA database.
#[derive(Clone)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    #[error("is not a schedule: {0}")]
    Expression(String),
    /// The 30th of February.
    #[error("is never due")]
    Never,
    #[error("is not a time zone")]
    Zone,
}

impl Schedule {
    /// Refused where it is never due, counted from 2024, a leap year.
    pub fn parse(text: &str, zone: Zone) -> Result<Self, ScheduleError> {
        let cron = CronParser::new().parse(text).map_err(|error| ScheduleError::Expression(words(&error)))?;
        let schedule = Self { text: text.to_owned(), cron, zone };
        let leap_year = UNIX_EPOCH + Duration::from_secs(1_704_067_200);
        schedule.next_after(leap_year).is_some().then_some(schedule).ok_or(ScheduleError::Never)
    }

    /// The first tick after this time; none where the calendar has no more.
    pub fn next_after(&self, time: SystemTime) -> Option<SystemTime> {
        let time = Timestamp::try_from(time).ok()?.to_zoned(self.zone.zone.clone());
        let next: Zoned = self.cron.find_next_occurrence(&time, false).ok()?;
        Some(SystemTime::from(next.timestamp()))
    }

    /// The last tick up to this time, it included.
    pub fn last_at(&self, time: SystemTime) -> Option<SystemTime> {
        let time = Timestamp::try_from(time).ok()?.to_zoned(self.zone.zone.clone());
        let last: Zoned = self.cron.find_previous_occurrence(&time, true).ok()?;
        Some(SystemTime::from(last.timestamp()))
    }

    /// From a tick to the one after it.
    pub fn period_after(&self, tick: SystemTime) -> Duration {
        let next = self.next_after(tick).and_then(|next| next.duration_since(tick).ok());
        next.unwrap_or(Duration::from_secs(86_400))
    }
}

impl Zone {
    pub fn utc() -> Self {
        Self { name: "UTC".to_owned(), zone: TimeZone::UTC }
    }

    pub fn named(name: &str) -> Result<Self, ScheduleError> {
        let zone = TimeZone::get(name).map_err(|_| ScheduleError::Zone)?;
        Ok(Self { name: name.to_owned(), zone })
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        (&self.text, &self.zone.name) == (&other.text, &other.zone.name)
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.text, self.zone.name)
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// What croner has to say, as half a sentence.
fn words(error: &CronError) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(letters).collect::<String>().trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(text: &str, zone: &str) -> Schedule {
        Schedule::parse(text, Zone::named(zone).expect("a zone")).expect("a schedule")
    }

    fn at(text: &str) -> SystemTime {
        SystemTime::from(text.parse::<Timestamp>().expect("a time"))
    }

    fn next(text: &str, zone: &str, from: &str) -> String {
        let next = schedule(text, zone).next_after(at(from)).expect("due some time");
        Timestamp::try_from(next).expect("in range").to_string()
    }

    #[test]
    fn the_next_tick_lies_after_the_time_with_seconds_or_without() {
        assert_eq!(next("*/30 * * * *", "UTC", "2026-11-21T09:30:00Z"), "2026-11-21T10:00:00Z");
        assert_eq!(next("*/5 * * * * *", "UTC", "2026-11-21T09:30:01Z"), "2026-11-21T09:30:05Z");
        assert_eq!(schedule("*/5 * * * * *", "UTC").period_after(at("2026-11-21T09:30:05Z")), Duration::from_secs(5));
    }

    #[test]
    fn the_last_tick_is_at_the_time_or_before_it() {
        let schedule = schedule("*/5 * * * * *", "UTC");
        let last =
            |time| schedule.last_at(at(time)).map(|last| Timestamp::try_from(last).expect("in range").to_string());
        assert_eq!(last("2026-11-21T09:30:07Z").as_deref(), Some("2026-11-21T09:30:05Z"));
        assert_eq!(last("2026-11-21T09:30:05Z").as_deref(), Some("2026-11-21T09:30:05Z"));
        assert_eq!(last("2026-11-21T09:30:05.5Z").as_deref(), Some("2026-11-21T09:30:05Z"));
    }

    #[test]
    fn the_hour_is_that_of_the_time_zone() {
        assert_eq!(next("0 6 * * *", "Europe/Berlin", "2026-07-01T12:00:00Z"), "2026-07-02T04:00:00Z");
        assert_eq!(next("0 6 * * *", "Europe/Berlin", "2026-12-01T12:00:00Z"), "2026-12-02T05:00:00Z");
    }

    #[test]
    fn an_hour_that_a_clock_skips_does_not_lose_the_tick() {
        let tick = next("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z");
        assert!(tick.starts_with("2026-03-29"), "{tick}");
    }

    #[test]
    fn what_is_never_due_or_no_schedule_is_refused() {
        let parse = |text: &str| Schedule::parse(text, Zone::named("UTC").expect("a zone")).map(drop);
        assert_eq!(parse("0 0 30 2 *"), Err(ScheduleError::Never));
        for wrong in ["", "* * *", "61 * * * *", "every minute"] {
            assert!(matches!(parse(wrong), Err(ScheduleError::Expression(_))), "{wrong}");
        }
        assert_eq!(Zone::named("Berlin"), Err(ScheduleError::Zone));
    }

    #[test]
    fn only_its_text_is_ever_printed() {
        assert_eq!(format!("{:?}", schedule("0 6 * * *", "Europe/Berlin")), "0 6 * * * in Europe/Berlin");
    }
}
