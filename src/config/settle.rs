//! Tree + shape → settled values: variables put in, types checked, defaults filled in, provenance noted.
//!
//! It walks the whole tree whatever it finds, so that every mistake is told. What comes out is JSON that serde takes
//! without another word, section by section; a section in which something is wrong is not taken at all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::str::FromStr;

use serde_json::{Map, Value as Json};

use super::effective::{Effective, Origin};
use super::expand::{Expander, For, Via};
use super::known;
use super::problem::{Place, Problem, nearest};
use super::shape::{Choice, Field, Leaf, Range, Shape};
use super::tree::{Content, Entry, Node, join};
use super::value::{PERCENT_HINT, Percent, SIZE_HINT, SPAN_HINT, Size, Span};

/// Names that a hint lists; more are no help.
const MAX_TOLD: usize = 16;

#[derive(Debug)]
pub struct Settled {
    pub values: Json,
    pub effective: Effective,
    pub problems: Vec<Problem>,
    /// Where each value that is not a default was written, by its path.
    pub places: BTreeMap<String, Place>,
    /// Secrets that stand in the file itself.
    pub inline_secrets: Vec<String>,
    /// Every file that was named, with a hash of what was in it.
    pub files: BTreeMap<PathBuf, u64>,
}

pub fn settle(tree: &Node, shape: &Shape, env: &BTreeMap<String, String>) -> Settled {
    let mut settler = Settler {
        expander: Expander::new(env),
        effective: Effective::default(),
        problems: Vec::new(),
        places: BTreeMap::new(),
        inline_secrets: Vec::new(),
        tree,
    };
    let values = match shape {
        Shape::Section { fields, .. } => settler.section(&At { path: "", depth: 0 }, fields, Some(tree)),
        _ => Map::new(),
    };
    let Settler { expander, effective, problems, places, inline_secrets, tree: _ } = settler;
    Settled { values: Json::Object(values), effective, problems, places, inline_secrets, files: expander.files }
}

impl Settled {
    /// The place of a path, or of the nearest thing around it that was written.
    pub fn place_near(&self, path: &str) -> Option<Place> {
        let mut path = path;
        loop {
            if let Some(place) = self.places.get(path) {
                return Some(place.clone());
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }
}

struct Settler<'a> {
    expander: Expander<'a>,
    effective: Effective,
    problems: Vec<Problem>,
    places: BTreeMap<String, Place>,
    inline_secrets: Vec<String>,
    /// Whose names may be referred to.
    tree: &'a Node,
}

/// The section that is being walked.
struct At<'a> {
    path: &'a str,
    depth: usize,
}

/// A scalar after its variables were put in.
struct Scalar {
    text: String,
    via: Vec<Via>,
    place: Place,
}

impl Settler<'_> {
    fn section(&mut self, at: &At<'_>, fields: &[Field], node: Option<&Node>) -> Map<String, Json> {
        let mut values = Map::new();
        let mut meant = BTreeSet::new();
        if let Some(node) = node {
            if !matches!(node.content, Content::Map(_) | Content::Nothing) {
                let names: Vec<String> = fields.iter().map(|f| format!("`{}`", f.name)).collect();
                self.wrong(at.path, "a section is expected here", format!("its keys are {}", names.join(", ")), node);
                return values;
            }
            for entry in node.entries().iter().filter(|e| fields.iter().all(|f| f.name != e.key)) {
                let (problem, replaces) = unknown(at.path, &entry.key, fields);
                meant.extend(replaces);
                self.problems.push(problem.at(Some(entry.place.clone())));
            }
        }
        for field in fields {
            let entry = node.and_then(|node| node.get(&field.name));
            let given = entry.map(|entry| &entry.node).filter(|node| !self.is_void(node, &field.shape));
            if let Some(entry) = entry.filter(|_| given.is_some()) {
                self.placed(join(at.path, &field.name), entry);
            }
            // Whoever wrote `tll: 5m` need not be told that `ttl` is missing as well.
            if given.is_some() || !meant.contains(&field.name) {
                let value = self.field(at, field, given, node.map(|node| &node.place));
                values.extend(value.map(|value| (field.name.clone(), value)));
            }
        }
        values
    }

    /// One key of a section: its value, its default, or that it is missing.
    fn field(&mut self, at: &At<'_>, field: &Field, given: Option<&Node>, near: Option<&Place>) -> Option<Json> {
        if let Some(node) = given {
            return self.value(at, &field.name, &field.shape, node);
        }
        match (&field.shape, &field.default) {
            (_, None) => {
                if field.required {
                    let path = join(at.path, &field.name);
                    let problem = Problem::new(&path, format!("`{}` is missing", field.name));
                    let hint = field
                        .hint
                        .clone()
                        .unwrap_or_else(|| format!("write `{}: …`: {}", field.name, field.shape.kind()));
                    self.problems.push(problem.hint(hint).at(near.cloned()));
                }
                None
            }
            (Shape::Section { fields, .. }, Some(_)) => Some(self.subsection(at, &field.name, fields, None)),
            (Shape::Named { .. }, Some(_)) => Some(Json::Object(Map::new())),
            (Shape::List(_), Some(default)) => {
                let items: Vec<String> =
                    default.as_array().into_iter().flatten().filter_map(|i| i.as_str().map(str::to_owned)).collect();
                self.effective.list(at.path, at.depth, &field.name, &items, Origin::by_default());
                Some(default.clone())
            }
            (Shape::Leaf(_) | Shape::Choice(_), Some(default)) => {
                let text = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
                self.effective.text(at.path, at.depth, &field.name, &text, Origin::by_default());
                Some(default.clone())
            }
        }
    }

    fn value(&mut self, at: &At<'_>, key: &str, shape: &Shape, node: &Node) -> Option<Json> {
        match shape {
            Shape::Section { fields, short: Some(short) } if matches!(node.content, Content::Text(_)) => {
                Some(self.subsection(at, key, fields, Some(&node.clone().lifted(short))))
            }
            Shape::Section { fields, .. } => Some(self.subsection(at, key, fields, Some(node))),
            Shape::Named { each, declared } => Some(self.named(at, key, each, declared.as_deref(), node)),
            Shape::List(leaf) => self.list(at, key, leaf, node),
            Shape::Choice(choice) => self.choice(at, key, choice, node),
            Shape::Leaf(leaf) => self.leaf(at, key, leaf, node),
        }
    }

    fn subsection(&mut self, at: &At<'_>, key: &str, fields: &[Field], node: Option<&Node>) -> Json {
        let path = join(at.path, key);
        self.effective.head(at.path, at.depth, key);
        let values = self.section(&At { path: &path, depth: at.depth + 1 }, fields, node);
        if values.is_empty() {
            // `tls: {}` says something; a section that nobody wrote and that has nothing to say does not.
            self.effective.drop_empty_head();
            if let Some(node) = node {
                self.effective.empty(
                    at.path,
                    at.depth,
                    key,
                    Origin { place: Some(node.place.clone()), via: Vec::new() },
                );
            }
        }
        Json::Object(values)
    }

    fn named(&mut self, at: &At<'_>, key: &str, each: &Shape, declared: Option<&str>, node: &Node) -> Json {
        let path = join(at.path, key);
        let Content::Map(entries) = &node.content else {
            let hint = format!("write one key for each: `{key}: {{ name: … }}`");
            self.wrong(&path, "a map is expected here", hint, node);
            return Json::Null;
        };
        self.effective.head(at.path, at.depth, key);
        let inner = At { path: &path, depth: at.depth + 1 };
        let mut values = Map::new();
        for entry in entries {
            self.placed(join(&path, &entry.key), entry);
            if let Some(section) = declared {
                self.declared(&join(&path, &entry.key), section, &entry.key, &entry.place);
            }
            // A name whose value is wrong was declared all the same: others may refer to it.
            let value = self.value(&inner, &entry.key, each, &entry.node);
            values.insert(entry.key.clone(), value.unwrap_or(Json::Null));
        }
        Json::Object(values)
    }

    fn list(&mut self, at: &At<'_>, key: &str, leaf: &Leaf, node: &Node) -> Option<Json> {
        let path = join(at.path, key);
        let (items, via) = self.items(&path, key, node)?;
        let mut good = true;
        for (i, item) in items.iter().enumerate() {
            good &= self.typed(&format!("{path}[{i}]"), leaf, item).is_some();
        }
        let items: Vec<String> = items.into_iter().map(|item| item.text).collect();
        self.effective.list(at.path, at.depth, key, &items, Origin { place: Some(node.place.clone()), via });
        good.then(|| Json::from(items))
    }

    /// The items of a list, or of one text with commas.
    fn items(&mut self, path: &str, key: &str, node: &Node) -> Option<(Vec<Scalar>, Vec<Via>)> {
        match &node.content {
            Content::List(nodes) => {
                let scalars = nodes.iter().enumerate();
                let scalars: Vec<Option<Scalar>> =
                    scalars.map(|(i, item)| self.scalar(&format!("{path}[{i}]"), item, For::Print)).collect();
                let items: Vec<Scalar> = scalars.into_iter().collect::<Option<_>>()?;
                let via = items.iter().flat_map(|item| item.via.clone()).collect();
                Some((items, via))
            }
            Content::Text(_) => {
                let Scalar { text, via, place } = self.scalar(path, node, For::Print)?;
                let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
                let item = |text: &str| Scalar { text: text.to_owned(), via: via.clone(), place: place.clone() };
                Some((texts.map(item).collect(), via.clone()))
            }
            Content::Nothing | Content::Map(_) => {
                self.wrong(path, "a list is expected here", format!("write `{key}: [a, b]`"), node);
                None
            }
        }
    }

    fn choice(&mut self, at: &At<'_>, key: &str, choice: &Choice, node: &Node) -> Option<Json> {
        let path = join(at.path, key);
        let hint = format!("write {}", choice.expected());
        if let [entry] = node.entries()
            && let Some(field) = choice.keyed.iter().find(|field| field.name == entry.key)
        {
            self.effective.head(at.path, at.depth, key);
            self.placed(join(&path, &entry.key), entry);
            let value = self.value(&At { path: &path, depth: at.depth + 1 }, &field.name, &field.shape, &entry.node)?;
            return Some(Json::Object(Map::from_iter([(field.name.clone(), value)])));
        }
        if !matches!(node.content, Content::Text(_)) {
            self.wrong(&path, "this is none of the choices", hint, node);
            return None;
        }
        let scalar = self.scalar(&path, node, For::Print)?;
        if choice.words.iter().all(|word| word.word != scalar.text) {
            let near = nearest(&scalar.text, choice.words.iter().map(|w| w.word.as_str()));
            let hint = near.map_or(hint, |near| format!("did you mean `{near}`?"));
            self.wrong(&path, format!("{} is none of the choices", scalar.told()), hint, node);
            return None;
        }
        self.effective.text(at.path, at.depth, key, &scalar.text, scalar.origin());
        Some(Json::from(scalar.text))
    }

    fn leaf(&mut self, at: &At<'_>, key: &str, leaf: &Leaf, node: &Node) -> Option<Json> {
        let path = join(at.path, key);
        if matches!(leaf, Leaf::Secret | Leaf::Public) {
            let scalar = self.scalar(&path, node, For::Secret)?;
            if *leaf == Leaf::Secret && scalar.via.is_empty() && matches!(scalar.place, Place::File { .. }) {
                self.inline_secrets.push(path);
            }
            self.effective.secret(at.path, at.depth, key, scalar.origin());
            return Some(Json::from(scalar.text));
        }
        let scalar = self.scalar(&path, node, For::Print)?;
        let value = self.typed(&path, leaf, &scalar)?;
        self.effective.text(at.path, at.depth, key, &scalar.text, scalar.origin());
        Some(value)
    }

    fn typed(&mut self, path: &str, leaf: &Leaf, scalar: &Scalar) -> Option<Json> {
        if let Leaf::Declared(section) = leaf {
            self.declared(path, section, &scalar.text, &scalar.place);
            return Some(Json::from(scalar.text.as_str()));
        }
        match typed(leaf, &scalar.text) {
            Ok(value) => Some(value),
            Err((problem, hint)) => {
                let problem = Problem::new(path, format!("{} {problem}", scalar.told())).hint(hint);
                self.problems.push(problem.at(Some(scalar.place.clone())));
                None
            }
        }
    }

    /// A name must be one of those that a section of the file declares.
    fn declared(&mut self, path: &str, section: &str, name: &str, place: &Place) {
        let entries = self.tree.get(section).map(|entry| entry.node.entries()).unwrap_or_default();
        if entries.iter().any(|entry| entry.key == name) {
            return;
        }
        let hint = match nearest(name, entries.iter().map(|entry| entry.key.as_str())) {
            Some(near) => format!("did you mean `{near}`?"),
            None if entries.is_empty() => format!("`{section}` is empty"),
            None => {
                let names: Vec<String> =
                    entries.iter().take(MAX_TOLD).map(|entry| format!("`{}`", entry.key)).collect();
                format!("declared are {}", names.join(", "))
            }
        };
        let problem = format!("`{section}` has no `{}`", name.escape_debug().take(80).collect::<String>());
        self.problems.push(Problem::new(path, problem).hint(hint).at(Some(place.clone())));
    }

    fn scalar(&mut self, path: &str, node: &Node, purpose: For) -> Option<Scalar> {
        let Content::Text(text) = &node.content else {
            let hint = match node.content {
                Content::Nothing => "write a value, or remove the line",
                Content::Text(_) | Content::List(_) | Content::Map(_) => {
                    "write it on one line; a text with braces or brackets is quoted"
                }
            };
            self.wrong(path, "one value is expected here", hint.to_owned(), node);
            return None;
        };
        match self.expander.expand(text, purpose) {
            Ok(expanded) => Some(Scalar { text: expanded.text, via: expanded.via, place: node.place.clone() }),
            Err(fault) => {
                let problem = Problem::new(path, &fault).maybe_hint(fault.hint());
                self.problems.push(problem.at(Some(node.place.clone())));
                None
            }
        }
    }

    /// Whether nothing is said: no value, or a variable that came out empty.
    fn is_void(&mut self, node: &Node, shape: &Shape) -> bool {
        match (&node.content, shape) {
            // Names are declared even if nothing more is said of them, and an empty section is a section.
            (Content::Nothing, _) => true,
            (Content::Text(text), Shape::Leaf(_) | Shape::Choice(_) | Shape::List(_)) if text.contains("${") => {
                self.expander.expand(text, For::Print).is_ok_and(|expanded| expanded.text.is_empty())
            }
            _ => false,
        }
    }

    /// A value that the environment replaced stands there, and not where its key does.
    fn placed(&mut self, path: String, entry: &Entry) {
        let replaced = matches!(entry.node.place, Place::Environment { .. });
        let place = if replaced { &entry.node.place } else { &entry.place };
        self.places.insert(path, place.clone());
    }

    fn wrong(&mut self, path: &str, problem: impl std::fmt::Display, hint: String, node: &Node) {
        self.problems.push(Problem::new(path, problem).hint(hint).at(Some(node.place.clone())));
    }
}

impl Scalar {
    fn origin(&self) -> Origin {
        Origin { place: Some(self.place.clone()), via: self.via.clone() }
    }

    /// The text, unless a variable brought it: who knows what is in there.
    fn told(&self) -> String {
        match self.via.first() {
            Some(via) => format!("the value of {via}"),
            None if matches!(self.place, Place::Environment { .. }) => "the variable's value".to_owned(),
            // A password in an address, most likely.
            None if self.text.contains('@') => "this".to_owned(),
            None => format!("`{}`", self.text.escape_debug().take(80).collect::<String>()),
        }
    }
}

/// A key that is not there: what to write instead, and which known key that is.
fn unknown(path: &str, key: &str, fields: &[Field]) -> (Problem, Option<String>) {
    let at = join(path, key);
    if let Some(until) = known::reserved(&at) {
        let problem = Problem::new(&at, format!("`{key}` is not in this version yet"));
        return (problem.hint(format!("remove it; {until}")), None);
    }
    let problem = Problem::new(&at, format!("there is no key `{key}` here"));
    if let Some(here) = known::called(&at) {
        let name = here.strip_prefix(path).map(|rest| rest.trim_start_matches('.').to_owned());
        return (problem.hint(format!("it is called `{here}`")), name);
    }
    match nearest(key, fields.iter().map(|field| field.name.as_str())) {
        Some(near) => (problem.hint(format!("did you mean `{near}`?")), Some(near.to_owned())),
        None => {
            let names: Vec<String> = fields.iter().map(|field| format!("`{}`", field.name)).collect();
            (problem.hint(format!("the keys here are {}", names.join(", "))), None)
        }
    }
}

/// The value of a leaf, or what is wrong with its text and how to write it.
fn typed(leaf: &Leaf, text: &str) -> Result<Json, (String, String)> {
    match leaf {
        Leaf::Text | Leaf::Secret | Leaf::Public | Leaf::Declared(_) => Ok(Json::from(text)),
        Leaf::Boolean => match text.to_ascii_lowercase().as_str() {
            "true" | "on" | "yes" => Ok(Json::from(true)),
            "false" | "off" | "no" => Ok(Json::from(false)),
            _ => Err(("is neither true nor false".to_owned(), "write `true` or `false`".to_owned())),
        },
        Leaf::Integer(range) => {
            const HINT: &str = "write a whole number, without quotes or unit";
            let number: i64 = text.trim().parse().map_err(|_| ("is not a whole number".to_owned(), HINT.to_owned()))?;
            if within(range, number) { Ok(Json::from(number)) } else { Err(outside(range)) }
        }
        Leaf::Size(range) => checked::<Size>(text, range, "is not a size", SIZE_HINT),
        Leaf::Span(range) => checked::<Span>(text, range, "is not a duration", SPAN_HINT),
        Leaf::Formed(form) => match (form.check)(text) {
            Ok(()) => Ok(Json::from(text)),
            Err(wrong) => Err((wrong.problem, wrong.hint.to_owned())),
        },
        Leaf::Percent(range) => checked::<Percent>(text, range, "is not a percentage", PERCENT_HINT),
    }
}

fn checked<T: FromStr + PartialOrd>(
    text: &str,
    range: &Range,
    what: &str,
    hint: &str,
) -> Result<Json, (String, String)> {
    let value: T = text.parse().map_err(|_| (what.to_owned(), hint.to_owned()))?;
    if within(range, value) { Ok(Json::from(text)) } else { Err(outside(range)) }
}

fn outside(range: &Range) -> (String, String) {
    (format!("is out of range{range}"), "choose a value within those bounds".to_owned())
}

fn within<T: FromStr + PartialOrd>(range: &Range, value: T) -> bool {
    let end = |end: &Option<String>| end.as_ref().and_then(|text| text.parse::<T>().ok());
    end(&range.least).is_none_or(|least| value >= least) && end(&range.most).is_none_or(|most| value <= most)
}
