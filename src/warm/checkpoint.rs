//! How far a run has come, as it is noted beside the lease: whoever holds the lease next goes on from there.
//!
//! It names steps and a place in a listing, never a member. A page is noted once all of it has been filled, so what is
//! done twice is at most one page, and of that what is fresh is passed over.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::domain::lease::Progress;
use crate::domain::listing::Cursor;
use crate::warm::plan::Plan;

/// After this a run that was cut off is begun anew.
const WORTH_KEEPING: Duration = Duration::from_secs(3_600);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    plan: String,
    /// By their names: in a plan that has been changed no place can be trusted.
    steps: Vec<String>,
    /// The step to go on with; as many as there are steps when all are done.
    at: usize,
    /// The place in its listing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    cursor: Option<String>,
    is_finished: bool,
}

impl Checkpoint {
    pub fn of(plan: &Plan, at: usize, cursor: Option<&Cursor>) -> Self {
        Self {
            plan: plan.name.as_str().to_owned(),
            steps: names(plan),
            at,
            cursor: cursor.map(|Cursor(text)| text.clone()),
            is_finished: false,
        }
    }

    pub fn finished(plan: &Plan) -> Self {
        Self { is_finished: true, ..Self::of(plan, plan.steps.len(), None) }
    }

    /// What was left of this very plan by a run that was cut off; none where there is nothing to go on with.
    pub fn left(plan: &Plan, text: &[u8]) -> Option<Self> {
        let left: Self = serde_json::from_slice(text).ok()?;
        let is_ours = left.plan == plan.name.as_str() && left.steps == names(plan) && left.at < plan.steps.len();
        (is_ours && !left.is_finished).then_some(left)
    }

    pub const fn at(&self) -> usize {
        self.at
    }

    pub fn cursor(&self) -> Option<Cursor> {
        self.cursor.clone().map(Cursor)
    }

    pub fn into_progress(self) -> Progress {
        // A struct of texts and numbers is always written.
        let text = serde_json::to_vec(&self).unwrap_or_default();
        Progress { text: Bytes::from(text), life: WORTH_KEEPING }
    }
}

fn names(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|step| step.name.as_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::warm::plan::sample;

    #[test]
    fn a_run_that_was_cut_off_goes_on_where_it_was() {
        let plan = sample::plan(&["pool", "users"]);
        let cut_off = Checkpoint::of(&plan, 1, Some(&Cursor("after 256".to_owned())));
        let left = Checkpoint::left(&plan, &cut_off.clone().into_progress().text).expect("ours");
        assert_eq!((left.at(), left.cursor()), (1, Some(Cursor("after 256".to_owned()))));
    }

    #[test]
    fn nothing_is_left_of_a_finished_run_or_of_another_plan() {
        let plan = sample::plan(&["pool", "users"]);
        assert_eq!(Checkpoint::left(&plan, &Checkpoint::finished(&plan).into_progress().text), None);
        let changed = sample::plan(&["users", "pool"]);
        let text = Checkpoint::of(&plan, 1, None).into_progress().text;
        assert_eq!(Checkpoint::left(&changed, &text), None);
        assert_eq!(Checkpoint::left(&plan, b"something else"), None);
    }
}
