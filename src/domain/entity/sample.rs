//! Entities for tests, of which each says only what it is about.

use std::time::Duration;

use super::*;
use crate::domain::projection::Spec;

/// Called `email`, and holding the id.
pub fn alias(key: &str) -> Alias {
    let key = Template::for_key(key).expect("a good template");
    Alias { name: Name::new("email").expect("a good name"), key, value: AliasValue::Id, from: None }
}

/// A subject's own, loaded from `api`.
pub fn loaded(name: &str, key: &str) -> Draft {
    let source = Name::new("api").expect("a good name");
    let path = Template::parse("/things").expect("a good path");
    let load = Some(Load::plain(source, Ask::Get(path)));
    Draft { load, scope: Scope::Subject, bind: BTreeMap::from([("id".to_owned(), Fact::User)]), ..shared(name, key) }
}

pub fn shared(name: &str, key: &str) -> Draft {
    let spec = Spec { allow: vec!["*".to_owned()], max_bytes: 1_024, ..Spec::default() };
    Draft {
        name: Name::new(name).expect("a good name"),
        key: Template::for_key(key).expect("a good template"),
        ids: Ids::Plain,
        aliases: Vec::new(),
        scope: Scope::Shared,
        class: Class::Reference,
        bind: BTreeMap::new(),
        follows: None,
        load: None,
        ttl: Ttl::new(Duration::from_secs(60), 10, 20, None).expect("a good ttl"),
        projection: Projection::new(spec).expect("a good projection"),
        owner: None,
        version: None,
        soft: None,
        writers: Writers::Hydrant,
        tags: Vec::new(),
        secret: false,
    }
}
