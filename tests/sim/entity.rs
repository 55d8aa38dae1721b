//! The one entity of every run: a user under an id, an e-mail that holds the whole value, and a name that holds the id.

use std::collections::BTreeMap;
use std::time::Duration;

use hydrant::domain::catalog::Catalog;
use hydrant::domain::entity::load::Ask;
use hydrant::domain::entity::{Alias, AliasValue, Class, Draft, Entity, Load, Name, Scope, Writers};
use hydrant::domain::projection::{Projection, Spec};
use hydrant::domain::template::{Ids, Params, Template};
use hydrant::domain::ttl::Ttl;

/// Under which every user stands.
pub const TAG: &str = "everybody";

pub fn catalog(life: Duration) -> Catalog {
    let entity = Entity::new(user(life)).expect("a good entity");
    Catalog::new(vec![entity]).expect("templates that do not clash")
}

pub fn name(text: &str) -> Name {
    Name::new(text).expect("a good name")
}

pub fn params(param: &str, value: &str) -> Params {
    [(param.to_owned(), value.to_owned())].into_iter().collect()
}

fn key(template: &str) -> Template {
    Template::for_key(template).expect("a good template")
}

fn user(life: Duration) -> Draft {
    let spec = Spec { allow: vec!["*".to_owned()], max_bytes: 4 * 1024, ..Spec::default() };
    let alias = |of: &str, value| Alias { name: name(of), key: key(&format!("user:{of}:{{{of}}}")), value, from: None };
    Draft {
        name: name("user"),
        key: key("user:{id}"),
        ids: Ids::Plain,
        aliases: vec![alias("email", AliasValue::Full), alias("name", AliasValue::Id)],
        scope: Scope::Shared,
        class: Class::Reference,
        bind: BTreeMap::new(),
        follows: None,
        load: Some(Load::plain(name("origin"), Ask::Get(Template::parse("/users/{id}").expect("a good template")))),
        ttl: Ttl::new(life, 10, 20, Some(Duration::from_secs(1))).expect("a good ttl"),
        projection: Projection::new(spec).expect("a good projection"),
        owner: None,
        version: None,
        soft: None,
        writers: Writers::Hydrant,
        tags: vec![Template::parse(TAG).expect("a good template")],
        secret: false,
    }
}
