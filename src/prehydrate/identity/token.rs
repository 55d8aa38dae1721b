//! JWTs that are no user's cookie: a caller's own. The same decoder and the same rules, without a subject at the end.
//!
//! What may be asked of the claims is whether they say a certain text, so that whoever tells callers apart by them needs
//! to know nothing of JSON.

use std::time::Duration;

use crate::prehydrate::identity::json::{Json, Object};
use crate::prehydrate::identity::jwt;
use crate::prehydrate::identity::refusal::Why;
use crate::prehydrate::identity::settings::{ConfigProblem, JwtKey, MAX_KEYS, MAX_VALUE_BYTES, Problems, Rules};

#[derive(Clone, Debug)]
pub struct Config {
    pub keys: Vec<JwtKey>,
    /// Accepted `typ` values, as for cookies.
    pub types: Vec<String>,
    pub rules: Rules,
}

/// Reads tokens. It never changes; a reload builds another.
pub struct Tokens {
    decoder: jwt::Decoder,
    rules: Rules,
}

/// The claims of a token that is genuine, and meant for now and for us. They do not print themselves.
pub struct Claims(Object);

impl Tokens {
    pub fn new(config: Config) -> Result<Self, Vec<ConfigProblem>> {
        let Config { keys, types, rules } = config;
        let mut problems = Problems::default();
        if !(1..=MAX_KEYS).contains(&keys.len()) {
            problems.add("format.keys", format!("needs 1 to {MAX_KEYS} keys"));
        }
        rules.validate(&mut problems);
        let decoder = jwt::Decoder::new(keys, types, &mut problems);
        problems.into_result()?;
        Ok(Self { decoder, rules })
    }

    /// `now` is the time since 1970.
    pub fn open(&self, token: &str, now: Duration) -> Result<Claims, Why> {
        if token.len() > MAX_VALUE_BYTES {
            return Err(Why::TooLarge);
        }
        let claims = self.decoder.open(token)?;
        self.rules.check(&claims, now)?;
        Ok(Claims(claims))
    }
}

impl Claims {
    /// Whether a claim says this text, or is a list in which it stands.
    pub fn say(&self, claim: &str, text: &str) -> bool {
        let is = |value: &Json| value.text() == Some(text);
        match self.0.get(claim) {
            Some(Json::List(list)) => list.iter().any(is),
            Some(value) => is(value),
            None => false,
        }
    }
}
