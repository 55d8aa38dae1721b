//! From claims to a subject: which claim is the user, the session token, the tenant, an attribute.
//!
//! A string is taken as it stands, an integer by its digits as written; nothing else is an id. Control characters are
//! refused here, for every fact, so that no log, key or header meets them; a session token must fit a cookie or a
//! header as it is, because that is where it goes.

use std::collections::BTreeMap;

use crate::domain::secret::Secret;
use crate::domain::subject::{MAX_ATTRIBUTES, Subject};
use crate::domain::template::is_param_name;
use crate::prehydrate::identity::json::{Json, Object};
use crate::prehydrate::identity::refusal::Why;
use crate::prehydrate::identity::settings::{Claim, Claims, Presence, Problems, Session};

/// Deeper claims are a sign of a wrong path; it also bounds the walk.
const MAX_PATH_STEPS: usize = 8;

/// `Claims`, with its paths read.
pub struct Facts {
    user: Place,
    session: Token,
    tenant: Option<Place>,
    attributes: BTreeMap<String, Place>,
}

struct Place {
    steps: Vec<String>,
    presence: Presence,
}

enum Token {
    Absent,
    Raw,
    Claim(Place),
}

impl Facts {
    pub fn new(claims: Claims, problems: &mut Problems) -> Self {
        let Claims { user, session, tenant, attributes } = claims;
        let user = place("claims.user", Claim { path: user, presence: Presence::Required }, problems);
        let session = match session {
            Session::Absent => Token::Absent,
            Session::Raw => Token::Raw,
            Session::Claim(claim) => Token::Claim(place("claims.session", claim, problems)),
        };
        let tenant = tenant.map(|claim| place("claims.tenant", claim, problems));
        if attributes.len() > MAX_ATTRIBUTES {
            problems.add("claims.attributes", format!("has more than {MAX_ATTRIBUTES} entries"));
        }
        let mut places = BTreeMap::new();
        for (name, claim) in attributes {
            let field = format!("claims.attributes.{name}");
            if !is_param_name(&name) {
                problems.add(&field, "is not a name: letters, digits and `_`, starting with a letter");
            }
            places.insert(name, place(&field, claim, problems));
        }
        Self { user, session, tenant, attributes: places }
    }

    /// `raw` is the cookie's own value.
    pub fn subject(&self, claims: &Object, raw: &str) -> Result<Subject, Why> {
        let user = self.user.find(claims)?.ok_or(Why::Claim)?;
        let session = match &self.session {
            Token::Absent => None,
            Token::Raw => Some(raw.to_owned()),
            Token::Claim(place) => place.find(claims)?,
        };
        if session.as_ref().is_some_and(|token| !token.bytes().all(is_cookie_octet)) {
            return Err(Why::Claim);
        }
        let tenant = self.tenant.as_ref().map(|place| place.find(claims)).transpose()?.flatten();
        let mut attributes = Vec::new();
        for (name, place) in &self.attributes {
            attributes.extend(place.find(claims)?.map(|value| (name.clone(), value)));
        }
        let attributes = attributes.into_iter().collect();
        Subject::new(user, session.map(Secret::new), tenant, attributes).map_err(|_| Why::Claim)
    }
}

impl Place {
    fn find(&self, claims: &Object) -> Result<Option<String>, Why> {
        let mut object = claims;
        let mut found = None;
        for (at, step) in self.steps.iter().enumerate() {
            found = object.get(step);
            match found {
                Some(Json::Object(inner)) if at + 1 < self.steps.len() => object = inner,
                Some(Json::Null) | None => break,
                Some(_) if at + 1 < self.steps.len() => return Err(Why::Claim),
                Some(_) => {}
            }
        }
        match (found, self.presence) {
            (Some(Json::Text(text)), _) if !text.chars().any(char::is_control) => Ok(Some(text.clone())),
            (Some(Json::Null) | None, Presence::Optional) => Ok(None),
            (found, _) => found.and_then(Json::integer).map(str::to_owned).map(Some).ok_or(Why::Claim),
        }
    }
}

/// RFC 6265: visible ASCII without what ends a cookie, a list or a quoted text.
fn is_cookie_octet(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\",;\\".contains(&byte)
}

/// A place that nothing is found at stands in for one that has a problem: the configuration is refused anyway.
fn place(field: &str, Claim { path, presence }: Claim, problems: &mut Problems) -> Place {
    let steps = problems.keep(field, steps(&path)).unwrap_or_default();
    Place { steps, presence }
}

fn steps(path: &str) -> Result<Vec<String>, &'static str> {
    let mut steps = vec![String::new()];
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        let literal = match c {
            '.' => {
                steps.push(String::new());
                continue;
            }
            '\\' => match chars.next() {
                Some(escaped @ ('.' | '\\')) => escaped,
                Some(_) | None => return Err("a backslash stands before a dot or a backslash only"),
            },
            c => c,
        };
        if let Some(step) = steps.last_mut() {
            step.push(literal);
        }
    }
    if steps.iter().any(String::is_empty) {
        return Err("an empty name: write a path such as `sub` or `user.id`");
    }
    if steps.len() > MAX_PATH_STEPS { Err("is deeper than 8 names") } else { Ok(steps) }
}
