//! `entities`: the kinds of things that are cached.

use std::collections::BTreeMap;

use super::Context;
use crate::config::file::entity as file;
use crate::config::form::{Formed, KeyTemplate, TagTemplate};
use crate::config::value::Size;
use crate::domain::declared_version::DeclaredVersion;
use crate::domain::entity::check::EntityError;
use crate::domain::entity::{Alias, AliasValue, Class, Credential, Draft, Entity, Name, Scope, Writers};
use crate::domain::projection::{Projection, Spec};
use crate::domain::ttl::{Ttl, TtlError};
use crate::source::any;

pub type Entities = BTreeMap<Name, Entity>;
pub type Sources = BTreeMap<Name, any::Config>;

/// What a request holds beside a value.
const MESSAGE_MARGIN: usize = 64 * 1024;

impl Context<'_> {
    pub fn entities(&mut self, sources: &Sources, value_message: Option<usize>) -> Entities {
        let mut entities = Entities::new();
        for text in self.names("entities") {
            let path = format!("entities.{text}");
            let name = self.name(&path, &text);
            let entity = self.take::<file::Entity>(&["entities", &text]);
            let (Some(name), Some(entity)) = (name, entity) else { continue };
            if value_message.is_some_and(|message| entity.max_bytes.usize().saturating_add(MESSAGE_MARGIN) > message) {
                let problem = format!("a value of {} would not fit into a request", entity.max_bytes);
                let hint = "raise `listen.limits.value_message` to 64KiB more than this";
                self.problem(&format!("{path}.max_bytes"), problem, hint);
            }
            self.not_yet(&path, &entity);
            self.unreachable_size(&path, &entity, sources);
            entities.extend(self.entity(&path, &name, entity, sources).map(|entity| (name, entity)));
        }
        self.unused_sources(sources);
        entities
    }

    fn entity(&mut self, path: &str, name: &Name, entity: file::Entity, sources: &Sources) -> Option<Entity> {
        let file::Entity {
            key: Formed(KeyTemplate(key)),
            ids,
            aliases,
            scope,
            class,
            bind,
            load,
            ttl,
            fields,
            max_bytes,
            owner,
            version,
            soft,
            writers,
            tags,
            secret,
        } = entity;
        let scope = match scope {
            file::Scope::Subject => Scope::Subject,
            file::Scope::Tenant => Scope::Tenant,
            file::Scope::Shared => Scope::Shared,
        };
        let body = load.as_ref().and_then(|load| load.body.clone());
        // Every part is looked at before one that is missing ends it.
        let aliases = self.aliases(path, aliases);
        let params: Vec<&str> = key.params().collect();
        let load = load.map(|load| self.load(&format!("{path}.load"), load, scope, &params, sources));
        let ttl = self.ttl(path, ttl);
        let projection = self.projection(path, body, fields, max_bytes);
        let load = match load {
            Some(load) => Some(load?),
            None => None,
        };
        let draft = Draft {
            name: name.clone(),
            key,
            ids,
            aliases: aliases?,
            scope,
            class: match class {
                file::Class::Critical => Class::Critical,
                file::Class::Reference => Class::Reference,
            },
            bind: bind.into_iter().map(|(param, Formed(fact))| (param, fact)).collect(),
            load,
            ttl: ttl?,
            projection: projection?,
            owner: owner.map(|Formed(place)| place),
            version: version.map(|version| match version {
                file::Version::Number(Formed(place)) => DeclaredVersion::Number(place),
                file::Version::Time(Formed(place)) => DeclaredVersion::Time(place),
            }),
            soft: soft.map(|soft| soft.grace.0),
            writers: match writers {
                file::Writers::Hydrant => Writers::Hydrant,
                file::Writers::Shared => Writers::Shared,
            },
            tags: tags.into_iter().map(|Formed(TagTemplate(tag))| tag).collect(),
            secret,
        };
        Entity::new(draft).map_err(|errors| errors.iter().for_each(|error| self.refused(path, error))).ok()
    }

    /// What is read and checked, and does not yet do anything.
    fn not_yet(&mut self, path: &str, entity: &file::Entity) {
        let mut warn = |key: &str, what: &str| {
            let hint = "it is checked, so that the file can be written now; remove it if something relies on it";
            self.warning(&format!("{path}.{key}"), format!("{what} in this version"), hint);
        };
        if matches!(entity.class, file::Class::Critical) {
            warn("class", "critical entities are not kept in local memory yet");
        }
    }

    /// A bound that the source's own, which is smaller, always meets first.
    fn unreachable_size(&mut self, path: &str, entity: &file::Entity, sources: &Sources) {
        let source = entity.load.as_ref().and_then(|load| sources.get(load.source.as_str()));
        if let Some(source) = source.filter(|source| source.max_bytes() < entity.max_bytes.usize()) {
            let read = Size(u64::try_from(source.max_bytes()).unwrap_or(u64::MAX));
            let problem = format!("the source's answers are read up to {read} only");
            self.warning(&format!("{path}.max_bytes"), problem, "raise the source's `max_bytes`, or lower this");
        }
    }

    fn unused_sources(&mut self, sources: &Sources) {
        let entities = &self.settled.values["entities"];
        let used = |name: &Name| {
            let mut loads = entities.as_object().into_iter().flatten().map(|(_, entity)| &entity["load"]["source"]);
            loads.any(|source| source == name.as_str())
        };
        let unused: Vec<String> =
            sources.keys().filter(|name| !used(name)).map(|name| format!("sources.{name}")).collect();
        for path in unused {
            self.warning(&path, "no entity loads from it", "remove it, or name it in an entity's `load.source`");
        }
    }

    fn aliases(&mut self, path: &str, aliases: BTreeMap<String, file::Alias>) -> Option<Vec<Alias>> {
        let mut named = Vec::new();
        for (text, file::Alias { key: Formed(KeyTemplate(key)), value, from }) in aliases {
            let value = match value {
                file::AliasValue::Id => AliasValue::Id,
                file::AliasValue::Full => AliasValue::Full,
            };
            let name = self.name(&format!("{path}.aliases.{text}"), &text);
            named.push(name.map(|name| Alias { name, key, value, from: from.map(|Formed(place)| place) }));
        }
        named.into_iter().collect()
    }

    pub(super) fn credential(
        &mut self,
        at: &str,
        asked: Option<file::Credential>,
        scope: Scope,
        source: &any::Config,
    ) -> Option<Credential> {
        let (takes_session, has_service) = match source {
            any::Config::Http(source) => (source.session.is_some(), source.service.is_some()),
            // The login that its URL names.
            any::Config::Postgres(_) => (false, true),
        };
        match asked {
            Some(file::Credential::Service) => Some(Credential::Service),
            Some(file::Credential::Session) if !takes_session => {
                let hint = "say how under the source's `http.auth.session`, or write `credential: service`";
                self.problem(&format!("{at}.credential"), "the source takes no session", hint);
                None
            }
            // Beyond a subject's own it is refused by the entity itself.
            Some(file::Credential::Session) => Some(Credential::Session),
            None if takes_session && scope == Scope::Subject => Some(Credential::Session),
            None if takes_session && !has_service => {
                let problem =
                    format!("the source takes sessions only, and a session may not fill what is {}", scope.as_str());
                let hint =
                    "give the source an `auth.service`, or write `credential: service` to call it without a credential";
                self.problem(&format!("{at}.credential"), problem, hint);
                None
            }
            None => Some(Credential::Service),
        }
    }

    fn ttl(&mut self, path: &str, ttl: file::Ttl) -> Option<Ttl> {
        let file::Ttl { base, jitter, renew, absent } = ttl;
        Ttl::new(base.0, jitter.0, renew.0, absent.map(|absent| absent.0))
            .map_err(|error| {
                let key = match error {
                    TtlError::OutOfRange(key) | TtlError::Percent(key, _) => key,
                };
                self.problem(&format!("{path}.ttl.{key}"), error, "choose a value within those bounds");
            })
            .ok()
    }

    fn projection(&mut self, path: &str, body: Option<String>, fields: file::Fields, max: Size) -> Option<Projection> {
        let file::Fields { allow, never, trust } = fields;
        if allow.is_empty() {
            let hint = "name what may be kept: `allow: [id, name]`, or `allow: [\"*\"]` for everything but secrets";
            self.problem(&format!("{path}.fields.allow"), "nothing may be kept", hint);
            return None;
        }
        let spec = Spec { body, allow, never, trust, max_bytes: max.usize() };
        Projection::new(spec)
            .map_err(|errors| {
                for error in errors {
                    let hint = match error.field {
                        "load.body" => "write `$.data`, or leave it out for the whole answer",
                        "max_bytes" => "write a size: 1MiB",
                        _ => {
                            "fields are dotted paths: `id`, `address.city`; secrets are never kept, whatever is allowed"
                        }
                    };
                    self.problem(&format!("{path}.{}", error.field), error.problem, hint);
                }
            })
            .ok()
    }

    fn refused(&mut self, path: &str, error: &EntityError) {
        let hint = match error {
            EntityError::BoundNowhere(_) => "bind the key's own parameters only",
            EntityError::SubjectNotInKey => {
                "for instance `bind: { id: user }`; say `scope: shared` if it is everybody's"
            }
            EntityError::TenantNotInKey => "call a parameter `tenant`, or bind one: `bind: { org: tenant }`",
            EntityError::SessionBeyondSubject(_) => {
                "write `load.credential: service`: what one subject may see must not be shown to others"
            }
            EntityError::UnknownInLoad { .. } => "path and query may use the key's parameters only",
            EntityError::BulkWithSession => "write `credential: service`, or leave `bulk` out",
            EntityError::BulkOfPairs => "leave it out: members are then loaded one by one",
            EntityError::BulkWithoutIds => "write `{ids}` where the list of ids stands: `get: \"/users?ids={ids}\"`",
            EntityError::BulkColumns { .. } => "name one column for each parameter, in the order of the key",
            EntityError::BulkParam(_) => "write `= any({id})`, or join `unnest({a}, {b})` where there are several",
            EntityError::UnknownInTag(_) => "use the key's parameters, `{tenant}` or `{subject}`",
            EntityError::TagBeyondScope { .. } => "leave it out, or make it a parameter of the key",
            EntityError::TooManyTags | EntityError::TooManyAliases => "every fill writes all of them: keep fewer",
            EntityError::AliasTwice(_) => "give each alias a name of its own",
            EntityError::AliasWithoutId(_) => "write `value: full`, or leave one parameter of the key out of the alias",
            EntityError::AliasFrom(_) => "leave it out: each parameter is then the value's field of that name",
            EntityError::AliasNotKept { .. } => {
                "add it to `fields.allow`, or say where it stands: `from: $.contact.email`"
            }
            EntityError::OwnPrefix | EntityError::AliasOwnPrefix(_) => "begin the key otherwise",
            EntityError::OwnerBeyondSubject(_) => "leave it out, or say `scope: subject`",
            EntityError::Grace => "choose a grace within `ttl.base`",
        };
        self.problem(&format!("{path}.{}", error.field()), error, hint);
    }
}
