//! Keys that are not accepted and yet deserve more than "unknown": those reserved for a later version, and those that
//! people who know other tools try first.

/// Not in this version: a key that does nothing would be worse than a refusal. `*` stands for any name.
const RESERVED: [(&str, &str); 6] = [
    ("changes", "call Invalidate until messages of other systems are followed"),
    ("local.critical", "critical entities are read from Redis until then"),
    ("local.fallback", "values are not kept for an outage of Redis until then"),
    ("entities.*.ttl.min", "`ttl.base` and `ttl.jitter` decide until then"),
    ("entities.*.ttl.max", "`ttl.base` and `ttl.jitter` decide until then"),
    ("entities.*.ttl.adaptive", "`ttl.base` and `ttl.jitter` decide until then"),
];

/// What people write, and what it is called here.
const CALLED: [(&str, &str); 26] = [
    ("backends", "sources"),
    ("cache", "entities"),
    ("redis.url", "redis.nodes"),
    ("redis.urls", "redis.nodes"),
    ("redis.host", "redis.nodes"),
    ("redis.addresses", "redis.nodes"),
    ("redis.user", "redis.username"),
    ("redis.timeout", "redis.deadline"),
    ("redis.master_name", "redis.master"),
    ("identity.cookie.user", "identity.cookie.subject"),
    ("identity.cookie.secret", "identity.cookie.keys"),
    ("sources.*.http.url", "sources.*.http.origin"),
    ("sources.*.http.base_url", "sources.*.http.origin"),
    ("sources.*.http.host", "sources.*.http.origin"),
    ("sources.*.http.token", "sources.*.http.auth.service.bearer"),
    ("sources.*.http.headers", "sources.*.http.auth.service.header"),
    ("sources.*.postgres.dsn", "sources.*.postgres.url"),
    ("sources.*.postgres.connections", "sources.*.postgres.pool"),
    ("sources.*.postgres.timeout", "sources.*.postgres.statement_timeout"),
    ("entities.*.load.sql", "entities.*.load.query"),
    ("entities.*.load.url", "entities.*.load.get"),
    ("entities.*.load.path", "entities.*.load.get"),
    ("entities.*.ttl.seconds", "entities.*.ttl.base"),
    ("entities.*.fields.deny", "entities.*.fields.never"),
    ("entities.*.key_template", "entities.*.key"),
    ("listen.metrics", "listen.probes"),
];

/// What to do without a key that a later version brings.
pub fn reserved(path: &str) -> Option<&'static str> {
    RESERVED.iter().find(|(pattern, _)| matches(pattern, path)).map(|(_, hint)| *hint)
}

/// Where that which somebody calls `path` stands here.
pub fn called(path: &str) -> Option<String> {
    let (_, here) = CALLED.iter().find(|(pattern, _)| matches(pattern, path))?;
    let mut names = path.split('.');
    let filled: Vec<&str> = here
        .split('.')
        .map(|part| {
            let name = names.next();
            if part == "*" { name.unwrap_or(part) } else { part }
        })
        .collect();
    Some(filled.join("."))
}

fn matches(pattern: &str, path: &str) -> bool {
    let (mut wanted, mut given) = (pattern.split('.'), path.split('.'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(part), Some(name)) if part == "*" || part == name => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_later_and_what_is_called_otherwise_is_known() {
        assert!(reserved("changes").is_some() && reserved("entities.user.ttl.adaptive").is_some());
        assert_eq!(reserved("entities.user.ttl"), None);
        assert_eq!(called("sources.accounts.http.url").as_deref(), Some("sources.accounts.http.origin"));
        assert_eq!(called("sources.accounts.http.origin"), None);
    }
}
