//! A configuration that has changed while the process runs: what is built anew, what stays, and what has to go.

use std::collections::BTreeMap;

use anyhow::Context;
use tokio::sync::watch;

use crate::app::purge::Purges;
use crate::app::warm::Lists;
use crate::config;
use crate::domain::entity::Name;
use crate::domain::random::Random;
use crate::fill::settings::{Live, Settings};
use crate::grpc::caller::Callers;
use crate::prehydrate::Prehydrate;
use crate::prehydrate::identity::Identity;
use crate::prehydrate::identity::settings::{Config as IdentityConfig, ConfigProblem};
use crate::source::any::{self, AnySource};
use crate::source::metrics::Metrics;
use crate::tasks::Tasks;
use crate::verify::Verify;
use crate::warm::Warm;

/// Who is told of a change, besides the settings that all of them share.
pub struct Flows {
    pub prehydrate: Prehydrate,
    pub verify: Verify,
    pub purges: Purges,
    pub callers: Callers,
    pub warm: Warm,
    pub lists: Lists,
}

/// Makes sources, at the start and at every reload.
pub struct Sources {
    metrics: Metrics,
    random: Random,
    tasks: Tasks,
    built: BTreeMap<Name, (any::Config, AnySource)>,
}

impl Sources {
    pub fn new(metrics: Metrics, random: Random, tasks: Tasks) -> Self {
        Self { metrics, random, tasks, built: BTreeMap::new() }
    }

    /// A source whose configuration is as it was stays: its connections, its breaker and its limits go on.
    pub fn settings(&mut self, live: &config::Live) -> anyhow::Result<Settings> {
        let mut next = BTreeMap::new();
        for (name, config) in &live.sources {
            let source = match self.built.get(name) {
                Some((same, source)) if same == config => source.clone(),
                _ => self.build(name, config).with_context(|| format!("sources.{name}"))?,
            };
            next.insert(name.clone(), (config.clone(), source));
        }
        let sources = next.iter().map(|(name, (_, source))| (name.clone(), source.as_source())).collect();
        self.built = next;
        Ok(Settings { catalog: live.catalog.clone(), switch: live.enabled.clone(), sources })
    }

    /// As they are now, by their kinds: listings ask them in other ways.
    pub fn built(&self) -> BTreeMap<Name, AnySource> {
        self.built.iter().map(|(name, (_, source))| (name.clone(), source.clone())).collect()
    }

    fn build(&self, name: &Name, config: &any::Config) -> Result<AnySource, any::BuildError> {
        AnySource::build(name.clone(), config.clone(), self.random.clone(), &self.metrics, &self.tasks)
    }
}

/// The configuration was accepted with the same texts, so this hardly fails; a file that is rotated in between may.
pub fn identity(config: Option<IdentityConfig>) -> anyhow::Result<Option<Identity>> {
    config.map(Identity::new).transpose().map_err(|problems| told("identity", &problems))
}

pub fn told(section: &str, problems: &[ConfigProblem]) -> anyhow::Error {
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    anyhow::anyhow!("{section}: {}", problems.join("; "))
}

/// Puts every accepted change in force. A fill that has begun keeps what it began with.
pub async fn follow_changes(
    mut changes: watch::Receiver<config::Live>,
    mut sources: Sources,
    live: Live,
    flows: Flows,
) {
    while changes.changed().await.is_ok() {
        let next = changes.borrow_and_update().clone();
        let built = sources.settings(&next).and_then(|settings| {
            let identity = identity(next.identity)?;
            let plans = flows.lists.plans(next.warmup, &sources.built())?;
            flows.callers.replace(next.callers).map_err(|problems| told("listen.remote", &problems))?;
            Ok((settings, identity, plans))
        });
        match built {
            Ok((settings, identity, plans)) => {
                let before = live.get();
                live.replace(settings);
                flows.prehydrate.reconfigure(next.prehydrate, identity);
                flows.verify.reconfigure(next.verify);
                flows.warm.reconfigure(plans);
                tracing::info!("the new configuration is in force");
                // After it is: whatever is filled from now on is right.
                flows.purges.after(&before, &live.get());
            }
            Err(error) => tracing::error!("the old configuration stays in force: {error:#}"),
        }
    }
}
