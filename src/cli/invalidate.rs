//! `hydrant invalidate`: says to a running sidecar what has changed, and may wait until all of it is gone.
//!
//! The answer goes to the text, as lines or as JSON; what happens while it waits goes to the errors, so that a script
//! can read the one and a person see the other.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::job::{counted, follow, line};
use crate::cli::named::{self, Named, pair};
use crate::cli::{EndpointArg, Out, block_on};
use crate::domain::secret::Secret;
use crate::grpc::client::invalidate::{
    Invalidated, Invalidation, KnownAlias, MemberTarget, Mode, Replacement, Target, Version,
};
use crate::grpc::client::job::Job;
use crate::grpc::client::{CallError, Stated, Who};

/// Say what has changed: these targets are removed from the cache, and what is being filled is refused.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    targets: Targets,
    /// What to do with them; `replace` where a value is given, else `remove`.
    #[arg(long, value_enum)]
    mode: Option<ModeArg>,
    /// The oldest version of the one member that may be cached from now on: a number, or a time as in RFC 3339.
    #[arg(long, value_name = "VERSION", value_parser = version)]
    min_version: Option<Version>,
    /// The one member's new value, for `--mode replace`.
    #[arg(long, value_name = "FILE")]
    value_file: Option<PathBuf>,
    /// How new that value is; without it the member is loaded again instead.
    #[arg(long, value_name = "VERSION", value_parser = version, requires = "value_file")]
    value_version: Option<Version>,
    /// Why, in a few words, for logs and jobs. Nothing personal.
    #[arg(long, default_value = "")]
    reason: String,
    /// Show what would be concerned, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Where it cannot be finished at once, follow its job to the end.
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    /// Give up on the answer after this many milliseconds; following a job takes as long as the job.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    deadline_ms: u64,
    /// Answer as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoint: EndpointArg,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct Targets {
    /// A member with all its keys: `user:id=7`, or `user id=7`.
    #[arg(long = "member", num_args = 1.., value_name = "ENTITY PARAM=VALUE")]
    members: Vec<String>,
    /// A member by one of its aliases: `user.email=ada@example.org`, or `user.email address=ada@example.org`.
    #[arg(long = "alias", num_args = 1.., value_name = "ENTITY.ALIAS PARAM=VALUE")]
    aliases: Vec<String>,
    /// An alias value of the one member, old or new, for keys that an app wrote itself: `email=old@example.org`.
    #[arg(long, num_args = 1.., value_name = "ALIAS PARAM=VALUE")]
    known_alias: Vec<String>,
    /// A key, as it stands in Redis.
    #[arg(long = "key", num_args = 1..)]
    keys: Vec<String>,
    /// Everything filled under a tag.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Everything that is one user's own: a logout.
    #[arg(long, value_name = "USER", conflicts_with = "cookie")]
    subject: Option<String>,
    /// The same, by the value of the user's cookie; HYDRANT_COOKIE if none follows, which keeps it out of the shell's
    /// history.
    #[arg(long, num_args = 0..=1, default_missing_value = "")]
    cookie: Option<String>,
    #[arg(long, requires = "subject")]
    tenant: Option<String>,
    /// The user's session token, where keys are built from it; HYDRANT_SESSION if it is not given.
    #[arg(long, requires = "subject")]
    session: Option<String>,
    /// A further fact of the user that keys are built from: `org=7`.
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = pair, requires = "subject")]
    attributes: Vec<(String, String)>,
    /// Drop the history of what the user reads as well.
    #[arg(long)]
    forget: bool,
    /// Keys by a glob that begins with the literal prefix of a declared key: `user:email:*`. Redis is scanned for them.
    #[arg(long = "pattern", value_name = "GLOB")]
    patterns: Vec<String>,
    /// Everything this group of sidecars caches. Redis is scanned for it.
    #[arg(long)]
    all: bool,
    /// With --all: of these entities only.
    #[arg(long = "entity", value_name = "ENTITY", requires = "all")]
    entities: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ModeArg {
    /// Remove the keys.
    Remove,
    /// Remove them, and load again what was cached.
    Refresh,
    /// Write the given value.
    Replace,
    /// Let old values live for the entity's grace, and load them again.
    Soft,
}

/// The answer, and the job's end where it was waited for.
#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    answer: Invalidated,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<Job>,
}

pub fn run(args: Args, env: &BTreeMap<String, String>, out: &mut Out<'_>) -> io::Result<Exit> {
    let (json, wait, endpoint) = (args.json, args.wait, args.endpoint.clone());
    let deadline = Duration::from_millis(args.deadline_ms);
    let invalidation = match args.invalidation(env) {
        Ok(invalidation) => invalidation,
        Err(mistake) => {
            writeln!(out.errors, "hydrant: {mistake}")?;
            return Ok(Exit::Usage);
        }
    };
    let told = block_on(async {
        let client = endpoint.connect(env, deadline).await?;
        let answer = client.invalidate(invalidation).await?;
        let job = match &answer.pending {
            Some(pending) if wait => {
                follow(&client, &pending.job_id, |job| writeln!(out.errors, "{}", line(job))).await?
            }
            _ => None,
        };
        Ok::<_, CallError>(Told { answer, job })
    })?;
    match told {
        Ok(told) => {
            let text = if json { serde_json::to_string_pretty(&told)? } else { lines(&told) };
            writeln!(out.text, "{text}")?;
            Ok(told.exit(wait))
        }
        Err(error) => {
            writeln!(out.errors, "hydrant: {error}")?;
            Ok(Exit::of_error(&error))
        }
    }
}

impl Args {
    fn invalidation(self, env: &BTreeMap<String, String>) -> Result<Invalidation, String> {
        let replacement = match &self.value_file {
            None => None,
            Some(file) => {
                let value = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
                Some(Replacement { value: value.into(), version: self.value_version })
            }
        };
        let mode = match (self.mode, &replacement) {
            (Some(ModeArg::Remove), _) | (None, None) => Mode::Remove,
            (Some(ModeArg::Refresh), _) => Mode::Refresh,
            (Some(ModeArg::Replace), _) | (None, Some(_)) => Mode::Replace,
            (Some(ModeArg::Soft), _) => Mode::Soft,
        };
        let of_member = OfMember { min_version: self.min_version, replacement };
        let targets = self.targets.aimed(of_member, env)?;
        Ok(Invalidation { targets, mode, dry_run: self.dry_run, reason: self.reason })
    }
}

/// What is said of the one member.
struct OfMember {
    min_version: Option<Version>,
    replacement: Option<Replacement>,
}

impl Targets {
    fn aimed(self, of_member: OfMember, env: &BTreeMap<String, String>) -> Result<Vec<Target>, String> {
        let who = self.who(env)?;
        let mut members: Vec<MemberTarget> = named::in_a_row(&self.members)?
            .into_iter()
            .map(|Named { name, params }| MemberTarget::of(name, params))
            .collect();
        for Named { name, params } in named::in_a_row(&self.aliases)? {
            let (entity, alias) = name.split_once('.').ok_or("write --alias ENTITY.ALIAS PARAM=VALUE")?;
            members.push(MemberTarget { alias: Some(alias.to_owned()), ..MemberTarget::of(entity, params) });
        }
        let known: Vec<KnownAlias> = named::in_a_row(&self.known_alias)?
            .into_iter()
            .map(|Named { name, params }| KnownAlias { alias: name, params })
            .collect();
        let OfMember { min_version, replacement } = of_member;
        if !known.is_empty() || min_version.is_some() || replacement.is_some() {
            let [member] = &mut members[..] else {
                return Err("--known-alias, --min-version and --value-file speak of one --member or --alias".to_owned());
            };
            *member = MemberTarget { known_aliases: known, min_version, replacement, ..std::mem::take(member) };
        }
        let mut targets: Vec<Target> = members.into_iter().map(|member| Target::Member(Box::new(member))).collect();
        targets.extend((!self.keys.is_empty()).then_some(Target::Keys(self.keys)));
        targets.extend(self.tags.into_iter().map(Target::Tag));
        targets.extend(who.map(|who| Target::Subject { who, forget: self.forget }));
        targets.extend(self.patterns.into_iter().map(Target::Pattern));
        targets.extend(self.all.then_some(Target::All { entities: self.entities }));
        Ok(targets)
    }

    fn who(&self, env: &BTreeMap<String, String>) -> Result<Option<Who>, String> {
        let variable = |name: &str| env.get(name).filter(|text| !text.is_empty()).cloned();
        if let Some(user) = self.subject.clone() {
            return Ok(Some(Who::Stated(Stated {
                user,
                session: self.session.clone().or_else(|| variable("HYDRANT_SESSION")).map(Secret::new),
                tenant: self.tenant.clone(),
                attributes: self.attributes.iter().cloned().collect(),
            })));
        }
        let cookie = match self.cookie.clone() {
            None if self.forget => return Err("--forget speaks of --subject or --cookie".to_owned()),
            None => return Ok(None),
            Some(cookie) if cookie.is_empty() => {
                variable("HYDRANT_COOKIE").ok_or("--cookie: none is given, nor HYDRANT_COOKIE")?
            }
            Some(cookie) => cookie,
        };
        Ok(Some(Who::CookieValue(Secret::new(cookie))))
    }
}

impl Told {
    fn exit(&self, wait: bool) -> Exit {
        match (&self.job, self.answer.status.as_str()) {
            (Some(job), _) => Exit::of_job(job),
            // It was followed, and the sidecar stopped before the job did.
            (None, "PENDING") if wait => Exit::Unreachable,
            (None, "PENDING") => Exit::Partial,
            (None, _) => Exit::Ok,
        }
    }
}

fn version(text: &str) -> Result<Version, String> {
    Version::parse(text).ok_or_else(|| "write a number, or a time such as 2026-03-01T12:00:00Z".to_owned())
}

fn lines(told: &Told) -> String {
    let Told { answer, job } = told;
    let mut text = answer.status.clone();
    if let Some(elapsed) = answer.elapsed_ms {
        text.push_str(&format!(" in {elapsed:.1} ms"));
    }
    if answer.estimated {
        text.push_str(", estimated");
    }
    text.push_str(&format!(": {}, trace {}", counted(&answer.counts), answer.trace_id));
    if let Some(pending) = &answer.pending {
        let (cause, durability) = (&pending.cause, &pending.durability);
        text.push_str(&format!("\n  job {}  {cause}, durability {durability}", pending.job_id));
    }
    for key in &answer.sample_keys {
        text.push_str(&format!("\n  {key}"));
    }
    if let Some(job) = job {
        text.push_str(&format!("\n{}", line(job)));
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn aimed(words: &str, env: &[(&str, &str)]) -> Result<Invalidation, String> {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let line = Line::try_parse_from(std::iter::once("invalidate").chain(words.split_whitespace()));
        line.map_err(|error| error.to_string())?.args.invalidation(&env)
    }

    #[test]
    fn each_target_has_a_flag() {
        let asked = aimed(
            "--member user id=1 role:id=2 --alias user.phone number=3 --key a b --key c --tag t --subject 7 --forget \
             --pattern user:* --all --entity user --mode refresh",
            &[("HYDRANT_SESSION", "s")],
        );
        let asked = asked.expect("well formed");
        let kinds: Vec<String> = asked
            .targets
            .iter()
            .map(|target| match target {
                Target::Member(member) => format!("{} {:?} {:?}", member.entity, member.alias, member.params),
                Target::Keys(keys) => keys.join(" "),
                Target::Tag(tag) => tag.clone(),
                Target::Subject { who: Who::Stated(stated), forget } => {
                    format!("{} {forget} {}", stated.user, stated.session.is_some())
                }
                Target::Subject { .. } => "cookie".to_owned(),
                Target::Pattern(pattern) => pattern.clone(),
                Target::All { entities } => entities.join(" "),
            })
            .collect();
        let expected = [
            r#"user None {"id": "1"}"#,
            r#"role None {"id": "2"}"#,
            r#"user Some("phone") {"number": "3"}"#,
            "a b c",
            "t",
            "7 true true",
            "user:*",
            "user",
        ];
        assert_eq!((kinds, asked.mode), (expected.map(str::to_owned).to_vec(), Mode::Refresh));
    }

    #[test]
    fn what_is_said_of_one_member_needs_exactly_one() {
        let asked = aimed("--member user id=1 --known-alias email=old@x email=new@x --min-version 4", &[]);
        let asked = asked.expect("well formed");
        let [Target::Member(member)] = &asked.targets[..] else { panic!("one member") };
        assert_eq!((member.known_aliases.len(), member.min_version), (2, Some(Version::number(4))));
        for wrong in ["--member user:id=1 --member user:id=2 --known-alias email=x", "--tag t --min-version 4"] {
            assert!(aimed(wrong, &[]).expect_err("refused").contains("one --member"), "{wrong}");
        }
    }

    #[test]
    fn a_value_is_read_from_a_file_and_replaces() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), b"{}").expect("writable");
        let words = format!("--member user:id=1 --value-file {} --value-version 5", file.path().display());
        let asked = aimed(&words, &[]).expect("well formed");
        let [Target::Member(member)] = &asked.targets[..] else { panic!("one member") };
        let replacement = member.replacement.as_ref().expect("given");
        assert_eq!((asked.mode, &replacement.value[..]), (Mode::Replace, &b"{}"[..]));
        assert!(aimed("--member user:id=1 --value-file /nowhere", &[]).is_err());
    }

    #[test]
    fn a_cookie_may_come_from_the_environment() {
        let asked = aimed("--cookie", &[("HYDRANT_COOKIE", "c")]).expect("well formed");
        assert!(
            matches!(&asked.targets[..], [Target::Subject { who: Who::CookieValue(cookie), .. }] if cookie.expose() == "c")
        );
        assert!(aimed("--cookie", &[]).is_err());
    }

    #[test]
    fn a_line_without_a_target_is_refused() {
        for nothing in ["", "--forget", "--known-alias email=x", "--entity user", "--dry-run"] {
            assert!(aimed(nothing, &[]).is_err(), "{nothing}");
        }
    }
}
