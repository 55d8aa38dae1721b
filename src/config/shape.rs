//! The shape of the configuration: which key may stand where, of what type, with which default.
//!
//! It is read off the JSON Schema that schemars derives from `file`, so the doc comments and defaults there are the
//! only description there is: the checks, the environment's overrides, `hydrant check`, the published schema and the
//! reference all walk this one shape and cannot disagree.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value as Json, json};

use super::file::File;
use super::form::{self, AnyForm};
use super::value::{PERCENT_FORMAT, PUBLIC_FORMAT, SECRET_FORMAT, SIZE_FORMAT, SPAN_FORMAT};

#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Known keys. A single value may stand for the one that is named `short`.
    Section {
        fields: Vec<Field>,
        short: Option<String>,
    },
    /// Keys that the writer chooses, or that a section declares, all of one shape.
    Named {
        each: Box<Shape>,
        declared: Option<String>,
    },
    /// Also written as one text with commas.
    List(Leaf),
    /// One of some words, or a section with exactly one of some keys.
    Choice(Choice),
    Leaf(Leaf),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub name: String,
    pub shape: Shape,
    pub about: String,
    pub required: bool,
    pub default: Option<Json>,
    /// What to do when it is missing.
    pub hint: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Default)]
pub struct Choice {
    pub words: Vec<Word>,
    pub keyed: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    pub word: String,
    pub about: String,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Leaf {
    Text,
    Secret,
    /// No secret, but read from a file like one.
    Public,
    Boolean,
    Integer(Range),
    Size(Range),
    Span(Range),
    Percent(Range),
    Formed(AnyForm),
    /// A name that this section declares.
    Declared(String),
}

/// Both ends included, as written; not every leaf has them.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Range {
    pub least: Option<String>,
    pub most: Option<String>,
}

/// The shape of the whole file.
pub fn shape() -> Shape {
    read(&raw())
}

/// The schema as it is shipped, for editors: values may also be `${…}`.
pub fn published() -> Json {
    let mut schema = raw();
    publish(&mut schema);
    let title = json!("Hydrant configuration (hydrant.yaml)");
    let mut first = Map::from_iter([("$schema".to_owned(), schema["$schema"].take()), ("title".to_owned(), title)]);
    if let Json::Object(rest) = schema {
        first.extend(rest.into_iter().filter(|(key, _)| key != "$schema" && key != "title"));
    }
    Json::Object(first)
}

fn raw() -> Json {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<File>().to_value()
}

impl Shape {
    /// The type in a word or two, for the reference.
    pub fn kind(&self) -> String {
        match self {
            Self::Section { .. } => "section".to_owned(),
            Self::Named { .. } => "map by name".to_owned(),
            Self::List(leaf) => format!("list, each: {}", leaf.kind()),
            Self::Choice(choice) => choice.expected(),
            Self::Leaf(leaf) => leaf.kind(),
        }
    }
}

impl Choice {
    pub fn expected(&self) -> String {
        let words = self.words.iter().map(|w| format!("`{}`", w.word));
        let keyed = self.keyed.iter().map(|f| format!("`{{ {}: … }}`", f.name));
        words.chain(keyed).collect::<Vec<_>>().join(" or ")
    }
}

impl Leaf {
    pub fn kind(&self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Secret => "secret".to_owned(),
            Self::Public => "public key".to_owned(),
            Self::Boolean => "`true` or `false`".to_owned(),
            Self::Integer(range) => format!("number{range}"),
            Self::Size(range) => format!("size{range}"),
            Self::Span(range) => format!("duration{range}"),
            Self::Formed(form) => form.kind.to_owned(),
            Self::Declared(section) => format!("one of `{section}`"),
            Self::Percent(range) => format!("percentage{range}"),
        }
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.least, &self.most) {
            (Some(least), Some(most)) => write!(f, ", {least} to {most}"),
            (Some(least), None) => write!(f, ", at least {least}"),
            (None, Some(most)) => write!(f, ", at most {most}"),
            (None, None) => Ok(()),
        }
    }
}

fn read(schema: &Json) -> Shape {
    if let Some(one) = without_null(schema, "anyOf") {
        return read(one);
    }
    let format = schema["format"].as_str().unwrap_or_default();
    match format {
        SIZE_FORMAT => return Shape::Leaf(Leaf::Size(range(schema, "x-least", "x-most"))),
        SPAN_FORMAT => return Shape::Leaf(Leaf::Span(range(schema, "x-least", "x-most"))),
        PERCENT_FORMAT => return Shape::Leaf(Leaf::Percent(range(schema, "x-least", "x-most"))),
        SECRET_FORMAT => return Shape::Leaf(Leaf::Secret),
        PUBLIC_FORMAT => return Shape::Leaf(Leaf::Public),
        format => {
            if let Some(form) = form::any(format) {
                return Shape::Leaf(Leaf::Formed(form));
            }
        }
    }
    if let Some(properties) = schema["properties"].as_object() {
        let short = schema["x-short"].as_str().map(str::to_owned);
        return Shape::Section { fields: fields(schema, properties), short };
    }
    if schema["additionalProperties"].is_object() {
        let each = Box::new(read(&schema["additionalProperties"]));
        return Shape::Named { each, declared: schema["x-declared"].as_str().map(str::to_owned) };
    }
    if !schema["items"].is_null() {
        return Shape::List(match (schema["x-declared"].as_str(), read(&schema["items"])) {
            (Some(section), _) => Leaf::Declared(section.to_owned()),
            (None, Shape::Leaf(leaf)) => leaf,
            (None, _) => Leaf::Text,
        });
    }
    if let Some(section) = schema["x-declared"].as_str() {
        return Shape::Leaf(Leaf::Declared(section.to_owned()));
    }
    if schema["oneOf"].is_array() || schema["enum"].is_array() {
        return Shape::Choice(choice(schema));
    }
    let is = |name: &str| schema["type"] == name || schema["type"].as_array().is_some_and(|t| t.contains(&json!(name)));
    if is("integer") {
        Shape::Leaf(Leaf::Integer(range(schema, "minimum", "maximum")))
    } else if is("boolean") {
        Shape::Leaf(Leaf::Boolean)
    } else {
        Shape::Leaf(Leaf::Text)
    }
}

/// An `Option` of a section or a choice: the one alternative that is not `null`.
fn without_null<'a>(schema: &'a Json, key: &str) -> Option<&'a Json> {
    schema[key].as_array()?.iter().find(|one| one["type"] != "null")
}

fn fields(schema: &Json, properties: &Map<String, Json>) -> Vec<Field> {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let field = |(name, schema): (&String, &Json)| Field {
        name: name.clone(),
        shape: read(schema),
        about: about(schema),
        required: required.contains(&json!(name)),
        default: schema.get("default").filter(|default| !default.is_null()).cloned(),
        hint: schema["x-hint"].as_str().map(str::to_owned),
    };
    properties.iter().map(field).collect()
}

fn choice(schema: &Json) -> Choice {
    let mut choice = Choice::default();
    let word =
        |word: &Json, about: &str| word.as_str().map(|word| Word { word: word.to_owned(), about: about.to_owned() });
    let words_of = |one: &Json| -> Vec<Word> {
        let listed = one["enum"].as_array().map(Vec::as_slice).unwrap_or_default();
        listed.iter().chain(one.get("const")).filter_map(|w| word(w, &about(one))).collect()
    };
    choice.words.extend(words_of(schema).into_iter().map(|w| Word { about: String::new(), ..w }));
    for one in schema["oneOf"].as_array().map(Vec::as_slice).unwrap_or_default() {
        choice.words.extend(words_of(one));
        if let Some(properties) = one["properties"].as_object() {
            choice.keyed.extend(fields(one, properties).into_iter().map(|f| Field { about: about(one), ..f }));
        }
    }
    choice
}

fn about(schema: &Json) -> String {
    schema["description"].as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn range(schema: &Json, least: &str, most: &str) -> Range {
    let end = |key: &str| match &schema[key] {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string().trim_end_matches(".0").to_owned()),
        _ => None,
    };
    Range { least: end(least), most: end(most) }
}

/// Lets `${…}` stand for numbers, switches and words, and leaves out what only repeats the sections' own defaults.
fn publish(schema: &mut Json) {
    let Json::Object(object) = schema else { return };
    if object.contains_key("properties") || object.contains_key("anyOf") {
        object.retain(|key, value| key != "default" || !value.is_object());
    }
    object.retain(|key, value| key != "default" || !value.is_null());
    for value in object.values_mut() {
        match value {
            Json::Object(_) => publish(value),
            Json::Array(items) => items.iter_mut().for_each(publish),
            _ => {}
        }
    }
    if let Some(properties) = object.get_mut("properties").and_then(Json::as_object_mut) {
        properties.values_mut().for_each(admit_variable);
    }
    if let Some(values) = object.get_mut("additionalProperties") {
        admit_variable(values);
    }
}

fn admit_variable(schema: &mut Json) {
    let admits = matches!(read(schema), Shape::Leaf(Leaf::Integer(_) | Leaf::Boolean) | Shape::List(_))
        || matches!(read(schema), Shape::Section { short: Some(_), .. })
        || matches!(read(schema), Shape::Choice(choice) if !choice.words.is_empty());
    let scalar = match read(schema) {
        Shape::Section { .. } => json!({ "type": ["string", "integer"] }),
        _ => json!({ "type": "string", "pattern": r"\$\{" }),
    };
    let Json::Object(object) = schema else { return };
    if !admits {
        return;
    }
    let outer = ["description", "default", "x-hint"];
    let (mut kept, mut inner) = (Map::new(), Map::new());
    for (key, value) in std::mem::take(object) {
        let side = if outer.contains(&key.as_str()) { &mut kept } else { &mut inner };
        side.insert(key, value);
    }
    kept.insert("anyOf".to_owned(), json!([inner, scalar]));
    *object = kept;
}
