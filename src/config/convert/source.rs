//! `sources`: where entities are loaded from.

use std::collections::BTreeMap;

use super::Context;
use crate::config::file::source::{Auth, Http, Postgres, Service, ServiceHeader, Session, Source, Tls};
use crate::config::form::{CookieName, CredentialHeader, Formed};
use crate::config::value::Span;
use crate::domain::entity::Name;
use crate::fill;
use crate::source::http::{Config, ServiceCredential, SessionStyle, SourceTls};
use crate::source::{any, postgres};

impl Context<'_> {
    pub fn sources(&mut self, fill: Option<&fill::Config>) -> BTreeMap<Name, any::Config> {
        let mut sources = BTreeMap::new();
        for text in self.names("sources") {
            let path = format!("sources.{text}");
            let name = self.name(&path, &text);
            let Some(source) = self.take::<Source>(&["sources", &text]) else { continue };
            let Source { http, postgres, lag: _ } = source;
            let config = match (http, postgres) {
                (Some(http), None) => Some(any::Config::Http(self.http(&format!("{path}.http"), http, fill))),
                (None, Some(postgres)) => {
                    self.postgres(&format!("{path}.postgres"), postgres, fill).map(any::Config::Postgres)
                }
                (None, None) => {
                    let hint =
                        "describe it: `http: { origin: \"https://accounts.internal\" }`, or `postgres: { url: … }`";
                    self.problem(&path, "it is not said how this source is reached", hint);
                    None
                }
                (Some(_), Some(_)) => {
                    let hint = "keep one, and give the other a name of its own";
                    self.problem(&path, "a source is behind `http` or behind `postgres`, not both", hint);
                    None
                }
            };
            sources.extend(name.zip(config));
        }
        sources
    }

    fn postgres(&mut self, path: &str, given: Postgres, fill: Option<&fill::Config>) -> Option<postgres::Config> {
        let Postgres { url, password, pool, statement_timeout, connect_timeout, max_bytes, tls } = given;
        let at = |key: &str| format!("{path}.{key}");
        self.within_claim(&at("statement_timeout"), "a query", statement_timeout, fill);
        match postgres::check_url(url.0.expose()) {
            Err(error) => {
                let hint = "write `postgres://user@host:5432/name`, and the password under `password`";
                self.problem(&at("url"), error, hint);
                return None;
            }
            Ok(told) => {
                if !told.has_password {
                    self.harmless.insert(at("url"));
                }
                if told.is_in_the_clear && tls.is_none() {
                    let hint = "write `sslmode=require`: without it, values and queries travel in the clear";
                    self.warning(&at("url"), "Postgres is used without TLS", hint);
                }
            }
        }
        let tls = tls.map(|tls| self.source_tls(&at("tls"), tls));
        let client = |tls: &SourceTls| match (&tls.client_certificate, &tls.client_key) {
            (Some(certificate), key) => Some(postgres::ClientCertificate {
                certificate: certificate.clone(),
                // Where the file holds both.
                key: key.clone().unwrap_or_else(|| certificate.clone()),
            }),
            (None, _) => None,
        };
        Some(postgres::Config {
            url: self.secret(&at("url"), url.0),
            password: password.map(|password| self.secret(&at("password"), password.0)),
            pool,
            statement_timeout: statement_timeout.0,
            connect_timeout: connect_timeout.0,
            max_bytes: max_bytes.usize(),
            tls: tls.map(|tls| postgres::Tls { client: client(&tls), ca: tls.ca }),
        })
    }

    /// What a fill waits for must end before its claim does.
    fn within_claim(&mut self, at: &str, what: &str, timeout: Span, fill: Option<&fill::Config>) {
        if let Some(fill) = fill.filter(|fill| timeout.0 >= fill.claim_life) {
            let problem =
                format!("{what} may take {timeout}, but the claim it fills under ends after {}", Span(fill.claim_life));
            self.problem(at, problem, "make it shorter, or `fill.claim_life` longer");
        }
    }

    fn http(&mut self, path: &str, http: Http, fill: Option<&fill::Config>) -> Config {
        let Http { origin: Formed(origin), timeout, connect_timeout, auth, concurrency, retries, max_bytes, tls } =
            http;
        let at = |key: &str| format!("{path}.{key}");
        self.within_claim(&at("timeout"), "a call", timeout, fill);
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
            if file.as_deref().is_some_and(|file| std::fs::File::open(file).is_err()) {
                // The source's client is built from it at the start, and at every change of the configuration.
                let hint = "mount it there, readable for this process";
                self.problem(&format!("{path}.{name}"), "the file cannot be read", hint);
            }
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
