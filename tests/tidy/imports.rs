//! Who imports whom: floors and siblings between the rooms of the house, circles between its files.
//!
//! Every path that starts at `crate`, `super` or `self` counts, not only those in a `use`. What a file takes from the
//! `mod.rs` above it makes no circle: a room's parts may speak of their room's own types.

use std::collections::{BTreeMap, BTreeSet};

use super::lexer::File;
use super::{EXCEPTIONS, FLOORS, Problem};

/// A path inside the crate as somebody wrote it, from the crate's root.
#[derive(Debug)]
struct Import {
    line: usize,
    path: Vec<String>,
    in_test: bool,
}

pub fn floors(files: &[File]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.path.starts_with("src/")) {
        let Some(room) = module(&file.path).into_iter().next() else { continue };
        let Some(floor) = floor(&room) else {
            problems.push(Problem::new(file, 1, "floors", format!("give `{room}` a floor in tests/tidy.rs: FLOORS")));
            continue;
        };
        for import in imports(file) {
            let Some(other) = import.path.first().filter(|other| **other != room) else { continue };
            if let Some(what) = looks_wrong(&room, floor, other) {
                problems.push(Problem::new(file, import.line, "floors", what));
            }
        }
    }
    problems
}

/// An exception that nobody needs any more would let the next one in unseen.
pub fn unused_exceptions(files: &[File]) -> Vec<Problem> {
    let used: BTreeSet<(String, String)> = files
        .iter()
        .filter_map(|file| Some((module(&file.path).into_iter().next()?, imports(file))))
        .flat_map(|(room, imports)| imports.into_iter().map(move |i| (room.clone(), i.path.first().cloned())))
        .filter_map(|(room, other)| Some((room, other?)))
        .collect();
    let unused = EXCEPTIONS.iter().filter(|(from, to, _)| !used.contains(&((*from).to_owned(), (*to).to_owned())));
    unused
        .map(|(from, to, _)| Problem::at("tests/tidy.rs", 1, "floors", format!("strike out {from} → {to}: unused")))
        .collect()
}

pub fn circles(files: &[File]) -> Vec<Problem> {
    let modules: BTreeMap<Vec<String>, &File> =
        files.iter().filter(|f| f.path.starts_with("src/")).map(|f| (module(&f.path), f)).collect();
    let mut edges: BTreeMap<&[String], BTreeMap<&[String], usize>> = BTreeMap::new();
    for (from, file) in &modules {
        for import in imports(file).iter().filter(|import| !import.in_test) {
            let known = (1..=import.path.len()).rev().find_map(|n| modules.get_key_value(&import.path[..n]));
            if let Some((to, _)) = known.filter(|(to, _)| !from.starts_with(to)) {
                edges.entry(from).or_default().entry(to).or_insert(import.line);
            }
        }
    }
    let mut problems = Vec::new();
    let mut done = BTreeSet::new();
    for start in modules.keys() {
        if let Some(circle) = circle(start, &edges, &mut done, &mut Vec::new()) {
            let line = edges[circle[0]][circle[1 % circle.len()]];
            let names: Vec<String> = circle.iter().chain(circle.first()).map(|module| module.join("::")).collect();
            let what = format!("break the circle {}", names.join(" → "));
            problems.push(Problem::new(modules[circle[0]], line, "circles", what));
        }
    }
    problems
}

type Module<'a> = &'a [String];

/// Walks depth first; a module met again on the way there closes a circle.
fn circle<'a>(
    at: Module<'a>,
    edges: &BTreeMap<Module<'a>, BTreeMap<Module<'a>, usize>>,
    done: &mut BTreeSet<Module<'a>>,
    way: &mut Vec<Module<'a>>,
) -> Option<Vec<Module<'a>>> {
    if let Some(start) = way.iter().position(|module| *module == at) {
        return Some(way[start..].to_vec());
    }
    if !done.insert(at) {
        return None;
    }
    way.push(at);
    let found = edges.get(at).and_then(|next| next.keys().find_map(|to| circle(to, edges, done, way)));
    way.pop();
    found
}

fn looks_wrong(room: &str, floor: usize, other: &str) -> Option<String> {
    if EXCEPTIONS.iter().any(|(from, to, _)| (*from, *to) == (room, other)) {
        return None;
    }
    match self::floor(other) {
        None => Some(format!("`{other}` is no room in FLOORS; lib.rs declares modules and holds nothing else")),
        Some(theirs) if theirs > floor => Some(format!(
            "`{room}` must not look up to `{other}`: pass what it needs down, or move it to a lower floor"
        )),
        Some(theirs) if theirs == floor => {
            Some(format!("`{room}` and `{other}` are siblings: let a floor above introduce them to each other"))
        }
        Some(_) => None,
    }
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// `src/remote/node.rs` is `remote::node`, `src/remote/mod.rs` is `remote`, `src/lib.rs` is the root.
fn module(path: &str) -> Vec<String> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    let inner = inner.strip_suffix("/mod").unwrap_or(inner);
    if inner == "lib" { Vec::new() } else { inner.split('/').map(str::to_owned).collect() }
}

fn imports(file: &File) -> Vec<Import> {
    let home = module(&file.path);
    let mut imports = Vec::new();
    // Inline modules that are open at the token, by where they close: `super` counts them too.
    let mut inline: Vec<(String, usize)> = Vec::new();
    for at in 0..file.tokens.len() {
        inline.retain(|(_, end)| *end > at);
        if file.word(at) == Some("mod") && file.is_mark(at + 2, '{') {
            inline.push((file.word(at + 1).unwrap_or_default().to_owned(), file.closing(at + 2)));
        }
        let is_root = match file.word(at) {
            Some("crate" | "super" | "self") => true,
            // A binary names its own library.
            Some("hydrant") => file.path == "src/main.rs",
            _ => false,
        };
        if !is_root || file.continues_path(at) || !file.stands(at + 1, &[":", ":"]) {
            continue;
        }
        let here: Vec<String> = home.iter().cloned().chain(inline.iter().map(|(name, _)| name.clone())).collect();
        let mut paths = Vec::new();
        read_paths(file, at, &mut Vec::new(), &mut paths);
        let token = &file.tokens[at];
        let import = |path| Import { line: token.line, path: from_root(&here, path), in_test: token.in_test };
        imports.extend(paths.into_iter().map(import));
    }
    imports
}

/// Reads `a::b::{c, d::e}` into one path for each leaf; answers where it ends.
fn read_paths(file: &File, mut at: usize, prefix: &mut Vec<String>, paths: &mut Vec<Vec<String>>) -> usize {
    let depth = prefix.len();
    while let Some(word) = file.word(at) {
        prefix.push(word.to_owned());
        at += 1;
        if !file.stands(at, &[":", ":"]) {
            break;
        }
        at += 2;
    }
    if file.is_mark(at, '{') && file.is_mark(at.wrapping_sub(1), ':') {
        let end = file.closing(at);
        at += 1;
        while at < end {
            at = if file.word(at).is_some() { read_paths(file, at, prefix, paths) } else { at + 1 };
        }
        at = end + 1;
    } else {
        paths.push(prefix.clone());
    }
    prefix.truncate(depth);
    at
}

fn from_root(here: &[String], path: Vec<String>) -> Vec<String> {
    let mut base = if matches!(path[0].as_str(), "crate" | "hydrant") { Vec::new() } else { here.to_vec() };
    for segment in path {
        match segment.as_str() {
            "crate" | "hydrant" if base.is_empty() => {}
            "self" => {}
            "super" => {
                base.pop();
            }
            _ => base.push(segment),
        }
    }
    base
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::said;

    #[test]
    fn looking_up_is_refused() {
        let up = [File::new("src/domain/x.rs", "//! x\nfn f() { crate::remote::node::send() }")];
        assert!(said(&floors(&up), "src/domain/x.rs:2: floors: `domain` must not look up to `remote`"));
        let config = [File::new("src/remote/mod.rs", "use crate::{config::Config, domain::key::Key};")];
        assert!(said(&floors(&config), "`remote` must not look up to `config`"));
        assert_eq!(floors(&config).len(), 1);
    }

    #[test]
    fn siblings_are_refused_however_the_path_is_written() {
        for text in ["use crate::local;", "use super::super::local::X;", "mod t { use super::super::super::local; }"] {
            let files = [File::new("src/remote/node.rs", text)];
            assert!(said(&floors(&files), "`remote` and `local` are siblings"), "{text}");
        }
    }

    #[test]
    fn a_room_without_a_floor_is_refused() {
        assert!(said(&floors(&[File::new("src/attic.rs", "//! x")]), "give `attic` a floor"));
        let files = [File::new("src/fill/mod.rs", "use crate::Anything;")];
        assert!(said(&floors(&files), "`Anything` is no room"));
    }

    #[test]
    fn looking_down_and_at_ones_own_is_fine() {
        let files = [
            File::new("src/remote/node.rs", "use crate::domain::key; use super::Config; use crate::remote::wire;"),
            File::new("src/main.rs", "fn main() { hydrant::cli::run() }"),
            File::new("src/lib.rs", "pub mod remote;"),
        ];
        assert_eq!(floors(&files).len(), 0);
    }

    #[test]
    fn circles_are_found_and_tests_and_parents_make_none() {
        let circle = [
            File::new("src/domain/a.rs", "use crate::domain::b::B;"),
            File::new("src/domain/b.rs", "use super::c::C;"),
            File::new("src/domain/c.rs", "\nuse crate::domain::{a::A, d};"),
            File::new("src/domain/d.rs", ""),
        ];
        assert!(said(&circles(&circle), "circles: break the circle domain::a → domain::b → domain::c → domain::a"));
        let none = [
            File::new("src/fill/mod.rs", "use self::claim::Claim;"),
            File::new("src/fill/claim.rs", "use super::Config; #[cfg(test)] mod tests { use crate::fill::fetch; }"),
            File::new("src/fill/fetch.rs", "use crate::fill::claim;"),
        ];
        assert_eq!(circles(&none).len(), 0);
    }
}
