//! The reference of the configuration, as Markdown, from the shape: each key with its type, default and meaning.

use std::fmt::Write;

use super::overrides::PREFIX;
use super::shape::{Choice, Field, Leaf, Shape, shape};
use super::value::{PERCENT_HINT, SIZE_HINT, SPAN_HINT};

/// `docs/reference/configuration.md`.
pub fn markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    let _ = write!(text, "\n## How values are written\n\n{}", values());
    let fields = match shape() {
        Shape::Section { fields, .. } => fields,
        _ => Vec::new(),
    };
    text.push_str("\n## The top level\n\n");
    table(&mut text, &fields);
    for field in &fields {
        nested(&mut text, &field.name, field, 2);
    }
    text
}

const INTRODUCTION: &str = "\
<!-- Written from src/config/file.rs by `make generate`; a test compares. Change the doc comments there. -->
# Configuration

Hydrant reads one file, `hydrant.yaml`. Every key is listed here; any other is refused, and all mistakes are told at once.
`hydrant check` checks a file without starting anything, and shows every value with where it came from.
An editor that knows JSON Schema completes and checks the file as it is written: `docs/reference/hydrant.schema.json`.
`docs/hydrant.example.yaml` is a whole file with comments.
";

fn values() -> String {
    format!(
        "\
- A **duration**: {SPAN_HINT}.
- A **size**: {SIZE_HINT}.
- A **percentage**: {PERCENT_HINT}.
- A **list** may also be one text with commas: `id, name`.
- `null` or nothing means that the key is not there.
- `${{NAME}}` is an environment variable, `${{NAME:-default}}` one with a default, in a value of any type. A variable that is
  set to nothing counts as unset. `$${{` is a literal `${{`. Within `{{ }}` and `[ ]` quote such values.
- `${{file:/path}}` is the text of a file, for secrets and public keys. It is read again when it changes, without a restart.

Every value can be overridden by a variable called after its path, in capitals, with two underscores between the keys:
`{PREFIX}ENTITIES__USER__TTL__BASE=15m`, `{PREFIX}REDIS__NODES=redis://a:6379,redis://b:6379`. Names that the file declares
are found whatever their capitals, with `_` for `-`. An empty variable overrides nothing; one that leads nowhere is refused.

`enabled`, `entities`, `identity`, `prehydrate` (but for its `in_flight` and `queue`), `sources` and `warmup` take effect while
Hydrant runs, as soon as the file changes. All other keys need a restart, which the log says. A file that is refused changes nothing;
`hydrant_config_stale` is then 1.
"
    )
}

/// The section of a field, if it is one, and those below it.
fn nested(text: &mut String, path: &str, field: &Field, depth: usize) {
    let fields = match &field.shape {
        Shape::Section { fields, .. } => fields,
        Shape::Named { each, .. } => {
            if let Shape::Section { fields, .. } = &**each {
                heading(text, &format!("{path}.<name>"), &field.about, depth);
                section(text, &format!("{path}.<name>"), fields, depth);
            }
            return;
        }
        Shape::Choice(choice) => {
            for keyed in &choice.keyed {
                nested(text, &format!("{path}.{}", keyed.name), keyed, depth);
            }
            return;
        }
        Shape::Leaf(_) | Shape::List(_) => return,
    };
    heading(text, path, &field.about, depth);
    section(text, path, fields, depth);
}

fn heading(text: &mut String, path: &str, about: &str, depth: usize) {
    let _ = write!(text, "\n{} `{path}`\n\n", "#".repeat(depth.min(4)));
    if !about.is_empty() {
        let _ = write!(text, "{about}\n\n");
    }
}

fn section(text: &mut String, path: &str, fields: &[Field], depth: usize) {
    table(text, fields);
    for field in fields {
        nested(text, &format!("{path}.{}", field.name), field, depth + 1);
    }
}

fn table(text: &mut String, fields: &[Field]) {
    text.push_str("| key | type | default | meaning |\n|---|---|---|---|\n");
    for field in fields {
        let kind = field.shape.kind().replace('|', "\\|");
        let meaning = meaning(field).replace('|', "\\|");
        let _ = writeln!(text, "| `{}` | {kind} | {} | {meaning} |", field.name, default(field));
    }
}

fn default(field: &Field) -> String {
    match (&field.default, &field.shape) {
        (None, _) if field.required => "required".to_owned(),
        (None, _) | (Some(_), Shape::Section { .. }) => "–".to_owned(),
        (Some(_), Shape::Named { .. }) => "none".to_owned(),
        (Some(default), Shape::List(_)) if default.as_array().is_some_and(Vec::is_empty) => "none".to_owned(),
        (Some(default), _) => format!("`{}`", default.as_str().map_or_else(|| default.to_string(), str::to_owned)),
    }
}

fn meaning(field: &Field) -> String {
    let mut meaning = field.about.clone();
    match &field.shape {
        Shape::Choice(Choice { words, keyed }) => {
            let words = words.iter().map(|word| (&word.word, &word.about));
            let choices = words.chain(keyed.iter().map(|field| (&field.name, &field.about)));
            for (name, about) in choices.filter(|(_, about)| !about.is_empty()) {
                let _ = write!(meaning, "<br>`{name}`: {about}");
            }
        }
        Shape::Section { short: Some(short), .. } => {
            let _ = write!(meaning, " A single value stands for `{short}`.");
        }
        Shape::Leaf(Leaf::Secret) => meaning.push_str(" Never printed."),
        Shape::Section { .. } | Shape::Named { .. } | Shape::List(_) | Shape::Leaf(_) => {}
    }
    meaning.trim().to_owned()
}
