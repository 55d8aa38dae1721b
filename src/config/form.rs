//! Texts with a form of their own: templates, addresses, names of headers.
//!
//! Each `Form` has one reader, which `settle` asks whether a text is right and serde takes the value from. So a text that
//! is wrong by itself is told wherever it stands, even in a section that is broken elsewhere, and `convert` meets values
//! that already are what they should be.

pub mod grant;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use http::Uri;
use http::header::HeaderName;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::domain::entity::Name;
use crate::domain::projection::paths::Place;
use crate::domain::subject::Fact;
use crate::domain::template::{Template, TemplateError, is_param_name};

pub mod query;

pub trait Form: Sized {
    /// By which `shape` knows it again.
    const FORMAT: &'static str;
    /// In a word or two, for the reference.
    const KIND: &'static str;

    fn read(text: &str) -> Result<Self, Wrong>;
}

/// What is wrong with a text, and how it is written. The text itself is not in it: a password may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub problem: String,
    pub hint: &'static str,
}

/// A value of some form, as serde and schemars see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Formed<T>(pub T);

/// A form without its type.
#[derive(Clone, Copy, Debug)]
pub struct AnyForm {
    pub format: &'static str,
    pub kind: &'static str,
    pub check: fn(&str) -> Result<(), Wrong>,
}

/// A template of a key that applications read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTemplate(pub Template);

/// A template of a path below a source's origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate(pub Template);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagTemplate(pub Template);

/// Scheme, host and port, with nothing else in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub text: String,
    host: String,
    encrypted: bool,
}

/// An address of Redis as written, with what its scheme says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisAddress {
    pub host: String,
    pub port: Option<u16>,
    pub scheme: Scheme,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    None,
    Plain,
    Tls,
}

/// The name of a header that may carry a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialHeader(pub String);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieName(pub String);

/// Where a Unix socket is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketPath(pub PathBuf);

/// What is logged: `info,hydrant::remote=debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level(pub String);

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Headers that decide where a request goes or how long it is; a credential has no business there.
const TAKEN: [&str; 8] =
    ["host", "content-length", "transfer-encoding", "connection", "te", "upgrade", "traceparent", "tracestate"];

pub fn any(format: &str) -> Option<AnyForm> {
    let forms = [
        of::<Name>(),
        of::<SocketAddr>(),
        of::<KeyTemplate>(),
        of::<PathTemplate>(),
        of::<TagTemplate>(),
        of::<query::SqlText>(),
        of::<Fact>(),
        of::<Place>(),
        of::<Origin>(),
        of::<RedisAddress>(),
        of::<CredentialHeader>(),
        of::<CookieName>(),
        of::<SocketPath>(),
        of::<Level>(),
        of::<grant::RightName>(),
        of::<grant::Limit>(),
    ];
    forms.into_iter().find(|form| form.format == format)
}

fn of<T: Form>() -> AnyForm {
    AnyForm { format: T::FORMAT, kind: T::KIND, check: |text| T::read(text).map(drop) }
}

impl PartialEq for AnyForm {
    fn eq(&self, other: &Self) -> bool {
        self.format == other.format
    }
}

impl Wrong {
    fn new(problem: impl fmt::Display, hint: &'static str) -> Self {
        Self { problem: problem.to_string(), hint }
    }
}

impl<'de, T: Form> Deserialize<'de> for Formed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        T::read(&text).map(Self).map_err(|wrong| de::Error::custom(wrong.problem))
    }
}

/// For defaults only.
impl<T: fmt::Display> Serialize for Formed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<T: Form> JsonSchema for Formed<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::FORMAT.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": T::FORMAT })
    }
}

impl Form for Name {
    const FORMAT: &'static str = "hydrant-name";
    const KIND: &'static str = "name";

    fn read(text: &str) -> Result<Self, Wrong> {
        Self::new(text).ok_or_else(|| Wrong::new("is not a name", "names are letters, digits, `_` and `-`, at most 64"))
    }
}

impl Form for SocketAddr {
    const FORMAT: &'static str = "hydrant-address";
    const KIND: &'static str = "address and port";

    fn read(text: &str) -> Result<Self, Wrong> {
        const HINT: &str = "write an IP address and a port, names are not looked up: 127.0.0.1:4770, [::1]:4770";
        text.trim().parse().map_err(|_| Wrong::new("is not an address with a port", HINT))
    }
}

impl Form for KeyTemplate {
    const FORMAT: &'static str = "hydrant-key";
    const KIND: &'static str = "key template";

    fn read(text: &str) -> Result<Self, Wrong> {
        Template::for_key(text).map(Self).map_err(template)
    }
}

impl Form for PathTemplate {
    const FORMAT: &'static str = "hydrant-path";
    const KIND: &'static str = "path template";

    fn read(text: &str) -> Result<Self, Wrong> {
        if !text.starts_with('/') {
            return Err(Wrong::new("does not start with `/`", "write the path below the origin: `/users/{id}`"));
        }
        Template::parse(text).map(Self).map_err(template)
    }
}

impl Form for TagTemplate {
    const FORMAT: &'static str = "hydrant-tag";
    const KIND: &'static str = "tag template";

    fn read(text: &str) -> Result<Self, Wrong> {
        Template::parse(text).map(Self).map_err(template)
    }
}

fn template(error: TemplateError) -> Wrong {
    let hint = match &error {
        TemplateError::Empty | TemplateError::NoParam => "text and at least one parameter: `user:id:{id}`",
        TemplateError::Unbalanced => "close the brace, or double it",
        TemplateError::BadName(_) => "name parameters like variables: `{userId}`",
        TemplateError::Twice(_) => "a parameter stands once",
        TemplateError::Touching(..) => "put text between them: `{a}:{b}`",
        TemplateError::TooMany => "fewer parameters make a better key",
        TemplateError::Key(_) => "keys with such a form are Hydrant's own: choose another text",
    };
    Wrong::new(format!("is not a template: {error}"), hint)
}

impl Form for Fact {
    const FORMAT: &'static str = "hydrant-fact";
    const KIND: &'static str = "fact of a subject";

    fn read(text: &str) -> Result<Self, Wrong> {
        const HINT: &str = "one of `user`, `session`, `tenant`, `attributes.<name>`";
        match text {
            "user" => Ok(Self::User),
            "session" => Ok(Self::Session),
            "tenant" => Ok(Self::Tenant),
            other => match other.strip_prefix("attributes.") {
                Some(name) if is_param_name(name) => Ok(Self::Attribute(name.to_owned())),
                _ => Err(Wrong::new("is not a fact of a subject", HINT)),
            },
        }
    }
}

impl Form for Place {
    const FORMAT: &'static str = "hydrant-place";
    const KIND: &'static str = "place in an answer";

    fn read(text: &str) -> Result<Self, Wrong> {
        const HINT: &str = "`$`, then `.name` or `[0]` for each step: `$.data.items[0]`";
        Self::parse(text).map_err(|_| Wrong::new("is not a place in an answer", HINT))
    }
}

impl Form for Origin {
    const FORMAT: &'static str = "hydrant-origin";
    const KIND: &'static str = "origin";

    fn read(text: &str) -> Result<Self, Wrong> {
        const HINT: &str = "write scheme, host and port only: `https://accounts.internal:8443`";
        let uri: Uri = text.parse().map_err(|_| Wrong::new("is not an origin", HINT))?;
        let encrypted = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) => return Err(Wrong::new("has a scheme that is neither `https` nor `http`", HINT)),
            None => return Err(Wrong::new("has no scheme", HINT)),
        };
        let authority = uri.authority().ok_or_else(|| Wrong::new("has no host", HINT))?;
        if authority.as_str().contains('@') {
            return Err(Wrong::new("holds a user or password", "write credentials under `auth.service`"));
        }
        if uri.query().is_some() || text.contains('#') || !matches!(uri.path(), "" | "/") {
            return Err(Wrong::new("has a path behind the host", "write the path in the entities' `load.get`"));
        }
        if authority.host().is_empty() || authority.as_str().ends_with(':') || authority.port_u16() == Some(0) {
            return Err(Wrong::new("lacks a host or a port", HINT));
        }
        let scheme = if encrypted { "https" } else { "http" };
        let text = format!("{scheme}://{}", authority.as_str().to_ascii_lowercase());
        Ok(Self { text, host: authority.host().to_ascii_lowercase(), encrypted })
    }
}

impl Origin {
    /// Whether what is sent there can be read on the way.
    pub fn is_in_the_clear(&self) -> bool {
        !self.encrypted && !is_loopback(self.host.trim_start_matches('[').trim_end_matches(']'))
    }
}

impl Form for RedisAddress {
    const FORMAT: &'static str = "hydrant-redis-address";
    const KIND: &'static str = "address";

    fn read(text: &str) -> Result<Self, Wrong> {
        const HINT: &str = "write `redis://host:port`, or `rediss://host:port` for TLS";
        let (scheme, rest) = match text.split_once("://") {
            None => (Scheme::None, text),
            Some(("redis", rest)) => (Scheme::Plain, rest),
            Some(("rediss", rest)) => (Scheme::Tls, rest),
            Some(_) => return Err(Wrong::new("has a scheme that is neither `redis` nor `rediss`", HINT)),
        };
        if rest.contains('@') {
            return Err(Wrong::new("holds a user or password", "write `redis.username` and `redis.password` instead"));
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = host_and_port(rest.strip_suffix("/0").unwrap_or(rest))?;
        let good_host = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._:%".contains(c));
        let port = port.map(str::parse).transpose().map_err(|_| Wrong::new("has no port up to 65535", HINT))?;
        if !good_host || port == Some(0) {
            return Err(Wrong::new("is not an address", HINT));
        }
        Ok(Self { host: host.to_owned(), port, scheme })
    }
}

impl RedisAddress {
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

fn host_and_port(text: &str) -> Result<(&str, Option<&str>), Wrong> {
    const BRACKETS: &str = "an IPv6 address stands in brackets: `[::1]:6379`";
    if text.contains(['/', '?', '#']) {
        let hint = "only database 0 is used; write nothing behind the port";
        return Err(Wrong::new("has something behind the port", hint));
    }
    if let Some((host, port)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return match port.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if port.is_empty() => Ok((host, None)),
            None => Err(Wrong::new("is not an address", BRACKETS)),
        };
    }
    match text.split_once(':') {
        Some((_, port)) if port.contains(':') => Err(Wrong::new("is not an address", BRACKETS)),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl Form for CredentialHeader {
    const FORMAT: &'static str = "hydrant-header";
    const KIND: &'static str = "name of a header";

    fn read(text: &str) -> Result<Self, Wrong> {
        const HINT: &str = "letters, digits and `-`: `X-Api-Key`";
        if HeaderName::from_bytes(text.as_bytes()).is_err() {
            return Err(Wrong::new("is not the name of a header", HINT));
        }
        if TAKEN.contains(&text.to_ascii_lowercase().as_str()) {
            return Err(Wrong::new("is a header with a meaning of its own", "choose another: `X-Api-Key`"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl Form for CookieName {
    const FORMAT: &'static str = "hydrant-cookie";
    const KIND: &'static str = "name of a cookie";

    fn read(text: &str) -> Result<Self, Wrong> {
        // Both are tokens of HTTP.
        match HeaderName::from_bytes(text.as_bytes()) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(Wrong::new("is not the name of a cookie", "letters, digits, `_` and `-`: `sid`")),
        }
    }
}

impl Form for SocketPath {
    const FORMAT: &'static str = "hydrant-socket";
    const KIND: &'static str = "path";

    fn read(text: &str) -> Result<Self, Wrong> {
        let path = PathBuf::from(text);
        if path.is_absolute() {
            return Ok(Self(path));
        }
        Err(Wrong::new("is not an absolute path", "write it from the root: `/run/hydrant/api.sock`"))
    }
}

impl Form for Level {
    const FORMAT: &'static str = "hydrant-level";
    const KIND: &'static str = "levels";

    fn read(text: &str) -> Result<Self, Wrong> {
        // The filter itself would take any word for the name of a module.
        let is_level = |part: &str| {
            let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
            LEVELS.contains(&level.trim().to_ascii_lowercase().as_str())
        };
        if text.split(',').all(is_level) && tracing_subscriber::EnvFilter::try_new(text).is_ok() {
            return Ok(Self(text.to_owned()));
        }
        const HINT: &str = "one of `error`, `warn`, `info`, `debug`, `trace`, `off`; single modules after a comma: `info,hydrant::remote=debug`";
        Err(Wrong::new("is not a level", HINT))
    }
}

impl fmt::Display for TagTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl fmt::Display for SocketPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port_only() {
        for (text, origin) in [
            ("https://Accounts.Internal:8443", "https://accounts.internal:8443"),
            ("http://[::1]:80/", "http://[::1]:80"),
            ("https://a", "https://a"),
        ] {
            assert_eq!(Origin::read(text).map(|origin| origin.text), Ok(origin.to_owned()), "{text}");
        }
        for text in [
            "",
            "accounts",
            "accounts:80",
            "ftp://a",
            "https://a/b",
            "https://a?b",
            "https://u:p@a",
            "https://a:0",
            "/a",
        ] {
            assert!(Origin::read(text).is_err(), "{text}");
        }
        assert!(Origin::read("http://a").is_ok_and(|origin| origin.is_in_the_clear()));
        assert!(Origin::read("http://[::1]:80").is_ok_and(|origin| !origin.is_in_the_clear()));
    }

    #[test]
    fn addresses_are_read_in_every_usual_form() {
        for (text, host, port, scheme) in [
            ("redis://10.0.0.1:6380", "10.0.0.1", Some(6380), Scheme::Plain),
            ("rediss://cache.internal/0", "cache.internal", None, Scheme::Tls),
            ("cache:7000", "cache", Some(7000), Scheme::None),
            ("[::1]:7000", "::1", Some(7000), Scheme::None),
            ("[::1]", "::1", None, Scheme::None),
        ] {
            assert_eq!(RedisAddress::read(text), Ok(RedisAddress { host: host.to_owned(), port, scheme }), "{text}");
        }
        for text in
            ["", ":6379", "http://a", "redis://u:p@h:1", "h:0", "h:99999", "h:x", "redis://h/3", "::1", "h h", "[::1]7"]
        {
            assert!(RedisAddress::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_level_is_a_word_of_six() {
        for text in ["info", "warn,hydrant::remote=debug", "OFF"] {
            assert!(Level::read(text).is_ok(), "{text}");
        }
        for text in ["loud", "", "info,hydrant", "info,hydrant=loud"] {
            assert!(Level::read(text).is_err(), "{text}");
        }
    }
}
