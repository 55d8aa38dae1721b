//! Forms of the warm-up's own: when, and under which lock.

use std::fmt;
use std::time::Duration;

use super::{Form, Wrong};
use crate::config::value::{SPAN_HINT, Span};
use crate::domain::key::Key;
use crate::warm::schedule::{Schedule, Zone};

/// How long after the start of a sidecar, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartAfter(pub Option<Duration>);

/// A cron expression; in which time zone is another key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronText(pub String);

/// A key that all runners of one schedule compete for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockKey(pub Key);

/// Nobody waits longer for a first run.
const LATEST: Duration = Duration::from_secs(86_400);

impl Form for StartAfter {
    const FORMAT: &'static str = "hydrant-start";
    const KIND: &'static str = "duration, or `off`";

    fn read(text: &str) -> Result<Self, Wrong> {
        if text == "off" {
            return Ok(Self(None));
        }
        let Span(after) = text.parse().map_err(|_| Wrong::new("is neither `off` nor a duration", SPAN_HINT))?;
        if after > LATEST {
            return Err(Wrong::new("is more than a day", "choose a shorter time, or a schedule: `cron`"));
        }
        Ok(Self(Some(after)))
    }
}

impl Form for CronText {
    const FORMAT: &'static str = "hydrant-cron";
    const KIND: &'static str = "cron expression";

    fn read(text: &str) -> Result<Self, Wrong> {
        const HINT: &str = "five fields, or six with seconds first: `*/30 * * * *`, `*/5 * * * * *`, `0 6 * * MON-FRI`";
        let zone = Zone::named("UTC").map_err(|error| Wrong::new(error, HINT))?;
        Schedule::parse(text, zone).map_err(|error| Wrong::new(error, HINT))?;
        Ok(Self(text.to_owned()))
    }
}

impl Form for Zone {
    const FORMAT: &'static str = "hydrant-time-zone";
    const KIND: &'static str = "time zone";

    fn read(text: &str) -> Result<Self, Wrong> {
        Self::named(text).map_err(|error| Wrong::new(error, "as the IANA database names it: UTC, Europe/Berlin"))
    }
}

impl Form for LockKey {
    const FORMAT: &'static str = "hydrant-lock";
    const KIND: &'static str = "key";

    fn read(text: &str) -> Result<Self, Wrong> {
        Key::new(text.to_owned()).map(Self).map_err(|error| Wrong::new(error, "choose another: `cache:warmup:lock`"))
    }
}

impl fmt::Display for StartAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(after) => Span(after).fmt(f),
            None => f.write_str("off"),
        }
    }
}

impl fmt::Display for LockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
