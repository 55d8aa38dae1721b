//! `identity`: how a subject is read from a cookie.
//!
//! What can be wrong with keys and claims the reader itself knows: it is made once on trial, with the texts as they are
//! in this reading of the file. The cells that are in use hold the ones before, until all of the file is accepted.

use super::Context;
use crate::config::file::identity as file;
use crate::config::form::{CookieName, Formed};
use crate::config::secrets::{Secrets, Staged};
use crate::config::value::{PublicText, SecretText};
use crate::domain::secret::{Secret, SecretCell};
use crate::prehydrate::identity::Identity;
use crate::prehydrate::identity::settings::{
    Algorithm, Claim, Claims, Config, ConfigProblem, EncryptedKey, Expiry, Format, JwtKey, Presence, Rules, Session,
    SharedSecret, SignedKey, Written,
};

const COOKIE: &str = "identity.cookie";

/// Stands for the cookie's own value where the path of a claim is expected.
const RAW: &str = "raw";

/// A key that has what its format asks for.
pub struct Key {
    id: String,
    kid: file::Kid,
    algorithm: file::Algorithm,
    written: Written,
    /// Where its text stands.
    path: String,
    text: Secret,
}

impl Context<'_> {
    /// None where no cookie is read, or the section is broken.
    pub fn identity(&mut self) -> Option<Config> {
        let file::Identity { cookie } = self.take(&["identity"])?;
        if cookie.expiry == file::Expiry::Optional {
            let problem = "a cookie without `exp` is accepted for as long as its key is";
            self.warning(&at("expiry"), problem, "let the login service set `exp`, and remove this");
        }
        if cookie.format != file::Format::Jwt && !cookie.types.is_empty() {
            self.problem(&at("types"), "only `format: jwt` has types", "remove it");
        }
        let mut keys = Vec::new();
        for (id, key) in &cookie.keys {
            keys.extend(self.key(COOKIE, cookie.format, id, key));
        }
        let trial = config(&cookie, &keys, &Secrets::default(), &mut Staged::default());
        // Their number is right or wrong as they are written: one that lacks something has been told of.
        let whole = keys.len() == cookie.keys.len();
        for problem in Identity::new(trial).err().into_iter().flatten() {
            if whole || problem.field != "format.keys" {
                self.unreadable(&keys, problem);
            }
        }
        Some(config(&cookie, &keys, self.secrets, &mut self.staged))
    }

    /// One of the keys below `base`, whoever reads what it signs.
    pub fn key(&mut self, base: &str, format: file::Format, id: &str, key: &file::Key) -> Option<Key> {
        let of = |name: &str| format!("{base}.keys.{id}.{name}");
        let algorithm = match (format, key.algorithm) {
            (file::Format::Jwt, Some(algorithm)) => algorithm,
            (file::Format::Jwt, None) => {
                let hint = "pin one of HS256, HS384, HS512, RS256, ES256 and EdDSA: a token may not choose it";
                self.problem(&of("algorithm"), "`algorithm` is missing", hint);
                return None;
            }
            (file::Format::Signed | file::Format::Encrypted, Some(_)) => {
                self.problem(&of("algorithm"), "only `format: jwt` has a choice of algorithms", "remove it");
                return None;
            }
            (file::Format::Signed | file::Format::Encrypted, None) => file::Algorithm::HS256,
        };
        if format != file::Format::Jwt && key.kid == file::Kid::None {
            self.problem(&of("kid"), "only tokens of `format: jwt` may be without their key's id", "remove it");
        }
        let written = match key.encoding {
            file::Encoding::Text => Written::Text,
            file::Encoding::Base64 => Written::Base64,
            file::Encoding::Hex => Written::Hex,
        };
        let (path, text) = match (algorithm.is_public(), &key.secret, &key.public) {
            (false, Some(SecretText(secret)), None) => (of("secret"), secret.clone()),
            (true, None, Some(PublicText(public))) => (of("public"), public.clone()),
            (false, _, public) => {
                let other = public.as_ref().map(|_| of("public"));
                self.wrong_text(of("secret"), other, "a shared secret");
                return None;
            }
            (true, secret, _) => {
                let other = secret.as_ref().map(|_| of("secret"));
                self.wrong_text(of("public"), other, "the issuer's public key");
                return None;
            }
        };
        Some(Key { id: id.to_owned(), kid: key.kid, algorithm, written, path, text })
    }

    /// A key's text is missing, or stands where that of another sort of key does.
    fn wrong_text(&mut self, path: String, other: Option<String>, what: &str) {
        let hint = format!("write {what} here, best as `${{file:/run/secrets/…}}`");
        match other {
            None => self.problem(&path, format!("{what} is missing"), hint),
            Some(other) => {
                let hint = format!("write it as `{}`, and remove this", path.rsplit('.').next().unwrap_or_default());
                self.problem(&other, format!("this key is made from {what}"), hint);
            }
        }
    }

    /// What the reader finds wrong, told by the file's own words.
    fn unreadable(&mut self, keys: &[Key], ConfigProblem { field, problem }: ConfigProblem) {
        let (path, hint) = if let Some(rest) = field.strip_prefix("format.keys") {
            (key_path(COOKIE, keys, rest), "docs/cookies.md says what a key of each format is")
        } else if let Some(claim) = field.strip_prefix("claims.") {
            (at(if claim == "user" { "subject" } else { claim }), "docs/cookies.md says how a claim is named")
        } else {
            let key = match field.as_str() {
                "cookie" => "name",
                "max_value_bytes" => "max_bytes",
                rule => rule.trim_start_matches("rules."),
            };
            (at(key), "remove it, or see docs/cookies.md")
        };
        self.problem(&path, problem, hint);
    }
}

impl file::Algorithm {
    fn is_public(self) -> bool {
        match self {
            Self::HS256 | Self::HS384 | Self::HS512 => false,
            Self::RS256 | Self::ES256 | Self::EdDSA => true,
        }
    }
}

impl Key {
    /// The key of a JWT, in the cell that goes by its path.
    pub fn staged(&self, secrets: &Secrets, staged: &mut Staged) -> JwtKey {
        self.jwt(secrets.stage(staged, &self.path, self.text.clone()))
    }

    fn jwt(&self, text: SecretCell) -> JwtKey {
        let id = match self.kid {
            file::Kid::Id => Some(self.id.clone()),
            file::Kid::None => None,
        };
        let shared = |text| SharedSecret { text, written: self.written };
        let key = match self.algorithm {
            file::Algorithm::HS256 => Algorithm::Hs256(shared(text)),
            file::Algorithm::HS384 => Algorithm::Hs384(shared(text)),
            file::Algorithm::HS512 => Algorithm::Hs512(shared(text)),
            file::Algorithm::RS256 => Algorithm::Rs256(text),
            file::Algorithm::ES256 => Algorithm::Es256(text),
            file::Algorithm::EdDSA => Algorithm::EdDsa(text),
        };
        JwtKey { id, key }
    }
}

/// The reader's own configuration. A cell goes by the id of its key, so a key that is added moves no other's.
fn config(cookie: &file::Cookie, keys: &[Key], secrets: &Secrets, staged: &mut Staged) -> Config {
    let keys = keys.iter().map(|key| (key, secrets.stage(staged, &key.path, key.text.clone())));
    let shared = |key: &Key, text| (key.id.clone(), SharedSecret { text, written: key.written });
    let format = match cookie.format {
        file::Format::Jwt => {
            Format::Jwt { keys: keys.map(|(key, cell)| key.jwt(cell)).collect(), types: cookie.types.clone() }
        }
        file::Format::Signed => Format::Signed {
            keys: keys.map(|(key, cell)| shared(key, cell)).map(|(id, secret)| SignedKey { id, secret }).collect(),
        },
        file::Format::Encrypted => Format::Encrypted {
            keys: keys.map(|(key, cell)| shared(key, cell)).map(|(id, secret)| EncryptedKey { id, secret }).collect(),
        },
    };
    let Formed(CookieName(name)) = &cookie.name;
    Config {
        cookie: name.clone(),
        max_value_bytes: cookie.max_bytes.usize(),
        format,
        rules: Rules {
            issuers: cookie.issuers.clone(),
            audiences: cookie.audiences.clone(),
            leeway: cookie.leeway.0,
            expiry: match cookie.expiry {
                file::Expiry::Required => Expiry::Required,
                file::Expiry::Optional => Expiry::Optional,
            },
        },
        claims: Claims {
            user: cookie.subject.clone(),
            session: match &cookie.session {
                None => Session::Absent,
                Some(session) if session.claim == RAW => Session::Raw,
                Some(session) => Session::Claim(claim(session)),
            },
            tenant: cookie.tenant.as_ref().map(claim),
            attributes: cookie.attributes.iter().map(|(name, path)| (name.clone(), claim(path))).collect(),
        },
    }
}

fn claim(claim: &file::Claim) -> Claim {
    let presence = if claim.required { Presence::Required } else { Presence::Optional };
    Claim { path: claim.claim.clone(), presence }
}

/// `[2].id` of the reader's list is a key in the file; its text is what is wrong unless its id is.
pub fn key_path(base: &str, keys: &[Key], rest: &str) -> String {
    let (number, part) = rest.trim_start_matches('[').split_once("].").unwrap_or_default();
    match number.parse().ok().and_then(|number: usize| keys.get(number)) {
        Some(key) if part == "id" => format!("{base}.keys.{}", key.id),
        Some(key) => key.path.clone(),
        None => format!("{base}.keys"),
    }
}

fn at(key: &str) -> String {
    format!("{COOKIE}.{key}")
}
