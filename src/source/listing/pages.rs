//! Members from the lists of an HTTP source, by any of the usual ways to page: page numbers, offsets, a token, a link.
//!
//! How a list is paged follows from what stands in its path. A page of the server's may hold more than was asked for; the
//! cursor then says how many of its items have been given, and the page is asked for again.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tracing::Instrument;

use crate::domain::listing::{Cursor, Listing, Page, PageAsk};
use crate::domain::source::FetchError;
use crate::domain::template::Template;
use crate::source::http::HttpSource;
use crate::source::listing::{BuildError, Pages, row};

pub struct HttpPages {
    origin: String,
    source: Arc<HttpSource>,
    config: Pages,
    turning: Turning,
}

/// How one comes from a page to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turning {
    /// By its number, until one is empty.
    Number,
    /// By how many items were before it, until one is empty.
    Offset,
    /// By what the answer says of the next.
    Next,
    /// There is only one.
    Never,
}

/// A place within a list: the page of the server's, and how many of its items have been given.
#[derive(Clone, Debug, PartialEq, Eq)]
struct At {
    page: String,
    skip: usize,
}

impl HttpPages {
    pub fn new(source: Arc<HttpSource>, config: Pages) -> Result<Self, BuildError> {
        let turning = turning(&config)?;
        Ok(Self { origin: format!("list of {}", config.source), source, config, turning })
    }

    async fn page_of(&self, ask: &PageAsk<'_>) -> Result<Page, FetchError> {
        let at = match ask.after {
            None => self.first(),
            Some(cursor) => At::parse(cursor).ok_or(FetchError::Broken)?,
        };
        let path = self.path(&at, ask.limit)?;
        let Some(listed) = self.source.page(&path, ask.trace, ask.deadline).await? else { return Ok(Page::default()) };
        let items = listed.items(&self.config.items)?;
        let taken = items.iter().skip(at.skip).take(ask.limit);
        let members = taken.filter_map(|item| row::chosen(item, &self.config.params)).collect();
        let given = at.skip.saturating_add(ask.limit);
        let next = if given < items.len() {
            Some(At { page: at.page, skip: given })
        } else {
            let said = self.config.next.as_ref().and_then(|place| listed.text_at(place));
            self.turn(&at, items.len(), said)?
        };
        Ok(Page { members, next: next.map(|at| at.cursor()), total: None })
    }

    fn first(&self) -> At {
        let page = match self.turning {
            Turning::Number => self.config.first_page.to_string(),
            Turning::Offset => "0".to_owned(),
            Turning::Next | Turning::Never => String::new(),
        };
        At { page, skip: 0 }
    }

    fn turn(&self, at: &At, items: usize, said: Option<String>) -> Result<Option<At>, FetchError> {
        let number = || at.page.parse::<u64>().map_err(|_| FetchError::Broken);
        let page = match self.turning {
            Turning::Never => None,
            Turning::Number | Turning::Offset if items == 0 => None,
            Turning::Number => Some((number()? + 1).to_string()),
            Turning::Offset => Some((number()? + items as u64).to_string()),
            // A page that leads to itself would never end.
            Turning::Next => said.filter(|next| *next != at.page),
        };
        Ok(page.map(|page| At { page, skip: 0 }))
    }

    fn path(&self, at: &At, limit: usize) -> Result<String, FetchError> {
        let has_cursor = self.config.get.params().any(|param| param == "cursor");
        if self.turning == Turning::Next && !at.page.is_empty() && !has_cursor {
            return self.source.path_of_link(&at.page).ok_or(FetchError::Redirect);
        }
        let limit = limit.to_string();
        let values = ["page", "offset", "cursor"].map(|name| (name, at.page.as_str()));
        let params = values.into_iter().chain([("limit", limit.as_str())]).collect();
        if has_cursor && at.page.is_empty() {
            // Of the first page nothing is said.
            let text = self.config.get.as_str().replace("{cursor}", "");
            let get = Template::parse(&text).map_err(|_| FetchError::Refused)?;
            return get.path(&params).map_err(|_| FetchError::Refused);
        }
        self.config.get.path(&params).map_err(|_| FetchError::Refused)
    }
}

fn turning(config: &Pages) -> Result<Turning, BuildError> {
    let mut ways = BTreeMap::new();
    for param in config.get.params() {
        match param {
            "page" => drop(ways.insert("page", Turning::Number)),
            "offset" => drop(ways.insert("offset", Turning::Offset)),
            "cursor" if config.next.is_none() => return Err(BuildError::NoNext),
            "cursor" => drop(ways.insert("next", Turning::Next)),
            "limit" => {}
            other => return Err(BuildError::Placeholder(other.to_owned())),
        }
    }
    if config.next.is_some() {
        ways.insert("next", Turning::Next);
    }
    if config.params.is_empty() {
        return Err(BuildError::NoParams);
    }
    match ways.into_values().collect::<Vec<_>>()[..] {
        [] => Ok(Turning::Never),
        [way] => Ok(way),
        _ => Err(BuildError::TwoPlaces),
    }
}

impl At {
    fn cursor(&self) -> Cursor {
        Cursor(format!("{}:{}", self.skip, self.page))
    }

    fn parse(cursor: &Cursor) -> Option<Self> {
        let (skip, page) = cursor.0.split_once(':')?;
        Some(Self { page: page.to_owned(), skip: skip.parse().ok()? })
    }
}

impl Listing for HttpPages {
    fn page<'a>(&'a self, ask: PageAsk<'a>) -> BoxFuture<'a, Result<Page, FetchError>> {
        let span = tracing::info_span!("source_list", origin = %self.origin);
        async move { self.page_of(&ask).await }.instrument(span).boxed()
    }

    fn origin(&self) -> &str {
        &self.origin
    }
}
