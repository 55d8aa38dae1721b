//! What is warmed, when, and by which rules: the plans as the configuration declares them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::entity::Name;
use crate::domain::key::Key;
use crate::domain::listing::Listing;
use crate::warm::schedule::Schedule;

#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub name: Name,
    pub when: When,
    pub lease: LeaseRules,
    pub rules: Rules,
    pub ready: Ready,
    /// In their order; the first matters most.
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct When {
    /// So long after the start of a sidecar; none: not then.
    pub start: Option<Duration>,
    pub schedule: Option<Schedule>,
    /// A tick is put off by up to this much, so that the schedules of many services do not fire in step.
    pub jitter: Duration,
    pub missed: Missed,
}

/// What becomes of ticks that came while nobody could run them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// They are passed over.
    Skip,
    /// The last of them is made up for, once.
    Once,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRules {
    pub lock: Key,
    pub ttl: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Calls at once, at most; it begins with few.
    pub parallel: usize,
    /// One fill's time.
    pub timeout: Duration,
    /// Further tries of what failed.
    pub retries: u32,
    /// How much shorter than its entity's life a warmed value may live, so that not all end together.
    pub stagger_percent: u8,
    /// All sidecars carry out its steps together.
    pub is_shared: bool,
}

/// Whether a sidecar is ready before the run at its start has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    Before,
    /// Not before that, but after this time in any case.
    After {
        longest: Duration,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub name: Name,
    /// What is not begun by then is left out.
    pub budget: Duration,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Makes sources ready: connections opened, TLS and logins done.
    Connect { sources: Vec<Name> },
    /// Fills members of an entity, as a listing names them.
    Fill { entity: Name },
}

/// The listing of each step that fills, by plan and step: made where queries and paths are known.
pub type Listings = BTreeMap<(Name, Name), Arc<dyn Listing>>;

/// All plans, in the configuration's order.
#[derive(Clone, Default)]
pub struct Plans {
    pub plans: Vec<Plan>,
    pub listings: Listings,
}

impl Plans {
    pub fn named(&self, name: &str) -> Option<&Plan> {
        self.plans.iter().find(|plan| plan.name.as_str() == name)
    }

    pub fn listing(&self, plan: &Name, step: &Name) -> Option<Arc<dyn Listing>> {
        self.listings.get(&(plan.clone(), step.clone())).cloned()
    }
}

/// Plans for tests.
#[cfg(test)]
pub mod sample {
    use super::*;

    pub fn name(text: &str) -> Name {
        Name::new(text).expect("a name")
    }

    /// Steps that connect to nothing.
    pub fn plan(steps: &[&str]) -> Plan {
        let what = What::Connect { sources: Vec::new() };
        let step = |text: &&str| Step { name: name(text), budget: Duration::from_secs(60), what: what.clone() };
        Plan {
            name: name("default"),
            when: When { start: None, schedule: None, jitter: Duration::ZERO, missed: Missed::Skip },
            lease: LeaseRules { lock: Key::new("lock").expect("a good key"), ttl: Duration::from_secs(30) },
            rules: Rules {
                parallel: 4,
                timeout: Duration::from_secs(1),
                retries: 3,
                stagger_percent: 10,
                is_shared: false,
            },
            ready: Ready::Before,
            steps: steps.iter().map(step).collect(),
        }
    }
}
