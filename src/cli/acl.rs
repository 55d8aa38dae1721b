//! `hydrant acl`: the Redis users that a configuration needs, each with no more rights than it uses.
//!
//! Printed as lines of an ACL file, with a word where the password goes. Keys are given by the prefixes of the templates,
//! so a configuration with a new entity needs the users anew: before the sidecars read it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use clap::ValueEnum;

use crate::cli::exit::Exit;
use crate::cli::{ConfigArg, Out};
use crate::config::{self, Store};
use crate::domain::catalog::Catalog;
use crate::domain::entity::{Entity, Writers};
use crate::domain::template::Template;
use crate::remote::rights;

/// Print the Redis users for this configuration: sidecar, installer, and applications that read or write.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// The servers' version.
    #[arg(long, value_enum, default_value_t = Server::Since7)]
    server: Server,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Server {
    /// Redis 7.0 and newer, Valkey.
    #[value(name = "7")]
    Since7,
    /// Redis 6.2: no functions, and keys are either readable and writable or neither.
    #[value(name = "6")]
    Before7,
}

/// What the password is to be put in place of.
const PASSWORD: &str = "CHANGE_ME";
/// What clients send by themselves when they connect, or to find their way in a cluster.
const CONNECTING: [&str; 9] = [
    "asking",
    "client|setname",
    "cluster|nodes",
    "cluster|shards",
    "cluster|slots",
    "command",
    "ping",
    "readonly",
    "readwrite",
];
/// Of those, what 6.2 does not know.
const SINCE_7: [&str; 1] = ["cluster|shards"];
const READING: [&str; 7] = ["exists", "get", "mget", "pttl", "strlen", "ttl", "type"];
const WRITING: [&str; 8] = ["del", "expire", "getdel", "pexpire", "psetex", "set", "setex", "unlink"];

pub fn run(args: &Args, env: &BTreeMap<String, String>, out: &mut Out<'_>) -> io::Result<Exit> {
    let file = args.config.resolve(env);
    let loaded = match config::load(&file, env) {
        Ok(loaded) => loaded,
        Err(problems) => {
            writeln!(out.errors, "{problems}")?;
            return Ok(Exit::Usage);
        }
    };
    let catalog = &loaded.config.live.catalog;
    let Store::Redis(redis) = &loaded.config.store else {
        writeln!(out.errors, "hydrant: {} names no Redis, so it needs no users", file.display())?;
        return Ok(Exit::No);
    };
    let own = redis.auth.as_ref().and_then(|auth| auth.username.as_deref()).unwrap_or("hydrant");
    for user in users(own, &redis.group, catalog, args.server) {
        writeln!(out.text, "{user}")?;
    }
    if templates(catalog.entities().map(AsRef::as_ref)).any(|template| template.prefix().is_empty()) {
        writeln!(out.errors, "warning: a key template begins with a parameter, so these users reach every key")?;
    }
    writeln!(out.errors, "put passwords in place of {PASSWORD}; docs/redis-acl.md says what each user is for")?;
    Ok(Exit::Ok)
}

fn users(own: &str, group: &str, catalog: &Catalog, server: Server) -> [String; 4] {
    let all: Vec<&Entity> = catalog.entities().map(AsRef::as_ref).collect();
    let shared: Vec<&Entity> = all.iter().copied().filter(|entity| entity.writers() == Writers::Shared).collect();
    let read = match server {
        Server::Since7 => "%R~",
        Server::Before7 => "~",
    };
    let calling: &[&str] = match server {
        Server::Since7 => &rights::CALLING,
        Server::Before7 => &rights::CALLING_BEFORE_FUNCTIONS,
    };
    let installing: &[&str] = match server {
        Server::Since7 => &rights::INSTALLING,
        Server::Before7 => &rights::INSTALLING_BEFORE_FUNCTIONS,
    };
    let connecting = |word: &&&str| server == Server::Since7 || !SINCE_7.contains(*word);
    let connecting: Vec<&str> = CONNECTING.iter().filter(connecting).copied().collect();

    let global = [
        format!("~hydrant:{{{group}:*"),
        // Beside a history: that it was forgotten.
        format!("~{{*}}:?:hydrant:{{{group}:*"),
        format!("~hydrant:{{*}}:{group}:marker"),
        "~hydrant:probe".to_owned(),
    ];
    let sidecar: Vec<String> = keys("~", &all).into_iter().chain(siblings("~", &all)).chain(global).collect();
    let reader = keys(read, &all);
    let writer: Vec<String> = reader.iter().cloned().chain(keys("~", &shared)).chain(siblings("~", &shared)).collect();
    let filling: &[&str] = if shared.is_empty() || server == Server::Before7 { &[] } else { &rights::FILLING };
    [
        user(own, &sidecar, &[&rights::COMMANDS, calling]),
        user("hydrant-installer", &["~hydrant:probe".to_owned()], &[installing]),
        user("app-reader", &reader, &[&connecting, &READING]),
        user("app-writer", &writer, &[&connecting, &READING, &WRITING, filling]),
    ]
}

fn user(name: &str, keys: &[String], commands: &[&[&str]]) -> String {
    let commands: BTreeSet<&str> = commands.iter().flat_map(|list| list.iter().copied()).collect();
    let mut words = vec![format!("user {name} reset on >{PASSWORD}")];
    words.extend(keys.iter().cloned());
    words.push("-@all".to_owned());
    words.extend(commands.into_iter().map(|command| format!("+{command}")));
    words.join(" ")
}

/// The applications' own keys, each prefix once.
fn keys(rights: &str, entities: &[&Entity]) -> Vec<String> {
    prefixes(entities).into_keys().map(|prefix| format!("{rights}{}*", escape(&prefix))).collect()
}

/// Hydrant's keys beside them: `{key}:g`, or `{tag}:g:key` where the key has a brace.
fn siblings(rights: &str, entities: &[&Entity]) -> Vec<String> {
    let sibling = |(prefix, has_brace): (String, bool)| match has_brace {
        true => format!("{rights}{{*}}:?:{}*", escape(&prefix)),
        false => format!("{rights}{{{}*}}:?", escape(&prefix)),
    };
    prefixes(entities).into_iter().map(sibling).collect()
}

/// What keys begin with, and whether they have braces.
fn prefixes(entities: &[&Entity]) -> BTreeMap<String, bool> {
    let of = |template: &Template| (template.prefix().to_owned(), template.shape().contains('\u{1}'));
    templates(entities.iter().copied()).map(of).collect()
}

fn templates<'a>(entities: impl Iterator<Item = &'a Entity>) -> impl Iterator<Item = &'a Template> {
    entities.flat_map(|entity| std::iter::once(entity.key()).chain(entity.aliases().iter().map(|alias| &alias.key)))
}

fn escape(text: &str) -> String {
    let special = |c: char| matches!(c, '*' | '?' | '[' | ']' | '\\');
    text.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}
