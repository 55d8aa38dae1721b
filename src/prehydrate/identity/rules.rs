//! Time, issuer and audience: whether claims that are genuine are also meant for now and for us (RFC 7519, 4.1).

use std::time::Duration;

use crate::prehydrate::identity::json::{Json, Object};
use crate::prehydrate::identity::refusal::Why;
use crate::prehydrate::identity::settings::{Expiry, MAX_LEEWAY, Problems, Rules};

impl Rules {
    pub fn validate(&self, problems: &mut Problems) {
        if self.leeway > MAX_LEEWAY {
            problems.add("rules.leeway", "more than 5 minutes hides a broken clock");
        }
        for (field, accepted) in [("rules.issuers", &self.issuers), ("rules.audiences", &self.audiences)] {
            if accepted.iter().any(String::is_empty) {
                problems.add(field, "an entry is empty");
            }
        }
    }

    pub fn check(&self, claims: &Object, now: Duration) -> Result<(), Why> {
        self.check_times(claims, now)?;
        self.check_issuer(claims.get("iss"))?;
        self.check_audience(claims.get("aud"))
    }

    fn check_times(&self, claims: &Object, now: Duration) -> Result<(), Why> {
        let [exp, nbf, iat] = [time(claims.get("exp"))?, time(claims.get("nbf"))?, time(claims.get("iat"))?];
        let latest = now.saturating_add(self.leeway);
        match (exp, self.expiry) {
            (None, Expiry::Required) => return Err(Why::Time),
            (Some(exp), _) if now >= exp.saturating_add(self.leeway) => return Err(Why::Expired),
            (Some(_), _) | (None, Expiry::Optional) => {}
        }
        if nbf.is_some_and(|nbf| nbf > latest) {
            return Err(Why::NotYetValid);
        }
        // Issued in the future, or to end before it was issued: a clock or a forger is wrong.
        if iat.is_some_and(|iat| iat > latest || exp.is_some_and(|exp| exp < iat)) {
            return Err(Why::Time);
        }
        Ok(())
    }

    fn check_issuer(&self, issuer: Option<&Json>) -> Result<(), Why> {
        let named = match issuer {
            None => None,
            Some(Json::Text(issuer)) => Some(issuer),
            Some(_) => return Err(Why::Issuer),
        };
        let accepted = self.issuers.is_empty() || named.is_some_and(|issuer| self.issuers.contains(issuer));
        if accepted { Ok(()) } else { Err(Why::Issuer) }
    }

    /// A string or a list of strings. A cookie that names an audience is for that audience only.
    fn check_audience(&self, audience: Option<&Json>) -> Result<(), Why> {
        let ours = |text: &String| self.audiences.contains(text);
        let accepted = match audience {
            None => self.audiences.is_empty(),
            Some(Json::Text(text)) => ours(text),
            Some(Json::List(list)) => {
                let texts: Option<Vec<&String>> =
                    list.iter().map(|item| if let Json::Text(text) = item { Some(text) } else { None }).collect();
                texts.is_some_and(|texts| texts.into_iter().any(ours))
            }
            Some(_) => false,
        };
        if accepted { Ok(()) } else { Err(Why::Audience) }
    }
}

/// Seconds since 1970, whole or not.
fn time(claim: Option<&Json>) -> Result<Option<Duration>, Why> {
    let Some(claim) = claim else { return Ok(None) };
    let Json::Number(text) = claim else { return Err(Why::Time) };
    let whole = text.parse().map(Duration::from_secs).ok();
    let time = whole.or_else(|| Duration::try_from_secs_f64(text.parse().ok()?).ok());
    time.map(Some).ok_or(Why::Time)
}
