//! What a caller is granted, as people write it: a right by its name, a limit as `5/min`.

use std::fmt;
use std::time::Duration;

use super::{Form, Wrong};
use crate::domain::bucket::Rate;
use crate::domain::caller::Right;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RightName(pub Right);

/// None: as many as a caller likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub Option<Rate>);

const UNITS: [(&str, u64); 3] = [("s", 1), ("min", 60), ("h", 3_600)];

const RIGHTS: &str = "one of prehydrate, invalidate, jobs, warm_up, stats, explain, lookup, watch, record, assert_subject, assert_tenant, read_ids";

impl Limit {
    /// So many a minute, for defaults.
    pub fn per_minute(calls: u32) -> Self {
        Self(Rate::new(calls, Duration::from_secs(60)))
    }
}

impl Form for RightName {
    const FORMAT: &'static str = "hydrant-right";
    const KIND: &'static str = "right";

    fn read(text: &str) -> Result<Self, Wrong> {
        let right = Right::ALL.into_iter().find(|right| right.name() == text);
        right.map(Self).ok_or_else(|| Wrong::new("is not a right", RIGHTS))
    }
}

impl Form for Limit {
    const FORMAT: &'static str = "hydrant-limit";
    const KIND: &'static str = "calls in a time, or `none`";

    fn read(text: &str) -> Result<Self, Wrong> {
        if text == "none" {
            return Ok(Self(None));
        }
        let rate = || {
            let (calls, unit) = text.split_once('/')?;
            let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit.trim())?;
            Rate::new(calls.trim().parse().ok()?, Duration::from_secs(*seconds))
        };
        let wrong = || Wrong::new("is not a limit", "write 1 to 1000000 calls in a time: 5/min, 10/s, 100/h; or none");
        rate().map(|rate| Self(Some(rate))).ok_or_else(wrong)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(rate) = self.0 else { return f.write_str("none") };
        let unit = UNITS.iter().find(|(_, seconds)| rate.per() == Duration::from_secs(*seconds));
        write!(f, "{}/{}", rate.calls(), unit.map_or("?", |(name, _)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_reads_back_as_it_is_shown() {
        for text in ["5/min", "1/s", "1000000/h", "none"] {
            assert_eq!(Limit::read(text).map(|limit| limit.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "5", "5/", "/min", "0/min", "-1/s", "5/day", "5/minute", "1000001/s", "None"] {
            assert!(Limit::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_right_has_its_name_and_is_told_in_the_hint() {
        for right in Right::ALL {
            assert_eq!(RightName::read(right.name()), Ok(RightName(right)));
            assert!(RIGHTS.contains(right.name()));
        }
        assert!(RightName::read("admin").is_err());
    }
}
