//! Listings: which members a warm-up step is about, from a query, an HTTP list, a file, or as written down.
//!
//! A listing names members and gives no values: whatever else a row or an item holds is dropped here. Each of them can go
//! on where it stopped, from a cursor that is text, so that a plan can be resumed by another process.

mod file;
mod members;
mod pages;
mod query;
mod row;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::domain::entity::Name;
use crate::domain::listing::{Listing, Parameters};
use crate::domain::projection::paths::Place;
use crate::domain::query::Query;
use crate::domain::template::Template;
use crate::source::any::AnySource;

/// Where a listing comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Config {
    /// Written down: the names of the best customers, searches that everybody makes.
    Members(Vec<Parameters>),
    /// A file with a member on each line: a JSON object of its parameters, or an id alone.
    File {
        path: PathBuf,
        /// The parameter that an id alone is of.
        param: Option<String>,
    },
    /// Rows of a Postgres source: each column is a parameter of that name.
    Query {
        source: Name,
        query: Query,
        /// A column without doubles, by which the rows are put in order and a page goes on where the one before ended.
        /// Without it the rows come as the query orders them, and each page passes over those before it.
        page_by: Option<String>,
    },
    /// Lists of an HTTP source.
    Pages(Pages),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pages {
    pub source: Name,
    /// The path of a page: `/users?page={page}&size={limit}`. It may hold `{page}`, `{offset}`, `{limit}` and `{cursor}`.
    pub get: Template,
    /// Where in an answer the list stands.
    pub items: Place,
    /// Where in an item each parameter stands.
    pub params: BTreeMap<String, Place>,
    /// Where an answer says how to go on: a link to this origin, or what `{cursor}` stands for.
    pub next: Option<Place>,
    /// What `{page}` is at first.
    pub first_page: u64,
}

/// Why a listing cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    #[error("there is no source `{0}`")]
    NoSource(Name),
    #[error("the source `{0}` is not behind Postgres, so it cannot be sent a query")]
    NotPostgres(Name),
    #[error("the source `{0}` is not behind HTTP, so it has no lists to get")]
    NotHttp(Name),
    #[error("the query takes parameters, but a listing has none")]
    Parameters,
    #[error("`{{{0}}}` in the path is none of `page`, `offset`, `limit` and `cursor`")]
    Placeholder(String),
    #[error("the path says two things of where a page begins")]
    TwoPlaces,
    #[error("`{{cursor}}` in the path, but not where an answer says what comes next")]
    NoNext,
    #[error("not said where in an item the parameters stand")]
    NoParams,
}

impl Config {
    /// The source that it asks, if it asks one.
    pub fn source(&self) -> Option<&Name> {
        match self {
            Self::Members(_) | Self::File { .. } => None,
            Self::Query { source, .. } => Some(source),
            Self::Pages(pages) => Some(&pages.source),
        }
    }
}

/// Sources are taken as they are now: after a reload listings are built anew.
pub fn build(config: &Config, sources: &BTreeMap<Name, AnySource>) -> Result<Arc<dyn Listing>, BuildError> {
    let named = |name: &Name| sources.get(name).ok_or_else(|| BuildError::NoSource(name.clone()));
    Ok(match config {
        Config::Members(members) => Arc::new(members::Members::new(members.clone())),
        Config::File { path, param } => Arc::new(file::Lines::new(path.clone(), param.clone())),
        Config::Query { source, query, page_by } => match named(source)? {
            AnySource::Postgres(postgres) if query.params().next().is_none() => {
                Arc::new(query::Rows::new(source, postgres.clone(), query.clone(), page_by.clone()))
            }
            AnySource::Postgres(_) => return Err(BuildError::Parameters),
            AnySource::Http(_) => return Err(BuildError::NotPostgres(source.clone())),
        },
        Config::Pages(config) => match named(&config.source)? {
            AnySource::Http(http) => Arc::new(pages::HttpPages::new(http.clone(), config.clone())?),
            AnySource::Postgres(_) => return Err(BuildError::NotHttp(config.source.clone())),
        },
    })
}
