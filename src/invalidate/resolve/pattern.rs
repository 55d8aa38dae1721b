//! Patterns in Redis's notation: what of one is literal, and whether that is enough to know whose keys it means.

use crate::domain::catalog::Catalog;
use crate::domain::entity::Entity;
use crate::domain::key::{Key, KeyError};

/// What Hydrant's own keys begin with.
const OWN: &str = "hydrant:";

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("begins with a wildcard: begin with the literal prefix of a declared key, such as `user:id:`")]
    Unanchored,
    #[error("ends before the prefix of a declared key does: begin with all of it, such as `user:id:`")]
    TooShort,
    #[error("lies under no declared key")]
    Foreign,
    #[error("has a `[` without its `]`, or ends with a `\\`")]
    Broken,
    #[error("holds a control character, as no declared key does")]
    BadCharacter,
}

/// The entities whose keys can match, if the pattern is anchored under the declared prefix of one of them.
pub fn owners<'a>(catalog: &'a Catalog, pattern: &str) -> Result<Vec<&'a Entity>, PatternError> {
    let literal = literal(pattern)?;
    if literal.is_empty() {
        return Err(PatternError::Unanchored);
    }
    let looks_like_ours = Key::new(literal.clone()) == Err(KeyError::LooksLikeOurs);
    if literal.starts_with(OWN) || looks_like_ours {
        return Err(PatternError::Foreign);
    }
    let prefixes = |entity: &'a Entity| {
        std::iter::once(entity.key()).chain(entity.aliases().iter().map(|alias| &alias.key)).map(|key| key.prefix())
    };
    let covers = |entity: &&'a Entity| prefixes(entity).any(|prefix| !prefix.is_empty() && literal.starts_with(prefix));
    let entities = || catalog.entities().map(AsRef::as_ref);
    if entities().any(|entity| covers(&entity)) {
        let can_match = |entity: &&'a Entity| covers(entity) || prefixes(entity).any(|p| p.starts_with(&literal));
        return Ok(entities().filter(can_match).collect());
    }
    let mut longer = entities().flat_map(prefixes);
    Err(if longer.any(|prefix| prefix.starts_with(&literal)) { PatternError::TooShort } else { PatternError::Foreign })
}

/// The text before the first wildcard.
fn literal(pattern: &str) -> Result<String, PatternError> {
    if pattern.chars().any(char::is_control) {
        return Err(PatternError::BadCharacter);
    }
    let mut literal = String::new();
    let mut is_literal = true;
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let escaped = chars.next().ok_or(PatternError::Broken)?;
                if is_literal {
                    literal.push(escaped);
                }
            }
            '*' | '?' => is_literal = false,
            '[' => {
                is_literal = false;
                loop {
                    match chars.next() {
                        None => return Err(PatternError::Broken),
                        Some(']') => break,
                        Some('\\') => drop(chars.next()),
                        Some(_) => {}
                    }
                }
            }
            c if is_literal => literal.push(c),
            _ => {}
        }
    }
    Ok(literal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entity::Draft;
    use crate::domain::entity::sample::{alias, shared};

    fn catalog() -> Catalog {
        let user = Draft { aliases: vec![alias("user:email:{email}")], ..shared("user", "user:id:{id}") };
        let any = shared("any", "{id}:tail");
        let tagged = shared("tagged", "{{shop}}:cart:{id}");
        let entities = [user, any, tagged].map(|draft| Entity::new(draft).expect("a good entity"));
        Catalog::new(entities.into()).expect("no clash")
    }

    fn owners_of(pattern: &str) -> Result<Vec<String>, PatternError> {
        Ok(owners(&catalog(), pattern)?.iter().map(|entity| entity.name().to_string()).collect())
    }

    #[test]
    fn a_pattern_under_a_declared_prefix_is_its_entitys() {
        for pattern in ["user:id:*", "user:email:*@b.c", "user:id:1?", "user:id:[1-3]*", "user:id:\\*", "user:id:7"] {
            assert_eq!(owners_of(pattern), Ok(vec!["user".to_owned()]), "{pattern}");
        }
    }

    #[test]
    fn entities_below_the_prefix_are_concerned_too() {
        let entities = [shared("user", "user:{id}"), shared("menu", "user:menu:{id}"), shared("order", "order:{id}")];
        let entities = entities.map(|draft| Entity::new(draft).expect("a good entity"));
        let catalog = Catalog::new(entities.into()).expect("no clash");
        let names: Vec<&str> =
            owners(&catalog, "user:*").expect("anchored").iter().map(|e| e.name().as_str()).collect();
        assert_eq!(names, ["menu", "user"]);
    }

    #[test]
    fn a_hash_tag_is_part_of_the_prefix() {
        assert_eq!(owners_of("{shop}:cart:*"), Ok(vec!["tagged".to_owned()]));
        assert_eq!(owners_of("{shop}:*"), Err(PatternError::TooShort));
    }

    #[test]
    fn what_is_not_anchored_is_refused() {
        for pattern in ["*", "**", "?ser:id:*", "[u]ser:*", ""] {
            assert_eq!(owners_of(pattern), Err(PatternError::Unanchored), "{pattern}");
        }
        for pattern in ["user:*", "u*", "user:i?:*"] {
            assert_eq!(owners_of(pattern), Err(PatternError::TooShort), "{pattern}");
        }
        for pattern in ["order:*", "user:phone:*", "hydrant:*", "{user:id:7}:g*", "7:tail"] {
            assert_eq!(owners_of(pattern), Err(PatternError::Foreign), "{pattern}");
        }
        for pattern in ["user:id:[1", "user:id:\\", "user:id:[\\]"] {
            assert_eq!(owners_of(pattern), Err(PatternError::Broken), "{pattern}");
        }
    }
}
