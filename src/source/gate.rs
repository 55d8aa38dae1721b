//! So many calls of a source at once, and a short line before it: a slow source must not fill the process with waiters.

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::domain::source::FetchError;

/// Calls that may wait, for each that may run: with answers of 50 ms the last in line starts after 400 ms.
const LINE: usize = 8;
/// A call waits for at most this part of the time it has left; the rest is for the answer.
const SHARE: u32 = 4;

#[derive(Debug)]
pub struct Gate {
    turns: Semaphore,
    line: Semaphore,
}

impl Gate {
    pub fn new(concurrency: usize) -> Self {
        let turns = concurrency.min(Semaphore::MAX_PERMITS / LINE);
        Self { turns: Semaphore::new(turns), line: Semaphore::new(turns * LINE) }
    }

    pub async fn turn(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, FetchError> {
        if let Ok(turn) = self.turns.try_acquire() {
            return Ok(turn);
        }
        let _place = self.line.try_acquire().map_err(|_| FetchError::Shed)?;
        let now = Instant::now();
        let until = now + deadline.saturating_duration_since(now) / SHARE;
        match timeout_at(until, self.turns.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            // Nobody closes the gate.
            Ok(Err(_)) | Err(_) => Err(FetchError::Shed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_gets_no_turn_in_a_quarter_of_its_time_is_shed() {
        let gate = Gate::new(1);
        let start = Instant::now();
        let turn = gate.turn(start).await.expect("free");
        assert!(matches!(gate.turn(start + Duration::from_secs(4)).await, Err(FetchError::Shed)));
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        drop(turn);
        assert!(gate.turn(start).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_line_has_an_end() {
        let gate = Gate::new(1);
        let deadline = Instant::now() + Duration::from_secs(40);
        let _turn = gate.turn(deadline).await.expect("free");
        let mut waiting: Vec<_> = (0..LINE).map(|_| Box::pin(gate.turn(deadline))).collect();
        for wait in &mut waiting {
            assert!(futures_util::poll!(wait).is_pending());
        }
        let start = Instant::now();
        assert!(matches!(gate.turn(deadline).await, Err(FetchError::Shed)));
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
