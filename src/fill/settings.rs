//! What fills go by, as of now. A reload puts a new one in place; a fill that has begun keeps the one it began with.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::domain::catalog::Catalog;
use crate::domain::entity::Name;
use crate::domain::source::Source;
use crate::domain::switch::Switch;

pub struct Settings {
    pub catalog: Arc<Catalog>,
    pub switch: Switch,
    /// Every source that an entity's load names is here: the configuration was checked for it.
    pub sources: BTreeMap<Name, Arc<dyn Source>>,
}

/// The settings in force; cloning shares them.
#[derive(Clone)]
pub struct Live(Arc<ArcSwap<Settings>>);

impl Live {
    pub fn new(settings: Settings) -> Self {
        Self::of(Arc::new(settings))
    }

    /// For whoever goes by settings that are, or were, somebody else's.
    pub fn of(settings: Arc<Settings>) -> Self {
        Self(Arc::new(ArcSwap::new(settings)))
    }

    pub fn get(&self) -> Arc<Settings> {
        self.0.load_full()
    }

    pub fn replace(&self, settings: Settings) {
        self.0.store(Arc::new(settings));
    }
}
