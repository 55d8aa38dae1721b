//! `warmup:` plans by name: what is filled without being asked for, when, and how carefully.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::form::query::SqlText;
use crate::config::form::warmup::{CronText, LockKey, StartAfter};
use crate::config::form::{Formed, PathTemplate};
use crate::config::value::{Percent, Span};
use crate::domain::projection::paths::Place;
use crate::warm::schedule::Zone;

/// A map whose order is the file's.
#[derive(Debug)]
pub struct InOrder<T>(pub Vec<(String, T)>);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// How long after its start a sidecar runs the plan; `off`: not then.
    #[serde(default = "on_start")]
    pub on_start: Formed<StartAfter>,
    /// When the plan is due: five fields, or six with seconds first. One sidecar of the group runs each tick.
    pub cron: Option<Formed<CronText>>,
    /// In which `cron` is meant.
    #[serde(default = "time_zone")]
    pub time_zone: Formed<Zone>,
    /// Up to how much later than its tick a run begins, by chance.
    #[serde(default = "jitter")]
    #[schemars(extend("x-least" = "0s", "x-most" = "1h"))]
    pub jitter: Span,
    /// What becomes of ticks that came while nobody could run them: the machine slept, the clock was set, Redis was away.
    #[serde(default)]
    pub missed: Missed,
    /// What decides who runs the plan.
    #[serde(default)]
    pub lock: Lock,
    /// Fills under way at once, at most. A run begins with two and takes more while answers stay quick.
    #[serde(default = "parallel")]
    #[schemars(range(min = 1, max = 1024))]
    pub parallel: usize,
    /// How long one fill may take.
    #[serde(default = "timeout")]
    #[schemars(extend("x-least" = "10ms", "x-most" = "30s"))]
    pub timeout: Span,
    /// Further tries of what failed: after up to 1, 2, then 4 s each, by chance.
    #[serde(default = "retries")]
    #[schemars(range(min = 0, max = 10))]
    pub retries: u32,
    /// Up to how much shorter than its entity's `ttl` a value may live, so that what was warmed together does not end
    /// together.
    #[serde(default = "stagger")]
    #[schemars(extend("x-least" = "0%", "x-most" = "90%"))]
    pub stagger: Percent,
    /// Whether all sidecars of the group carry out its steps together. One of them holds the lock, reads the lists and hands
    /// out their pages; `parallel` is then for each.
    #[serde(default)]
    pub shared: bool,
    /// Whether a sidecar is ready only once the run at its start has ended, here or elsewhere.
    #[serde(default)]
    pub before_ready: bool,
    /// With `before_ready`: after this time the sidecar is ready in any case.
    #[serde(default = "longest_wait")]
    #[schemars(extend("x-least" = "1s", "x-most" = "1h"))]
    pub longest_wait: Span,
    /// What is done, step after step in this order, by name.
    #[schemars(extend("x-hint" = "name what to warm: `steps: { users: { entity: user, members: [1, 2, 3] } }`"))]
    pub steps: InOrder<Step>,
}

/// A step connects to sources, or fills members of one entity that one of the other keys names.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Sources to make ready: connections opened, TLS and logins done.
    #[serde(default)]
    #[schemars(extend("x-declared" = "sources"))]
    pub connect: Vec<String>,
    /// What is filled. It must have a `load` with `credential: service`.
    #[schemars(extend("x-declared" = "entities"))]
    pub entity: Option<String>,
    /// These members, best first: `7` where the key has one parameter, else `userId=7&provider=google`.
    #[serde(default)]
    pub members: Vec<String>,
    /// Members that a query names.
    pub query: Option<QueryList>,
    /// Members that an HTTP source lists.
    pub list: Option<HttpList>,
    /// Members that stand in this file, one on each line: a JSON object of the key's parameters, or the id alone.
    pub file: Option<PathBuf>,
    /// Members that were filled with this tag before.
    pub tag: Option<String>,
    /// What is not begun after this time is left out.
    #[serde(default = "budget")]
    #[schemars(extend("x-least" = "100ms", "x-most" = "24h"))]
    pub budget: Span,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueryList {
    /// A source behind Postgres.
    #[schemars(extend("x-hint" = "name one of `sources`", "x-declared" = "sources"))]
    pub source: String,
    /// The query, best first: each column that is called as a parameter of the key is that. Others are dropped.
    #[schemars(extend("x-hint" = "`sql: \"select id from users order by last_login desc limit 1000\"`"))]
    pub sql: Formed<SqlText>,
    /// A column without doubles by which a large list is read in pages. Left out: in the query's own order, where each
    /// page passes over those before it.
    pub page_by: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpList {
    /// A source behind HTTP.
    #[schemars(extend("x-hint" = "name one of `sources`", "x-declared" = "sources"))]
    pub source: String,
    /// The path of a page: `/users?page={page}&size={limit}`. It may hold `{page}`, `{offset}`, `{limit}` and `{cursor}`.
    #[schemars(extend("x-hint" = "`get: \"/users?page={page}&size={limit}\"`"))]
    pub get: Formed<PathTemplate>,
    /// Where in the answer the list stands. The whole answer if left out.
    pub items: Option<Formed<Place>>,
    /// Where in an item each parameter of the key stands. Left out: in the field that is called like it.
    #[serde(default)]
    pub params: BTreeMap<String, Formed<Place>>,
    /// Where the answer says how to go on: a link to this origin, or what `{cursor}` stands for.
    pub next: Option<Formed<Place>>,
    /// What `{page}` is at first.
    #[serde(default = "first_page")]
    #[schemars(range(min = 0, max = 1))]
    pub first_page: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Missed {
    /// They are passed over.
    Skip,
    /// The last of them is made up for, once.
    #[default]
    Once,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Lock {
    /// The key in Redis; its value is the trace id of the run. Left out: one of Hydrant's own, for this plan in this group.
    pub key: Option<Formed<LockKey>>,
    /// How long it stands unless it is renewed, which is at a third of this. At least five times `timeout`.
    #[schemars(extend("x-least" = "1s", "x-most" = "10m"))]
    pub ttl: Span,
}

/// Time for the doors to open and for the first connections.
fn on_start() -> Formed<StartAfter> {
    Formed(StartAfter(Some(std::time::Duration::from_millis(500))))
}

fn time_zone() -> Formed<Zone> {
    Formed(Zone::utc())
}

fn jitter() -> Span {
    Span::secs(0)
}

/// A small part of what a source may be asked at once: live traffic comes first.
fn parallel() -> usize {
    8
}

fn timeout() -> Span {
    Span::secs(1)
}

fn retries() -> u32 {
    3
}

fn stagger() -> Percent {
    Percent(10)
}

fn first_page() -> u64 {
    1
}

fn longest_wait() -> Span {
    Span::secs(60)
}

fn budget() -> Span {
    Span::secs(600)
}

impl Default for Lock {
    fn default() -> Self {
        Self { key: None, ttl: Span::secs(30) }
    }
}

impl<T> Default for InOrder<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for InOrder<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = InOrder<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<InOrder<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(InOrder(entries))
            }
        }

        deserializer.deserialize_map(Entries(PhantomData))
    }
}

/// For the default alone, in which nothing stands.
impl<T> Serialize for InOrder<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(std::iter::empty::<(&str, &str)>())
    }
}

impl<T: JsonSchema> JsonSchema for InOrder<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("InOrder_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let each = generator.subschema_for::<T>();
        schemars::json_schema!({ "type": "object", "additionalProperties": each })
    }

    fn inline_schema() -> bool {
        true
    }
}
