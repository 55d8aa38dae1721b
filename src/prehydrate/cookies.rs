//! Who a call is about, where the caller shows a cookie instead of saying it.
//!
//! What is read by is swapped whole at a reload, so every call meets the old keys or the new ones, never a mixture. Why
//! a cookie is not accepted is counted and logged as one word, and kept from the caller: each refusal is the same error.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::domain::clock::Clock;
use crate::domain::error::{Error, FieldError, Kind};
use crate::domain::subject::Subject;
use crate::prehydrate::identity::{self, Identity};
use crate::prehydrate::metrics::Metrics;
use crate::prehydrate::request::Who;

/// The reader of cookies; cloning shares it.
#[derive(Clone)]
pub struct Cookies {
    /// None where the configuration names no cookie.
    identity: Arc<ArcSwapOption<Identity>>,
    clock: Clock,
}

impl Cookies {
    pub fn new(identity: Option<Identity>, clock: Clock) -> Self {
        Self { identity: Arc::new(ArcSwapOption::new(identity.map(Arc::new))), clock }
    }

    pub fn replace(&self, identity: Option<Identity>) {
        self.identity.store(identity.map(Arc::new));
    }

    pub fn subject(&self, who: Who, metrics: &Metrics) -> Result<Subject, Error> {
        match who {
            Who::Subject(subject) => Ok(subject),
            Who::CookieHeader(header) => {
                self.identify("cookie_header", identity::Who::Header(header.expose()), metrics)
            }
            Who::CookieValue(value) => self.identify("cookie_value", identity::Who::Value(value.expose()), metrics),
        }
    }

    fn identify(&self, field: &str, who: identity::Who<'_>, metrics: &Metrics) -> Result<Subject, Error> {
        let Some(identity) = self.identity.load_full() else {
            let fields = vec![FieldError::new(field, "no cookie is configured: give a subject")];
            return Err(Error { fields, ..Error::new(Kind::NotConfigured, "no cookie is configured") });
        };
        identity.identify(who, self.clock.unix()).inspect(|_| metrics.cookie_accepted()).map_err(|refused| {
            metrics.cookie_refused(refused.why());
            tracing::debug!(why = refused.why().as_str(), "a cookie is not accepted");
            Error::new(Kind::Unauthenticated, refused.to_string())
        })
    }
}
