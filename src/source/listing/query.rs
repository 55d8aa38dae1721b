//! Members from a query: one for each row, its columns their parameters.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tracing::Instrument;

use crate::domain::entity::Name;
use crate::domain::listing::{Cursor, Listing, Page, PageAsk};
use crate::domain::query::Query;
use crate::domain::source::FetchError;
use crate::source::listing::row;
use crate::source::postgres::{From, Listed, PostgresSource};

pub struct Rows {
    origin: String,
    source: Arc<PostgresSource>,
    query: Query,
    page_by: Option<String>,
}

impl Rows {
    pub fn new(name: &Name, source: Arc<PostgresSource>, query: Query, page_by: Option<String>) -> Self {
        Self { origin: format!("query on {name}"), source, query, page_by }
    }

    async fn page_of(&self, ask: &PageAsk<'_>) -> Result<Page, FetchError> {
        let after = ask.after.map(|cursor| cursor.0.as_str());
        let offset = match (&self.page_by, after) {
            (None, Some(after)) => after.parse().map_err(|_| FetchError::Broken)?,
            (Some(_), _) | (None, None) => 0,
        };
        let from = match &self.page_by {
            Some(name) => From::Column { name, after },
            None => From::Offset(offset),
        };
        let rows = self.source.page(&self.query, from, ask.limit, ask.deadline).await?;
        let next = match (rows.last(), rows.len() < ask.limit) {
            (None, _) | (Some(_), true) => None,
            (Some(last), false) => Some(match from {
                From::Offset(offset) => Cursor((offset + rows.len() as u64).to_string()),
                // Without a value there is no place behind this row.
                From::Column { .. } => Cursor(last.place.clone().ok_or(FetchError::Ambiguous)?),
            }),
        };
        let members = rows.iter().filter_map(|Listed { row, place: _ }| row::all_of(row)).collect();
        Ok(Page { members, next, total: None })
    }
}

impl Listing for Rows {
    fn page<'a>(&'a self, ask: PageAsk<'a>) -> BoxFuture<'a, Result<Page, FetchError>> {
        let span = tracing::info_span!("source_list", origin = %self.origin);
        async move { self.page_of(&ask).await }.instrument(span).boxed()
    }

    fn origin(&self) -> &str {
        &self.origin
    }
}
