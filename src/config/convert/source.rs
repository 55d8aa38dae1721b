//! `sources`: where entities are loaded from.

use std::collections::BTreeMap;

use http::Uri;
use http::header::HeaderName;

use super::Context;
use crate::config::file::source::{Auth, Http, Service, ServiceHeader, Session, Source, Tls};
use crate::domain::entity::Name;
use crate::fill;
use crate::source::http::{Config, ServiceCredential, SessionStyle, SourceTls};

/// Headers that decide where a request goes or how long it is; a credential has no business there.
const TAKEN: [&str; 8] =
    ["host", "content-length", "transfer-encoding", "connection", "te", "upgrade", "traceparent", "tracestate"];

impl Context<'_> {
    pub fn sources(&mut self, fill: Option<&fill::Config>) -> BTreeMap<Name, Config> {
        let mut sources = BTreeMap::new();
        for text in self.names("sources") {
            let path = format!("sources.{text}");
            let name = self.name(&path, &text);
            let Some(source) = self.take::<Source>(&["sources", &text]) else { continue };
            let config = self.http(&format!("{path}.http"), source.http, fill);
            sources.extend(name.zip(config));
        }
        sources
    }

    fn http(&mut self, path: &str, http: Http, fill: Option<&fill::Config>) -> Option<Config> {
        let Http { origin, timeout, connect_timeout, auth, concurrency, retries, max_bytes, tls } = http;
        let at = |key: &str| format!("{path}.{key}");
        if let Some(fill) = fill.filter(|fill| timeout.0 >= fill.claim_life) {
            let life = crate::config::value::Span(fill.claim_life);
            let problem = format!("a call may take {timeout}, but the claim it fills under ends after {life}");
            self.problem(&at("timeout"), problem, "make it shorter, or `fill.claim_life` longer");
        }
        if connect_timeout > timeout {
            let problem = format!("longer than the whole call may take ({timeout})");
            self.problem(&at("connect_timeout"), problem, "make it shorter than `timeout`");
        }
        let origin = match parse_origin(&origin) {
            Ok(origin) => Some(origin),
            Err((problem, hint)) => {
                self.problem(&at("origin"), problem, hint);
                None
            }
        };
        let carries_credentials = auth.session.is_some() || auth.service.is_some();
        if carries_credentials && origin.as_ref().is_some_and(Origin::is_in_the_clear) {
            let hint = "use https: whoever sees the network can take the credentials";
            self.warning(&at("origin"), "credentials are sent to this origin in the clear", hint);
        }
        let Auth { session, service } = auth;
        let session = session.map(|session| self.session(&at("auth.session"), session));
        let service = service.map(|service| self.service(&at("auth.service"), service));
        let tls = self.source_tls(&at("tls"), tls);
        Some(Config {
            origin: origin?.text,
            timeout: timeout.0,
            connect_timeout: connect_timeout.0,
            session,
            service,
            concurrency,
            retries,
            max_bytes: max_bytes.usize(),
            tls,
        })
    }

    fn session(&mut self, path: &str, session: Session) -> SessionStyle {
        match session {
            Session::Bearer => SessionStyle::Bearer,
            Session::Cookie(name) => {
                if HeaderName::from_bytes(name.as_bytes()).is_err() {
                    self.problem(&format!("{path}.cookie"), "this is not the name of a cookie", "write `cookie: sid`");
                }
                SessionStyle::Cookie { name }
            }
            Session::Header(name) => {
                self.header(&format!("{path}.header"), &name);
                SessionStyle::Header { name }
            }
        }
    }

    fn service(&mut self, path: &str, service: Service) -> ServiceCredential {
        let (at, secret) = match &service {
            Service::Bearer(token) => (format!("{path}.bearer"), token.0.clone()),
            Service::Header(header) => (format!("{path}.header.value"), header.value.0.clone()),
        };
        if secret.expose().chars().any(|c| c.is_control() || !c.is_ascii()) {
            let hint = "it must be printable ASCII, on one line: look for a line break in the middle";
            self.problem(&at, "this cannot stand in a header", hint);
        }
        let cell = self.secret(&at, secret);
        match service {
            Service::Bearer(_) => ServiceCredential::Bearer { token: cell },
            Service::Header(ServiceHeader { name, .. }) => {
                self.header(&format!("{path}.header.name"), &name);
                ServiceCredential::Header { name, value: cell }
            }
        }
    }

    fn header(&mut self, path: &str, name: &str) {
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            self.problem(path, "this is not the name of a header", "letters, digits and `-`: `X-Api-Key`");
        } else if TAKEN.contains(&name.to_ascii_lowercase().as_str()) {
            self.problem(path, format!("`{name}` has a meaning of its own"), "choose another header: `X-Api-Key`");
        }
    }

    fn source_tls(&mut self, path: &str, tls: Tls) -> SourceTls {
        let Tls { ca, certificate, key } = tls;
        for (name, file) in [("ca", &ca), ("certificate", &certificate), ("key", &key)] {
            self.readable(&format!("{path}.{name}"), file.as_deref());
        }
        if key.is_some() && certificate.is_none() {
            let hint = "name the certificate's file as well";
            self.problem(&format!("{path}.certificate"), "a key without its certificate", hint);
        }
        SourceTls { ca, client_certificate: certificate, client_key: key }
    }
}

/// Scheme, host and port, with nothing else in it.
#[derive(Debug, PartialEq, Eq)]
struct Origin {
    text: String,
    host: String,
    encrypted: bool,
}

impl Origin {
    fn is_in_the_clear(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        !self.encrypted && !loopback
    }
}

fn parse_origin(text: &str) -> Result<Origin, (&'static str, &'static str)> {
    const HINT: &str = "write scheme, host and port only: `https://accounts.internal:8443`";
    let uri: Uri = text.parse().map_err(|_| ("this is not an origin", HINT))?;
    let encrypted = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        Some(_) => return Err(("the scheme is neither `https` nor `http`", HINT)),
        None => return Err(("the scheme is missing", HINT)),
    };
    let authority = uri.authority().ok_or(("the host is missing", HINT))?;
    if authority.as_str().contains('@') {
        return Err(("a user or password stands in the origin", "write credentials under `auth.service`"));
    }
    if uri.query().is_some() || text.contains('#') || !matches!(uri.path(), "" | "/") {
        return Err(("a path stands in the origin", "write the path in the entities' `load.get`"));
    }
    if authority.host().is_empty() || authority.as_str().ends_with(':') || authority.port_u16() == Some(0) {
        return Err(("host or port is missing", HINT));
    }
    let scheme = if encrypted { "https" } else { "http" };
    let text = format!("{scheme}://{}", authority.as_str().to_ascii_lowercase());
    Ok(Origin { text, host: authority.host().to_ascii_lowercase(), encrypted })
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
            assert_eq!(parse_origin(text).map(|origin| origin.text), Ok(origin.to_owned()), "{text}");
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
            "//a",
            "/a",
        ] {
            assert!(parse_origin(text).is_err(), "{text}");
        }
    }
}
