//! `prehydrate:` what a login fills: always, by habit, and within which bounds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::value::{Percent, Size, Span};

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Prehydrate {
    /// Entities filled at every login, whether a caller names them or not. Each must have a `load`, and follow from the
    /// subject or from another's answer (`follows`).
    #[schemars(extend("x-declared" = "entities"))]
    pub always: Vec<String>,
    /// The longest one plan may take, fetches and writes together.
    #[schemars(extend("x-least" = "10ms", "x-most" = "1m"))]
    pub deadline: Span,
    /// Plans under way at once.
    #[schemars(range(min = 1, max = 65536))]
    pub in_flight: usize,
    /// Once the first in line has waited so long for its turn, further plans are shed.
    #[schemars(extend("x-least" = "1ms", "x-most" = "10s"))]
    pub queue: Span,
    /// Items of one plan, besides those that a caller names.
    #[schemars(range(min = 1, max = 256))]
    pub items: usize,
    /// What is predicted where a caller names no members.
    pub plan: PlanRules,
    /// What is remembered of what a subject reads.
    pub history: HistoryRules,
    /// How it is learnt which of the filled values were read, without asking the applications.
    pub usefulness: UsefulnessRules,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PlanRules {
    /// The likelihood below which an item is not worth a call.
    pub floor: Percent,
    /// Bytes that one plan is expected to write, by what was seen before.
    #[schemars(extend("x-least" = "1KiB", "x-most" = "1GiB"))]
    pub bytes: Size,
    /// Calls of one plan to one source.
    #[schemars(range(min = 1, max = 256))]
    pub per_source: usize,
    /// Entities that are never predicted. A caller may still name them.
    #[schemars(extend("x-declared" = "entities"))]
    pub never: Vec<String>,
    /// Entities tried with whoever's history is silent about them, besides what most others read. Each must have a `load`,
    /// and follow from the subject or from another's answer (`follows`).
    #[schemars(extend("x-declared" = "entities"))]
    pub cohort: Vec<String>,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HistoryRules {
    /// Off: nothing is predicted or remembered, and only `always` is filled where a caller names no members.
    pub enabled: bool,
    /// Time in which a habit of which nothing more is known loses half of what it has over the usual.
    #[schemars(extend("x-least" = "1m", "x-most" = "365d"))]
    pub half_life: Span,
    /// Items remembered of one subject; the least likely go first.
    #[schemars(range(min = 1, max = 128))]
    pub keep: usize,
    /// How long a history lives after the last login or read. Nothing is kept of a subject who stays away longer.
    #[schemars(extend("x-least" = "1m", "x-most" = "365d"))]
    pub life: Span,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UsefulnessRules {
    /// The share of prehydrated values that is looked at before it ends. 0%: none.
    pub sample: Percent,
    /// The share of prehydrated values that is written so that even a read within the first second shows, besides those that
    /// are not certain to be read. All of them are looked at, and they alone prove that a value was not read. 0%: none.
    pub marked: Percent,
    /// Looks a second, at most: each costs Redis a few commands of about a microsecond.
    #[schemars(range(min = 1, max = 1000))]
    pub per_second: u32,
    /// An entity of which a smaller share is read is no longer predicted.
    pub floor: Percent,
    /// How often such an entity is filled all the same, to see whether it is read again.
    pub explore: Percent,
}

impl Default for Prehydrate {
    fn default() -> Self {
        Self {
            always: Vec::new(),
            // What a person waits for after a login, at most.
            deadline: Span::secs(4),
            in_flight: 512,
            // A plan that waited longer would be done after the page it is for.
            queue: Span::millis(200),
            items: 16,
            plan: PlanRules::default(),
            history: HistoryRules::default(),
            usefulness: UsefulnessRules::default(),
        }
    }
}

impl Default for PlanRules {
    fn default() -> Self {
        // Under 30 % a thing that was read once by chance would be fetched at the next login.
        Self { floor: Percent(30), bytes: Size(1 << 20), per_source: 8, never: Vec::new(), cohort: Vec::new() }
    }
}

impl Default for HistoryRules {
    fn default() -> Self {
        Self { enabled: true, half_life: Span::secs(7 * 86_400), keep: 64, life: Span::secs(30 * 86_400) }
    }
}

impl Default for UsefulnessRules {
    fn default() -> Self {
        Self { sample: Percent(20), marked: Percent(5), per_second: 20, floor: Percent(10), explore: Percent(2) }
    }
}
