//! Whose login this is: from a cookie to a subject.
//!
//! The story: take the value out of the header, open it with a key of ours, check that it is meant for now and for us,
//! read the subject's facts from its claims. Every step may refuse, and every refusal looks alike to the caller. The
//! caps come first: nothing is parsed that is too large, and nothing of the claims is read before the signature is
//! right. Hydrant reads sessions, it does not make them: there is no encoder here.
//!
//! An `Identity` never changes; a reload builds another and swaps it in. All keys of a configuration are active at once,
//! which is how keys are rotated without refusing anybody: `docs/cookies.md` has the formats and the recipe.

mod encrypted;
mod facts;
mod header;
mod json;
mod jwt;
mod keys;
pub mod refusal;
mod rules;
pub mod settings;
mod signed;
#[cfg(test)]
mod tests;
pub mod token;

use std::time::Duration;

use crate::domain::subject::Subject;
use crate::prehydrate::identity::facts::Facts;
use crate::prehydrate::identity::json::Object;
use crate::prehydrate::identity::refusal::{Unauthenticated, Why};
use crate::prehydrate::identity::settings::{
    Config, ConfigProblem, Format, MAX_KEYS, MAX_VALUE_BYTES, Problems, Rules,
};

pub struct Identity {
    cookie: String,
    max_value_bytes: usize,
    decoder: Decoder,
    rules: Rules,
    facts: Facts,
}

/// What a caller shows of its user. Secret: it does not print itself.
#[derive(Clone, Copy)]
pub enum Who<'a> {
    /// A whole `Cookie` header.
    Header(&'a str),
    /// The configured cookie's value alone.
    Value(&'a str),
}

enum Decoder {
    Jwt(jwt::Decoder),
    Signed(signed::Decoder),
    Encrypted(encrypted::Decoder),
}

impl Identity {
    pub fn new(config: Config) -> Result<Self, Vec<ConfigProblem>> {
        let Config { cookie, max_value_bytes, format, rules, claims } = config;
        let mut problems = Problems::default();
        if !is_token(&cookie) {
            problems.add("cookie", "is not a cookie's name");
        }
        if !(1..=MAX_VALUE_BYTES).contains(&max_value_bytes) {
            problems.add("max_value_bytes", format!("is not between 1 and {MAX_VALUE_BYTES}"));
        }
        let decoder = Decoder::new(format, &mut problems);
        rules.validate(&mut problems);
        let facts = Facts::new(claims, &mut problems);
        problems.into_result()?;
        Ok(Self { cookie, max_value_bytes, decoder, rules, facts })
    }

    /// The subject a cookie speaks of. `now` is the time since 1970.
    pub fn identify(&self, who: Who<'_>, now: Duration) -> Result<Subject, Unauthenticated> {
        let value = match who {
            Who::Header(header) => header::find(header, &self.cookie, self.max_value_bytes)?,
            Who::Value(value) => header::plain(value, self.max_value_bytes)?,
        };
        let claims = self.decoder.open(&value)?;
        self.rules.check(&claims, now)?;
        Ok(self.facts.subject(&claims, &value)?)
    }
}

impl Decoder {
    fn new(format: Format, problems: &mut Problems) -> Self {
        let count = match &format {
            Format::Jwt { keys, .. } => keys.len(),
            Format::Signed { keys } => keys.len(),
            Format::Encrypted { keys } => keys.len(),
        };
        if !(1..=MAX_KEYS).contains(&count) {
            problems.add("format.keys", format!("needs 1 to {MAX_KEYS} keys"));
        }
        match format {
            Format::Jwt { keys, types } => Self::Jwt(jwt::Decoder::new(keys, types, problems)),
            Format::Signed { keys } => Self::Signed(signed::Decoder::new(keys, problems)),
            Format::Encrypted { keys } => Self::Encrypted(encrypted::Decoder::new(keys, problems)),
        }
    }

    fn open(&self, value: &str) -> Result<Object, Why> {
        match self {
            Self::Jwt(decoder) => decoder.open(value),
            Self::Signed(decoder) => decoder.open(value),
            Self::Encrypted(decoder) => decoder.open(value),
        }
    }
}

/// RFC 9110's token: what a cookie's name is made of.
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
