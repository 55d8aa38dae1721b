//! Looks at some of the prehydrated keys shortly before they end, and learns which of them somebody had read.
//!
//! Redis keeps for each key when it was touched last, to the second. A read that comes right after the fill is hidden by
//! that second, so only those samples prove that a key was *not* read that were written as if nobody had touched them for
//! a while (`Mark`). From the others only a read is believed; and from a value that is not the one that was filled, or
//! on a server that counts reads instead of dating them, less still: what is not certain is not learnt.
//!
//! The cost is bounded three ways: the share of keys, the looks a second, the samples that wait.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use crate::domain::entity::Name;
use crate::domain::habits::{Habits, Sight, Touched, Update};
use crate::domain::key::Key;
use crate::domain::pseudonym::Pseudonym;
use crate::prehydrate::Config;
use crate::prehydrate::history::item::Item;
use crate::prehydrate::history::{Shown, seen};
use crate::prehydrate::learn::Learner;
use crate::prehydrate::usefulness::Mark;

/// Samples that wait for their time: a thousand logins a minute with values that live ten.
const WAITING: usize = 4_096;
/// What a marked key seems not to have been touched for: well over the resolution, and no more, because Redis evicts
/// first what was not touched for longest.
pub const UNTOUCHED: Duration = Duration::from_secs(30);
/// The resolution of a key's clock, and a bit.
const RESOLUTION: Duration = Duration::from_millis(1_500);
/// How far a key's life may be from what it was given, before it is another value's.
const SLACK: Duration = Duration::from_secs(1);
/// A new key's place on the scale of frequencies.
const NEW: u64 = 5;

/// One value that was written, to be looked at before it ends.
#[derive(Clone, Debug)]
pub struct Sample {
    pub key: Key,
    pub entity: Name,
    pub subject: Pseudonym,
    /// None where a read of it says nothing of the subject.
    pub item: Option<Item>,
    pub bytes: usize,
    pub written: Instant,
    pub ttl: Duration,
    pub mark: Mark,
}

/// Takes samples; cloning shares the line.
#[derive(Clone, Default)]
pub struct Samples(Arc<Line>);

#[derive(Default)]
struct Line {
    /// Held for one step, never across an await.
    waiting: Mutex<Waiting>,
    news: Notify,
}

impl Samples {
    /// Where there is no room the one that would wait longest is left out.
    pub fn offer(&self, sample: Sample) {
        self.waiting().add(sample);
        self.0.news.notify_one();
    }

    pub fn have_room(&self) -> bool {
        self.waiting().samples.len() < WAITING
    }

    /// The next sample whose time has come.
    async fn next(&self) -> Sample {
        loop {
            let due = match self.waiting().next(Instant::now()) {
                Next::Due(sample) => return sample,
                Next::At(due) => Some(due),
                Next::Nothing => None,
            };
            tokio::select! {
                biased;
                () = self.0.news.notified() => {}
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs as long as the process.
pub async fn look(habits: &dyn Habits, learner: &Learner, config: &ArcSwap<Config>, samples: &Samples) {
    loop {
        let sample = samples.next().await;
        let config = config.load_full();
        // Nothing is to be learnt any more.
        let Some(history) = &config.history else { continue };
        let sight = habits.look(&sample.key).await.unwrap_or(Sight::NOTHING);
        let shown = verdict(&sample, sight, sample.written.elapsed());
        if sample.mark == Mark::Fair
            && matches!(sight.touched, Touched::Idle(_))
            && let Some(shown) = shown
        {
            learner.ended(&sample.entity, sample.bytes, shown == Shown::Read);
        }
        if let (Some(item), Some(shown)) = (&sample.item, shown) {
            let set = vec![seen(item, shown, learner.now().as_secs())];
            let update = Update { set, age: sample.written.elapsed(), ..Update::default() };
            learner.write(sample.subject, &update, history).await;
        }
        sleep(Duration::from_secs(1) / config.sampling.per_second.max(1)).await;
    }
}

/// What a look says, `age` after the value was written; none where it could be either.
fn verdict(sample: &Sample, sight: Sight, age: Duration) -> Option<Shown> {
    let is_same = sight.left.is_some_and(|left| (left + age).abs_diff(sample.ttl) <= SLACK);
    match sight.touched {
        // Filled again, by whomever: its clock tells of that.
        _ if !is_same => None,
        Touched::Unknown => None,
        Touched::Idle(idle) => match sample.mark {
            Mark::Own | Mark::Fair if idle + RESOLUTION < UNTOUCHED + age => Some(Shown::Read),
            Mark::Own | Mark::Fair => Some(Shown::NotRead),
            Mark::Not if idle + RESOLUTION < age => Some(Shown::Read),
            Mark::Not => None,
        },
        // A count falls with time, so that a low one proves nothing.
        Touched::Frequency(often) => (often > NEW).then_some(Shown::Read),
    }
}

/// By the time at which to look; the number keeps apart what is due at the same moment.
#[derive(Default)]
struct Waiting {
    samples: BTreeMap<(Instant, u64), Sample>,
    count: u64,
}

enum Next {
    Due(Sample),
    At(Instant),
    Nothing,
}

impl Waiting {
    fn add(&mut self, sample: Sample) {
        self.count += 1;
        let due = sample.written + sample.ttl.mul_f64(0.75);
        self.samples.insert((due, self.count), sample);
        if self.samples.len() > WAITING {
            self.samples.pop_last();
        }
    }

    /// What has ended before its turn came is dropped: there is nothing to see.
    fn next(&mut self, now: Instant) -> Next {
        while let Some(first) = self.samples.first_entry() {
            let (due, _) = *first.key();
            if due > now {
                return Next::At(due);
            }
            let sample = first.remove();
            if sample.written + sample.ttl > now {
                return Next::Due(sample);
            }
        }
        Next::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(mark: Mark) -> Sample {
        Sample {
            key: Key::new("profile:7").expect("a key"),
            entity: Name::new("profile").expect("a name"),
            subject: Pseudonym::new("shop", None, "7"),
            item: Item::parse("profile"),
            bytes: 100,
            written: Instant::now(),
            ttl: Duration::from_secs(60),
            mark,
        }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_marked_key_proves_that_nobody_read_it() {
        let left = Some(seconds(15));
        let of = |mark, touched| verdict(&sample(mark), Sight { touched, left }, seconds(45));
        let idle = |idle| Touched::Idle(seconds(idle));
        for mark in [Mark::Own, Mark::Fair] {
            assert_eq!(of(mark, idle(75)), Some(Shown::NotRead));
            assert_eq!(of(mark, idle(44)), Some(Shown::Read), "right after the fill");
            assert_eq!(of(mark, Touched::Unknown), None);
        }
        assert_eq!(of(Mark::Not, idle(10)), Some(Shown::Read));
        assert_eq!(of(Mark::Not, idle(45)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_right_after_the_fill_shows_after_a_day_too() {
        let day = Sample { ttl: seconds(86_400), ..sample(Mark::Fair) };
        let sight = |idle| Sight { touched: Touched::Idle(seconds(idle)), left: Some(seconds(21_600)) };
        assert_eq!(verdict(&day, sight(64_800), seconds(64_800)), Some(Shown::Read));
        assert_eq!(verdict(&day, sight(64_830), seconds(64_800)), Some(Shown::NotRead));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_counts_reads_proves_none_missing() {
        for (often, shown) in [(0, None), (1, None), (5, None), (6, Some(Shown::Read))] {
            let sight = Sight { touched: Touched::Frequency(often), left: Some(seconds(15)) };
            assert_eq!(verdict(&sample(Mark::Fair), sight, seconds(45)), shown, "{often}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_that_was_filled_again_tells_nothing() {
        let sight = |left| Sight { touched: Touched::Idle(seconds(3)), left };
        for left in [None, Some(seconds(57)), Some(seconds(300)), Some(seconds(1))] {
            assert_eq!(verdict(&sample(Mark::Fair), sight(left), seconds(45)), None, "{left:?}");
        }
        assert_eq!(verdict(&sample(Mark::Fair), sight(Some(seconds(15))), seconds(45)), Some(Shown::Read));
    }

    #[tokio::test(start_paused = true)]
    async fn samples_come_in_the_order_of_their_ends() {
        let samples = Samples::default();
        for (ttl, bytes) in [(9, 2), (3, 1), (60, 3)] {
            samples.offer(Sample { ttl: seconds(ttl), bytes, ..sample(Mark::Not) });
        }
        for bytes in 1..=3 {
            assert_eq!(samples.next().await.bytes, bytes);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_lives_long_makes_room_for_what_ends_soon() {
        let samples = Samples::default();
        (0..WAITING).for_each(|_| samples.offer(Sample { ttl: seconds(86_400), ..sample(Mark::Not) }));
        assert!(!samples.have_room());
        samples.offer(Sample { bytes: 7, ..sample(Mark::Not) });
        samples.offer(Sample { ttl: seconds(172_800), bytes: 8, ..sample(Mark::Not) });
        assert_eq!(samples.next().await.bytes, 7);
        assert!(samples.waiting().samples.values().all(|sample| sample.bytes == 100));
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_ended_before_its_turn_costs_no_look() {
        let samples = Samples::default();
        samples.offer(Sample { bytes: 1, ..sample(Mark::Not) });
        samples.offer(Sample { ttl: seconds(100), bytes: 2, ..sample(Mark::Not) });
        tokio::time::advance(seconds(80)).await;
        assert_eq!(samples.next().await.bytes, 2);
        assert!(samples.have_room());
    }
}
