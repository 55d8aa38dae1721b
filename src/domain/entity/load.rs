//! What a source is asked: for one member, and for many at once.

use crate::domain::entity::{Credential, Load, Name};
use crate::domain::projection::paths::Place;
use crate::domain::query::Query;
use crate::domain::template::{Params, RenderError, Template};

/// What a source is asked for one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A path below the origin of an HTTP source.
    Get(Template),
    /// A query of a Postgres source; its parameters are the key's.
    Query { query: Query, rows: Rows },
}

/// What of a query's answer is the member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Its one row, as an object. Two are an error, none means that there is no such member.
    One,
    /// All of its rows, as an array of objects. No row is an empty array: a member always exists.
    List,
}

/// What a source is asked for many members at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bulk {
    pub ask: BulkAsk,
    /// Members in one call, at most.
    pub most: usize,
}

/// What stands for the ids in the path of a bulk load.
pub const IDS: &str = "ids";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BulkAsk {
    /// A path with `{ids}` in it: the ids, with commas between them. The answer holds a list of `items`, each of which
    /// says at `id` whose it is.
    Get { path: Template, items: Place, id: Place },
    /// A query in which each parameter of the key stands for the array of all the members'. `columns` say whose a row
    /// is: one for each parameter of the key, in their order.
    Query { query: Query, columns: Vec<String> },
}

impl Load {
    /// By one call for each member, with a credential of the sidecar's own or none.
    pub const fn plain(source: Name, ask: Ask) -> Self {
        Self { source, ask, bulk: None, credential: Credential::Service, lag: None }
    }

    /// Whether a member with these parameters can be asked for at all.
    pub fn can_ask(&self, params: &Params) -> Result<(), RenderError> {
        match &self.ask {
            Ask::Get(path) => path.path(params).map(drop),
            Ask::Query { query, rows: _ } => query.bind(params).map(drop),
        }
    }
}

impl Ask {
    /// The path of one member, where the source is asked by path and the path can hold it.
    pub fn path(&self, params: &Params) -> Option<String> {
        match self {
            Self::Get(path) => path.path(params).ok(),
            Self::Query { .. } => None,
        }
    }

    pub fn params(&self) -> Vec<&str> {
        match self {
            Self::Get(path) => path.params().collect(),
            Self::Query { query, rows: _ } => query.params().collect(),
        }
    }
}
