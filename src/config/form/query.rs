//! Queries as texts with a form of their own.

use crate::config::form::{Form, Wrong};
use crate::domain::query::{Query, QueryError};
use crate::domain::template::MAX_PARAMS;

/// A query, to be parsed with the parameters that it may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlText(pub String);

impl Form for SqlText {
    const FORMAT: &'static str = "hydrant-query";
    const KIND: &'static str = "query";

    fn read(text: &str) -> Result<Self, Wrong> {
        // What `$1` stands for is looked up later.
        Query::parse(text, &["p"; MAX_PARAMS]).map(|_| Self(text.to_owned())).map_err(query)
    }
}

fn query(error: QueryError) -> Wrong {
    let hint = match &error {
        QueryError::Empty | QueryError::NotAQuery => "`select id, name from users where id = {id}`",
        QueryError::Several => "keep one query",
        QueryError::Unbalanced => "look for a quote or a bracket without its partner; a brace stands in quotes",
        QueryError::BadName(_) => "name parameters like variables: `{userId}`",
        QueryError::BadNumber(_) | QueryError::Mixed => "write parameters by name: `{id}`",
        QueryError::TooMany => "fewer parameters make a better key",
    };
    Wrong::new(format!("is not a query: {error}"), hint)
}
