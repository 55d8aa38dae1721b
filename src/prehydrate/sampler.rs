//! Looks at some of the prehydrated keys shortly before they end, and learns which of them somebody had read.
//!
//! Redis keeps for each key when it was touched last, to the second. A read that comes right after the fill is hidden by
//! that second, so only a small share of the samples proves that a key was *not* read: those that were written as if
//! nobody had touched them for an hour (`marked`). From the others only a read is believed.
//!
//! The cost is bounded three ways: the share of keys, the looks a second, the samples that wait.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::domain::entity::Name;
use crate::domain::habits::{Habits, Touched, Update};
use crate::domain::key::Key;
use crate::domain::pseudonym::Pseudonym;
use crate::prehydrate::history::item::Item;
use crate::prehydrate::history::{Config, read_field};
use crate::prehydrate::learn::Learner;
use crate::prehydrate::usefulness::Sampling;

/// Samples that wait for their time: a thousand logins a minute with values that live ten.
const WAITING: usize = 4_096;
/// What a marked key seems not to have been touched for.
pub const MARK: Duration = Duration::from_secs(3_600);
/// The resolution of a key's clock, and a bit.
const RESOLUTION: Duration = Duration::from_millis(1_500);
/// A new key's place on the scale of frequencies; the lowest for one that is marked.
const NEW: u64 = 5;

/// One value that was written, to be looked at before it ends.
#[derive(Clone, Debug)]
pub struct Sample {
    pub key: Key,
    pub entity: Name,
    pub subject: Pseudonym,
    pub item: Option<Item>,
    pub bytes: usize,
    pub written: Instant,
    pub ttl: Duration,
    pub is_marked: bool,
}

/// What a look has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Read,
    Unread,
    Unknown,
}

/// Takes samples; cloning shares the line.
#[derive(Clone, Debug)]
pub struct Samples(mpsc::Sender<Sample>);

pub fn channel() -> (Samples, mpsc::Receiver<Sample>) {
    let (line, samples) = mpsc::channel(WAITING);
    (Samples(line), samples)
}

impl Samples {
    /// One more or less is no matter: where there is no room it is left out.
    pub fn offer(&self, sample: Sample) {
        let _ = self.0.try_send(sample);
    }
}

/// Runs as long as the process.
pub async fn look(
    habits: &dyn Habits,
    learner: &Learner,
    config: Config,
    sampling: Sampling,
    mut samples: mpsc::Receiver<Sample>,
) {
    let pause = Duration::from_secs(1) / sampling.per_second.max(1);
    let mut waiting = Waiting::default();
    loop {
        let due = waiting.next_due();
        tokio::select! {
            biased;
            sample = samples.recv(), if waiting.has_room() => match sample {
                Some(sample) => waiting.add(sample),
                None => return,
            },
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                if let Some(sample) = waiting.take() {
                    let touched = habits.touched(&sample.key).await.unwrap_or(Touched::Unknown);
                    learn(learner, &config, &sample, verdict(&sample, touched, sample.written.elapsed())).await;
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}

async fn learn(learner: &Learner, config: &Config, sample: &Sample, verdict: Verdict) {
    match verdict {
        Verdict::Read => {
            if sample.is_marked {
                learner.ended(&sample.entity, sample.bytes, true);
            }
            if let Some(item) = &sample.item {
                let set = vec![(read_field(item), learner.now().as_secs().to_string())];
                learner.write(sample.subject, &Update { set, ..Update::default() }, config).await;
            }
        }
        Verdict::Unread => learner.ended(&sample.entity, sample.bytes, false),
        Verdict::Unknown => {}
    }
}

/// What the key's clock says, `age` after it was written.
fn verdict(sample: &Sample, touched: Touched, age: Duration) -> Verdict {
    match (touched, sample.is_marked) {
        (Touched::Unknown, _) => Verdict::Unknown,
        (Touched::Idle(idle), true) if idle < MARK => Verdict::Read,
        (Touched::Idle(_), true) => Verdict::Unread,
        (Touched::Idle(idle), false) if idle + RESOLUTION < age => Verdict::Read,
        (Touched::Frequency(often), true) => {
            if often > 0 {
                Verdict::Read
            } else {
                Verdict::Unread
            }
        }
        (Touched::Frequency(often), false) if often > NEW => Verdict::Read,
        (Touched::Idle(_) | Touched::Frequency(_), false) => Verdict::Unknown,
    }
}

/// By the time at which to look; the number keeps apart what is due at the same moment.
#[derive(Default)]
struct Waiting {
    samples: BTreeMap<(Instant, u64), Sample>,
    count: u64,
}

impl Waiting {
    fn has_room(&self) -> bool {
        self.samples.len() < WAITING
    }

    fn add(&mut self, sample: Sample) {
        self.count += 1;
        // Before the end, and before a refresh that is made ahead of it.
        let due = sample.written + sample.ttl.mul_f64(0.75);
        self.samples.insert((due, self.count), sample);
    }

    fn next_due(&self) -> Option<Instant> {
        self.samples.keys().next().map(|(due, _)| *due)
    }

    fn take(&mut self) -> Option<Sample> {
        self.samples.pop_first().map(|(_, sample)| sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(is_marked: bool) -> Sample {
        Sample {
            key: Key::new("profile:7").expect("a key"),
            entity: Name::new("profile").expect("a name"),
            subject: Pseudonym::new("shop", None, "7"),
            item: Item::parse("profile"),
            bytes: 100,
            written: Instant::now(),
            ttl: Duration::from_secs(60),
            is_marked,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_marked_key_proves_that_nobody_read_it() {
        let age = Duration::from_secs(45);
        let of = |is_marked, touched| verdict(&sample(is_marked), touched, age);
        let idle = |seconds| Touched::Idle(Duration::from_secs(seconds));
        assert_eq!(of(true, idle(3_645)), Verdict::Unread);
        assert_eq!(of(true, idle(44)), Verdict::Read, "right after the fill");
        assert_eq!(of(false, idle(10)), Verdict::Read);
        assert_eq!(of(false, idle(45)), Verdict::Unknown);
        assert_eq!(of(true, Touched::Frequency(0)), Verdict::Unread);
        assert_eq!(of(true, Touched::Frequency(1)), Verdict::Read);
        assert_eq!(of(false, Touched::Frequency(5)), Verdict::Unknown);
        assert_eq!(of(false, Touched::Frequency(6)), Verdict::Read);
        assert_eq!(of(true, Touched::Unknown), Verdict::Unknown);
    }

    #[tokio::test(start_paused = true)]
    async fn samples_wait_in_the_order_of_their_ends_and_only_so_many() {
        let mut waiting = Waiting::default();
        waiting.add(Sample { ttl: Duration::from_secs(9), bytes: 2, ..sample(true) });
        waiting.add(Sample { ttl: Duration::from_secs(3), bytes: 1, ..sample(true) });
        let order: Vec<usize> = std::iter::from_fn(|| waiting.take()).map(|sample| sample.bytes).collect();
        assert_eq!(order, [1, 2]);
        (0..WAITING).for_each(|_| waiting.add(sample(true)));
        assert!(!waiting.has_room());
    }
}
