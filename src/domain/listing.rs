//! The contract of a listing: which members a warm-up step is about, page by page.
//!
//! A listing gives parameters, never values: what was obtained before a claim must not be written, so rows and bodies
//! of a list only name the members to claim and fetch.
//!
//! Why a trait: queries, list endpoints, files, tags and habits are all listings, and tests bring a sixth.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::domain::source::FetchError;
use crate::domain::trace::TraceContext;

pub trait Listing: Send + Sync {
    fn page<'a>(&'a self, ask: PageAsk<'a>) -> BoxFuture<'a, Result<Page, FetchError>>;

    /// Where the members come from, in words for people: `query on db`.
    fn origin(&self) -> &str;
}

pub struct PageAsk<'a> {
    /// Where the page before ended; none for the first.
    pub after: Option<&'a Cursor>,
    /// Members of one page. A listing whose pages are the store's own may give a few more.
    pub limit: usize,
    pub trace: TraceContext,
    pub deadline: Instant,
}

/// Parameters as an entity's templates name them: `id` → `123`.
pub type Parameters = BTreeMap<String, String>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Best first, as far as the listing knows what is best.
    pub members: Vec<Parameters>,
    /// None: this was the last.
    pub next: Option<Cursor>,
    /// How many there are in all, where the listing knows it or can guess.
    pub total: Option<u64>,
}

/// A place in a listing, in the listing's own words. It survives a restart, in a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub String);
