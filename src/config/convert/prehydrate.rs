//! `prehydrate:` → the flow's configuration. What is named must exist, be loadable and follow from the subject.

use super::Context;
use super::entity::Entities;
use crate::config::file::prehydrate::{HistoryRules, PlanRules, Prehydrate, UsefulnessRules};
use crate::domain::entity::Name;
use crate::prehydrate::usefulness::Sampling;
use crate::prehydrate::{self, history, predict};

impl Context<'_> {
    pub(super) fn prehydrate(&mut self, entities: &Entities) -> Option<prehydrate::Config> {
        let settled: Prehydrate = self.take(&["prehydrate"])?;
        let Prehydrate { always, deadline, in_flight, queue, items, plan, history, usefulness } = settled;
        let always = self.logins("prehydrate.always", &always, entities);
        if always.len() > items {
            let problem = format!("{} entities are always filled, but a plan holds {items} items", always.len());
            self.problem("prehydrate.items", problem, "raise it, or shorten `prehydrate.always`");
        }
        let PlanRules { floor, bytes, per_source, never, cohort } = plan;
        let plan = predict::Config {
            items,
            floor: share(floor.0),
            bytes: bytes.usize(),
            per_source,
            never: never.iter().filter_map(|text| Name::new(text)).collect(),
            cohort: self.logins("prehydrate.plan.cohort", &cohort, entities),
            precision: share(usefulness.floor.0),
            explore: share(usefulness.explore.0),
        };
        let HistoryRules { enabled, half_life, keep, life } = history;
        let history = history::Config { half_life: half_life.0, keep, life: life.0, floor: share(floor.0) };
        let UsefulnessRules { sample, marked, per_second, floor: _, explore: _ } = usefulness;
        Some(prehydrate::Config {
            always,
            deadline: deadline.0,
            in_flight,
            queue: queue.0,
            items,
            plan,
            history: enabled.then_some(history),
            sampling: Sampling { share: share(sample.0), marked: share(marked.0), per_second },
        })
    }

    /// Entities that every login can have, or a problem for each that it cannot.
    fn logins(&mut self, path: &str, declared: &[String], entities: &Entities) -> Vec<Name> {
        let mut names = Vec::new();
        for (i, text) in declared.iter().enumerate() {
            let path = format!("{path}[{i}]");
            let Some(name) = Name::new(text) else { continue };
            // A broken entity has its own problems.
            let Some(entity) = entities.get(&name) else { continue };
            if entity.load().is_none() {
                let problem = format!("`{name}` has no `load`: it cannot be filled");
                self.problem(&path, problem, format!("say where it is loaded from: `entities.{name}.load`"));
            } else if !entity.follows_from_login() {
                let problem = format!("which `{name}` is meant does not follow from the login alone");
                let hint = format!("bind every parameter of its key: `entities.{name}.bind`, or `.follows`");
                self.problem(&path, problem, hint);
            } else if names.contains(&name) {
                self.problem(&path, format!("`{name}` stands twice"), "keep one");
            }
            names.push(name);
        }
        names
    }
}

fn share(percent: u8) -> f64 {
    f64::from(percent) / 100.0
}
