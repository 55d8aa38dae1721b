//! One member that is followed for a while: when to look, and what a look has shown. Pure; time is an argument.
//!
//! A value that differs from the source proves nothing by itself: the source may have changed a moment ago, and its own
//! invalidation be on the way. So a difference counts only if the very same bytes still stand there after as long as they
//! may be excused, and still differ. Then there are two kinds. What the source has never said since the member was
//! cleared is *stale*: an invalidation did not hold. What it did say is *unannounced*: it changed, and nobody told us.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::entity::Name;
use crate::domain::key::Key;
use crate::verify::truth::{Seen, Truth};

pub struct Case {
    /// By which an invalidation voids it.
    pub id: u64,
    pub key: Key,
    pub entity: Name,
    /// Keys to look at besides the member's own and those that its values name.
    pub aliases: Vec<Key>,
    /// From when on nothing older may be read.
    pub since: Instant,
    /// After that.
    pub looks: &'static [Duration],
    pub step: Step,
    /// What the source has said since, the oldest first; a few at most, one for each look.
    truths: Vec<Truth>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// What the source says once the member is cleared: nothing older may be read from then on.
    Ask,
    /// The look at this place.
    Look(usize),
    /// The same again, for what differed.
    Confirm { look: usize, suspects: Vec<Seen> },
}

/// For how long a difference may be excused by what is declared of the entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    pub least: Duration,
    /// A soft invalidation lets an old value live for so long.
    pub grace: Option<Duration>,
}

/// What a look has met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Nothing of it is cached, so nothing can be wrong.
    Nothing,
    Seen {
        keys: Vec<Seen>,
        truth: Truth,
    },
    Blind(Blind),
}

/// Why nothing could be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blind {
    Store,
    /// No answer, or none that could be cached.
    Source,
}

/// What one look comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    True,
    Nothing,
    /// It differed, and was gone or right when it was looked at again.
    Passed,
    Blind(Blind),
    Wrong {
        kind: Wrong,
        keys: Vec<Seen>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Older than anything that the source has said since the member was cleared.
    Stale,
    /// The source said so, and has changed since without an invalidation.
    Unannounced,
}

/// A finding, and which look it belongs to.
pub struct Found {
    pub look: usize,
    pub finding: Finding,
}

impl Case {
    pub fn new(id: u64, key: Key, entity: Name, aliases: Vec<Key>, since: Instant, looks: &'static [Duration]) -> Self {
        Self { id, key, entity, aliases, since, looks, step: Step::Ask, truths: Vec::new() }
    }

    /// To be looked at without having been cleared: whatever differs from the first look on is stale.
    pub fn at_once(self) -> Self {
        Self { step: Step::Look(0), ..self }
    }

    /// After what time the running look comes.
    pub fn after(&self, look: usize) -> Duration {
        self.looks.get(look).copied().unwrap_or_default()
    }

    /// The answer to `Ask`.
    pub fn begins_with(&mut self, truth: Truth, now: Instant) -> Option<Instant> {
        self.learn(truth);
        self.next(0, now)
    }

    /// Takes what a look has shown. Answers what it comes to, if that is known by now, and when to look again, if ever.
    pub fn saw(&mut self, sight: Sight, now: Instant, patience: Patience) -> (Option<Found>, Option<Instant>) {
        let (look, suspects) = match std::mem::replace(&mut self.step, Step::Ask) {
            Step::Ask => return (None, None),
            Step::Look(look) => (look, None),
            Step::Confirm { look, suspects } => (look, Some(suspects)),
        };
        let finding = match (sight, suspects) {
            (Sight::Blind(blind), _) => Finding::Blind(blind),
            (Sight::Nothing, None) => Finding::Nothing,
            (Sight::Nothing, Some(_)) => Finding::Passed,
            (Sight::Seen { keys, truth }, None) => {
                let suspects: Vec<Seen> = keys.into_iter().filter(|seen| !truth.agrees(seen)).collect();
                self.learn(truth);
                if !suspects.is_empty() {
                    let wait = patience.of(&suspects);
                    self.step = Step::Confirm { look, suspects };
                    return (None, Some(now + wait));
                }
                Finding::True
            }
            (Sight::Seen { keys, truth }, Some(suspects)) => {
                let is_still = |seen: &Seen| suspects.iter().any(|before| seen.is_still(before));
                let wrong = keys.into_iter().filter(|seen| is_still(seen) && !truth.agrees(seen));
                let finding = self.judge(wrong.collect());
                self.learn(truth);
                finding
            }
        };
        (Some(Found { look, finding }), self.next(look + 1, now))
    }

    fn judge(&self, keys: Vec<Seen>) -> Finding {
        let was_true = |seen: &Seen| self.truths.iter().any(|truth| truth.agrees(seen));
        match keys.is_empty() {
            true => Finding::Passed,
            false if keys.iter().all(was_true) => Finding::Wrong { kind: Wrong::Unannounced, keys },
            false => Finding::Wrong { kind: Wrong::Stale, keys },
        }
    }

    fn learn(&mut self, truth: Truth) {
        if !self.truths.contains(&truth) {
            self.truths.push(truth);
        }
    }

    fn next(&mut self, look: usize, now: Instant) -> Option<Instant> {
        let after = self.looks.get(look)?;
        self.step = Step::Look(look);
        Some(now.max(self.since + *after))
    }
}

impl Blind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Store => "store_failed",
            Self::Source => "source_failed",
        }
    }
}

impl Patience {
    /// What may have been softened ends by itself within the grace, and is given the time.
    fn of(&self, suspects: &[Seen]) -> Duration {
        let may_be_soft = |left: &Duration| self.grace.is_some_and(|grace| *left <= grace);
        let ends = suspects.iter().filter_map(|seen| seen.left.filter(may_be_soft)).max();
        self.least.max(ends.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::domain::catalog::Catalog;
    use crate::domain::entity::sample::shared;
    use crate::domain::entity::{Entity, Member};
    use crate::domain::store::Held;

    const LOOKS: &[Duration] = &[Duration::from_secs(1), Duration::from_secs(10)];
    const WAIT: Duration = Duration::from_secs(2);
    const PATIENCE: Patience = Patience { least: WAIT, grace: Some(Duration::from_secs(30)) };

    struct World {
        catalog: Catalog,
        member: Member,
        start: Instant,
    }

    impl World {
        fn new() -> Self {
            let user = Entity::new(shared("user", "user:{id}")).expect("a good entity");
            let catalog = Catalog::new(vec![user]).expect("no clash");
            let member = catalog.member("user", [("id", "7")].into_iter().collect()).expect("a good member");
            Self { catalog, member, start: Instant::now() }
        }

        /// Cleared, with the source at this version.
        fn case(&self, version: u32) -> Case {
            let Member { entity, params: _, key } = self.member.clone();
            let mut case = Case::new(1, key, entity.name().clone(), Vec::new(), self.start, LOOKS);
            assert_eq!(case.begins_with(self.truth(version), self.start), Some(self.start + LOOKS[0]));
            case
        }

        fn value(version: u32) -> Bytes {
            Bytes::from(format!(r#"{{"version":{version}}}"#))
        }

        fn truth(&self, version: u32) -> Truth {
            Truth::new(&self.catalog, &self.member, Some(&Self::value(version)))
        }

        /// This version in the cache, that one at the source.
        fn sight(&self, cached: u32, source: u32) -> Sight {
            let held = Held { value: Self::value(cached), ttl: None };
            let seen = Seen::new(&self.catalog, &self.member, &self.member.key, &held).expect("its own key");
            Sight::Seen { keys: vec![seen], truth: self.truth(source) }
        }
    }

    fn wrong(found: Option<Found>) -> Option<Wrong> {
        match found?.finding {
            Finding::Wrong { kind, keys } => Some(kind).filter(|_| keys.len() == 1),
            _ => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_still_older_when_it_is_looked_at_again_is_stale() {
        let world = World::new();
        let (mut case, now) = (world.case(2), world.start + LOOKS[0]);
        let (found, again) = case.saw(world.sight(1, 2), now, PATIENCE);
        assert!(found.is_none(), "not yet");
        assert_eq!(again, Some(now + WAIT));
        let (found, next) = case.saw(world.sight(1, 2), now + WAIT, PATIENCE);
        assert_eq!(wrong(found), Some(Wrong::Stale));
        assert_eq!(next, Some(world.start + LOOKS[1]), "it is followed on");
        case.saw(world.sight(1, 2), world.start + LOOKS[1], PATIENCE);
        let (found, next) = case.saw(world.sight(1, 2), world.start + LOOKS[1] + WAIT, PATIENCE);
        assert_eq!((wrong(found), next), (Some(Wrong::Stale), None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_at_the_source_during_the_check_is_no_violation() {
        let world = World::new();
        let now = world.start + LOOKS[0];
        for later in [Sight::Nothing, world.sight(3, 3), world.sight(4, 5)] {
            // 2 was true when it was cleared; 3 came after that, and its invalidation was on the way.
            let mut case = world.case(2);
            assert!(case.saw(world.sight(2, 3), now, PATIENCE).0.is_none());
            let (found, _) = case.saw(later, now + WAIT, PATIENCE);
            assert_eq!(found.map(|found| found.finding), Some(Finding::Passed));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_that_nobody_announced_is_told_from_an_invalidation_that_did_not_hold() {
        let world = World::new();
        let (mut case, now) = (world.case(2), world.start + LOOKS[0]);
        case.saw(world.sight(2, 3), now, PATIENCE);
        let (found, _) = case.saw(world.sight(2, 3), now + WAIT, PATIENCE);
        assert_eq!(wrong(found), Some(Wrong::Unannounced));
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_have_been_softened_is_given_the_time_to_end() {
        let world = World::new();
        let left = |seconds| {
            let Sight::Seen { mut keys, .. } = world.sight(1, 2) else { return Duration::ZERO };
            keys[0].left = Some(Duration::from_secs(seconds));
            PATIENCE.of(&keys)
        };
        assert_eq!(left(29), Duration::from_secs(29));
        assert_eq!(left(31), WAIT, "longer than any grace");
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_seen_and_what_is_not_there_accuses_nobody() {
        let world = World::new();
        let (mut case, now) = (world.case(2), world.start + LOOKS[0]);
        let (found, next) = case.saw(Sight::Nothing, now, PATIENCE);
        assert_eq!(found.map(|found| found.finding), Some(Finding::Nothing));
        assert_eq!(next, Some(world.start + LOOKS[1]));
        case.saw(world.sight(1, 2), now, PATIENCE);
        let (found, next) = case.saw(Sight::Blind(Blind::Source), now, PATIENCE);
        assert_eq!((found.map(|found| found.finding), next), (Some(Finding::Blind(Blind::Source)), None));
    }
}
