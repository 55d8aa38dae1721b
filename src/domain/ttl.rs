//! How long a value lives, and from when on it counts as about to end.

use std::time::Duration;

use crate::domain::random::Random;

/// The lives of one entity's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl {
    base: Duration,
    jitter_percent: u8,
    renew_percent: u8,
    absent: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TtlError {
    #[error("`{0}` must be between 1s and 30d")]
    OutOfRange(&'static str),
    #[error("`{0}` is a share between 0% and {1}%")]
    Percent(&'static str, u8),
}

impl Ttl {
    pub const SHORTEST: Duration = Duration::from_secs(1);
    /// A cache that keeps a value for longer than a month is a database.
    pub const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

    pub fn new(
        base: Duration,
        jitter_percent: u8,
        renew_percent: u8,
        absent: Option<Duration>,
    ) -> Result<Self, TtlError> {
        let in_range = |d: &Duration| (Self::SHORTEST..=Self::LONGEST).contains(d);
        if !in_range(&base) {
            return Err(TtlError::OutOfRange("base"));
        }
        if absent.is_some_and(|d| !in_range(&d)) {
            return Err(TtlError::OutOfRange("absent"));
        }
        if jitter_percent > 50 {
            return Err(TtlError::Percent("jitter", 50));
        }
        if renew_percent > 90 {
            return Err(TtlError::Percent("renew", 90));
        }
        Ok(Self { base, jitter_percent, renew_percent, absent })
    }

    pub fn base(&self) -> Duration {
        self.base
    }

    /// A life for one value: the base, up to `jitter` shorter or longer, so that what was filled together does not end
    /// together.
    pub fn draw(&self, random: &Random) -> Duration {
        let spread = f64::from(self.jitter_percent) / 100.0;
        self.base.mul_f64(1.0 + spread * (2.0 * random.unit() - 1.0)).max(Self::SHORTEST)
    }

    /// The same, up to this much shorter: what thousands were filled with in a minute should not end in one either. Only
    /// ever shorter, because an index counts on `longest`.
    pub fn staggered(&self, percent: u8, random: &Random) -> Duration {
        let life = self.draw(random);
        if percent == 0 {
            return life;
        }
        life.mul_f64(1.0 - f64::from(percent.min(90)) / 100.0 * random.unit()).max(Self::SHORTEST)
    }

    /// The longest that a value, or the memory that there is none, can stand.
    pub fn longest(&self) -> Duration {
        let value = self.base.mul_f64(1.0 + f64::from(self.jitter_percent) / 100.0).max(Self::SHORTEST);
        value.max(self.absent.unwrap_or_default())
    }

    /// A value with less than this left counts as about to end, and is filled again.
    pub fn renew_below(&self) -> Duration {
        self.base.mul_f64(f64::from(self.renew_percent) / 100.0)
    }

    /// How long "the source has none" is remembered, if at all.
    pub fn absent(&self) -> Option<Duration> {
        self.absent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_stays_within_its_jitter() {
        let ttl = Ttl::new(Duration::from_secs(100), 10, 20, None).expect("a good ttl");
        let random = Random::from_seed(3);
        for _ in 0..1_000 {
            let life = ttl.draw(&random).as_secs_f64();
            assert!((90.0..=110.0).contains(&life), "{life}");
            assert!(life <= ttl.longest().as_secs_f64());
        }
        assert_eq!(ttl.renew_below(), Duration::from_secs(20));
    }

    #[test]
    fn staggered_lives_spread_below_the_longest() {
        let ttl = Ttl::new(Duration::from_secs(100), 0, 20, None).expect("a good ttl");
        let random = Random::from_seed(3);
        let lives: Vec<f64> = (0..1_000).map(|_| ttl.staggered(20, &random).as_secs_f64()).collect();
        assert!(lives.iter().all(|life| (80.0..=100.0).contains(life)));
        assert!(lives.iter().any(|life| *life < 82.0) && lives.iter().any(|life| *life > 98.0));
        assert_eq!(ttl.staggered(0, &random), Duration::from_secs(100));
    }
}
