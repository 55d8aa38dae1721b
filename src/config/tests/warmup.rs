//! `warmup:` what a plan becomes, and one example for each refusal.

use super::*;
use crate::warm::plan::{Missed, Ready, What};

const WARM: &str = "\
group: shop
store: memory
sources:
  api: { http: { origin: \"https://api.internal\", auth: { session: bearer } } }
entities:
  user: { key: \"user:{id}\", load: { source: api, get: \"/users/{id}\" }, ttl: 5m, fields: { allow: [id] } }
  price: { key: \"price:{currency}:{sku}\", scope: shared, load: { source: api, get: \"/prices/{sku}/{currency}\", credential: service }, ttl: 5m, fields: { allow: [sku] } }
warmup:
  zulu:
    cron: \"*/30 * * * *\"
    time_zone: Europe/Berlin
    steps:
      pool: { connect: [api] }
      best: { entity: price, members: [\"currency=eur&sku=1\"] }
      all: { entity: price, list: { source: api, get: \"/prices?page={page}\" } }
  alpha:
    on_start: off
    lock: { key: \"cache:warmup:lock\", ttl: 30s }
    missed: skip
    shared: true
    steps: { one: { connect: [api] } }
";

#[test]
fn plans_and_steps_keep_the_files_order() {
    let warmup = loaded(WARM, &[("HYDRANT__WARMUP__ZULU__PARALLEL", "3")]).config.live.warmup;
    let [zulu, alpha] = &warmup.plans[..] else { panic!("{:?}", warmup.plans) };
    assert_eq!((zulu.name.as_str(), alpha.name.as_str()), ("zulu", "alpha"));
    let steps: Vec<&str> = zulu.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(steps, ["pool", "best", "all"]);
    assert!(matches!(&zulu.steps[0].what, What::Connect { sources } if sources.len() == 1));
    assert_eq!(zulu.when.start, Some(std::time::Duration::from_millis(500)));
    assert_eq!((zulu.rules.parallel, zulu.rules.retries, zulu.ready), (3, 3, Ready::Before));
    assert_eq!(zulu.lease.lock.to_string(), "hydrant:{shop:warm:zulu}:lock");
    assert_eq!(format!("{:?}", zulu.when.schedule), "Some(*/30 * * * * in Europe/Berlin)");
    assert_eq!((alpha.when.start, alpha.when.missed), (None, Missed::Skip));
    assert_eq!(alpha.lease.lock.to_string(), "cache:warmup:lock");
    assert!(alpha.rules.is_shared && !zulu.rules.is_shared);
    assert_eq!(warmup.origins.len(), 2);
}

#[test]
fn what_cannot_be_warmed_is_refused_with_its_path() {
    for (part, by, expected) in [
        ("*/30 * * * *", "* * *", "warmup.zulu.cron: `* * *` is not a schedule"),
        ("*/30 * * * *", "0 0 30 2 *", "warmup.zulu.cron: `0 0 30 2 *` is never due"),
        ("Europe/Berlin", "Berlin", "warmup.zulu.time_zone: `Berlin` is not a time zone"),
        ("on_start: off", "on_start: soon", "warmup.alpha.on_start: `soon` is neither `off` nor a duration"),
        (
            "on_start: off",
            "before_ready: true\n    on_start: off",
            "warmup.alpha.before_ready: nothing runs at the start",
        ),
        ("ttl: 30s }", "ttl: 2s }", "warmup.alpha.lock.ttl: the lock stands for 2s, and one fill may take 1s"),
        ("one: { connect: [api] }", "one: {}", "warmup.alpha.steps.one: it does not say what to do"),
        (
            "one: { connect: [api] }",
            "one: { connect: [api], tag: a }",
            "warmup.alpha.steps.one: it says 2 things at once",
        ),
        (
            "one: { connect: [api] }",
            "one: { connect: [apu] }",
            "warmup.alpha.steps.one.connect[0]: `sources` has no `apu`",
        ),
        ("steps: { one: { connect: [api] } }", "steps: {}", "warmup.alpha.steps: a plan has 1 to 64 steps"),
        ("connect: [api] } }", "members: [1] } }", "warmup.alpha.steps.one: it does not say which entity"),
        (
            "one: { connect: [api] }",
            "one: { entity: user, members: [1] }",
            "warmup.alpha.steps.one.entity: `user` is loaded with a user's session",
        ),
        ("currency=eur&sku=1", "eur", "warmup.zulu.steps.best.members[0]: this names no member"),
        (
            "one: { connect: [api] }",
            "one: { entity: price, tag: a }",
            "warmup.alpha.steps.one.tag: `price` is filled with no tags",
        ),
        (
            "one: { connect: [api] }",
            "one: { entity: price, query: { source: api, sql: \"select 1\" } }",
            "warmup.alpha.steps.one.query.source: `api` cannot be asked by `query`",
        ),
        ("?page={page}", "?page={number}", "warmup.zulu.steps.all.list.get: `{number}` is none of them"),
        ("?page={page}", "?after={cursor}", "warmup.zulu.steps.all.list.next: `{cursor}` stands for"),
        ("    steps:\n", "    colour: red\n    steps:\n", "warmup.zulu.colour: there is no key `colour` here"),
    ] {
        assert!(WARM.contains(part), "{part}");
        let problems = refused(&WARM.replace(part, by), &[]);
        let told: Vec<String> = problems.list.iter().map(|p| format!("{}: {}", p.path, p.problem)).collect();
        assert!(told.iter().any(|line| line.starts_with(expected)), "{expected}\nin {told:?}");
        assert!(problems.list.iter().all(|problem| problem.hint.is_some()), "{told:?}");
    }
}

#[test]
fn two_plans_with_one_lock_are_warned_of() {
    let text = WARM.replace("    time_zone", "    lock: { key: \"cache:warmup:lock\" }\n    time_zone");
    let warnings = loaded(&text, &[]).warnings;
    assert!(warnings.iter().any(|warning| warning.path == "warmup.alpha.lock.key"), "{warnings:?}");
}
