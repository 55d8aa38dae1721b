//! How fast is looked: so many looks, and so many bytes. What has been spent is waited for before the next.

use std::time::Duration;

/// The longest a single look makes the next one wait, however large it was.
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// From one look to the next.
    pub every: Duration,
    /// Bytes a second, read from Redis and from the sources together.
    pub bytes: u64,
}

impl Pace {
    pub fn new(per_minute: u32, bytes: u64) -> Self {
        Self { every: Duration::from_secs(60) / per_minute.max(1), bytes: bytes.max(1) }
    }

    /// After a look that moved so many bytes.
    pub fn pause(&self, bytes: usize) -> Duration {
        let for_bytes = Duration::from_secs_f64((bytes as f64 / self.bytes as f64).min(LONGEST.as_secs_f64()));
        self.every.max(for_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_and_bytes_are_both_limited() {
        let pace = Pace::new(60, 1_000);
        assert_eq!(pace.pause(0), Duration::from_secs(1));
        assert_eq!(pace.pause(1_000), Duration::from_secs(1));
        assert_eq!(pace.pause(5_000), Duration::from_secs(5));
        assert_eq!(pace.pause(usize::MAX), LONGEST);
    }
}
