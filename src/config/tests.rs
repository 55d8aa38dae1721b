//! The configuration as a whole: text in, text out.

use std::fs;

use super::*;

mod callers;
mod environment;
mod identity;
mod postgres;
mod refusals;

/// Compares with a file of the repository; `BLESS=1` writes it instead.
fn compare(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, text).expect("writes");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "{file} is not what the code says: run `make generate`\n{text}");
}

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn loaded(text: &str, pairs: &[(&str, &str)]) -> Loaded {
    load_text(text, Path::new("test.yaml"), &env(pairs)).unwrap_or_else(|problems| panic!("{problems}"))
}

fn refused(text: &str, pairs: &[(&str, &str)]) -> Problems {
    match load_text(text, Path::new("test.yaml"), &env(pairs)) {
        Ok(loaded) => panic!("taken, and not refused:\n{}", loaded.effective),
        Err(problems) => problems,
    }
}

/// The smallest configuration that fills something.
const SMALL: &str = "\
group: shop
store: memory
sources:
  api: { http: { origin: \"https://api.internal\", auth: { session: bearer } } }
entities:
  user: { key: \"user:{id}\", load: { source: api, get: \"/users/{id}\" }, ttl: 5m, fields: { allow: [id] } }
";

/// As long as its hash, and no longer.
const COOKIE_KEY: &str = "0123456789abcdef0123456789abcdef\n";

/// The example with its secret files in a folder of the test's own.
fn example(secrets: &Path) -> Loaded {
    for (name, text) in [("redis", "hunter2\n"), ("accounts", "hunter2\n"), ("session", COOKIE_KEY)] {
        fs::write(secrets.join(name), text).expect("writes");
    }
    let text = include_str!("../../docs/hydrant.example.yaml");
    let text = text.replace("/run/secrets", secrets.to_str().expect("UTF-8"));
    loaded(&text, &[("CATALOGUE_KEY", "k")])
}

#[test]
fn every_mistake_of_a_file_is_told_at_once() {
    let text = include_str!("../../tests/golden/config/mistakes.yaml");
    let problems =
        load_text(text, Path::new("mistakes.yaml"), &env(&[("HYDRANT__REDIS__NODE", "x")])).expect_err("refused");
    assert!(problems.list.len() >= 25, "{problems}");
    assert!(!problems.to_string().contains("hunter2"), "a password is told");
    compare("tests/golden/config/mistakes.txt", &format!("{problems}\n"));
}

#[test]
fn the_example_loads_without_a_warning() {
    let secrets = tempfile::tempdir().expect("a directory");
    let Loaded { config, warnings, .. } = example(secrets.path());
    assert_eq!(warnings, []);
    let Store::Redis(redis) = &config.store else { panic!("redis") };
    let auth = redis.auth.as_ref().expect("a password");
    assert_eq!(auth.password.get().expose(), "hunter2");
    assert_eq!(config.live.catalog.entities().count(), 6);
    let user = config.live.catalog.entity("user").expect("declared");
    assert_eq!(user.ttl().base().as_secs(), 900);
}

#[test]
fn the_demo_loads() {
    let text = format!("{}store: memory\n", include_str!("../cli/demo/demo.yaml"));
    assert_eq!(loaded(&text, &[("DEMO_BACKENDS", "127.0.0.1:80")]).warnings, []);
}

#[test]
fn the_schema_is_up_to_date() {
    compare("docs/reference/hydrant.schema.json", &schema());
}

#[test]
fn the_reference_is_up_to_date() {
    compare("docs/reference/configuration.md", &reference::markdown());
}

#[test]
fn what_is_in_effect_can_be_read_again_and_is_the_same() {
    let secrets = tempfile::tempdir().expect("a directory");
    let effective = example(secrets.path()).effective;
    // What is hidden there may be anything, as long as it can be a key.
    let shown = effective.render("first.yaml").replace("***", COOKIE_KEY.trim());
    let again = loaded(&shown, &[]).effective;
    assert_eq!(effective.changes(&again), [""; 0]);
}

#[test]
fn a_secret_is_nowhere_to_be_read() {
    let text = format!(
        "{}redis: {{ mode: cluster, nodes: [a], password: hunter2 }}\n",
        SMALL.replace("store: memory\n", "").replace("session: bearer", "service: { bearer: \"hun${REST}\" }")
    );
    let loaded = loaded(&text, &[("REST", "ter2")]);
    let Store::Redis(redis) = &loaded.config.store else { panic!("redis") };
    assert_eq!(redis.auth.as_ref().expect("a password").password.get().expose(), "hunter2");
    let shown = format!("{} {loaded:?}", loaded.effective);
    assert!(!shown.contains("hunter2"), "{shown}");
    let inline: Vec<&str> =
        loaded.warnings.iter().filter(|w| w.problem.contains("stands in the file")).map(|w| w.path.as_str()).collect();
    assert_eq!(inline, ["redis.password"]);
}

#[test]
fn what_works_but_may_not_be_meant_is_warned_of() {
    let text = "\
group: shop
redis: { mode: standalone, nodes: [cache.internal], tls: { ca: /nowhere/ca.pem } }
local: { items: 5 }
listen: { api: \"0.0.0.0:4770\" }
sources:
  api: { http: { origin: \"http://api.internal\", auth: { session: bearer } } }
  idle: { http: { origin: \"https://idle.internal\" } }
entities:
  user:
    key: \"user:{id}\"
    class: critical
    load: { source: api, get: \"/users/{id}\" }
    ttl: 5m
    fields: { allow: [id] }
";
    let warnings = loaded(text, &[]).warnings;
    let paths: Vec<&str> = warnings.iter().map(|warning| warning.path.as_str()).collect();
    let expected = [
        "redis",
        "redis.tls.ca",
        "local",
        "listen.api",
        "sources.api.http.origin",
        "sources.idle",
        "entities.user.class",
    ];
    assert_eq!(paths, expected, "{warnings:#?}");
    assert!(warnings.iter().all(|warning| warning.hint.is_some() && warning.place.is_some()));
}

#[test]
fn the_credential_follows_from_scope_and_source() {
    use crate::domain::entity::Credential;
    let with = |auth: &str, scope: &str| {
        let text = SMALL.replace("session: bearer", auth).replace("ttl: 5m", &format!("scope: {scope}, ttl: 5m"));
        let loaded = load_text(&text, Path::new("test.yaml"), &BTreeMap::new()).ok()?;
        Some(loaded.config.live.catalog.entity("user")?.load()?.credential)
    };
    let service = "service: { bearer: \"x\" }";
    let both = format!("session: bearer, {service}");
    assert_eq!(with("session: bearer", "subject"), Some(Credential::Session));
    assert_eq!(with(&both, "subject"), Some(Credential::Session));
    assert_eq!(with(&both, "shared"), Some(Credential::Service));
    assert_eq!(with(service, "subject"), Some(Credential::Service));
    assert_eq!(with("session: bearer", "shared"), None);
    assert_eq!(with("session: bearer", "shared, class: reference"), None);
    let said = SMALL
        .replace("ttl: 5m", "scope: shared, ttl: 5m")
        .replace("get: \"/users/{id}\"", "get: \"/u/{id}\", credential: service");
    let loaded = loaded(&said, &[]);
    let credential = loaded.config.live.catalog.entity("user").and_then(|user| user.load()).map(|load| load.credential);
    assert_eq!(credential, Some(Credential::Service));
}

#[test]
fn a_file_that_cannot_be_read_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let none = load(&dir.path().join("none.yaml"), &BTreeMap::new()).expect_err("refused");
    assert!(none.to_string().contains("cannot be read"), "{none}");
    let huge = dir.path().join("huge.yaml");
    fs::write(&huge, vec![b'#'; yaml::MAX_FILE_BYTES + 1]).expect("writes");
    assert!(load(&huge, &BTreeMap::new()).expect_err("refused").to_string().contains("larger than 1MiB"));
    fs::write(&huge, [0xff, 0xfe]).expect("writes");
    assert!(load(&huge, &BTreeMap::new()).expect_err("refused").to_string().contains("UTF-8"));
}

mod any_input {
    use proptest::prelude::*;

    use super::*;

    fn survives(text: &str) {
        let result = load_text(text, Path::new("any.yaml"), &env(&[("HYDRANT__ENTITIES__USER__TTL__BASE", "${X")]));
        if let Err(problems) = result {
            assert!(!problems.list.is_empty() && !problems.to_string().contains("fault of hydrant"), "{problems}");
            assert!(!problems.to_string().contains("fails to name"), "{problems}");
        }
    }

    /// One of the files at hand with a piece of it replaced.
    fn mutated() -> impl Strategy<Value = String> {
        let whole = include_str!("../../docs/hydrant.example.yaml");
        let wrong = include_str!("../../tests/golden/config/mistakes.yaml");
        let piece = prop_oneof![
            "\\PC{0,12}",
            "[\\[\\]{}:,&*!|>%@`\"'#\\n\\t -]{1,6}",
            Just("${A:-}".to_owned()),
            Just("null".to_owned()),
            Just("-1".to_owned()),
            Just("99999999999999999999".to_owned()),
        ];
        (prop_oneof![Just(whole), Just(wrong), Just(SMALL)], any::<prop::sample::Index>(), 0..40usize, piece).prop_map(
            |(text, at, length, piece)| {
                let chars: Vec<char> = text.chars().collect();
                let start = at.index(chars.len());
                let end = (start + length).min(chars.len());
                let (before, after) = (chars[..start].iter(), chars[end..].iter());
                before.copied().chain(piece.chars()).chain(after.copied()).collect()
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

        #[test]
        fn a_mutated_file_is_taken_or_refused_and_never_panics(text in mutated()) {
            survives(&text);
        }

        #[test]
        fn any_text_is_taken_or_refused_and_never_panics(text in "(?s).{0,200}") {
            survives(&text);
        }

        #[test]
        fn a_value_of_any_form_may_stand_anywhere(
            path in prop::sample::select(vec![
                "group", "store", "redis", "redis.nodes", "redis.tls", "redis.breaker.failures", "enabled", "enabled.entities",
                "enabled.entities.user", "sources", "sources.api", "sources.api.http.auth", "sources.api.http.auth.session",
                "sources.api.http.auth.service", "entities", "entities.user", "entities.user.ttl", "entities.user.aliases",
                "entities.user.aliases.email", "entities.user.aliases.email.from", "entities.user.version", "entities.user.soft",
                "sources.api.lag", "entities.user.bind", "entities.user.tags", "entities.user.fields", "prehydrate.always",
                "listen.api", "listen.limits", "log.level", "workers", "local.bytes", "identity", "identity.cookie", "identity.cookie.keys",
                "identity.cookie.keys.a", "identity.cookie.session", "identity.cookie.attributes",
            ]),
            value in prop::sample::select(vec![
                "null", "[]", "{}", "[a, [b]]", "{a: b}", "{a: {b: c}}", "x", "7", "-7", "1.5", "true", "''", "'${A:-}'", "'${A:-b}'",
                "'${A}'", "'${file:/nowhere}'", "{cookie: [a]}", "{bearer: {}}", "{cookie: a, header: b}", "'{'", "99999999999999999999",
            ]),
        ) {
            let nested = path.rsplit('.').fold(value.to_owned(), |inner, key| format!("{{{key}: {inner}}}"));
            survives(&nested);
            // And where all else is as it should be.
            let (first, _) = path.split_once('.').unwrap_or((path, ""));
            let inner = nested.strip_prefix(&format!("{{{first}: ")).and_then(|rest| rest.strip_suffix('}'));
            survives(&format!("{SMALL}{first}: {}\n", inner.unwrap_or_default()));
        }
    }
}
