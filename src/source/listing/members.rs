//! Members that are written down in the configuration.

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use crate::domain::listing::{Cursor, Listing, Page, PageAsk, Parameters};
use crate::domain::source::FetchError;

pub struct Members(Vec<Parameters>);

impl Members {
    pub fn new(members: Vec<Parameters>) -> Self {
        Self(members)
    }

    fn page_after(&self, after: Option<&Cursor>, limit: usize) -> Result<Page, FetchError> {
        let from: usize = after.map_or(Ok(0), |cursor| cursor.0.parse()).map_err(|_| FetchError::Broken)?;
        let members: Vec<Parameters> = self.0.iter().skip(from).take(limit).cloned().collect();
        let to = from.saturating_add(members.len());
        let next = (to < self.0.len()).then(|| Cursor(to.to_string()));
        Ok(Page { members, next, total: Some(self.0.len() as u64) })
    }
}

impl Listing for Members {
    fn page<'a>(&'a self, ask: PageAsk<'a>) -> BoxFuture<'a, Result<Page, FetchError>> {
        ready(self.page_after(ask.after, ask.limit)).boxed()
    }

    fn origin(&self) -> &str {
        "members written down"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_where_it_stopped() {
        let members = (0..5).map(|n| Parameters::from([("id".to_owned(), n.to_string())])).collect();
        let (listing, mut seen, mut after) = (Members::new(members), Vec::new(), None);
        loop {
            let page = listing.page_after(after.as_ref(), 2).expect("a page");
            seen.extend(page.members.iter().map(|params| params["id"].clone()));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, ["0", "1", "2", "3", "4"]);
        assert_eq!(listing.page_after(Some(&Cursor("x".to_owned())), 2), Err(FetchError::Broken));
    }
}
