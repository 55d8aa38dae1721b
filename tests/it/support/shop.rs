//! A shop's configuration and backend, with one entity for everything that an invalidation can meet; for tests of whole
//! processes. Each test has a prefix of its own, so that they can share a server.

use crate::support::origin::Origin;
use crate::support::redis::{RedisCluster, RedisServer};

/// The backend of one test, and what its keys begin with.
pub struct Shop {
    pub origin: Origin,
    pub prefix: String,
}

impl Shop {
    pub async fn open(prefix: &str) -> Self {
        let origin = Origin::start().await;
        origin.json("/users/*", r#"{"id":"7","email":"ada@x.org","name":"Ada","version":3}"#);
        origin.json("/items/*", r#"{"sku":"1"}"#);
        origin.json("/mine/*", r#"{"theme":"dark"}"#);
        Self { origin, prefix: prefix.to_owned() }
    }

    /// `user` has an alias, a version and a grace, `item` a tag, `mine` is the subject's own.
    pub fn config(&self, store: &str, more: &str) -> String {
        let (prefix, url) = (&self.prefix, self.origin.url());
        format!(
            r#"
group: {prefix}
{store}
sources:
  api: {{ http: {{ origin: "{url}", timeout: 500ms, auth: {{ session: bearer }} }} }}
entities:
  user:
    key: "{prefix}:user:{{id}}"
    aliases: {{ email: {{ key: "{prefix}:user:email:{{email}}", value: id }} }}
    scope: shared
    load: {{ source: api, get: "/users/{{id}}", credential: service }}
    ttl: 5m
    fields: {{ allow: [id, email, name, version] }}
    version: {{ number: $.version }}
    soft: 60s
  item:
    key: "{prefix}:item:{{kind}}:{{id}}"
    scope: shared
    load: {{ source: api, get: "/items/{{id}}", credential: service }}
    ttl: 5m
    fields: {{ allow: [sku] }}
    tags: ["kind:{{kind}}"]
  mine:
    key: "{prefix}:mine:{{id}}"
    scope: subject
    load: {{ source: api, get: "/mine/{{id}}" }}
    ttl: 5m
    fields: {{ allow: [theme] }}
prehydrate: {{ always: [mine] }}
log: {{ format: json, level: "info,hydrant=debug" }}
{more}
"#
        )
    }

    pub fn key(&self, rest: &str) -> String {
        format!("{}:{rest}", self.prefix)
    }
}

pub fn standalone(server: &RedisServer) -> String {
    format!(
        "redis: {{ mode: standalone, nodes: [\"redis://127.0.0.1:{}\"], breaker: {{ first_wait: 50ms, longest_wait: 100ms }} }}",
        server.port
    )
}

pub fn clustered(cluster: &RedisCluster) -> String {
    format!("redis: {{ mode: cluster, nodes: [\"redis://127.0.0.1:{}\"], replicas: 1 }}", cluster.nodes[0].port)
}
