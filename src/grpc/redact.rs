//! `Debug` for messages that carry a cookie, a token or a value: the contract marks those fields `debug_redact`, and prost
//! knows nothing of it. `build.rs` leaves these messages without a derived `Debug`, so a new one here cannot be forgotten:
//! the crate would not compile.

use std::fmt;

use crate::grpc::pb;

/// What stands for a secret that is there; its length would already tell something.
const HIDDEN: &str = "***";

fn hidden(text: &str) -> &'static str {
    if text.is_empty() { "" } else { HIDDEN }
}

impl fmt::Debug for pb::Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user_id, session_token, tenant, attributes } = self;
        f.debug_struct("Subject")
            .field("user_id", &hidden(user_id))
            .field("session_token", &hidden(session_token))
            .field("tenant", tenant)
            .field("attributes", &attributes.keys().collect::<Vec<_>>())
            .finish()
    }
}

impl fmt::Debug for pb::Replacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, version } = self;
        f.debug_struct("Replacement").field("bytes", &value.len()).field("version", version).finish()
    }
}

impl fmt::Debug for pb::PrehydrateRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { members, mode, refresh, dry_run, who } = self;
        f.debug_struct("PrehydrateRequest")
            .field("who", who)
            .field("members", &members.len())
            .field("mode", mode)
            .field("refresh", refresh)
            .field("dry_run", dry_run)
            .finish()
    }
}

impl fmt::Debug for pb::prehydrate_request::Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CookieHeader(_) => f.write_str("CookieHeader(***)"),
            Self::CookieValue(_) => f.write_str("CookieValue(***)"),
            Self::Subject(subject) => subject.fmt(f),
        }
    }
}

impl fmt::Debug for pb::SubjectTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { forget, who } = self;
        f.debug_struct("SubjectTarget").field("who", who).field("forget", forget).finish()
    }
}

impl fmt::Debug for pb::subject_target::Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CookieHeader(_) => f.write_str("CookieHeader(***)"),
            Self::CookieValue(_) => f.write_str("CookieValue(***)"),
            Self::Subject(subject) => subject.fmt(f),
        }
    }
}

impl fmt::Debug for pb::LookupRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { items, reach, max_age, who } = self;
        f.debug_struct("LookupRequest")
            .field("who", who)
            .field("items", &items.len())
            .field("reach", reach)
            .field("max_age", max_age)
            .finish()
    }
}

impl fmt::Debug for pb::lookup_request::Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CookieHeader(_) => f.write_str("CookieHeader(***)"),
            Self::CookieValue(_) => f.write_str("CookieValue(***)"),
            Self::Subject(subject) => subject.fmt(f),
        }
    }
}

impl fmt::Debug for pb::LookupResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, value, tier, age, ttl_left, stale, key: _, version: _, reason } = self;
        f.debug_struct("LookupResult")
            .field("status", status)
            .field("bytes", &value.as_ref().map(bytes::Bytes::len))
            .field("tier", tier)
            .field("age", age)
            .field("ttl_left", ttl_left)
            .field("stale", stale)
            .field("reason", reason)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for pb::WatchUpdated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { member, key: _, value, version: _, ttl_left, snapshot } = self;
        f.debug_struct("WatchUpdated")
            .field("entity", &member.as_ref().map(|m| m.entity.as_str()))
            .field("bytes", &value.as_ref().map(bytes::Bytes::len))
            .field("ttl_left", ttl_left)
            .field("snapshot", snapshot)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_does_not_print_its_secrets() {
        let subject = pb::Subject {
            user_id: "u-4711".into(),
            session_token: "hunter2".into(),
            tenant: "shop".into(),
            attributes: [("role".to_owned(), "secret-role".to_owned())].into(),
        };
        for who in [
            pb::prehydrate_request::Who::CookieHeader("sid=hunter2".into()),
            pb::prehydrate_request::Who::CookieValue("hunter2".into()),
            pb::prehydrate_request::Who::Subject(subject),
        ] {
            let printed = format!("{:?}", pb::PrehydrateRequest { who: Some(who), ..Default::default() });
            for secret in ["hunter2", "4711", "secret-role"] {
                assert!(!printed.contains(secret), "{printed}");
            }
        }
    }

    #[test]
    fn a_value_prints_its_size() {
        let printed = format!("{:?}", pb::Replacement { value: bytes::Bytes::from_static(b"hunter2"), version: None });
        assert!(printed.contains("bytes: 7") && !printed.contains("hunter2"), "{printed}");
    }
}
