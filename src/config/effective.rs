//! The configuration as it is in effect: every value and where it came from, secrets hidden.
//!
//! It reads as YAML. Two of them are compared to tell which values a reload has changed, by their paths.

use std::collections::BTreeMap;
use std::fmt;

use super::expand::Via;
use super::problem::Place;
use super::tree::join;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effective {
    lines: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq)]
struct Line {
    path: String,
    depth: usize,
    key: String,
    /// None for the head of a section.
    value: Option<Value>,
}

#[derive(Clone, Debug, PartialEq)]
struct Value {
    shown: String,
    origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// None for a default.
    pub place: Option<Place>,
    pub via: Vec<Via>,
}

/// Comments start here unless a value is longer.
const COMMENT_COLUMN: usize = 48;

impl Effective {
    pub fn head(&mut self, parent: &str, depth: usize, key: &str) {
        self.lines.push(Line { path: join(parent, key), depth, key: key.to_owned(), value: None });
    }

    pub fn text(&mut self, parent: &str, depth: usize, key: &str, text: &str, origin: Origin) {
        self.value(parent, depth, key, quoted(text), origin);
    }

    pub fn list(&mut self, parent: &str, depth: usize, key: &str, items: &[String], origin: Origin) {
        let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
        self.value(parent, depth, key, format!("[{}]", items.join(", ")), origin);
    }

    /// A secret is told to be there, and where from.
    pub fn secret(&mut self, parent: &str, depth: usize, key: &str, origin: Origin) {
        self.value(parent, depth, key, "\"***\"".to_owned(), origin);
    }

    /// A section that is there and says nothing.
    pub fn empty(&mut self, parent: &str, depth: usize, key: &str, origin: Origin) {
        self.value(parent, depth, key, "{}".to_owned(), origin);
    }

    fn value(&mut self, parent: &str, depth: usize, key: &str, shown: String, origin: Origin) {
        let value = Some(Value { shown, origin });
        self.lines.push(Line { path: join(parent, key), depth, key: key.to_owned(), value });
    }

    /// Drops the head of a section in which nothing stands.
    pub fn drop_empty_head(&mut self) {
        if self.lines.last().is_some_and(|line| line.value.is_none()) {
            self.lines.pop();
        }
    }

    /// The paths whose values differ, in order. Rotated secrets do not show: their cells follow by themselves.
    pub fn changes(&self, other: &Self) -> Vec<String> {
        let values = |effective: &Self| -> BTreeMap<String, Option<String>> {
            effective.lines.iter().map(|l| (l.path.clone(), l.value.as_ref().map(|v| v.shown.clone()))).collect()
        };
        let (mine, theirs) = (values(self), values(other));
        let mut paths: Vec<String> = mine.keys().chain(theirs.keys()).cloned().collect();
        paths.sort();
        paths.dedup();
        paths.retain(|path| mine.get(path) != theirs.get(path));
        paths
    }

    pub fn render(&self, file: &str) -> String {
        let mut text = String::new();
        for line in &self.lines {
            let indent = "  ".repeat(line.depth);
            let key = quoted(&line.key);
            match &line.value {
                None => text.push_str(&format!("{indent}{key}:\n")),
                Some(value) => {
                    let pair = format!("{indent}{key}: {}", value.shown);
                    text.push_str(&format!("{pair:<COMMENT_COLUMN$} # {}\n", value.origin.render(file)));
                }
            }
        }
        text
    }
}

impl Origin {
    pub fn by_default() -> Self {
        Self { place: None, via: Vec::new() }
    }

    fn render(&self, file: &str) -> String {
        let place = match &self.place {
            None => "default".to_owned(),
            Some(Place::File { line, .. }) => format!("{file}:{line}"),
            Some(Place::Environment { variable }) => format!("environment {variable}"),
        };
        let via: Vec<String> = self.via.iter().map(Via::to_string).collect();
        if via.is_empty() { place } else { format!("{place}, {}", via.join(", ")) }
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render("file"))
    }
}

/// Plain where YAML lets it be, in double quotes otherwise.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./%".contains(c);
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/' || c == '_');
    if starts_well && text.chars().all(plain) {
        text.to_owned()
    } else {
        // A JSON string is a YAML string.
        serde_json::Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_with_where_they_came_from() {
        let mut effective = Effective::default();
        effective.head("", 0, "redis");
        let via = vec![Via::Variable("NODES".into())];
        let origin = Origin { place: Some(Place::File { line: 3, column: 1 }), via };
        effective.list("redis", 1, "nodes", &["a:1".into(), "b".into()], origin);
        effective.secret("redis", 1, "password", Origin::by_default());
        let expected = "redis:\n\
            \x20 nodes: [\"a:1\", b]                              # hydrant.yaml:3, ${NODES}\n\
            \x20 password: \"***\"                                # default\n";
        assert_eq!(effective.render("hydrant.yaml"), expected);
    }

    #[test]
    fn changes_are_told_by_their_paths() {
        let (mut one, mut two) = (Effective::default(), Effective::default());
        one.text("a", 1, "b", "1", Origin::by_default());
        two.text("a", 1, "b", "2", Origin::by_default());
        two.text("a", 1, "c", "3", Origin::by_default());
        assert_eq!(one.changes(&two), ["a.b", "a.c"]);
        assert_eq!(one.changes(&one), [""; 0]);
    }
}
