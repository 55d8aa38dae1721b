//! Members that the configuration names one by one, as a listing.

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use crate::domain::listing::{Cursor, Listing, Page, PageAsk, Parameters};
use crate::domain::source::FetchError;

pub struct Named(pub Vec<Parameters>);

impl Listing for Named {
    fn page<'a>(&'a self, ask: PageAsk<'a>) -> BoxFuture<'a, Result<Page, FetchError>> {
        let from = match ask.after.map(|Cursor(text)| text.parse::<usize>()) {
            None => 0,
            Some(Ok(from)) => from,
            Some(Err(_)) => return ready(Err(FetchError::Broken)).boxed(),
        };
        let end = self.0.len().min(from.saturating_add(ask.limit));
        let members = self.0.get(from..end).unwrap_or_default().to_vec();
        let next = (end < self.0.len()).then(|| Cursor(end.to_string()));
        ready(Ok(Page { members, next, total: Some(self.0.len() as u64) })).boxed()
    }

    fn origin(&self) -> &str {
        "a list in the configuration"
    }
}
