//! `sources`: where entities are loaded from.

use std::collections::BTreeMap;

use super::Context;
use crate::config::file::source::{Auth, Http, Service, ServiceHeader, Session, Source, Tls};
use crate::config::form::{CookieName, CredentialHeader, Formed};
use crate::domain::entity::Name;
use crate::fill;
use crate::source::http::{Config, ServiceCredential, SessionStyle, SourceTls};

impl Context<'_> {
    pub fn sources(&mut self, fill: Option<&fill::Config>) -> BTreeMap<Name, Config> {
        let mut sources = BTreeMap::new();
        for text in self.names("sources") {
            let path = format!("sources.{text}");
            let name = self.name(&path, &text);
            let Some(source) = self.take::<Source>(&["sources", &text]) else { continue };
            let config = self.http(&format!("{path}.http"), source.http, fill);
            sources.extend(name.map(|name| (name, config)));
        }
        sources
    }

    fn http(&mut self, path: &str, http: Http, fill: Option<&fill::Config>) -> Config {
        let Http { origin: Formed(origin), timeout, connect_timeout, auth, concurrency, retries, max_bytes, tls } =
            http;
        let at = |key: &str| format!("{path}.{key}");
        if let Some(fill) = fill.filter(|fill| timeout.0 >= fill.claim_life) {
            let life = crate::config::value::Span(fill.claim_life);
            let problem = format!("a call may take {timeout}, but the claim it fills under ends after {life}");
            self.problem(&at("timeout"), problem, "make it shorter, or `fill.claim_life` longer");
        }
        let carries_credentials = auth.session.is_some() || auth.service.is_some();
        if carries_credentials && origin.is_in_the_clear() {
            let hint = "use https: whoever sees the network can take the credentials";
            self.warning(&at("origin"), "credentials are sent to this origin in the clear", hint);
        }
        let Auth { session, service } = auth;
        let session = session.map(session_style);
        let service = service.map(|service| self.service(&at("auth.service"), service));
        let tls = self.source_tls(&at("tls"), tls);
        Config {
            origin: origin.text,
            timeout: timeout.0,
            // A call ends with its own timeout, connected or not.
            connect_timeout: connect_timeout.0.min(timeout.0),
            session,
            service,
            concurrency,
            retries,
            max_bytes: max_bytes.usize(),
            tls,
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
            Service::Header(ServiceHeader { name: Formed(CredentialHeader(name)), value: _ }) => {
                ServiceCredential::Header { name, value: cell }
            }
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

fn session_style(session: Session) -> SessionStyle {
    match session {
        Session::Bearer => SessionStyle::Bearer,
        Session::Cookie(Formed(CookieName(name))) => SessionStyle::Cookie { name },
        Session::Header(Formed(CredentialHeader(name))) => SessionStyle::Header { name },
    }
}
