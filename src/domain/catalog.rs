//! All declared entities, and the one answer to "whose key is this?".
//!
//! Templates of different entities can overlap: `user:{id}` and `user:email:{email}`. The more specific one (longer
//! text before its first parameter, then more text in all) owns a key that both could make. A member whose key would
//! belong to another template is refused, so that no id an app invents can ever land on another entity's key.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::entity::check::OWN_PREFIX;
use crate::domain::entity::{Alias, Entity, Member, Name};
use crate::domain::key::{Key, KeyError};
use crate::domain::template::{Params, RenderError, Template};

#[derive(Debug, Default)]
pub struct Catalog {
    entities: BTreeMap<Name, Arc<Entity>>,
    /// Every key template, the most specific first.
    templates: Vec<Owned>,
}

/// A template and whose it is.
#[derive(Debug)]
struct Owned {
    template: Template,
    entity: Arc<Entity>,
    alias: Option<Name>,
}

/// What a key is, read back from its text.
#[derive(Debug)]
pub struct Found<'a> {
    pub entity: &'a Arc<Entity>,
    /// The alias whose key it is; none for the member's own key.
    pub alias: Option<&'a Name>,
    pub params: Params,
}

/// Two templates that make the same keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{template}` makes the same keys as `{other}` of the entity `{other_entity}`")]
pub struct Clash {
    pub entity: Name,
    pub template: String,
    pub other: String,
    pub other_entity: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    #[error("there is no entity `{0}`")]
    UnknownEntity(String),
    #[error(transparent)]
    Params(#[from] RenderError),
    #[error("with these parameters the key would belong to `{template}` of the entity `{entity}`")]
    BelongsTo { entity: Name, template: String },
}

impl Catalog {
    pub fn new(entities: Vec<Entity>) -> Result<Self, Vec<Clash>> {
        let mut catalog = Self::default();
        for entity in entities {
            let entity = Arc::new(entity);
            let own = (entity.key().clone(), None);
            let aliases = entity.aliases().iter().map(|a| (a.key.clone(), Some(a.name.clone())));
            for (template, alias) in std::iter::once(own).chain(aliases) {
                catalog.templates.push(Owned { template, entity: entity.clone(), alias });
            }
            catalog.entities.insert(entity.name().clone(), entity);
        }
        let clashes = catalog.clashes();
        if !clashes.is_empty() {
            return Err(clashes);
        }
        catalog.templates.sort_by_cached_key(|owned| {
            let text: usize = owned.template.text_bytes();
            (std::cmp::Reverse((owned.template.prefix().len(), text)), owned.template.as_str().to_owned())
        });
        Ok(catalog)
    }

    pub fn entity(&self, name: &str) -> Option<&Arc<Entity>> {
        self.entities.get(name)
    }

    pub fn entities(&self) -> impl Iterator<Item = &Arc<Entity>> {
        self.entities.values()
    }

    /// The member of an entity with these parameters, with its key; refused where the key would be somebody else's.
    pub fn member(&self, entity: &str, params: Params) -> Result<Member, MemberError> {
        let entity = self.entity(entity).ok_or_else(|| MemberError::UnknownEntity(entity.to_owned()))?;
        if let Some((unknown, _)) = params.iter().find(|(name, _)| entity.key().params().all(|p| p != *name)) {
            return Err(RenderError::Unknown(unknown.to_owned()).into());
        }
        let key = self.key(entity, entity.key(), &params)?;
        Ok(Member { entity: entity.clone(), params, key })
    }

    /// The key of a member's alias with these parameters; refused for the same reasons.
    pub fn alias_key(&self, entity: &Entity, alias: &Alias, params: &Params) -> Result<Key, MemberError> {
        self.key(entity, &alias.key, params)
    }

    fn key(&self, entity: &Entity, template: &Template, params: &Params) -> Result<Key, MemberError> {
        let key = template.key(params, entity.ids())?;
        // A template that begins with a parameter could make one.
        if key.as_bytes().starts_with(OWN_PREFIX.as_bytes()) {
            return Err(RenderError::Key(KeyError::LooksLikeOurs).into());
        }
        match self.rival(template, &key) {
            Some(rival) => Err(MemberError::BelongsTo {
                entity: rival.entity.name().clone(),
                template: rival.template.as_str().to_owned(),
            }),
            None => Ok(key),
        }
    }

    /// What a key is, if any declared template can make it.
    pub fn find(&self, key: &str) -> Option<Found<'_>> {
        self.templates.iter().find_map(|owned| {
            let params = owned.template.match_key(key, owned.entity.ids())?;
            Some(Found { entity: &owned.entity, alias: owned.alias.as_ref(), params })
        })
    }

    /// A more specific template that makes the same key.
    fn rival(&self, template: &Template, key: &Key) -> Option<&Owned> {
        let text = std::str::from_utf8(key.as_bytes()).ok()?;
        self.templates
            .iter()
            .take_while(|owned| owned.template != *template)
            .filter(|owned| text.starts_with(owned.template.prefix()))
            .find(|owned| owned.template.match_key(text, owned.entity.ids()).is_some())
    }

    fn clashes(&self) -> Vec<Clash> {
        let mut first: BTreeMap<String, &Owned> = BTreeMap::new();
        let mut clashes = Vec::new();
        for owned in &self.templates {
            let shape = owned.template.shape();
            match first.get(&shape) {
                None => {
                    first.insert(shape, owned);
                }
                Some(other) => clashes.push(Clash {
                    entity: owned.entity.name().clone(),
                    template: owned.template.as_str().to_owned(),
                    other: other.template.as_str().to_owned(),
                    other_entity: other.entity.name().clone(),
                }),
            }
        }
        clashes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entity::Draft;
    use crate::domain::entity::sample::{self, shared};

    fn entity(name: &str, key: &str, alias: Option<&str>) -> Entity {
        let aliases = alias.map(sample::alias).into_iter().collect();
        Entity::new(Draft { aliases, ..shared(name, key) }).expect("a good entity")
    }

    fn id(value: &str) -> Params {
        [("id", value)].into_iter().collect()
    }

    #[test]
    fn the_more_specific_template_owns_a_key_that_both_could_make() {
        let catalog = Catalog::new(vec![entity("user", "user:{id}", Some("user:email:{email}"))]).expect("no clash");
        let found = catalog.find("user:email:a@b.c").expect("declared");
        assert_eq!(found.alias.map(Name::as_str), Some("email"));
        assert_eq!(found.params.get("email"), Some("a@b.c"));
        assert_eq!(catalog.find("user:7").expect("declared").alias, None);
        assert!(catalog.find("order:7").is_none());
    }

    #[test]
    fn an_id_cannot_land_on_another_templates_key() {
        let catalog = Catalog::new(vec![entity("user", "user:{id}", Some("user:email:{email}"))]).expect("no clash");
        let refused = catalog.member("user", id("email:a@b.c")).expect_err("refused");
        assert!(matches!(refused, MemberError::BelongsTo { .. }), "{refused}");
        assert_eq!(catalog.member("user", id("7")).expect("fine").key.to_string(), "user:7");
    }

    #[test]
    fn an_alias_cannot_land_on_another_templates_key_either() {
        let user = entity("user", "user:id:{id}", Some("user:{email}"));
        let catalog = Catalog::new(vec![user, entity("other", "user:x:{id}", None)]).expect("no clash");
        let user = catalog.entity("user").expect("declared");
        let key = |email| {
            let params = [("email", email)].into_iter().collect();
            catalog.alias_key(user, &user.aliases()[0], &params)
        };
        assert_eq!(key("a@b.c").expect("fine").to_string(), "user:a@b.c");
        assert!(matches!(key("id:7"), Err(MemberError::BelongsTo { .. })), "the member's own template");
        assert!(matches!(key("x:7"), Err(MemberError::BelongsTo { .. })));
        assert!(matches!(key("{x}"), Err(MemberError::Params(RenderError::Forbidden { .. }))));
    }

    #[test]
    fn no_id_makes_a_key_of_hydrants_own() {
        let catalog = Catalog::new(vec![entity("any", "{id}", None)]).expect("no clash");
        assert!(catalog.member("any", id("hydrant:x")).is_err());
        assert!(catalog.member("any", id("hydrants")).is_ok());
    }

    #[test]
    fn templates_that_make_the_same_keys_are_refused() {
        let clashes =
            Catalog::new(vec![entity("a", "x:{id}", None), entity("b", "x:{name}", None)]).expect_err("refused");
        assert_eq!(clashes.len(), 1);
        assert_eq!(clashes[0].to_string(), "`x:{name}` makes the same keys as `x:{id}` of the entity `a`");
    }

    #[test]
    fn unknown_entities_and_parameters_are_refused() {
        let catalog = Catalog::new(vec![entity("user", "user:{id}", None)]).expect("no clash");
        assert!(matches!(catalog.member("nope", id("7")), Err(MemberError::UnknownEntity(_))));
        let extra = [("id", "7"), ("colour", "red")].into_iter().collect();
        assert!(matches!(catalog.member("user", extra), Err(MemberError::Params(RenderError::Unknown(_)))));
    }
}
