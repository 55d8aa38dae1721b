//! What is wrong with a configuration: where, what, and what to do about it.
//!
//! Everything that reads the configuration collects `Problem`s and goes on, so that a person mends a file in one round
//! rather than in twenty. A warning has the same shape: the configuration works, but probably not as its writer thinks.

use std::fmt;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// As in the file: `entities.user.ttl.base`; empty where the whole file is meant.
    pub path: String,
    pub problem: String,
    pub hint: Option<String>,
    pub place: Option<Place>,
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Both counted from 1.
    File { line: usize, column: usize },
    /// An override by the environment.
    Environment { variable: String },
}

/// All that is wrong with one configuration, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    pub file: PathBuf,
    pub list: Vec<Problem>,
}

impl Problem {
    pub fn new(path: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self { path: path.into(), problem: problem.to_string(), hint: None, place: None }
    }

    pub fn hint(self, hint: impl fmt::Display) -> Self {
        Self { hint: Some(hint.to_string()), ..self }
    }

    pub fn maybe_hint(self, hint: Option<String>) -> Self {
        Self { hint, ..self }
    }

    pub fn at(self, place: Option<Place>) -> Self {
        Self { place, ..self }
    }

    /// Whether it concerns this path or something below it.
    pub fn is_within(&self, path: &str) -> bool {
        match self.path.strip_prefix(path) {
            Some(rest) => rest.is_empty() || rest.starts_with(['.', '[']),
            None => false,
        }
    }

    /// For a terminal: where and what on one line, the hint below it.
    pub fn render(&self, file: &Path) -> String {
        let place = match &self.place {
            Some(Place::File { line, column }) => format!("{}:{line}:{column}", file.display()),
            Some(Place::Environment { variable }) => format!("environment {variable}"),
            None => file.display().to_string(),
        };
        let path = if self.path.is_empty() { String::new() } else { format!("{}: ", self.path) };
        let hint = self.hint.as_ref().map(|hint| format!("\n    hint: {hint}")).unwrap_or_default();
        format!("{place}: {path}{}{hint}", self.problem)
    }

    /// For a log line.
    fn brief(&self) -> String {
        let place = match &self.place {
            Some(Place::File { line, .. }) => format!("line {line}: "),
            Some(Place::Environment { variable }) => format!("{variable}: "),
            None => String::new(),
        };
        let path = if self.path.is_empty() { String::new() } else { format!("{}: ", self.path) };
        format!("{place}{path}{}", self.problem)
    }
}

impl Problems {
    pub fn new(file: &Path, mut list: Vec<Problem>) -> Self {
        // The environment comes after the file, and what has no place before it.
        list.sort_by(|a, b| (&a.place, &a.path).cmp(&(&b.place, &b.path)));
        list.dedup();
        Self { file: file.to_owned(), list }
    }

    /// All of them in one line, for the log.
    pub fn brief(&self) -> String {
        self.list.iter().map(Problem::brief).collect::<Vec<_>>().join("; ")
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.list {
            writeln!(f, "{}", problem.render(&self.file))?;
        }
        match self.list.len() {
            1 => write!(f, "{}: 1 problem", self.file.display()),
            n => write!(f, "{}: {n} problems", self.file.display()),
        }
    }
}

impl std::error::Error for Problems {}

/// The nearest of the known words, if one is near enough to have been meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let furthest = (word.len() / 3).clamp(1, 3);
    let near = known.into_iter().map(|k| (distance(&word, &k.to_ascii_lowercase()), k));
    near.filter(|(d, _)| *d <= furthest).min().map(|(_, k)| k)
}

/// Insertions, deletions, replacements and swaps of neighbours that make one word of the other. Words are keys of a
/// configuration; anything longer than 64 letters is not near to one.
fn distance(a: &str, b: &str) -> usize {
    const LONGEST: usize = 64;
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().max(b.len()) > LONGEST {
        return usize::MAX;
    }
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_that_was_meant_is_found() {
        let keys = ["key", "scope", "ttl", "fields", "max_bytes", "prehydrate"];
        for (typed, meant) in
            [("scop", Some("scope")), ("tll", Some("ttl")), ("prehidrate", Some("prehydrate")), ("colour", None)]
        {
            assert_eq!(nearest(typed, keys), meant, "{typed}");
        }
    }

    #[test]
    fn a_problem_says_where_what_and_what_to_do() {
        let problem = Problem::new("redis.nodes", "nothing stands here")
            .hint("name a node")
            .at(Some(Place::File { line: 3, column: 5 }));
        let text = problem.render(Path::new("hydrant.yaml"));
        assert_eq!(text, "hydrant.yaml:3:5: redis.nodes: nothing stands here\n    hint: name a node");
    }

    #[test]
    fn a_path_is_within_its_parents_only() {
        let problem = Problem::new("redis.nodes[0]", "");
        assert!(problem.is_within("redis") && problem.is_within("redis.nodes") && !problem.is_within("redis.no"));
    }
}
