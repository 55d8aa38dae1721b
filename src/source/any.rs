//! A source of whichever kind: how it is configured, and how it is built.
//!
//! Flows know the `Source` contract only. What needs more, such as a listing that sends a query, is built from these.

use std::sync::Arc;

use crate::domain::entity::Name;
use crate::domain::random::Random;
use crate::domain::source::Source;
use crate::source::http::{self, HttpSource};
use crate::source::metrics::Metrics;
use crate::source::postgres::{self, PostgresSource};
use crate::tasks::Tasks;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Config {
    Http(http::Config),
    Postgres(postgres::Config),
}

/// Cloning shares the source.
#[derive(Clone, Debug)]
pub enum AnySource {
    Http(Arc<HttpSource>),
    Postgres(Arc<PostgresSource>),
}

/// Why a source cannot be built from its configuration.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("http.{field}: {error}", field = .error.field())]
    Http {
        #[from]
        error: http::BuildError,
    },
    #[error("postgres.{field}: {error}", field = .error.field())]
    Postgres {
        #[from]
        error: postgres::BuildError,
    },
}

impl AnySource {
    /// Nothing is connected before the first call.
    pub fn build(
        name: Name,
        config: Config,
        random: Random,
        metrics: &Metrics,
        tasks: &Tasks,
    ) -> Result<Self, BuildError> {
        Ok(match config {
            Config::Http(config) => Self::Http(Arc::new(HttpSource::build(name, config, random, metrics)?)),
            Config::Postgres(config) => {
                Self::Postgres(Arc::new(PostgresSource::build(name, config, random, metrics, tasks)?))
            }
        })
    }

    pub fn as_source(&self) -> Arc<dyn Source> {
        match self {
            Self::Http(source) => source.clone(),
            Self::Postgres(source) => source.clone(),
        }
    }
}

impl Config {
    /// More of an answer than this is not read.
    pub fn max_bytes(&self) -> usize {
        match self {
            Self::Http(config) => config.max_bytes,
            Self::Postgres(config) => config.max_bytes,
        }
    }
}
