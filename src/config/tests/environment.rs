//! What the environment and mounted files bring into the configuration.

use super::*;

/// `path value origin` of the lines in effect that hold this text.
fn line(loaded: &Loaded, key: &str) -> String {
    let text = loaded.effective.render("test.yaml");
    let found: Vec<&str> = text.lines().filter(|line| line.trim_start().starts_with(&format!("{key}:"))).collect();
    found.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_value_can_be_overridden_by_a_variable_called_after_its_path() {
    let loaded = loaded(
        SMALL,
        &[
            ("HYDRANT__GROUP", "other"),
            ("HYDRANT__ENTITIES__USER__TTL__BASE", "15m"),
            ("HYDRANT__ENTITIES__USER__FIELDS__ALLOW", "id, name"),
            ("HYDRANT__ENTITIES__USER__BIND__ID", "user"),
            ("HYDRANT__SOURCES__API__HTTP__AUTH__SESSION__COOKIE", "sid"),
            ("HYDRANT__ENABLED__ENTITIES__USER", "off"),
            ("HYDRANT__WORKERS", "4"),
            ("HYDRANT__LOG__LEVEL", ""),
            ("HYDRANT_CONFIG", "elsewhere.yaml"),
            ("UNRELATED", "x"),
        ],
    );
    let config = &loaded.config;
    assert_eq!((config.group.as_str(), config.workers), ("other", 4));
    let user = config.live.catalog.entity("user").expect("declared");
    assert_eq!(user.ttl().base().as_secs(), 900);
    assert!(!config.live.enabled.fills(user));
    assert_eq!(line(&loaded, "base"), "base: 15m # environment HYDRANT__ENTITIES__USER__TTL__BASE");
    assert_eq!(line(&loaded, "allow"), "allow: [id, name] # environment HYDRANT__ENTITIES__USER__FIELDS__ALLOW");
    assert_eq!(line(&loaded, "cookie"), "cookie: sid # environment HYDRANT__SOURCES__API__HTTP__AUTH__SESSION__COOKIE");
    assert!(line(&loaded, "level").ends_with("# default"));
}

#[test]
fn names_are_found_whatever_their_capitals() {
    let text = SMALL.replace("user:", "userProfile-2:");
    let loaded = loaded(
        &text,
        &[("HYDRANT__ENTITIES__USERPROFILE_2__TTL", "1h"), ("HYDRANT__ENABLED__ENTITIES__USERPROFILE_2", "no")],
    );
    let entity = loaded.config.live.catalog.entity("userProfile-2").expect("declared");
    assert_eq!(entity.ttl().base().as_secs(), 3600);
    assert!(!loaded.config.live.enabled.fills(entity));
}

#[test]
fn a_short_form_in_the_file_can_be_refined() {
    let loaded = loaded(SMALL, &[("HYDRANT__ENTITIES__USER__TTL__ABSENT", "10s")]);
    let user = loaded.config.live.catalog.entity("user").expect("declared");
    assert_eq!((user.ttl().base().as_secs(), user.ttl().absent().map(|t| t.as_secs())), (300, Some(10)));
}

#[test]
fn a_whole_section_can_come_from_the_environment() {
    let text = SMALL.replace("store: memory\n", "");
    let pairs = [
        ("HYDRANT__REDIS__MODE", "cluster"),
        ("HYDRANT__REDIS__NODES", "redis://a:1,redis://b:2"),
        ("HYDRANT__REDIS__PASSWORD", "hunter2"),
    ];
    let loaded = loaded(&text, &pairs);
    let Store::Redis(redis) = &loaded.config.store else { panic!("redis") };
    let remote::Mode::Cluster { seeds } = &redis.mode else { panic!("cluster") };
    assert_eq!(seeds.len(), 2);
    assert!(!loaded.effective.to_string().contains("hunter2"));
    assert!(loaded.warnings.iter().all(|warning| !warning.problem.contains("stands in the file")));
}

#[test]
fn an_override_that_leads_nowhere_is_refused_with_what_was_meant() {
    for (variable, expected) in [
        ("HYDRANT__ENTITIES__USR__TTL__BASE", "did you mean HYDRANT__ENTITIES__USER?"),
        ("HYDRANT__ENTITIES__USER__TLL__BASE", "did you mean HYDRANT__ENTITIES__USER__TTL?"),
        ("HYDRANT__ENTITIES__USER", "one of HYDRANT__ENTITIES__USER__KEY"),
        ("HYDRANT__ENTITIES", "name one of its keys"),
        ("HYDRANT__ENTITIES__COLOUR__KEY", "declare it in the file first"),
        ("HYDRANT__WORKERS__0", "set HYDRANT__WORKERS"),
        ("HYDRANT__", "one of HYDRANT__GROUP"),
        ("HYDRANT__REDIS__URL", "did you mean HYDRANT__REDIS__NODES?"),
        ("HYDRANT__CHANGES", "until messages of other systems are followed"),
    ] {
        let problems = refused(SMALL, &[(variable, "x")]).to_string();
        assert!(problems.starts_with(&format!("environment {variable}: ")), "{problems}");
        assert!(problems.contains(expected), "{problems}");
    }
}

#[test]
fn a_bad_value_of_a_variable_is_not_repeated() {
    let problems = refused(SMALL, &[("HYDRANT__WORKERS", "hunter2")]).to_string();
    assert!(
        problems.starts_with("environment HYDRANT__WORKERS: workers: the variable's value is not a whole number"),
        "{problems}"
    );
    let problems = refused(&SMALL.replace("5m", "\"${TTL}\""), &[("TTL", "hunter2")]).to_string();
    assert!(problems.contains("the value of ${TTL} is not a duration") && !problems.contains("hunter2"), "{problems}");
}

#[test]
fn variables_stand_in_fields_of_every_type() {
    let text = format!(
        "{}workers: ${{WORKERS}}\nenabled: {{ all: \"${{ON:-false}}\", percent: \"${{SHARE:-10}}%\" }}\n\
         listen: {{ api: \"127.0.0.1:${{PORT:-4000}}\", socket: \"${{SOCKET:-}}\" }}\nlog: {{ format: \"${{FORMAT:-pretty}}\" }}\n\
         local: {{ bytes: \"${{MEGABYTES}}MiB\" }}\nprehydrate: {{ always: \"${{ALWAYS:-user}}\" }}\n",
        SMALL.replace("5m", "\"${TTL:-900}\"")
    );
    let loaded = loaded(&text, &[("WORKERS", "3"), ("MEGABYTES", "8"), ("SHARE", "")]);
    let config = &loaded.config;
    assert_eq!(config.workers, 3);
    assert!(!config.live.enabled.all);
    assert_eq!(config.live.enabled.percent, 10);
    assert_eq!((config.listen.api.port(), config.listen.socket.as_ref()), (4000, None));
    assert!(matches!(&config.store, Store::Memory(local::Config { bytes: 8_388_608, .. })));
    assert_eq!(config.live.prehydrate.always.len(), 1);
    assert_eq!(line(&loaded, "workers"), "workers: 3 # test.yaml:7, ${WORKERS}");
    assert_eq!(line(&loaded, "base"), "base: 900 # test.yaml:6, ${TTL} not set, its default");
}

#[test]
fn a_secret_comes_from_a_file_and_the_file_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("token");
    fs::write(&path, "hunter2\n").expect("writes");
    let service = format!("service: {{ bearer: \"${{file:{}}}\" }}", path.display());
    let loaded = loaded(&SMALL.replace("session: bearer", &service), &[]);
    assert_eq!(line(&loaded, "bearer"), format!("bearer: \"***\" # test.yaml:4, file {}", path.display()));
    assert_eq!(loaded.files.iter().collect::<Vec<_>>(), [&path]);
}
