//! One example for each refusal: what to change in a good file, and what is said then.

use super::*;

/// `path: problem` of everything that is wrong, one a line.
fn told(text: &str) -> String {
    let problems = refused(text, &[]);
    let line = |p: &Problem| format!("{}: {}", p.path, p.problem);
    for problem in &problems.list {
        assert!(problem.hint.is_some(), "no hint for {problem:?}");
    }
    problems.list.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What is told when a part of the small configuration is replaced.
fn with(part: &str, by: &str) -> String {
    assert!(SMALL.contains(part), "{part}");
    told(&SMALL.replace(part, by))
}

#[test]
fn the_top_level() {
    for (part, by, expected) in [
        ("group: shop", "group: a b", "group: `a b` is not a name"),
        ("group: shop\n", "", "group: `group` is missing"),
        ("store: memory\n", "", ": no store is named"),
        ("store: memory", "store: disk", "store: `disk` is none of the choices"),
        (
            "store: memory",
            "store: memory\nredis: { mode: cluster, nodes: [a] }",
            "store: two stores are named, `redis` and `store`",
        ),
        ("store: memory", "store: memory\ncolour: red", "colour: there is no key `colour` here"),
        ("store: memory", "store: memory\nworkers: 65", "workers: `65` is out of range, 1 to 64"),
        ("store: memory", "store: memory\nworkers: two", "workers: `two` is not a whole number"),
        ("store: memory", "store: memory\nwarmup: {}", "warmup: `warmup` is not in this version yet"),
        (
            "store: memory",
            "store: memory\nlocal: { critical: {} }",
            "local.critical: `critical` is not in this version yet",
        ),
        ("store: memory", "store: memory\nlocal: { bytes: 1 }", "local.bytes: `1` is out of range, 64KiB to 64GiB"),
        (
            "store: memory",
            "store: memory\ninvalidate: { spool: var/spool }",
            "invalidate.spool.directory: this is not an absolute path",
        ),
        (
            "store: memory",
            "store: memory\ninvalidate: { spool: { bytes: 1MiB } }",
            "invalidate.spool.directory: `directory` is missing",
        ),
        (
            "store: memory",
            "store: memory\ninvalidate: { spool: { directory: /s, files: 0 } }",
            "invalidate.spool.files: `0` is out of range, 1 to 1000000",
        ),
        (
            "store: memory",
            "store: memory\ninvalidate: { sweep: { scan: 1 } }",
            "invalidate.sweep.scan: `1` is out of range, 100 to 10000000",
        ),
        (
            "store: memory",
            "store: memory\ninvalidate: { refreshes: 0 }",
            "invalidate.refreshes: `0` is out of range, 1 to 4096",
        ),
        ("store: memory", "store: memory\nfill: 7", "fill: a section is expected here"),
        ("store: memory", "store: memory\nenabled: { all: maybe }", "enabled.all: `maybe` is neither true nor false"),
        ("store: memory", "store: memory\nenabled: { percent: 101 }", "enabled.percent: `101` is not a percentage"),
        (
            "store: memory",
            "store: memory\nenabled: { entities: { usr: off } }",
            "enabled.entities.usr: `entities` has no `usr`",
        ),
        ("store: memory", "store: memory\nenabled: { entities: [user] }", "enabled.entities: a map is expected here"),
        (
            "store: memory",
            "store: memory\nlog: { level: \"info,hydrant=loud\" }",
            "log.level: `info,hydrant=loud` is not a level",
        ),
    ] {
        assert_eq!(with(part, by), expected, "{by}");
    }
}

#[test]
fn redis() {
    for (redis, expected) in [
        ("{ nodes: [a] }", "redis.mode: `mode` is missing"),
        ("{ mode: cluster }", "redis.nodes: `nodes` is missing"),
        ("{ mode: cluster, nodes: [] }", "redis.nodes: 0 addresses"),
        ("{ mode: cluster, nodes: {} }", "redis.nodes: a list is expected here"),
        ("{ mode: cluster, nodes: [[a]] }", "redis.nodes[0]: one value is expected here"),
        ("{ mode: cluster, nodes: [\"redis://:p@a\"] }", "redis.nodes[0]: this holds a user or password"),
        ("{ mode: cluster, nodes: [\"redis://a/3\"] }", "redis.nodes[0]: `redis://a/3` has something behind the port"),
        (
            "{ mode: cluster, nodes: [\"redis://a\", \"rediss://b\"] }",
            "redis.nodes: some addresses speak TLS and some do not",
        ),
        ("{ mode: standalone, nodes: [a, b] }", "redis.nodes: `standalone` is one server, and 2 are named"),
        ("{ mode: sentinel, nodes: [a] }", "redis.master: `master` is missing"),
        ("{ mode: cluster, nodes: [a], master: m }", "redis.master: only `mode: sentinel` has this"),
        ("{ mode: cluster, nodes: [a], sentinel: { password: x } }", "redis.sentinel: only `mode: sentinel` has this"),
        ("{ mode: cluster, nodes: [a], username: u }", "redis.username: a user without a password"),
        ("{ mode: cluster, nodes: [a], replicas: 9 }", "redis.replicas: `9` is out of range, 0 to 5"),
        ("{ mode: cluster, nodes: [a], tls: { key: /k } }", "redis.tls.certificate: a key without its certificate"),
        ("{ mode: cluster, nodes: [a], tls: { certificate: /c } }", "redis.tls.key: a certificate without its key"),
        (
            "{ mode: cluster, nodes: [a], breaker: { first_wait: 2m } }",
            "redis.breaker.longest_wait: the longest wait must not be shorter than the first",
        ),
        ("{ mode: cluster, nodes: [a], url: b }", "redis.url: there is no key `url` here"),
        (
            "{ mode: cluster, nodes: [a], password: \"${file:/nowhere}\" }",
            "redis.password: the file `/nowhere` cannot be read: there is no such file",
        ),
        (
            "{ mode: cluster, nodes: [a], master: \"${file:/nowhere}\" }",
            "redis.master: `${file:…}` may stand for secrets only",
        ),
        (
            "{ mode: cluster, nodes: [a], password: \"${NOPE}\" }",
            "redis.password: the environment variable `NOPE` is not set",
        ),
    ] {
        assert_eq!(with("store: memory", &format!("redis: {redis}")), expected, "{redis}");
    }
}

#[test]
fn sources() {
    for (part, by, expected) in [
        ("http: {", "htp: {", "sources.api.htp: there is no key `htp` here"),
        (
            "http: { origin: \"https://api.internal\", auth: { session: bearer } }",
            "",
            "sources.api: it is not said how this source is reached",
        ),
        (
            "https://api.internal",
            "https://api.internal/v1",
            "sources.api.http.origin: `https://api.internal/v1` has a path behind the host",
        ),
        (
            "https://api.internal",
            "ftp://api.internal",
            "sources.api.http.origin: `ftp://api.internal` has a scheme that is neither `https` nor `http`",
        ),
        ("https://api.internal", "https://u:p@api.internal", "sources.api.http.origin: this holds a user or password"),
        ("session: bearer", "session: basic", "sources.api.http.auth.session: `basic` is none of the choices"),
        (
            "session: bearer",
            "session: { cookie: a, header: b }",
            "sources.api.http.auth.session: this is none of the choices",
        ),
        (
            "session: bearer",
            "session: { cookie: \"a b\" }",
            "sources.api.http.auth.session.cookie: `a b` is not the name of a cookie",
        ),
        (
            "session: bearer",
            "session: { header: Host }",
            "sources.api.http.auth.session.header: `Host` is a header with a meaning of its own",
        ),
        (
            "session: bearer",
            "session: bearer, service: { bearer: \"a\\nb\" }",
            "sources.api.http.auth.service.bearer: this cannot stand in a header",
        ),
        (
            "session: bearer",
            "session: bearer, service: { header: { name: \"X Y\", value: a } }",
            "sources.api.http.auth.service.header.name: `X Y` is not the name of a header",
        ),
        (
            "session: bearer",
            "session: bearer, service: { header: { name: X } }",
            "sources.api.http.auth.service.header.value: `value` is missing",
        ),
        (
            "auth:",
            "timeout: 10s, auth:",
            "sources.api.http.timeout: a call may take 10s, but the claim it fills under ends after 10s",
        ),
        (
            "auth:",
            "tls: { key: /etc/hostname }, auth:",
            "sources.api.http.tls.certificate: a key without its certificate",
        ),
        ("auth:", "tls: { ca: /nowhere/ca.pem }, auth:", "sources.api.http.tls.ca: the file cannot be read"),
        ("auth:", "retries: 11, auth:", "sources.api.http.retries: `11` is out of range, 0 to 10"),
        ("  api:", "  \"a b\": { http: { origin: \"https://a\" } }\n  api:", "sources.a b: this is not a name"),
    ] {
        assert_eq!(with(part, by), expected, "{by}");
    }
}

#[test]
fn entities() {
    for (part, by, expected) in [
        ("ttl: 5m, ", "", "entities.user.ttl: `ttl` is missing"),
        ("ttl: 5m", "ttl: { jitter: 5% }", "entities.user.ttl.base: `base` is missing"),
        ("ttl: 5m", "ttl: 31d", "entities.user.ttl.base: `31d` is out of range, 1s to 30d"),
        ("ttl: 5m", "ttl: { base: 5m, jitter: 51% }", "entities.user.ttl.jitter: `51%` is out of range, at most 50%"),
        ("ttl: 5m", "ttl: { base: 5m, absent: 0 }", "entities.user.ttl.absent: `0` is out of range, 1s to 30d"),
        ("ttl: 5m", "ttl: { base: 5m, max: 1h }", "entities.user.ttl.max: `max` is not in this version yet"),
        (", fields: { allow: [id] }", "", "entities.user.fields: `fields` is missing"),
        ("{ allow: [id] }", "{ never: [id] }", "entities.user.fields.allow: `allow` is missing"),
        ("{ allow: [id] }", "{ allow: [] }", "entities.user.fields.allow: nothing may be kept"),
        ("key: \"user:{id}\", ", "", "entities.user.key: `key` is missing"),
        (
            "key: \"user:{id}\"",
            "key: \"user\"",
            "entities.user.key: `user` is not a template: a key template needs at least one parameter, or every member would share one key",
        ),
        ("ttl: 5m", "ids: quoted, ttl: 5m", "entities.user.ids: `quoted` is none of the choices"),
        ("ttl: 5m", "bind: { id: email }, ttl: 5m", "entities.user.bind.id: `email` is not a fact of a subject"),
        (
            "ttl: 5m",
            "bind: { id: user, x: tenant }, ttl: 5m",
            "entities.user.bind: `x` is bound, but the key has no such parameter",
        ),
        (
            "ttl: 5m",
            "bind: { id: tenant }, ttl: 5m",
            "entities.user.bind: a subject-scoped key must hold the subject: bind one of its parameters to the subject's user or session",
        ),
        (
            "ttl: 5m",
            "max_bytes: 8MiB, ttl: 5m",
            "entities.user.max_bytes: a value of 8MiB would not fit into a request",
        ),
    ] {
        assert_eq!(with(part, by), expected, "{by}");
    }
}

#[test]
fn further_keys_tags_and_loads() {
    for (part, by, expected) in [
        (
            "ttl: 5m",
            "aliases: { e: { key: \"a:{b}:{b}\" } }, ttl: 5m",
            "entities.user.aliases.e.key: `a:{b}:{b}` is not a template: the parameter `b` stands twice",
        ),
        (
            "ttl: 5m, fields: { allow: [id] }",
            "aliases: { e: { key: \"user:{name}\" } }, ttl: 5m, fields: { allow: [id, name] }",
            "entities.user.aliases.e.key: `user:{name}` makes the same keys as `user:{id}` of the entity `user`",
        ),
        (
            "ttl: 5m",
            "tags: [\"c:{colour}\"], ttl: 5m",
            "entities.user.tags: the tag uses `{colour}`, which is neither a parameter of the key nor `tenant` or `subject`; a tag must be known before the fetch",
        ),
        ("source: api", "source: apy", "entities.user.load.source: `sources` has no `apy`"),
        ("get: \"/users/{id}\"", "get: \"users\"", "entities.user.load.get: `users` does not start with `/`"),
        (
            "get: \"/users/{id}\"",
            "get: \"/users/{name}\"",
            "entities.user.load.get: `{name}` is not a parameter of the key",
        ),
        (
            "get: \"/users/{id}\"",
            "query: select",
            "entities.user.load.query: the source is behind HTTP, where there are no queries",
        ),
        (
            "get: \"/users/{id}\"",
            "get: \"/u\", credential: none",
            "entities.user.load.credential: `none` is none of the choices",
        ),
        ("  user: {", "  user: {}\n  user: {", "entities.user: the key `user` stands twice, first on line 6"),
    ] {
        assert!(with(part, by).contains(expected), "{by}\n{}", with(part, by));
    }
    let asks = SMALL.replace("get: \"/users/{id}\"", "get: \"/u\", credential: session").replace("session: bearer", "");
    assert_eq!(told(&asks), "entities.user.load.credential: the source takes no session");
}

#[test]
fn aliases_tags_versions_and_graces() {
    let alias = |rest: &str| format!("aliases: {{ e: {{ {rest} }} }}, ttl: 5m");
    for (by, expected) in [
        (
            alias("key: \"mail:{email}\""),
            "entities.user.aliases.e: the alias is named by `$.email`, which is not among the fields kept",
        ),
        (
            alias("key: \"mail:{email}\", from: contact.email"),
            "entities.user.aliases.e.from: `contact.email` is not a place in an answer",
        ),
        (
            alias("key: \"again:{id}\", from: $.id, value: full"),
            "entities.user.aliases.e.from: `from` names one field, but not exactly one parameter of the alias is to be found there",
        ),
        (
            alias("key: \"again:{id}\""),
            "entities.user.aliases.e.value: the alias key holds an id, but which of the key's parameters that is cannot be told",
        ),
        (
            alias("key: \"hydrant:{id}\", value: full"),
            "entities.user.aliases.e.key: keys beginning `hydrant:` are hydrant's own",
        ),
        (
            alias("key: \"{{{id}}}:g\", value: full"),
            "entities.user.aliases.e.key: `{{{id}}}:g` is not a template: the template's own text would make a bad key: the key looks like one of Hydrant's own (`{…}:g`, `:x`, `:t`, `:m`)",
        ),
        (
            "scope: tenant, bind: { id: tenant }, tags: [\"by:{subject}\"], load: { source: api, get: /u, credential: service }, ttl: 5m".to_owned(),
            "entities.user.tags: `{subject}` in a tag of a tenant-scoped entity: the key would be found under the tag of whoever asked first only",
        ),
        ("tags: [a, b, c, d, e, f, g, h, i], ttl: 5m".to_owned(), "entities.user.tags: more than 8 tags"),
        ("version: rev, ttl: 5m".to_owned(), "entities.user.version: `rev` is none of the choices"),
        (
            "version: { number: rev }, ttl: 5m".to_owned(),
            "entities.user.version.number: `rev` is not a place in an answer",
        ),
        (
            "version: { number: $.rev, time: $.at }, ttl: 5m".to_owned(),
            "entities.user.version: this is none of the choices",
        ),
        ("owner: userId, ttl: 5m".to_owned(), "entities.user.owner: `userId` is not a place in an answer"),
        (
            "soft: 10m, ttl: 5m".to_owned(),
            "entities.user.soft.grace: the grace must be between 1s and the life of a value",
        ),
        ("soft: { grace: 2h }, ttl: 5m".to_owned(), "entities.user.soft.grace: `2h` is out of range, 1s to 1h"),
    ] {
        let load = "load: { source: api, get: \"/users/{id}\" }, ttl: 5m";
        let said = with(if by.contains("load:") { load } else { "ttl: 5m" }, &by);
        assert!(said.starts_with(expected), "{by}\n{said}");
    }
    assert_eq!(
        with("key: \"user:{id}\"", "key: \"hydrant:{id}\""),
        "entities.user.key: keys beginning `hydrant:` are hydrant's own"
    );
    assert_eq!(with("http: {", "lag: 2h, http: {"), "sources.api.lag: `2h` is out of range, 10ms to 1h");
}

#[test]
fn what_is_wrong_with_fields_is_told_where_it_stands() {
    for (part, by, expected) in [
        ("get: \"/users/{id}\"", "get: \"/users/{id}\", body: data", "entities.user.load.body: `data` is not a place"),
        ("allow: [id]", "allow: [id, password]", "entities.user.fields.allow: `password` is never cached"),
        (
            "allow: [id]",
            "allow: [id], trust: [name]",
            "entities.user.fields.trust: `name` is not among the fields kept",
        ),
        ("allow: [id]", "allow: [id], never: [\"--\"]", "entities.user.fields.never: `--` has neither letters"),
    ] {
        let said = with(part, by);
        assert!(said.starts_with(expected), "{by}\n{said}");
    }
    let hint = |text: &str| refused(text, &[]).list[0].hint.clone().expect("a hint");
    let body = SMALL.replace("get: \"/users/{id}\"", "get: \"/users/{id}\", body: data");
    assert_eq!(hint(&body), "write `$.data`, or leave it out for the whole answer");
}

#[test]
fn what_everybody_reads_is_not_filled_with_a_session() {
    let said = with("ttl: 5m", "scope: shared, ttl: 5m");
    assert_eq!(
        said,
        "entities.user.load.credential: the source takes sessions only, and a session may not fill what is shared"
    );
    let text = SMALL
        .replace("get: \"/users/{id}\"", "get: \"/u\", credential: session")
        .replace("ttl: 5m", "scope: shared, ttl: 5m");
    let said = told(&text);
    assert_eq!(
        said,
        "entities.user.scope: the source forwards the subject's session, which may fill subject-scoped entities only; this one is shared"
    );
}

#[test]
fn prehydrate_and_listen() {
    let entity = |more: &str| {
        format!("  other: {{ key: \"other:{{a}}:{{b}}\", ttl: 5m, scope: shared, fields: {{ allow: [id] }}{more} }}\n")
    };
    for (more, expected) in [
        ("prehydrate: { always: [usr] }".to_owned(), "prehydrate.always[0]: `entities` has no `usr`"),
        ("prehydrate: { always: [user, user] }".to_owned(), "prehydrate.always[1]: `user` stands twice"),
        (
            entity("") + "prehydrate: { always: [other] }",
            "prehydrate.always[0]: `other` has no `load`: it cannot be filled",
        ),
        (
            entity(", load: { source: api, get: /o, credential: service }") + "prehydrate: { always: [other] }",
            "prehydrate.always[0]: which `other` is meant does not follow from the login alone",
        ),
        ("prehydrate: { plan: { cohort: [usr] } }".to_owned(), "prehydrate.plan.cohort[0]: `entities` has no `usr`"),
        ("prehydrate: { plan: { never: [usr] } }".to_owned(), "prehydrate.plan.never[0]: `entities` has no `usr`"),
        (
            entity("") + "prehydrate: { plan: { cohort: [other] } }",
            "prehydrate.plan.cohort[0]: `other` has no `load`: it cannot be filled",
        ),
        ("listen: { api: \"localhost:1\" }".to_owned(), "listen.api: `localhost:1` is not an address with a port"),
        (
            "listen: { api: \"127.0.0.1:4771\" }".to_owned(),
            "listen.probes: 0.0.0.0:4771 is the address of `listen.api` as well",
        ),
        ("listen: { socket: api.sock }".to_owned(), "listen.socket: `api.sock` is not an absolute path"),
        (
            "listen: { limits: { message: 8MiB, value_message: 7MiB } }".to_owned(),
            "listen.limits.message: larger than `value_message` (7MiB)",
        ),
        (
            "listen: { limits: { value_message: 32MiB, in_flight_bytes: 16MiB } }".to_owned(),
            "listen.limits.value_message: one request may have 32MiB, all together only 16MiB",
        ),
    ] {
        assert_eq!(told(&format!("{SMALL}{more}\n")), expected, "{more}");
    }
}

#[test]
fn one_broken_section_does_not_hide_another() {
    let text = format!(
        "{SMALL}  a: {{ key: \"a:{{id}}\", ttl: x, fields: {{ allow: [id] }}, load: {{ source: api, get: /a }} }}\n  \
         b: {{ key: \"b\", ttl: 5m, fields: {{ allow: [id] }} }}\nprehydrate: {{ always: [a, c] }}\n"
    );
    let said = told(&text);
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(
        said.contains("entities.a.ttl.base")
            && said.contains("entities.b.key")
            && said.contains("prehydrate.always[1]")
    );
}

#[test]
fn a_typing_error_is_answered_with_what_was_meant() {
    let hint = |part: &str, by: &str| refused(&SMALL.replace(part, by), &[]).list[0].hint.clone().unwrap_or_default();
    assert_eq!(hint("ttl: 5m", "tll: 5m"), "did you mean `ttl`?");
    assert_eq!(refused(&SMALL.replace("ttl: 5m", "tll: 5m"), &[]).list.len(), 1);
    assert_eq!(hint("source: api", "source: apii"), "did you mean `api`?");
    assert_eq!(hint("session: bearer", "session: baerer"), "did you mean `bearer`?");
    assert_eq!(hint("origin:", "url:"), "it is called `sources.api.http.origin`");
}
