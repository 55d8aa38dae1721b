//! The house rules as a test: floors, fences, sizes and the small habits that keep the code alike everywhere.
//!
//! What a rule says stands in the tables below; `ARCHITECTURE.md` says why. Each rule is tested on a snippet that breaks
//! it, so that a check which can no longer fail is noticed. It needs nothing but std, and so can be compiled alone:
//! `make tidy` takes two seconds on a fresh clone.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/lexer.rs"]
mod lexer;
#[path = "tidy/papers.rs"]
mod papers;
#[path = "tidy/rules.rs"]
mod rules;

use lexer::File;

/// The rooms of each floor, the lowest first. A room imports from floors below its own. The top floor's rooms stand in
/// a line, each above the last.
const FLOORS: &[&[&str]] = &[
    &["domain", "tasks"],
    &["fill"],
    &["prehydrate", "invalidate", "warm", "verify"],
    &["grpc", "admin", "remote", "local", "source", "telemetry"],
    &["config"],
    &["app"],
    &["cli"],
    &["main"],
];

/// Who may import whom all the same: from, to, why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[];

/// Where a crate may be named. Only paths count: a value of a fenced type may be passed on where its crate is not named.
const FENCES: &[Fence] = &[
    Fence {
        crates: &["tonic", "tonic_prost", "tonic_health", "tonic_reflection", "tonic_types", "prost", "prost_types"],
        places: &["src/grpc/"],
        instead: "convert to a word of domain/ at the door",
    },
    Fence { crates: &["redis"], places: &["src/remote/"], instead: "go through the Store contract" },
    Fence { crates: &["reqwest"], places: &["src/source/http"], instead: "go through the Source contract" },
    Fence {
        crates: &["tokio_postgres"],
        places: &["src/source/postgres/"],
        instead: "go through the Source and Listing contracts",
    },
    Fence {
        crates: &["clap", "clap_complete", "anyhow"],
        places: &["src/cli/", "src/config/", "src/app", "src/main.rs"],
        instead: "take typed arguments and return a typed error",
    },
    Fence {
        crates: &["opentelemetry", "opentelemetry_sdk", "opentelemetry_otlp", "tracing_opentelemetry"],
        places: &["src/telemetry/", "*/metrics.rs"],
        instead: "use tracing, and domain::trace for what goes over the wire",
    },
    // `Metrics::register(&mut Registry)` in a module's metrics.rs makes its instruments; the module is built with the
    // `Metrics`. So `app` can pass the registry round, and a test `&mut Default::default()`, without the name.
    Fence {
        crates: &["prometheus_client"],
        places: &["src/telemetry/", "*/metrics.rs"],
        instead: "take the module's `Metrics`, registered by its metrics.rs (in a test with `&mut Default::default()`)",
    },
];

const MAX_FILE_LINES: usize = 500;
const MAX_FUNCTION_LINES: usize = 70;

/// Where Rust is written by hand.
const PLACES: &[&str] = &["build.rs", "src", "tests", "benches", "fuzz", "examples"];

struct Fence {
    crates: &'static [&'static str],
    /// A folder, the start of a path, or `*` and the end of one.
    places: &'static [&'static str],
    /// What to do about it.
    instead: &'static str,
}

struct Problem {
    path: String,
    line: usize,
    rule: &'static str,
    what: String,
}

impl Problem {
    fn new(file: &File, line: usize, rule: &'static str, what: String) -> Self {
        Self::at(&file.path, line, rule, what)
    }

    fn at(path: &str, line: usize, rule: &'static str, what: String) -> Self {
        Self { path: path.to_owned(), line, rule, what }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.what)
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[test]
fn the_house_is_tidy() {
    let files = files();
    assert!(files.iter().any(|file| file.path == "src/lib.rs"), "run it from the root of the repository");
    let mut problems: Vec<Problem> = rules::ALL.iter().flat_map(|rule| files.iter().flat_map(rule)).collect();
    problems.extend(imports::floors(&files));
    problems.extend(imports::circles(&files));
    problems.extend(imports::unused_exceptions(&files));
    problems.extend(papers::dependencies_are_explained(&read("Cargo.toml"), &read("docs/adr/0002-dependencies.md")));
    problems.extend(papers().iter().flat_map(|path| papers::links_lead_somewhere(path, &read(path), Path::exists)));
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    assert!(lines.is_empty(), "{} to put right:\n{}", lines.len(), lines.join("\n"));
}

/// Whether one of the problems, as it is printed, contains this.
fn said(problems: &[Problem], part: &str) -> bool {
    problems.iter().any(|problem| problem.to_string().contains(part))
}

fn files() -> Vec<File> {
    let sources =
        PLACES.iter().filter(|place| Path::new(place).exists()).flat_map(|place| walk(Path::new(place), "rs"));
    sources.map(|path| File::new(&path, &read(&path))).collect()
}

fn papers() -> Vec<String> {
    let top = entries(Path::new(".")).into_iter().filter(|path| path.is_file());
    let below = ["docs", "charts", "examples"].map(PathBuf::from).into_iter().filter(|path| path.exists());
    top.map(|path| path.file_name().map(PathBuf::from).unwrap_or_default())
        .chain(below)
        .flat_map(|path| walk(&path, "md"))
        .collect()
}

/// The files with this extension, at or below the path, without what was built or installed there.
fn walk(path: &Path, extension: &str) -> Vec<String> {
    if path.is_dir() {
        let made = ["target", "node_modules", ".venv"];
        let wanted = entries(path).into_iter().filter(|path| !made.iter().any(|name| path.ends_with(name)));
        return wanted.flat_map(|path| walk(&path, extension)).collect();
    }
    let name = path.to_str().expect("paths of the repository are UTF-8").replace('\\', "/");
    if path.extension().is_some_and(|found| found == extension) { vec![name] } else { Vec::new() }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry that can be read").path()).collect();
    paths.sort();
    paths
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}
