//! The members that carry a tag, as a listing: what was filled with it before, whatever fills it.
//!
//! The index knows keys, and the catalog which member a key is. A place in it is a shard and a cursor of the store's, which
//! bounds a page and not we.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::domain::entity::Name;
use crate::domain::key::Key;
use crate::domain::listing::{Cursor, Listing, Page, PageAsk, Parameters};
use crate::domain::removal::{Removal, TagPlace};
use crate::domain::source::FetchError;
use crate::domain::store::StoreError;
use crate::domain::tag::Tag;
use crate::fill::settings::Live;

pub struct Tagged {
    removal: Arc<dyn Removal>,
    live: Live,
    entity: Name,
    tag: Tag,
    origin: String,
}

impl Tagged {
    pub fn new(removal: Arc<dyn Removal>, live: Live, entity: Name, tag: Tag, text: &str) -> Self {
        Self { removal, live, entity, tag, origin: format!("tag {text}") }
    }

    async fn read(&self, ask: PageAsk<'_>) -> Result<Page, FetchError> {
        let from = match ask.after {
            None => TagPlace::default(),
            Some(Cursor(text)) => place(text).ok_or(FetchError::Broken)?,
        };
        let page = self.removal.tagged(&self.tag, from).await.map_err(|error| match error {
            StoreError::Timeout => FetchError::Timeout,
            StoreError::Overloaded => FetchError::Shed,
            StoreError::Unreachable | StoreError::Refused(_) => FetchError::Unreachable,
        })?;
        let settings = self.live.get();
        let member = |key: Key| -> Option<Parameters> {
            let found = settings.catalog.find(std::str::from_utf8(key.as_bytes()).ok()?)?;
            let is_meant = found.alias.is_none() && *found.entity.name() == self.entity;
            is_meant.then(|| found.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
        };
        let next = page.next.map(|TagPlace { shard, cursor, server }| Cursor(format!("{shard}:{cursor}:{server}")));
        Ok(Page { members: page.keys.into_iter().filter_map(member).collect(), next, total: None })
    }
}

impl Listing for Tagged {
    fn page<'a>(&'a self, ask: PageAsk<'a>) -> BoxFuture<'a, Result<Page, FetchError>> {
        self.read(ask).boxed()
    }

    fn origin(&self) -> &str {
        &self.origin
    }
}

fn place(text: &str) -> Option<TagPlace> {
    let mut parts = text.split(':');
    let (shard, cursor, server) = (parts.next()?, parts.next()?, parts.next()?);
    Some(TagPlace { shard: shard.parse().ok()?, cursor: cursor.parse().ok()?, server: server.parse().ok()? })
}
