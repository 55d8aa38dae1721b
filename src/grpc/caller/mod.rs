//! Who is calling, what it may do, how often, and whose data it may see.
//!
//! Callers in the pod are all one, known by where they come in. Callers from elsewhere show a JWT or a client's
//! certificate; exactly one declared caller must fit it. A token that is shown decides: where it is refused, a
//! certificate beside it does not help. Nobody is told why it was not accepted; a metric and the log are.
//!
//! Nothing here grows with the calls: a caller is one that the configuration declares, with a bucket for each limit that
//! it declares. A reload makes all of them anew, with full buckets.

pub mod certificate;
pub mod refused;
pub mod tenancy;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use tokio::time::Instant;

use crate::domain::bucket::{Bucket, Rate};
use crate::domain::caller::{Act, Right, Tenants};
use crate::domain::clock::Clock;
use crate::domain::error::{Error, Kind};
use crate::grpc::caller::certificate::Names;
use crate::grpc::caller::refused::Refused;
use crate::grpc::metrics::Metrics;
use crate::grpc::rpc::{Needs, Rpc};
use crate::prehydrate::identity::refusal::Why;
use crate::prehydrate::identity::settings::ConfigProblem;
use crate::prehydrate::identity::token::{self, Tokens};

/// Who may call. The part of the door that a reload may change.
#[derive(Clone, Debug)]
pub struct Config {
    /// Of whoever shares the pod.
    pub pod: Grant,
    /// How callers' tokens are read; none where none are.
    pub jwt: Option<token::Config>,
    /// Callers from elsewhere, by name.
    pub remote: BTreeMap<String, Declared>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    pub shows: Shows,
    pub grant: Grant,
}

/// What a caller must show; all of it must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shows {
    /// Texts that claims of its token say; none: it shows no token.
    pub jwt: BTreeMap<String, String>,
    /// What its certificate says; none: it shows no certificate.
    pub certificate: Option<Names>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub rights: BTreeSet<Right>,
    pub tenants: Tenants,
    pub limits: BTreeMap<Act, Rate>,
}

/// A caller that is known; in the request's extensions, for the service to ask.
pub struct Caller {
    name: String,
    rights: BTreeSet<Right>,
    tenants: Tenants,
    /// Held for one step, never across an await.
    buckets: Mutex<BTreeMap<Act, Bucket>>,
    metrics: Metrics,
}

/// The handle of those who are known; cloning shares it.
#[derive(Clone)]
pub struct Callers {
    book: Arc<ArcSwap<Book>>,
    clock: Clock,
    metrics: Metrics,
}

struct Book {
    pod: Arc<Caller>,
    tokens: Option<Tokens>,
    remote: Vec<(Shows, Arc<Caller>)>,
}

impl Default for Grant {
    /// What callers in the pod have unless the configuration says otherwise: everything, without a limit.
    fn default() -> Self {
        Self { rights: Right::ALL.into(), tenants: Tenants::All, limits: BTreeMap::new() }
    }
}

impl Callers {
    pub fn new(config: Config, clock: Clock, metrics: Metrics) -> Result<Self, Vec<ConfigProblem>> {
        let book = Arc::new(ArcSwap::from_pointee(Book::new(config, &metrics)?));
        Ok(Self { book, clock, metrics })
    }

    /// Whoever calls from now on is one of these.
    pub fn replace(&self, config: Config) -> Result<(), Vec<ConfigProblem>> {
        self.book.store(Arc::new(Book::new(config, &self.metrics)?));
        Ok(())
    }

    pub fn pod(&self) -> Arc<Caller> {
        self.book.load().pod.clone()
    }

    /// Who shows this; an error that tells nobody anything.
    pub fn remote(&self, headers: &HeaderMap, certificate: Option<&Names>) -> Result<Arc<Caller>, Error> {
        self.book.load().find(headers, certificate, self.clock.unix()).map_err(|refused| {
            self.metrics.caller_refused(refused);
            tracing::debug!(why = refused.as_str(), "a caller is not accepted");
            Error::new(Kind::Unauthenticated, "the caller is not accepted")
        })
    }
}

impl Book {
    fn new(config: Config, metrics: &Metrics) -> Result<Self, Vec<ConfigProblem>> {
        let Config { pod, jwt, remote } = config;
        let tokens = jwt.map(Tokens::new).transpose()?;
        let pod = Arc::new(Caller::new("pod".to_owned(), pod, metrics));
        let known = |(name, Declared { shows, grant })| (shows, Arc::new(Caller::new(name, grant, metrics)));
        Ok(Self { pod, tokens, remote: remote.into_iter().map(known).collect() })
    }

    fn find(&self, headers: &HeaderMap, certificate: Option<&Names>, now: Duration) -> Result<Arc<Caller>, Refused> {
        let claims = match bearer(headers)? {
            None => None,
            Some(token) => {
                let tokens = self.tokens.as_ref().ok_or(Refused::Token(Why::UnknownKey))?;
                Some(tokens.open(token, now).map_err(Refused::Token)?)
            }
        };
        if claims.is_none() && certificate.is_none() {
            return Err(Refused::NoCredential);
        }
        // A token that is shown decides, so whoever is declared by a certificate alone does not fit beside it.
        let fits = |(shows, _): &&(Shows, Arc<Caller>)| {
            let by_token = match &claims {
                None => shows.jwt.is_empty(),
                Some(claims) => !shows.jwt.is_empty() && shows.jwt.iter().all(|(claim, text)| claims.say(claim, text)),
            };
            let by_certificate = match (&shows.certificate, certificate) {
                (None, _) => true,
                (Some(expected), Some(shown)) => expected.all_in(shown),
                (Some(_), None) => false,
            };
            by_token && by_certificate
        };
        let mut fitting = self.remote.iter().filter(fits);
        match (fitting.next(), fitting.next()) {
            (Some((_, caller)), None) => Ok(caller.clone()),
            (None, _) => Err(Refused::UnknownCaller),
            (Some((_, one)), Some((_, other))) => {
                tracing::warn!(callers = %format_args!("{} {}", one.name, other.name), "two callers fit one credential; neither is it");
                Err(Refused::UnknownCaller)
            }
        }
    }
}

/// The token of `authorization: Bearer …`. A second header could be meant for somebody else: it is refused.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refused> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let malformed = Refused::Token(Why::Malformed);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(malformed),
        (Some(value), None) => {
            let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(malformed)?;
            if scheme.eq_ignore_ascii_case("bearer") { Ok(Some(token.trim_start())) } else { Err(malformed) }
        }
    }
}

impl Caller {
    pub fn new(name: String, grant: Grant, metrics: &Metrics) -> Self {
        let Grant { rights, tenants, limits } = grant;
        let buckets = limits.into_iter().map(|(act, rate)| (act, Bucket::new(rate))).collect();
        Self { name, rights, tenants, buckets: Mutex::new(buckets), metrics: metrics.clone() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn tenants(&self) -> &Tenants {
        &self.tenants
    }

    /// Whether it may call this now; a call that may is counted.
    pub fn admit(&self, rpc: Rpc, now: Instant) -> Result<(), Error> {
        match rpc.needs() {
            Needs::Nothing | Needs::Caller => Ok(()),
            Needs::Right(act) => {
                self.must_have(act.right())?;
                self.spend(act, now)
            }
        }
    }

    pub fn must_have(&self, right: Right) -> Result<(), Error> {
        if self.rights.contains(&right) {
            return Ok(());
        }
        self.metrics.caller_refused(Refused::Right);
        tracing::debug!(caller = self.name, right = right.name(), "a caller lacks a right");
        Err(Error::lacks(right))
    }

    /// Counts one act; refused where there have been too many, with the time at which there is room again.
    pub fn spend(&self, act: Act, now: Instant) -> Result<(), Error> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        match buckets.get_mut(&act).map(|bucket| bucket.take(now)) {
            None | Some(Ok(())) => Ok(()),
            Some(Err(wait)) => {
                self.metrics.caller_refused(Refused::Limit);
                tracing::debug!(caller = self.name, ?act, "a caller is over its limit");
                Err(Error { retry_after: Some(wait), ..Error::new(Kind::RateLimited, "over the caller's limit") })
            }
        }
    }
}

#[cfg(test)]
mod tests;
