//! What of a source's answer may be kept.
//!
//! Four gates, in this order, each closed unless it is opened: the size, the allow-list, the never-cache names at any
//! depth, the detectors of secret values. What cannot be parsed is not cached. What passes keeps its numbers, order and
//! types as received; only white space goes. Every way into a cache goes through [`Projection::apply`], and so every
//! value that is written. A name that is not allowed is left out; a value that looks like a secret refuses the whole,
//! because its source does not know what it is sending.

mod names;
pub mod paths;
#[cfg(test)]
mod tests;
mod walk;

use bytes::Bytes;

use crate::domain::json::Fault;
use crate::domain::projection::names::{Never, Verdict};
use crate::domain::projection::paths::{Paths, Place};
use crate::domain::projection::walk::Walk;

/// An answer may be this many times as large as what is kept of it ...
const BODY_FACTOR: usize = 4;
/// ... and this large in any case: small values are often cut out of long answers.
const BODY_FLOOR: usize = 64 * 1024;

/// What the configuration says of an entity's values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    /// Where in the answer the value stands (`$.data`); the whole answer if not given.
    pub body: Option<String>,
    /// The fields kept: dotted paths, or `*` for all of them.
    pub allow: Vec<String>,
    /// Names dropped at any depth, besides the built-in ones.
    pub never: Vec<String>,
    /// Paths whose values look like secrets and are not (an order number that passes for a card number).
    pub trust: Vec<String>,
    pub max_bytes: usize,
}

#[derive(Clone, Debug)]
pub struct Projection {
    body: Place,
    allow: Paths,
    never: Never,
    trust: Paths,
    max_bytes: usize,
    /// As it was written, to be compared with another.
    spec: Spec,
}

/// Something wrong with a `Spec`: the field of it, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct SpecError {
    pub field: &'static str,
    pub problem: String,
}

/// Why a value is not kept. Names where, never what.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("not JSON: {0}")]
    Malformed(String),
    #[error("nothing stands at `{0}`")]
    NoBody(String),
    #[error("`{path}` looks like {what}")]
    Secret { path: String, what: &'static str },
}

impl Projection {
    /// Gives every problem there is, not the first.
    pub fn new(spec: Spec) -> Result<Self, Vec<SpecError>> {
        let mut problems = Vec::new();
        let mut blame = |field, problem: String| problems.push(SpecError { field, problem });

        let never = Never::new(&spec.never).unwrap_or_else(|name| {
            blame("fields.never", format!("`{name}` has neither letters nor digits"));
            Never::default()
        });
        let body = spec.body.as_deref().map_or(Ok(Place::default()), Place::parse).unwrap_or_else(|error| {
            blame("load.body", error.to_string());
            Place::default()
        });
        let mut tree = |field, texts: &[String]| {
            Paths::parse(texts).unwrap_or_else(|errors| {
                errors.iter().for_each(|error| blame(field, error.to_string()));
                Paths::none()
            })
        };
        let (allow, trust) = (tree("fields.allow", &spec.allow), tree("fields.trust", &spec.trust));

        if spec.allow.is_empty() {
            blame("fields.allow", "nothing would be kept: list the fields, or `*` for all of them".to_owned());
        }
        let is_never = |name: &str| never.judge(name, &mut String::new()) == Verdict::Never;
        for path in spec.allow.iter().filter(|path| path.split('.').any(is_never)) {
            blame("fields.allow", format!("`{path}` is never cached: its name is that of a secret"));
        }
        for name in body.names().filter(|name| is_never(name)) {
            blame("load.body", format!("what stands under `{name}` is never cached: its name is that of a secret"));
        }
        for path in &spec.trust {
            if path == "*" {
                blame("fields.trust", "`*` would switch every detector off: name the fields".to_owned());
            } else if path.split('.').any(is_never) {
                blame(
                    "fields.trust",
                    format!("`{path}` is never cached, trusted or not: its name is that of a secret"),
                );
            } else if !allow.touches(path) && !spec.allow.is_empty() {
                blame("fields.trust", format!("`{path}` is not among the fields kept"));
            }
        }
        if spec.max_bytes == 0 {
            blame("max_bytes", "a value of no bytes cannot be kept".to_owned());
        }
        if problems.is_empty() {
            Ok(Self { body, allow, never, trust, max_bytes: spec.max_bytes, spec })
        } else {
            Err(problems)
        }
    }

    /// Where in an answer the value stands.
    pub fn body(&self) -> &Place {
        &self.body
    }

    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Whether what stands at this place of a value is kept, whole and whatever it is.
    pub fn keeps(&self, place: &Place) -> bool {
        let below = |paths: &'_ Paths, name| match self.never.judge(name, &mut String::new()) {
            Verdict::Keep => paths.below(name).cloned(),
            Verdict::Flag | Verdict::Never => None,
        };
        let at = place.names().try_fold(self.allow.clone(), |paths, name| below(&paths, name));
        at.is_some_and(|paths| paths.is_whole())
    }

    /// Whether a value that was kept by the other may hold what this one would not keep. In doubt it may.
    pub fn narrows(&self, before: &Self) -> bool {
        let (now, before) = (&self.spec, &before.spec);
        let all = now.allow.iter().any(|path| path == "*");
        let covers = |path: &String| {
            now.allow
                .iter()
                .any(|kept| path.strip_prefix(kept.as_str()).is_some_and(|r| r.is_empty() || r.starts_with('.')))
        };
        now.body != before.body
            || !(all || before.allow.iter().all(covers))
            || !now.never.iter().all(|name| before.never.contains(name))
            || !before.trust.iter().all(|path| now.trust.contains(path))
    }

    /// How much of an answer is read: what is kept may be a small part of it.
    pub fn max_body_bytes(&self) -> usize {
        self.max_bytes.saturating_mul(BODY_FACTOR).max(BODY_FLOOR)
    }

    pub fn apply(&self, body: &[u8]) -> Result<Bytes, Refusal> {
        let limit = self.max_body_bytes();
        if body.len() > limit {
            return Err(Refusal::TooLarge { limit });
        }
        let kept = Walk::new(self, body)?.run()?;
        if kept.len() > self.max_bytes {
            return Err(Refusal::TooLarge { limit: self.max_bytes });
        }
        Ok(kept)
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Malformed(fault.to_string())
    }
}
