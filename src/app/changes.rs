//! A configuration that has changed while the process runs: what is built anew, what stays, and what has to go.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::watch;

use crate::app::purge::Purges;
use crate::app::warm::Lists;
use crate::config;
use crate::domain::entity::Name;
use crate::domain::random::Random;
use crate::domain::source::Source;
use crate::fill::settings::{Live, Settings};
use crate::prehydrate::Prehydrate;
use crate::prehydrate::identity::Identity;
use crate::prehydrate::identity::settings::Config as IdentityConfig;
use crate::source::http::{self, HttpSource};
use crate::source::metrics::Metrics;
use crate::warm::Warm;

/// Who is told of a change, besides the settings that all of them share.
pub struct Flows {
    pub prehydrate: Prehydrate,
    pub purges: Purges,
    pub warm: Warm,
    pub lists: Lists,
}

/// Makes sources, at the start and at every reload.
pub struct Sources {
    metrics: Metrics,
    random: Random,
    built: BTreeMap<Name, (http::Config, Arc<dyn Source>)>,
}

impl Sources {
    pub fn new(metrics: Metrics, random: Random) -> Self {
        Self { metrics, random, built: BTreeMap::new() }
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
        let sources = next.iter().map(|(name, (_, source))| (name.clone(), source.clone())).collect();
        self.built = next;
        Ok(Settings { catalog: live.catalog.clone(), switch: live.enabled.clone(), sources })
    }

    fn build(&self, name: &Name, config: &http::Config) -> anyhow::Result<Arc<dyn Source>> {
        Ok(Arc::new(HttpSource::build(name.clone(), config.clone(), self.random.clone(), &self.metrics)?))
    }
}

/// The configuration was accepted with the same texts, so this hardly fails; a file that is rotated in between may.
pub fn identity(config: Option<IdentityConfig>) -> anyhow::Result<Option<Identity>> {
    config.map(Identity::new).transpose().map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("identity: {}", problems.join("; "))
    })
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
        let built = sources.settings(&next).and_then(|settings| Ok((settings, identity(next.identity)?)));
        match built {
            Ok((settings, identity)) => {
                let before = live.get();
                live.replace(settings);
                flows.prehydrate.reconfigure(next.prehydrate, identity);
                flows.warm.reconfigure(flows.lists.plans(next.warmup));
                tracing::info!("the new configuration is in force");
                // After it is: whatever is filled from now on is right.
                flows.purges.after(before, &live.get());
            }
            Err(error) => tracing::error!("the old configuration stays in force: {error:#}"),
        }
    }
}
