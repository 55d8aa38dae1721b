//! Overrides by the environment: `HYDRANT__ENTITIES__USER__TTL__BASE=15m`.
//!
//! The name is the value's path in capitals, its parts joined by two underscores; names that the file declares are found
//! whatever their capitals, with `_` for `-`. A list is written with commas. What is set stands as if it were written in
//! the file, `${…}` included; an empty variable overrides nothing; one that leads nowhere is a problem, because a typing
//! error in a deployment would otherwise change nothing and say nothing.

use std::collections::BTreeMap;

use super::known;
use super::problem::{Place, Problem, nearest};
use super::shape::{Field, Shape};
use super::tree::{Content, Node, join};

pub const PREFIX: &str = "HYDRANT__";

pub fn apply(tree: &mut Node, shape: &Shape, env: &BTreeMap<String, String>, problems: &mut Vec<Problem>) {
    let declared: Vec<String> = ["entities", "sources"]
        .iter()
        .filter_map(|section| tree.get(section))
        .flat_map(|section| section.node.entries().iter().map(|entry| entry.key.clone()))
        .collect();
    for (variable, value) in env.iter().filter(|(_, value)| !value.is_empty()) {
        let Some(path) = variable.strip_prefix(PREFIX) else { continue };
        let parts: Vec<&str> = path.split("__").collect();
        let place = Place::Environment { variable: variable.clone() };
        let set = Set { value, place: &place, declared: &declared };
        // A variable that leads nowhere leaves no half of its way behind.
        let mut with = tree.clone();
        match set.put(&mut with, shape, &parts, "") {
            Ok(()) => *tree = with,
            Err(problem) => problems.push(problem.at(Some(place))),
        }
    }
}

struct Set<'a> {
    value: &'a str,
    place: &'a Place,
    declared: &'a [String],
}

impl Set<'_> {
    fn put(&self, node: &mut Node, shape: &Shape, parts: &[&str], path: &str) -> Result<(), Problem> {
        match (shape, parts) {
            (Shape::Leaf(_) | Shape::List(_) | Shape::Choice(_), []) => {
                *node = Node::new(Content::Text(self.value.to_owned()), self.place.clone());
                Ok(())
            }
            (Shape::Section { short: Some(short), .. }, []) => self.put(node, shape, &[short], path),
            (Shape::Section { .. } | Shape::Named { .. }, []) => Err(self.section(shape, path)),
            (Shape::Section { fields, short }, [first, rest @ ..]) => {
                if let (Some(short), Content::Text(_)) = (short, &node.content) {
                    *node = node.clone().lifted(short);
                }
                let field = self.field(fields, first, path)?;
                let path = join(path, &field.name);
                self.put(node.child(&field.name, self.place), &field.shape, rest, &path)
            }
            (Shape::Named { each, .. }, [first, rest @ ..]) => {
                let name = self.name(node, each, first, path)?;
                self.put(node.child(&name, self.place), each, rest, &join(path, &name))
            }
            (Shape::Choice(choice), [first, rest @ ..]) => {
                let field = self.field(&choice.keyed, first, path)?;
                // Exactly one of the keys may stand: this one replaces what the file chose.
                if node.get(&field.name).is_none() {
                    *node = Node::new(Content::Nothing, self.place.clone());
                }
                self.put(node.child(&field.name, self.place), &field.shape, rest, &join(path, &field.name))
            }
            (Shape::Leaf(_) | Shape::List(_), [first, ..]) => {
                let problem = format!("`{path}` has nothing called `{}` below it", first.to_lowercase());
                Err(Problem::new(path, problem).hint(format!("set {}", variable(path))))
            }
        }
    }

    fn field<'f>(&self, fields: &'f [Field], part: &str, path: &str) -> Result<&'f Field, Problem> {
        let part = part.to_lowercase();
        if let Some(field) = fields.iter().find(|field| field.name == part) {
            return Ok(field);
        }
        let at = join(path, &part);
        if let Some(until) = known::reserved(&at) {
            return Err(Problem::new(&at, format!("`{part}` is not in this version yet")).hint(until));
        }
        let meant = known::called(&at)
            .or_else(|| nearest(&part, fields.iter().map(|f| f.name.as_str())).map(|near| join(path, near)));
        let hint = match meant {
            Some(meant) => format!("did you mean {}?", variable(&meant)),
            None => one_of(fields, path),
        };
        Err(Problem::new(path, format!("the variable leads nowhere: there is no `{at}`")).hint(hint))
    }

    /// The key of a map that a part of the variable's name means.
    fn name(&self, node: &Node, each: &Shape, part: &str, path: &str) -> Result<String, Problem> {
        let present = node.entries().iter().map(|entry| &entry.key);
        if let Some(name) = present.clone().find(|name| same(name, part)) {
            return Ok(name.clone());
        }
        if matches!(each, Shape::Leaf(_)) {
            let declared = self.declared.iter().find(|name| same(name, part));
            return Ok(declared.cloned().unwrap_or_else(|| part.to_lowercase()));
        }
        let problem = format!("the variable leads nowhere: the file has no `{}`", join(path, &part.to_lowercase()));
        let hint = match nearest(part, present.clone().map(String::as_str)) {
            Some(near) => format!("did you mean {}?", variable(&join(path, near))),
            None => "declare it in the file first: a variable can change it, not make it".to_owned(),
        };
        Err(Problem::new(path, problem).hint(hint))
    }

    fn section(&self, shape: &Shape, path: &str) -> Problem {
        let hint = match shape {
            Shape::Section { fields, .. } => one_of(fields, path),
            _ => "name one of its keys, and what of it to change".to_owned(),
        };
        Problem::new(path, format!("`{path}` is a section, not a value")).hint(hint)
    }
}

/// The variable that overrides what stands at a path.
pub fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "__").replace('-', "_").to_uppercase())
}

fn one_of(fields: &[Field], path: &str) -> String {
    let names: Vec<String> = fields.iter().map(|field| variable(&join(path, &field.name))).collect();
    if names.is_empty() { "nothing can be set there".to_owned() } else { format!("one of {}", names.join(", ")) }
}

fn same(name: &str, part: &str) -> bool {
    name.replace('-', "_").eq_ignore_ascii_case(part)
}
