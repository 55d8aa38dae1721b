//! `Invalidate` for callers: what has changed, in plain data, and what became of it.
//!
//! Call it after the change is committed at the source. Repeating a call is harmless, so one that failed or came too late
//! may simply be made again.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use tonic::Request;

use super::{CallError, Client, Who, milliseconds, short};
use crate::grpc::pb;
use crate::grpc::pb::cache_control_service_client::CacheControlServiceClient;
use crate::grpc::pb::invalidate_target::Target as Aimed;
use crate::grpc::pb::prehydrate_request::Who as Shown;

/// One invalidation.
#[derive(Clone, Debug)]
pub struct Invalidation {
    /// They share one answer.
    pub targets: Vec<Target>,
    pub mode: Mode,
    /// Only ask what would be concerned.
    pub dry_run: bool,
    /// Why, for logs and jobs; nothing personal.
    pub reason: String,
}

/// One thing to invalidate.
#[derive(Clone, Debug)]
pub enum Target {
    Member(Box<MemberTarget>),
    /// As they stand in Redis.
    Keys(Vec<String>),
    Tag(String),
    /// A logout; `forget` drops the user's history too.
    Subject {
        who: Who,
        forget: bool,
    },
    /// A glob under a declared prefix.
    Pattern(String),
    /// These entities; all of them where none is named.
    All {
        entities: Vec<String>,
    },
}

/// One member with all its keys.
#[derive(Clone, Debug, Default)]
pub struct MemberTarget {
    pub entity: String,
    /// The alias that the parameters speak of; none for the member's own.
    pub alias: Option<String>,
    pub params: BTreeMap<String, String>,
    /// Alias values, old and new, that the caller knows: for keys that apps wrote themselves.
    pub known_aliases: Vec<KnownAlias>,
    pub min_version: Option<Version>,
    pub replacement: Option<Replacement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownAlias {
    pub alias: String,
    pub params: BTreeMap<String, String>,
}

/// How new a member is, by its source's number or clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pb::version::Kind);

/// A member's new value.
#[derive(Clone)]
pub struct Replacement {
    pub value: Bytes,
    pub version: Option<Version>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Remove,
    Refresh,
    Replace,
    Soft,
}

#[derive(Clone, Debug, Serialize)]
pub struct Invalidated {
    pub trace_id: String,
    /// `DONE`, `PENDING` or `PREVIEW`.
    pub status: String,
    /// Where it is pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// Of a preview: Redis would have to be scanned to know more exactly.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elapsed_ms: Option<f64>,
    pub counts: Counts,
    pub target_counts: Vec<Counts>,
    pub sample_keys: Vec<String>,
}

/// Recorded, and finished by the job named.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Pending {
    pub job_id: String,
    /// `FLEET` or `POD`: what its record survives.
    pub durability: String,
    pub cause: String,
}

#[derive(Clone, Copy, Debug, Default, Serialize, PartialEq, Eq)]
pub struct Counts {
    pub matched: u64,
    pub removed: u64,
    pub refreshing: u64,
    pub replaced: u64,
    pub superseded: u64,
    pub fenced: u64,
}

impl Client {
    pub async fn invalidate(&self, invalidation: Invalidation) -> Result<Invalidated, CallError> {
        let mut client = CacheControlServiceClient::new(self.channel.clone());
        let mut request = Request::new(invalidation.into_request());
        request.set_timeout(self.deadline);
        let answer = client.invalidate(request).await.map_err(|status| self.failed(status))?;
        Ok(Invalidated::from_response(answer.into_inner()))
    }
}

impl Invalidation {
    /// Removes these, and says no reason.
    pub fn of(targets: Vec<Target>) -> Self {
        Self { targets, mode: Mode::default(), dry_run: false, reason: String::new() }
    }

    fn into_request(self) -> pb::InvalidateRequest {
        let Self { targets, mode, dry_run, reason } = self;
        let targets = targets.into_iter().map(|target| pb::InvalidateTarget { target: Some(target.into_message()) });
        let mode = match mode {
            Mode::Remove => pb::InvalidateMode::Remove,
            Mode::Refresh => pb::InvalidateMode::Refresh,
            Mode::Replace => pb::InvalidateMode::Replace,
            Mode::Soft => pb::InvalidateMode::Soft,
        };
        pb::InvalidateRequest { targets: targets.collect(), mode: mode.into(), dry_run, reason }
    }
}

impl Target {
    fn into_message(self) -> Aimed {
        match self {
            Self::Member(member) => Aimed::Member(member.into_message()),
            Self::Keys(keys) => Aimed::Keys(pb::KeysTarget { keys }),
            Self::Tag(tag) => Aimed::Tag(pb::TagTarget { tag }),
            Self::Subject { who, forget } => {
                use pb::subject_target::Who as Said;
                let who = match who.into_message() {
                    Shown::CookieHeader(cookie) => Said::CookieHeader(cookie),
                    Shown::CookieValue(cookie) => Said::CookieValue(cookie),
                    Shown::Subject(subject) => Said::Subject(subject),
                };
                Aimed::Subject(pb::SubjectTarget { who: Some(who), forget })
            }
            Self::Pattern(pattern) => Aimed::Pattern(pb::PatternTarget { pattern }),
            Self::All { entities } => Aimed::All(pb::AllTarget { entities }),
        }
    }
}

impl MemberTarget {
    /// A member by its own parameters.
    pub fn of(entity: impl Into<String>, params: BTreeMap<String, String>) -> Self {
        Self { entity: entity.into(), params, ..Self::default() }
    }

    fn into_message(self) -> pb::MemberTarget {
        let Self { entity, alias, params, known_aliases, min_version, replacement } = self;
        let known = known_aliases.into_iter().map(|known| pb::AliasValue { alias: known.alias, params: known.params });
        pb::MemberTarget {
            member: Some(pb::Member { entity, alias: alias.unwrap_or_default(), params }),
            known_aliases: known.collect(),
            min_version: min_version.map(Version::into_message),
            replacement: replacement.map(|replacement| pb::Replacement {
                value: replacement.value,
                version: replacement.version.map(Version::into_message),
            }),
        }
    }
}

impl Version {
    pub const fn number(number: i64) -> Self {
        Self(pb::version::Kind::Number(number))
    }

    /// A number, or a time as RFC 3339 writes it: `2026-03-01T12:00:00.5Z`.
    pub fn parse(text: &str) -> Option<Self> {
        let number = text.parse().ok().map(pb::version::Kind::Number);
        number.or_else(|| text.parse().ok().map(pb::version::Kind::Time)).map(Self)
    }

    const fn into_message(self) -> pb::Version {
        pb::Version { kind: Some(self.0) }
    }
}

impl fmt::Debug for Replacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, version } = self;
        f.debug_struct("Replacement").field("bytes", &value.len()).field("version", version).finish()
    }
}

impl Invalidated {
    fn from_response(response: pb::InvalidateResponse) -> Self {
        use pb::invalidate_response::State;
        let pb::InvalidateResponse { trace_id, state, counts, target_counts, sample_keys, change: _ } = response;
        let (status, pending, estimated, elapsed_ms) = match &state {
            Some(State::Done(done)) => ("DONE", None, false, Some(milliseconds(done.elapsed.as_ref()))),
            Some(State::Pending(pending)) => ("PENDING", Some(Pending::from_message(pending)), false, None),
            Some(State::Preview(preview)) => ("PREVIEW", None, preview.estimated, None),
            // A newer server's word, which is not taken for done.
            None => ("UNKNOWN", None, false, None),
        };
        Self {
            trace_id,
            status: status.to_owned(),
            pending,
            estimated,
            elapsed_ms,
            counts: Counts::from_message(counts.as_ref()),
            target_counts: target_counts.iter().map(|counts| Counts::from_message(Some(counts))).collect(),
            sample_keys,
        }
    }
}

impl Pending {
    fn from_message(pending: &pb::InvalidatePending) -> Self {
        Self {
            job_id: pending.job_id.clone(),
            durability: short(pending.durability().as_str_name(), "DURABILITY_"),
            cause: short(pending.cause().as_str_name(), "PENDING_CAUSE_"),
        }
    }
}

impl Counts {
    pub(super) fn from_message(counts: Option<&pb::InvalidateCounts>) -> Self {
        let Some(counts) = counts else { return Self::default() };
        let pb::InvalidateCounts { matched, removed, refreshing, replaced, superseded, fenced } = *counts;
        Self { matched, removed, refreshing, replaced, superseded, fenced }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_number_or_a_time() {
        assert_eq!(Version::parse("42"), Some(Version::number(42)));
        let time = Version::parse("2026-03-01T12:00:00.5Z").expect("RFC 3339");
        assert!(matches!(time.0, pb::version::Kind::Time(time) if time.nanos == 500_000_000));
        assert_eq!(Version::parse("yesterday"), None);
    }

    #[test]
    fn a_replacement_does_not_print_its_value() {
        let printed = format!("{:?}", Replacement { value: Bytes::from_static(b"hunter2"), version: None });
        assert!(printed.contains("bytes: 7") && !printed.contains("hunter2"), "{printed}");
    }

    #[test]
    fn an_answer_without_a_state_is_never_taken_for_done() {
        assert_eq!(Invalidated::from_response(pb::InvalidateResponse::default()).status, "UNKNOWN");
    }
}
