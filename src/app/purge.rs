//! What a reload makes wrong goes: values with fields that are no longer kept, and keys that no template makes any more.
//!
//! A sweep by the declarations of *before*, since only they know the old keys for what they are. It takes two passes like
//! every sweep, because a fill that has begun keeps the settings that it began with. One sidecar of the group does it for
//! all that have the new configuration by then, and one of those that get it later does it once more; the journal sees to
//! its end. A process that *starts* with a new configuration knows no other, and leaves what was filled to its TTL.

use tokio::sync::mpsc;

use crate::domain::catalog::Catalog;
use crate::domain::entity::Entity;
use crate::fill::settings::Settings;
use crate::invalidate::Invalidate;
use crate::invalidate::sweep::Spec;
use crate::tasks::Tasks;

/// Reloads that may wait while one is cleaned up after: a person makes them.
const WAITING: usize = 16;

/// Takes what there is to clean up, one reload after another.
pub struct Purges(mpsc::Sender<Spec>);

impl Purges {
    pub fn start(tasks: &Tasks, invalidate: Invalidate) -> Self {
        let (ask, mut asked) = mpsc::channel(WAITING);
        let work = async move {
            while let Some(spec) = asked.recv().await {
                invalidate.purge(spec).await;
                tracing::info!("what the old configuration filled is gone, or another sidecar sees to it");
            }
        };
        drop(tasks.until_stop(work));
        Self(ask)
    }

    pub fn after(&self, before: &Settings, now: &Settings) {
        let entities = concerned(&before.catalog, &now.catalog);
        if entities.is_empty() {
            return;
        }
        let names: Vec<&str> = entities.iter().map(|entity| entity.name().as_str()).collect();
        tracing::info!(entities = names.join(" "), "what the old configuration filled of these is removed");
        if self.0.try_send(Spec::of(entities)).is_err() {
            tracing::error!("too many reloads in a row: what this one makes wrong is left to its ttl");
        }
    }
}

/// The entities of which something that was filled by the old declaration must not stay.
fn concerned<'a>(before: &'a Catalog, now: &Catalog) -> Vec<&'a Entity> {
    let is_stale = |old: &&Entity| now.entity(old.name().as_str()).is_none_or(|new| is_stale(old, new));
    before.entities().map(AsRef::as_ref).filter(is_stale).collect()
}

fn is_stale(old: &Entity, new: &Entity) -> bool {
    let has = |alias| new.aliases().contains(alias);
    new.key() != old.key()
        || new.ids() != old.ids()
        || !old.aliases().iter().all(has)
        || new.projection().narrows(old.projection())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entity::Draft;
    use crate::domain::entity::sample::shared;
    use crate::domain::projection::{Projection, Spec};
    use crate::domain::template::Template;

    fn catalog(drafts: Vec<Draft>) -> Catalog {
        let entities = drafts.into_iter().map(|draft| Entity::new(draft).expect("a good entity")).collect();
        Catalog::new(entities).expect("no clash")
    }

    fn keeping(allow: &[&str], never: &[&str]) -> Draft {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let spec = Spec { allow: words(allow), never: words(never), max_bytes: 1_024, ..Spec::default() };
        Draft { projection: Projection::new(spec).expect("good"), ..shared("user", "user:{id}") }
    }

    fn goes(before: Draft, now: Draft) -> bool {
        !concerned(&catalog(vec![before]), &catalog(vec![now])).is_empty()
    }

    #[test]
    fn fewer_fields_and_other_keys_make_what_was_filled_wrong() {
        let user = || keeping(&["id", "name", "address.city"], &[]);
        assert!(goes(user(), keeping(&["id", "address.city"], &[])));
        assert!(goes(keeping(&["*"], &[]), user()));
        assert!(goes(user(), keeping(&["id", "name", "address.city"], &["internal"])));
        let key = Template::for_key("usr:{id}").expect("a good template");
        assert!(goes(user(), Draft { key, ..user() }));
        assert_eq!(concerned(&catalog(vec![user()]), &catalog(vec![])).len(), 1);
    }

    #[test]
    fn what_only_grows_stays() {
        let user = || keeping(&["id", "address.city"], &["internal"]);
        for wider in [&["address", "id", "name"][..], &["*"], &["id", "address.city"]] {
            assert!(!goes(user(), keeping(wider, &[])), "{wider:?}");
        }
        assert!(concerned(&catalog(vec![]), &catalog(vec![user()])).is_empty());
    }
}
