//! What an invalidation would concern, without touching anything.

use crate::domain::error::{Error, Kind};
use crate::domain::key::Key;
use crate::domain::removal::TagPlace;
use crate::domain::store::StoreError;
use crate::invalidate::intent::Intent;
use crate::invalidate::request::Exactness;
use crate::invalidate::tally::Tally;
use crate::invalidate::tools::Tools;

/// Keys looked at in one request to the store.
const CHUNK: usize = 64;
/// Pages of one tag that are looked at; what comes after them is not counted.
const PAGES: usize = 64;

/// Counts what can be named or is registered. Aliases that only an index knows are not among it, and neither is what a
/// scan would find.
pub async fn preview(tools: &Tools, intent: &Intent, tally: &Tally) -> Result<Exactness, Error> {
    let unavailable = |error: StoreError| Error::new(Kind::StoreUnavailable, error.to_string());
    let settings = tools.means.live.get();
    let has_aliases = |key: &str| settings.catalog.find(key).is_some_and(|found| !found.entity.aliases().is_empty());
    let has_hidden = intent.sweep.is_some() || intent.items.iter().any(|item| has_aliases(&item.key));
    let mut exactness = if has_hidden { Exactness::Estimated } else { Exactness::Counted };
    for item in &intent.items {
        let names = std::iter::once(&item.key).chain(&item.aliases);
        let keys: Vec<Key> = names.filter_map(|name| Key::new(name.clone()).ok()).collect();
        look(tools, tally, item.target, &keys).await.map_err(unavailable)?;
    }
    for tagged in &intent.tags {
        let Some(tag) = tagged.tag.tag() else { continue };
        let mut place = Some(TagPlace::default());
        for _ in 0..PAGES {
            let Some(from) = place else { break };
            let page = tools.hands.removal.tagged(&tag, from).await.map_err(unavailable)?;
            look(tools, tally, tagged.target, &page.keys).await.map_err(unavailable)?;
            place = page.next;
        }
        if place.is_some() {
            exactness = Exactness::Estimated;
        }
    }
    Ok(exactness)
}

async fn look(tools: &Tools, tally: &Tally, target: usize, keys: &[Key]) -> Result<(), StoreError> {
    let settings = tools.means.live.get();
    for keys in keys.chunks(CHUNK) {
        let held = tools.hands.store.read(keys).await?;
        tally.count(target, |counts| {
            counts.matched += keys.len() as u64;
            counts.removed += held.iter().flatten().count() as u64;
        });
        keys.iter().for_each(|key| tally.show(&settings.catalog, key));
    }
    Ok(())
}
