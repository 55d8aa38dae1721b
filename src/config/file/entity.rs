//! `entities:` the kinds of things that are cached.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::form::query::SqlText;
use crate::config::form::{Formed, KeyTemplate, PathTemplate, TagTemplate};
use crate::config::value::{Percent, Size, Span};
use crate::domain::projection::paths::Place;
use crate::domain::subject::Fact;
use crate::domain::template::Ids;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entity {
    /// The key that applications read: text and parameters, `user:id:{id}`. `{{` and `}}` are literal braces, as in a
    /// hash tag.
    #[schemars(extend("x-hint" = "write the key as applications build it: `key: \"user:id:{id}\"`"))]
    pub key: Formed<KeyTemplate>,
    /// How an id is written into the key. It must be as applications do it.
    #[serde(default)]
    pub ids: Ids,
    /// Further keys of the same member, by name.
    #[serde(default)]
    pub aliases: BTreeMap<String, Alias>,
    /// Whose data it is, and so whose credential may fill it.
    #[serde(default)]
    pub scope: Scope,
    /// How near it is kept.
    #[serde(default)]
    pub class: Class,
    /// Which fact of the subject a parameter takes when a caller names none: `user`, `session`, `tenant` or
    /// `attributes.<name>`. A subject-scoped key with one parameter takes the user, a parameter `tenant` the tenant.
    #[serde(default)]
    pub bind: BTreeMap<String, Formed<Fact>>,
    /// Which parameters of the key are known only from another entity's answer, such as a user's organisation from the
    /// profile. A login fills it as soon as that answer is there.
    pub follows: Option<Follows>,
    /// Where a member is loaded from. Left out: applications write it, Hydrant only removes it.
    pub load: Option<Load>,
    /// How long a value lives. Nothing is cached without an end.
    #[schemars(extend("x-hint" = "say how long a value may live: `ttl: 5m`"))]
    pub ttl: Ttl,
    /// What of the source's answer may be kept.
    #[schemars(extend("x-hint" = "nothing is kept unless it is named: `fields: { allow: [id, name] }`"))]
    pub fields: Fields,
    /// The largest value that is kept, after the fields were chosen.
    #[serde(default = "max_bytes")]
    #[schemars(extend("x-least" = "1B", "x-most" = "63MiB"))]
    pub max_bytes: Size,
    /// Where the source's answer names the user whose it is: `$.data.userId`. An answer that names another, or nobody, is
    /// refused. For `scope: subject` only.
    pub owner: Option<Formed<Place>>,
    /// Where the source's answer says how new it is. With it an invalidation can name the oldest version that may still
    /// be cached, and a value that is older is not written.
    pub version: Option<Version>,
    /// Lets an invalidation leave the old value to readers for a while, until a new one is fetched. Left out: old values
    /// are removed at once, always.
    pub soft: Option<Soft>,
    /// Who writes these keys.
    #[serde(default)]
    pub writers: Writers,
    /// Names under which keys are indexed, to be removed together: `tenant:{tenant}`. They may use the key's
    /// parameters; what is of one tenant also `tenant`, what is of one subject also `subject` (its pseudonym).
    #[serde(default)]
    pub tags: Vec<Formed<TagTemplate>>,
    /// The ids are secret, like session tokens: they appear hashed everywhere but in the key itself. Always so where a
    /// parameter is bound to the session.
    #[serde(default)]
    pub secret: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Alias {
    /// The alias' key: `user:email:{email}`.
    #[schemars(extend("x-hint" = "write the key as applications build it: `key: \"user:email:{email}\"`"))]
    pub key: Formed<KeyTemplate>,
    /// What the alias' key holds.
    #[serde(default)]
    pub value: AliasValue,
    /// Where the value that is kept holds what this alias is named by: `$.contact.email`. If left out, each parameter is
    /// the field of its name; one that is a parameter of `key` as well is the member's.
    pub from: Option<Formed<Place>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Follows {
    /// The entity whose answer is needed. It has a `load` itself, and follows from the subject, or from another answer.
    #[schemars(extend("x-hint" = "name the entity whose answer is needed", "x-declared" = "entities"))]
    pub from: String,
    /// For each parameter the place in the value that the other entity keeps: `org: $.organisation.id`. A string or a
    /// whole number has to stand there.
    #[schemars(extend("x-hint" = "say where the parameter stands: `by: { org: $.organisation.id }`"))]
    pub by: BTreeMap<String, Formed<Place>>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AliasValue {
    /// The member's id as plain text: a reader makes a second read.
    #[default]
    Id,
    /// The whole value again.
    Full,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Version {
    /// A place in the answer with a whole number that grows with every change: `$.rev`
    Number(Formed<Place>),
    /// A place in the answer with a time as RFC 3339 writes it: `$.updated_at`
    Time(Formed<Place>),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-short" = "grace"))]
pub struct Soft {
    /// How long an old value may still be read. At most `ttl.base`. A value with no more than this left counts as stale for
    /// whoever prehydrates.
    #[serde(default = "grace")]
    #[schemars(extend("x-least" = "1s", "x-most" = "1h"))]
    pub grace: Span,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// One subject's own; a forwarded session may fill it.
    #[default]
    Subject,
    /// Everybody's of one tenant; service credentials only.
    Tenant,
    /// Everybody's; service credentials only.
    Shared,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Always in local memory, updated at once.
    Critical,
    /// Kept by its time to live, fetched again on demand.
    #[default]
    Reference,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Writers {
    /// Only Hydrant writes these keys.
    #[default]
    Hydrant,
    /// Applications write them as well.
    Shared,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// One of `sources`.
    #[schemars(extend("x-hint" = "name one of `sources`", "x-declared" = "sources"))]
    pub source: String,
    /// For a source behind HTTP: the path below its origin, `/users/{id}`. It may use the key's parameters, which are
    /// always percent-encoded here.
    pub get: Option<Formed<PathTemplate>>,
    /// For a source behind Postgres: the query for one member, `select … from users where id = {id}`. It may use the
    /// key's parameters, which are always sent beside it; `$1` is the first of them.
    pub query: Option<Formed<SqlText>>,
    /// What of the query's answer is the member.
    #[serde(default)]
    pub rows: Rows,
    /// How many members are loaded at once, for warm-ups. Left out: one by one.
    pub bulk: Option<Bulk>,
    /// Where in the answer the value stands: `$.data`. The whole answer if left out.
    pub body: Option<String>,
    /// Whose credential goes with the call. If left out: the session where the source takes one and the entity is
    /// subject-scoped, else the service credential.
    pub credential: Option<Credential>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rows {
    /// Its one row, as an object. No row: there is no such member; two are an error.
    #[default]
    One,
    /// All of its rows, as an array of objects, be it an empty one.
    List,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bulk {
    /// For a source behind HTTP: the path of a list, `/users?ids={ids}`. The ids stand there with commas between them.
    pub get: Option<Formed<PathTemplate>>,
    /// Where in the answer the list stands: `$.data`. The whole answer if left out. Each of its items is taken for what
    /// would stand at `load.body` of the answer for that member alone.
    pub items: Option<Formed<Place>>,
    /// Where in an item its id stands. If left out, the field that is called as the key's parameter.
    pub id: Option<Formed<Place>>,
    /// For a source behind Postgres: the query for many members, in which each of the key's parameters stands for the
    /// array of theirs: `select … from users where id = any({id})`.
    pub query: Option<Formed<SqlText>>,
    /// The columns that say whose a row is, one for each of the key's parameters, in their order. If left out, those of
    /// the parameters' names.
    #[serde(default)]
    pub key: Vec<String>,
    /// Members in one call. If left out, 500 for a query and 50 for a path, which must not become too long.
    #[schemars(range(min = 2, max = 5000))]
    pub most: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Credential {
    /// The subject's own session token, forwarded.
    Session,
    /// The source's service credential; none where it has none.
    Service,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-short" = "base"))]
pub struct Ttl {
    /// How long a value lives.
    #[schemars(extend("x-least" = "1s", "x-most" = "30d", "x-hint" = "say how long a value may live: `base: 5m`"))]
    pub base: Span,
    /// Up to this much shorter or longer, so that what was filled together does not end together.
    #[serde(default = "jitter")]
    #[schemars(extend("x-most" = "50%"))]
    pub jitter: Percent,
    /// A value with less than this share of `base` left counts as about to end, and is filled again.
    #[serde(default = "renew")]
    #[schemars(extend("x-most" = "90%"))]
    pub renew: Percent,
    /// How long it is remembered that the source had none. Left out: not at all.
    #[schemars(extend("x-least" = "1s", "x-most" = "30d"))]
    pub absent: Option<Span>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fields {
    /// The fields that are kept: dotted paths, or `*` for all. What is not named is dropped.
    #[schemars(extend("x-hint" = "nothing is kept unless it is named: `allow: [id, name]`, or `allow: [\"*\"]` for everything but secrets"))]
    pub allow: Vec<String>,
    /// Names that are dropped at any depth, besides the built-in ones (passwords, tokens, keys).
    #[serde(default)]
    pub never: Vec<String>,
    /// Paths whose values look like secrets and are not, such as an order number that passes for a card number.
    #[serde(default)]
    pub trust: Vec<String>,
}

fn max_bytes() -> Size {
    Size(1 << 20)
}

fn grace() -> Span {
    Span::secs(30)
}

fn jitter() -> Percent {
    Percent(10)
}

fn renew() -> Percent {
    Percent(20)
}
