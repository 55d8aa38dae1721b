//! The configuration file: read, checked whole, turned into each module's own typed configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::catalog::Catalog;
use crate::domain::entity::Name;
use crate::domain::switch::Switch;
use crate::{admin, fill, grpc, local, prehydrate, remote, source, telemetry};

/// A whole configuration that has been checked: what `app` builds from.
#[derive(Clone, Debug)]
pub struct Config {
    pub group: String,
    pub store: Store,
    pub live: Live,
    pub fill: fill::Config,
    pub listen: grpc::Config,
    pub admin: admin::Config,
    pub telemetry: telemetry::Config,
    /// Worker threads of the main runtime.
    pub workers: usize,
}

/// The part that a reload may change under a running process.
#[derive(Clone, Debug)]
pub struct Live {
    pub enabled: Switch,
    pub catalog: Arc<Catalog>,
    pub sources: BTreeMap<Name, source::http::Config>,
    pub prehydrate: prehydrate::Config,
}

#[derive(Clone, Debug)]
pub enum Store {
    Redis(Box<remote::Config>),
    Memory(local::Config),
}
