//! Settled values → the modules' own configurations, with everything checked that takes more than one key to see.
//!
//! Each section is taken by itself: one whose shape is wrong has been reported and is left out, the others are examined
//! all the same. A name that was declared counts as declared even if what it names is broken.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::file::{Enabled, Fill, Verify};
use super::form::Formed;
use super::problem::Problem;
use super::secrets::{Secrets, Staged};
use super::settle::Settled;
use super::{Config, Live};
use crate::domain::catalog::Catalog;
use crate::domain::entity::Name;
use crate::domain::secret::{Secret, SecretCell};
use crate::domain::switch::Switch;
use crate::{fill, verify};

mod caller;
mod door;
mod entity;
mod identity;
mod invalidate;
mod load;
mod prehydrate;
mod source;
mod store;
mod warmup;

pub struct Converted {
    pub config: Config,
    pub warnings: Vec<Problem>,
    pub staged: Staged,
}

pub fn convert(settled: &Settled, secrets: &Secrets) -> Result<Converted, Vec<Problem>> {
    let mut context = Context {
        settled,
        secrets,
        staged: Staged::default(),
        problems: Vec::new(),
        warnings: Vec::new(),
        harmless: BTreeSet::new(),
    };
    let config = context.config();
    let Context { staged, mut problems, mut warnings, harmless, settled: _, secrets: _ } = context;
    problems.extend(settled.problems.iter().cloned());
    warnings.extend(settled.inline_secrets.iter().filter(|path| !harmless.contains(*path)).map(|path| {
        Problem::new(path, "a secret stands in the file itself")
            .hint("mount it and write `${file:/run/secrets/…}`: then it can be rotated, and the file can be shown")
    }));
    for problem in problems.iter_mut().chain(&mut warnings) {
        problem.place = problem.place.take().or_else(|| settled.place_near(&problem.path));
    }
    match config {
        Some(config) if problems.is_empty() => Ok(Converted { config, warnings, staged }),
        _ if problems.is_empty() => {
            Err(vec![Problem::new("", "it cannot be taken, for a reason that hydrant fails to name")])
        }
        _ => Err(problems),
    }
}

struct Context<'a> {
    settled: &'a Settled,
    secrets: &'a Secrets,
    staged: Staged,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    /// Paths of texts that may hold a secret and do not.
    harmless: BTreeSet<String>,
}

impl Context<'_> {
    /// The whole configuration; every part is looked at before one that failed ends it.
    fn config(&mut self) -> Option<Config> {
        let group = self.group();
        let listen = self.listen();
        let telemetry = self.telemetry();
        let workers = self.take::<usize>(&["workers"]);
        let fill = self.fill(group.as_ref());
        let invalidate = self.invalidate(group.as_ref(), fill.as_ref());
        let store = self.store(group.as_ref());
        let sources = self.sources(fill.as_ref());
        let entities = self.entities(&sources, listen.as_ref().map(|(api, _, _)| api.limits.value_message));
        let prehydrate = self.prehydrate(&entities);
        let verify = self.verify();
        let warmup = self.warmup(group.as_ref(), &entities, &sources);
        let enabled = self.enabled();
        let identity = self.identity();
        let catalog = self.catalog(entities);

        let (listen, admin, callers) = listen?;
        let (enabled, catalog, prehydrate, verify) = (enabled?, catalog?, prehydrate?, verify?);
        let warmup = warmup?;
        let live = Live { enabled, catalog, sources, prehydrate, warmup, verify, identity, callers };
        Some(Config {
            group: group?.as_str().to_owned(),
            store: store?,
            live,
            fill: fill?,
            invalidate: invalidate?,
            listen,
            admin,
            telemetry: telemetry?,
            workers: workers?,
        })
    }

    fn group(&mut self) -> Option<Name> {
        self.take(&["group"]).map(|Formed(group)| group)
    }

    fn fill(&mut self, group: Option<&Name>) -> Option<fill::Config> {
        let Fill { claim_life, in_flight_bytes } = self.take(&["fill"])?;
        // Without a group the whole is refused; what else depends on these settings is checked all the same.
        let group = group.map_or_else(String::new, |group| group.as_str().to_owned());
        Some(fill::Config { group, claim_life: claim_life.0, in_flight_bytes: in_flight_bytes.usize() })
    }

    fn verify(&mut self) -> Option<verify::Config> {
        let Verify { enabled, per_minute, bytes } = self.take(&["verify"])?;
        Some(verify::Config { enabled, per_minute, bytes: bytes.0 })
    }

    fn enabled(&mut self) -> Option<Switch> {
        let Enabled { all, percent, entities } = self.take(&["enabled"])?;
        let entities = entities.into_iter().filter_map(|(text, on)| Some((Name::new(&text)?, on))).collect();
        Some(Switch { all, percent: percent.0, entities })
    }

    fn catalog(&mut self, entities: entity::Entities) -> Option<Arc<Catalog>> {
        match Catalog::new(entities.into_values().collect()) {
            Ok(catalog) => Some(Arc::new(catalog)),
            Err(clashes) => {
                for clash in clashes {
                    let path = self.path_of_template(&clash.entity, &clash.template);
                    self.problem(&path, &clash, "no two templates may make the same key: change the text of one");
                }
                None
            }
        }
    }

    /// The entity's key or one of its aliases' keys, by its text.
    fn path_of_template(&self, entity: &Name, template: &str) -> String {
        let declared = &self.settled.values["entities"][entity.as_str()];
        let aliases = declared["aliases"].as_object().into_iter().flatten();
        let alias = aliases.filter(|(_, alias)| alias["key"] == template).map(|(name, _)| name).next();
        match alias {
            Some(alias) if declared["key"] != template => format!("entities.{entity}.aliases.{alias}.key"),
            _ => format!("entities.{entity}.key"),
        }
    }

    // What all parts need.

    /// A section as serde takes it; none where something in it is wrong already, or it is not there.
    fn take<T: DeserializeOwned>(&mut self, path: &[&str]) -> Option<T> {
        let at = path.join(".");
        if self.is_broken(&at) {
            return None;
        }
        let value = path.iter().try_fold(&self.settled.values, |value, key| value.get(key))?;
        match T::deserialize(value) {
            Ok(section) => Some(section),
            Err(error) => {
                let problem = Problem::new(at, format!("this passed every check and yet cannot be taken: {error}"));
                self.problems.push(problem.hint("this is a fault of hydrant: please report it"));
                None
            }
        }
    }

    fn is_broken(&self, path: &str) -> bool {
        self.settled.problems.iter().any(|problem| problem.is_within(path))
    }

    /// The names in a map, those of broken values included.
    fn names(&self, section: &str) -> Vec<String> {
        let entries = self.settled.values.get(section).and_then(Json::as_object);
        entries.into_iter().flat_map(|entries| entries.keys().cloned()).collect()
    }

    fn name(&mut self, path: &str, text: &str) -> Option<Name> {
        let name = Name::new(text);
        if name.is_none() {
            self.problem(path, "this is not a name", "names are letters, digits, `_` and `-`, at most 64");
        }
        name
    }

    fn secret(&mut self, path: &str, secret: Secret) -> SecretCell {
        self.secrets.stage(&mut self.staged, path, secret)
    }

    /// A certificate or key for Redis. It is read at every connect, and may be mounted later: a warning is enough.
    fn readable(&mut self, path: &str, file: Option<&Path>) {
        if file.is_some_and(|file| std::fs::File::open(file).is_err()) {
            self.warning(path, "the file cannot be read now", "it is read at every connect: mount it before then");
        }
    }

    fn problem(&mut self, path: &str, problem: impl std::fmt::Display, hint: impl std::fmt::Display) {
        self.problems.push(Problem::new(path, problem).hint(hint));
    }

    fn warning(&mut self, path: &str, problem: impl std::fmt::Display, hint: impl std::fmt::Display) {
        self.warnings.push(Problem::new(path, problem).hint(hint));
    }
}
