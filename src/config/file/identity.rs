//! `identity:` how a subject is read from the user's cookie.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::form::{CookieName, Formed};
use crate::config::value::{PublicText, SecretText, Size, Span};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The cookie that the login service sets. [Cookies](../cookies.md) has the formats, and how to change keys.
    #[schemars(extend("x-hint" = "describe it: `cookie: { name: session, format: jwt, keys: … }`"))]
    pub cookie: Cookie,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cookie {
    /// The cookie's name, as it stands in the header.
    #[schemars(extend("x-hint" = "name the cookie that the login service sets: `name: session`"))]
    pub name: Formed<CookieName>,
    /// How the cookie's value is made.
    #[schemars(extend("x-hint" = "say how its value is made: `format: jwt`, `signed` or `encrypted`"))]
    pub format: Format,
    /// The keys, by the ids that cookies name them by; 1 to 16, all accepted at once.
    #[schemars(extend(
        "x-hint" = "name at least one key by its id: `keys: { \"2026-11\": { algorithm: HS256, secret: \"${file:…}\" } }`"
    ))]
    pub keys: BTreeMap<String, Key>,
    /// Accepted `typ` of a token, for `jwt` only. If there are any, it must be one of them; else it must be `JWT` or
    /// missing.
    #[serde(default)]
    pub types: Vec<String>,
    /// Accepted issuers (`iss`). If there are any, the cookie must name one of them.
    #[serde(default)]
    pub issuers: Vec<String>,
    /// Who we are (`aud`). If there are any, the cookie must name one of them; if not, it must name nobody.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// Whether a cookie must say when it ends (`exp`).
    #[serde(default)]
    pub expiry: Expiry,
    /// How far the clocks of the login service and of this pod may differ.
    #[serde(default = "leeway")]
    #[schemars(extend("x-least" = "0s", "x-most" = "5m"))]
    pub leeway: Span,
    /// A longer value is refused unread.
    #[serde(default = "max_bytes")]
    #[schemars(extend("x-least" = "64B", "x-most" = "8KiB"))]
    pub max_bytes: Size,
    /// The claim that holds the user's id: names joined by dots, as for all claims here.
    #[serde(default = "subject")]
    pub subject: String,
    /// The claim that holds the session token for backends, or `raw`: the cookie's own value, for backends that read
    /// the same cookie. Left out: sources that take a session are not called.
    pub session: Option<Claim>,
    /// The claim that holds the user's tenant. Left out: there are no tenants.
    pub tenant: Option<Claim>,
    /// Claims that hold further facts, by the names that entities bind them by; at most 32.
    #[serde(default)]
    pub attributes: BTreeMap<String, Claim>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A JSON Web Token, by a shared secret or a public key.
    Jwt,
    /// JSON with an HMAC-SHA256: `<payload>.<key id>.<mac>`.
    Signed,
    /// JSON sealed with AES-256-GCM: `h1.<key id>.<sealed>`.
    Encrypted,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-short" = "secret"))]
pub struct Key {
    /// What the key is for; a token's own word is only compared with it. For `jwt`, and required there.
    pub algorithm: Option<Algorithm>,
    /// The shared secret, best as `${file:…}`. For all but RS256, ES256 and EdDSA. At least 32 bytes (HS384 48, HS512
    /// 64); for `encrypted` exactly 32.
    pub secret: Option<SecretText>,
    /// The issuer's public key, as PEM (`BEGIN PUBLIC KEY`) or JWK: for RS256, ES256 and EdDSA. `${file:…}` may stand
    /// here.
    pub public: Option<PublicText>,
    /// How the secret's bytes are written.
    #[serde(default)]
    pub encoding: Encoding,
    /// How a token says that this is its key.
    #[serde(default)]
    pub kid: Kid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    ES256,
    EdDSA,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// As they are.
    #[default]
    Text,
    /// Either alphabet, with or without padding.
    Base64,
    /// Of either case.
    Hex,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kid {
    /// Its `kid` is the key's id.
    #[default]
    Id,
    /// It has no `kid`; all keys of this sort are tried. For `jwt` only.
    None,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Expiry {
    #[default]
    Required,
    /// A cookie without `exp` lives until its key is taken out.
    Optional,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-short" = "claim"))]
pub struct Claim {
    /// Names joined by dots: `user.id`. A dot in a name is written `\.`.
    #[schemars(extend("x-hint" = "name the claim: `claim: sub`"))]
    pub claim: String,
    /// Whether a cookie without it is refused.
    #[serde(default)]
    pub required: bool,
}

fn leeway() -> Span {
    Span::secs(30)
}

/// Browsers keep 4 KiB; percent-encoding may lengthen it on its way.
fn max_bytes() -> Size {
    Size(8 << 10)
}

fn subject() -> String {
    "sub".to_owned()
}
