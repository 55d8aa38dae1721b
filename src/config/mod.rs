//! The configuration file: read, checked whole, turned into each module's own typed configuration.
//!
//! Text becomes a tree with places (`yaml`, `tree`), the environment is laid over it (`overrides`), its values are
//! settled against the one shape there is (`shape` read off `file`; `settle`, `expand`, `value`), and each section is
//! converted to the types that cannot hold nonsense (`convert`). Nothing stops at the first mistake: all of them come
//! back as `Problems`. `effective` remembers where every value came from, and `reload` does it all again on a change.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::config::convert::{Converted, convert};
use crate::config::effective::Effective;
use crate::config::problem::{Problem, Problems};
use crate::config::secrets::{Secrets, Staged};
use crate::config::settle::settle;
use crate::domain::catalog::Catalog;
use crate::domain::entity::Name;
use crate::domain::switch::Switch;
use crate::domain::tag::Tag;
use crate::{admin, fill, grpc, invalidate, local, prehydrate, remote, source, telemetry, verify, warm};

mod convert;
pub mod effective;
mod expand;
mod file;
mod form;
mod known;
pub mod metrics;
mod overrides;
pub mod problem;
pub mod reference;
pub mod reload;
mod secrets;
mod settle;
mod shape;
mod tree;
mod value;
mod yaml;

#[cfg(test)]
mod tests;

/// A whole configuration that has been checked: what `app` builds from.
#[derive(Clone, Debug)]
pub struct Config {
    pub group: String,
    pub store: Store,
    pub live: Live,
    pub fill: fill::Config,
    pub invalidate: invalidate::Config,
    pub listen: grpc::Config,
    pub admin: admin::Config,
    pub telemetry: telemetry::Config,
    /// Worker threads of the main runtime.
    pub workers: usize,
}

/// The part that a reload may change under a running process.
#[derive(Clone, Debug)]
pub struct Live {
    pub enabled: Switch,
    pub catalog: Arc<Catalog>,
    pub sources: BTreeMap<Name, source::any::Config>,
    pub prehydrate: prehydrate::Config,
    pub verify: verify::Config,
    pub warmup: WarmUp,
    /// None where callers name the subject themselves.
    pub identity: Option<prehydrate::identity::settings::Config>,
    /// Who may call.
    pub callers: grpc::caller::Config,
}

/// Plans, and where the members of each of their steps come from, by plan and step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WarmUp {
    pub plans: Vec<warm::plan::Plan>,
    pub origins: BTreeMap<(Name, Name), Listed>,
}

/// What names the members of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Listed {
    Listing(source::listing::Config),
    Tag { entity: Name, tag: Tag, text: String },
}

#[derive(Clone, Debug)]
pub enum Store {
    Redis(Box<remote::Config>),
    Memory(local::Config),
}

/// A configuration that was accepted, and what is to be known about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// It works, but perhaps not as meant.
    pub warnings: Vec<Problem>,
    pub effective: Effective,
    secrets: Secrets,
    files: BTreeSet<PathBuf>,
    fingerprint: u64,
}

/// Reads the file, lays the environment over it, and checks everything.
pub fn load(path: &Path, env: &BTreeMap<String, String>) -> Result<Loaded, Problems> {
    load_text(&read(path)?, path, env)
}

/// The same for a text that is at hand; the path is what problems call it.
pub fn load_text(text: &str, path: &Path, env: &BTreeMap<String, String>) -> Result<Loaded, Problems> {
    let Reading { result, files, fingerprint } = parse(path, text, env, &Secrets::default());
    let Accepted { config, warnings, effective, staged } = result?;
    let mut secrets = Secrets::default();
    secrets.adopt(staged);
    Ok(Loaded { config, warnings, effective, secrets, files, fingerprint })
}

/// The JSON Schema of the file, for editors.
pub fn schema() -> String {
    let mut text = serde_json::to_string_pretty(&shape::published()).unwrap_or_default();
    text.push('\n');
    text
}

/// One reading of the file's text; the files it names are known even if it is refused.
struct Reading {
    result: Result<Accepted, Problems>,
    files: BTreeSet<PathBuf>,
    /// Of the text and of every secret file: two readings with one fingerprint came from the same bytes.
    fingerprint: u64,
}

struct Accepted {
    config: Config,
    warnings: Vec<Problem>,
    effective: Effective,
    staged: Staged,
}

fn parse(path: &Path, text: &str, env: &BTreeMap<String, String>, secrets: &Secrets) -> Reading {
    let shape = shape::shape();
    let mut problems = Vec::new();
    let Some(mut tree) = yaml::parse(text, &mut problems) else {
        let result = Err(Problems::new(path, problems));
        return Reading { result, files: BTreeSet::new(), fingerprint: xxh3_64(text.as_bytes()) };
    };
    overrides::apply(&mut tree, &shape, env, &mut problems);
    let mut settled = settle(&tree, &shape, env);
    settled.problems.append(&mut problems);
    let result = match convert(&settled, secrets) {
        Ok(Converted { config, warnings, staged }) => {
            let warnings = Problems::new(path, warnings).list;
            Ok(Accepted { config, warnings, effective: settled.effective, staged })
        }
        Err(problems) => Err(Problems::new(path, problems)),
    };
    let secrets = settled.files.values().flat_map(|hash| hash.to_le_bytes());
    let fingerprint = xxh3_64(&text.bytes().chain(secrets).collect::<Vec<u8>>());
    Reading { result, files: settled.files.into_keys().collect(), fingerprint }
}

fn read_and_parse(path: &Path, env: &BTreeMap<String, String>, secrets: &Secrets) -> Reading {
    match read(path) {
        Ok(text) => parse(path, &text, env, secrets),
        Err(problems) => {
            let fingerprint = xxh3_64(problems.brief().as_bytes());
            Reading { result: Err(problems), files: BTreeSet::new(), fingerprint }
        }
    }
}

fn read(path: &Path) -> Result<String, Problems> {
    let one = |problem: String, hint: &str| Problems::new(path, vec![Problem::new("", problem).hint(hint)]);
    let cannot = |error: std::io::Error| {
        one(
            format!("the file cannot be read: {}", problem::unreadable(&error)),
            "name the configuration file that is meant, and make it readable",
        )
    };
    let file = std::fs::File::open(path).map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(yaml::MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() > yaml::MAX_FILE_BYTES {
        return Err(one(
            "the file is larger than 1MiB".to_owned(),
            "a configuration is smaller: is this the right file?",
        ));
    }
    String::from_utf8(bytes).map_err(|_| one("the file is not UTF-8 text".to_owned(), "save it as UTF-8"))
}
