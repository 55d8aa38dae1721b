//! The request of one call: a path below the one origin, and the one credential that the entity's load asks for.
//!
//! A session is sent only where the load says so, and is never a fallback for anything; what cannot stand in a header
//! as it is (a line break, a `;` in a cookie) is not sent at all.

use reqwest::header::{ACCEPT, AUTHORIZATION, COOKIE, HeaderName, HeaderValue};
use reqwest::{Method, Request, Url};

use crate::domain::entity::{Credential, Load};
use crate::domain::secret::SecretCell;
use crate::domain::source::{FetchAsk, FetchError};
use crate::domain::trace::TraceContext;
use crate::source::http::{BuildError, ServiceCredential, SessionStyle};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

#[derive(Debug)]
pub struct Requests {
    origin: Url,
    session: Option<Session>,
    service: Option<Service>,
}

#[derive(Debug)]
enum Session {
    Bearer,
    Cookie(String),
    Header(HeaderName),
}

#[derive(Debug)]
enum Service {
    Bearer(SecretCell),
    Header(HeaderName, SecretCell),
}

pub fn parse_origin(text: &str) -> Result<Url, BuildError> {
    let refuse = |why| Err(BuildError::Origin(text.to_owned(), why));
    // A URL parser drops tabs and takes `\` for `/`: what it would mend is refused before.
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
        return refuse("it contains a character that cannot stand in a URL");
    }
    // Nothing of a login may be repeated in a message.
    if text.contains('@') {
        return Err(BuildError::Origin("***".to_owned(), "it must not contain a name or password"));
    }
    let Ok(url) = Url::parse(text) else {
        return refuse("write scheme, host and port: https://accounts.internal:8443");
    };
    if !matches!(url.scheme(), "http" | "https") {
        return refuse("its scheme must be http or https");
    }
    if url.host_str().is_none_or(str::is_empty) {
        return refuse("it has no host");
    }
    if url.path() != "/" || text.contains(['?', '#']) {
        return refuse("it must end after the host and port; paths belong to the entities");
    }
    Ok(url)
}

impl Requests {
    pub fn new(
        origin: Url,
        session: Option<SessionStyle>,
        service: Option<ServiceCredential>,
    ) -> Result<Self, BuildError> {
        let session = session.map(|style| match style {
            SessionStyle::Bearer => Ok(Session::Bearer),
            SessionStyle::Cookie { name } => cookie_name(name).map(Session::Cookie),
            SessionStyle::Header { name } => header_name("auth.session", &name).map(Session::Header),
        });
        let service = service.map(|credential| match credential {
            ServiceCredential::Bearer { token } => Ok(Service::Bearer(token)),
            ServiceCredential::Header { name, value } => {
                header_name("auth.service", &name).map(|name| Service::Header(name, value))
            }
        });
        Ok(Self { origin, session: session.transpose()?, service: service.transpose()? })
    }

    pub fn of(&self, ask: &FetchAsk<'_>) -> Result<Request, FetchError> {
        // A member without a load, or without an address below the origin, is nowhere to be reached.
        let load = ask.member.entity.load().ok_or(FetchError::Unreachable)?;
        let path = load.ask.path(&ask.member.params).ok_or(FetchError::Unreachable)?;
        let url = self.url(&path).ok_or(FetchError::Unreachable)?;
        Ok(request(url, ask.trace, self.credential(load, ask)?))
    }

    /// Of nobody in particular: never with a session.
    pub fn own(&self, path: &str, trace: TraceContext) -> Result<Request, FetchError> {
        let url = self.url(path).ok_or(FetchError::Unreachable)?;
        Ok(request(url, trace, self.service_credential()?))
    }

    /// The path of a link that leads to this origin, whether it names the origin or not.
    pub fn path_of_link(&self, link: &str) -> Option<String> {
        let origin = self.origin.as_str().trim_end_matches('/');
        let path = link.strip_prefix(origin).unwrap_or(link);
        self.url(path).map(|_| path.to_owned())
    }
}

fn request(url: Url, trace: TraceContext, credential: Option<(HeaderName, HeaderValue)>) -> Request {
    let mut request = Request::new(Method::GET, url);
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if let Ok(trace) = HeaderValue::try_from(trace.to_string()) {
        headers.insert(TRACEPARENT, trace);
    }
    if let Some((name, mut value)) = credential {
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    request
}

impl Requests {
    /// None where the path would lead elsewhere than it says: to another origin, or up through `..`.
    fn url(&self, path: &str) -> Option<Url> {
        if !path.starts_with('/') {
            return None;
        }
        let url = Url::parse(&format!("{}{path}", self.origin.as_str().trim_end_matches('/'))).ok()?;
        let levels = |path: &str| path.split(['?', '#']).next().unwrap_or_default().matches('/').count();
        let same = url.origin() == self.origin.origin() && levels(url.path()) == levels(path);
        same.then_some(url)
    }

    fn credential(&self, load: &Load, ask: &FetchAsk<'_>) -> Result<Option<(HeaderName, HeaderValue)>, FetchError> {
        match load.credential {
            Credential::Session => {
                let (Some(style), Some(session)) = (&self.session, ask.session) else {
                    return Err(FetchError::NoSession);
                };
                style.carry(session.expose()).map(Some).ok_or(FetchError::NoSession)
            }
            Credential::Service => self.service_credential(),
        }
    }

    fn service_credential(&self) -> Result<Option<(HeaderName, HeaderValue)>, FetchError> {
        match &self.service {
            None => Ok(None),
            Some(service) => service.carry().map(Some).ok_or(FetchError::Denied),
        }
    }
}

impl Session {
    /// None where the session cannot be sent as it is.
    fn carry(&self, session: &str) -> Option<(HeaderName, HeaderValue)> {
        if session.is_empty() || !session.bytes().all(|b| (b'!'..=b'~').contains(&b)) {
            return None;
        }
        match self {
            Self::Bearer => Some((AUTHORIZATION, HeaderValue::try_from(format!("Bearer {session}")).ok()?)),
            // Each of these would end the value, or begin another cookie.
            Self::Cookie(_) if session.contains(['"', ',', ';', '\\']) => None,
            Self::Cookie(name) => Some((COOKIE, HeaderValue::try_from(format!("{name}={session}")).ok()?)),
            Self::Header(name) => Some((name.clone(), HeaderValue::try_from(session).ok()?)),
        }
    }
}

impl Service {
    /// Read for every call, so that a rotated credential is followed. A mounted file may end in a line break.
    fn carry(&self) -> Option<(HeaderName, HeaderValue)> {
        let (name, value) = match self {
            Self::Bearer(token) => (AUTHORIZATION, format!("Bearer {}", token.get().expose().trim())),
            Self::Header(name, value) => (name.clone(), value.get().expose().trim().to_owned()),
        };
        Some((name, HeaderValue::try_from(value).ok()?))
    }
}

fn header_name(field: &'static str, name: &str) -> Result<HeaderName, BuildError> {
    let refuse = |why| Err(BuildError::Carrier { field, name: name.to_owned(), why });
    // Headers that say where a request goes or where it ends.
    const OURS: [&str; 12] = [
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "keep-alive",
        "proxy-connection",
        "traceparent",
        "accept-encoding",
    ];
    let Ok(header) = HeaderName::try_from(name) else { return refuse("it is not the name of a header") };
    if OURS.contains(&header.as_str()) {
        return refuse("that header has another meaning");
    }
    Ok(header)
}

fn cookie_name(name: String) -> Result<String, BuildError> {
    // Names of cookies have the letters that names of headers have.
    if HeaderName::try_from(name.as_str()).is_err() {
        let why = "it is not the name of a cookie";
        return Err(BuildError::Carrier { field: "auth.session", name, why });
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_origin_is_an_origin() {
        for good in ["http://a", "https://a.b:8443", "http://127.0.0.1:80/", "https://[::1]:1"] {
            assert!(parse_origin(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a",
            "a:80",
            "ftp://a",
            "file:///etc/passwd",
            "http://",
            "http://a/b",
            "http://a?x",
            "http://a/#x",
            "http://u@a",
            "http://u:p@a",
            "http://a\\b",
            "http://a b",
            "http://a\t",
            "http://a:99999",
            "javascript:1",
        ] {
            assert!(parse_origin(bad).is_err(), "{bad}");
        }
        assert!(!parse_origin("http://u:hunter2@a").expect_err("a login").to_string().contains("hunter2"));
    }

    #[test]
    fn no_path_leads_away_from_the_origin() {
        let requests = Requests::new(parse_origin("http://a:1").expect("an origin"), None, None).expect("built");
        let url = |path: &str| requests.url(path).map(String::from);
        assert_eq!(url("/users/a%2Fb?x=1").as_deref(), Some("http://a:1/users/a%2Fb?x=1"));
        assert_eq!(url("//evil.example/x").as_deref(), Some("http://a:1//evil.example/x"));
        for bad in ["users", "@evil", ":2/x", "", "/users/../admin", "/a/./b", "/a/%2e%2e/b", "/a\\b"] {
            assert_eq!(url(bad), None, "{bad}");
        }
    }

    #[test]
    fn sessions_that_cannot_stand_in_a_header_are_not_sent() {
        let cookie = Session::Cookie("sid".to_owned());
        for bad in ["", "a\r\nX: y", "a\nb", "a b", "é", "a\0"] {
            assert!(Session::Bearer.carry(bad).is_none() && cookie.carry(bad).is_none(), "{bad:?}");
        }
        for bad in ["a;admin=1", "a,b", "\"a\"", "a\\b"] {
            assert!(cookie.carry(bad).is_none(), "{bad}");
        }
        let (name, value) = cookie.carry("abc=").expect("fits");
        assert_eq!((name, value), (COOKIE, HeaderValue::from_static("sid=abc=")));
    }

    #[test]
    fn credentials_travel_in_headers_of_their_own() {
        for bad in ["", "a b", "Host", "transfer-encoding", "x\ny"] {
            assert!(header_name("auth.session", bad).is_err(), "{bad}");
        }
        assert!(header_name("auth.session", "X-Session").is_ok());
        assert!(cookie_name("a=b".to_owned()).is_err());
    }
}
