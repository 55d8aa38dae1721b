//! Entities as the tests need them, without a configuration file.

use std::collections::BTreeMap;
use std::time::Duration;

use hydrant::domain::catalog::Catalog;
use hydrant::domain::entity::load::Ask;
use hydrant::domain::entity::{Class, Credential, Draft, Entity, Load, Name, Scope, Writers};
use hydrant::domain::projection::{Projection, Spec};
use hydrant::domain::template::{Ids, Template};
use hydrant::domain::ttl::Ttl;

pub fn name(text: &str) -> Name {
    Name::new(text).expect("a good name")
}

/// A shared entity called `name`, at `<name>:{id}`, loaded from `/<name>/{id}` of the source `backend`, kept for a minute
/// with all its fields. Change what the test is about.
pub fn draft(entity: &str) -> Draft {
    let spec = Spec { allow: vec!["*".to_owned()], max_bytes: 64 * 1024, ..Spec::default() };
    Draft {
        name: name(entity),
        key: Template::for_key(&format!("{entity}:{{id}}")).expect("a good template"),
        ids: Ids::Plain,
        aliases: Vec::new(),
        scope: Scope::Shared,
        class: Class::Reference,
        bind: BTreeMap::new(),
        follows: None,
        load: Some(Load::plain(
            name("backend"),
            Ask::Get(Template::parse(&format!("/{entity}/{{id}}")).expect("a good template")),
        )),
        ttl: Ttl::new(Duration::from_secs(60), 0, 0, None).expect("a good ttl"),
        projection: Projection::new(spec).expect("a good projection"),
        owner: None,
        version: None,
        soft: None,
        writers: Writers::Hydrant,
        tags: Vec::new(),
        secret: false,
    }
}

/// The same, keyed by the subject and loaded with its session.
pub fn subject_draft(entity: &str) -> Draft {
    let shared = draft(entity);
    let load = shared.load.clone().map(|load| Load { credential: Credential::Session, ..load });
    Draft { scope: Scope::Subject, load, ..shared }
}

pub fn catalog(drafts: Vec<Draft>) -> Catalog {
    let entities = drafts.into_iter().map(|draft| Entity::new(draft).expect("a good entity")).collect();
    Catalog::new(entities).expect("templates that do not clash")
}
