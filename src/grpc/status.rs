//! The one place where a kind of error becomes what a caller reads: a code, a stable reason, a fixed sentence.
//!
//! The sentence says nothing that only we know; what happened in detail stands in the log under the call's trace id.
//! Wrong fields are named by path, the first of them in the sentence as well, and where trying again helps a RetryInfo
//! says when.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::domain::error::{Error, FieldError, Kind};
use crate::grpc::pb::ErrorReason;

/// `ErrorInfo.domain` of every error.
pub const DOMAIN: &str = "hydrant.dev";

/// Where `ErrorInfo.metadata` names the right that is missing.
const RIGHT: &str = "right";
/// It travels in a header, of which clients take a few kilobytes in all.
const MAX_SENTENCE_BYTES: usize = 512;

/// How one kind of error looks from outside.
struct Face {
    code: Code,
    reason: ErrorReason,
    sentence: &'static str,
    /// When trying again may help; an error that knows better says so itself.
    retry: Option<Duration>,
}

/// What the wire itself refuses: no flow is asked, so these are no kinds of the domain's.
const MALFORMED: Face = Face {
    code: Code::InvalidArgument,
    reason: ErrorReason::MalformedMessage,
    sentence: "the bytes are not a message of the expected type",
    retry: None,
};

const KINDS: [Kind; 21] = [
    Kind::InvalidField,
    Kind::UnknownEntity,
    Kind::UnknownAlias,
    Kind::ForeignKey,
    Kind::ValueRefused,
    Kind::UnknownJob,
    Kind::UnknownPlan,
    Kind::MemberUnresolved,
    Kind::TooLarge,
    Kind::Unauthenticated,
    Kind::PermissionDenied,
    Kind::TenantDenied,
    Kind::RateLimited,
    Kind::Shed,
    Kind::NotConfigured,
    Kind::NotBuilt,
    Kind::StoreUnavailable,
    Kind::JournalUnavailable,
    Kind::ShuttingDown,
    Kind::Deadline,
    Kind::Internal,
];

pub fn of(error: &Error) -> Status {
    let face = face(error.kind);
    let retry = error.retry_after.or(face.retry);
    let lacks = error.lacks.map(|right| (RIGHT.to_owned(), right.name().to_owned()));
    build(&Face { retry, ..face }, &error.fields, lacks.into_iter().collect())
}

pub fn malformed() -> Status {
    build(&MALFORMED, &[], HashMap::new())
}

pub fn internal() -> Status {
    build(&face(Kind::Internal), &[], HashMap::new())
}

/// An error that tonic made itself, with what the contract promises of every error.
pub fn complete(code: Code) -> Status {
    let kind = match code {
        Code::Unimplemented => Kind::NotBuilt,
        Code::InvalidArgument => Kind::InvalidField,
        Code::OutOfRange | Code::ResourceExhausted => Kind::TooLarge,
        Code::DeadlineExceeded => Kind::Deadline,
        _ => Kind::Internal,
    };
    build(&face(kind), &[], HashMap::new())
}

/// The reference of errors, `docs/reference/errors.md`, from the table below.
pub fn errors_reference() -> String {
    let mut page = String::from(REFERENCE_HEAD);
    let faces = KINDS.map(face).into_iter().chain([MALFORMED]);
    for face in faces {
        let retry = match face.retry {
            Some(after) => format!("after {} ms, or what RetryInfo says", after.as_millis()),
            None => "no".to_owned(),
        };
        page += &format!("| `{}` | `{}` | {} | {retry} |\n", reason(face.reason), code_name(face.code), face.sentence);
    }
    page += "\nReasons of the contract that this version does not send: ";
    let sent: Vec<ErrorReason> = KINDS.map(|kind| face(kind).reason).into_iter().chain([MALFORMED.reason]).collect();
    let unsent = (1..).map_while(|number| ErrorReason::try_from(number).ok()).filter(|r| !sent.contains(r));
    page += &unsent.map(|r| format!("`{}`", reason(r))).collect::<Vec<_>>().join(", ");
    page += ".\n";
    page
}

const REFERENCE_HEAD: &str = "\
<!-- Written by `grpc::status::errors_reference`; a test compares. `BLESS=1 cargo test errors_reference` writes it anew. -->
# Errors

Every error of Hydrant's services carries `google.rpc.ErrorInfo` in its details, with the domain `hydrant.dev` and one of
these reasons. Decide by the reason; the sentence is for people and may change. A request that is wrong also carries
`google.rpc.BadRequest`, one violation for each wrong field with its path (`members[2].params.id`); the sentence goes on with
the first of them. Where trying again may help, `google.rpc.RetryInfo` says when. The header `hydrant-trace-id` of an error leads to the log. No error text holds a
value, a token, a cookie or an id.

One resource that cannot be filled is no error: it is an outcome in the answer.

| reason | status | what it says | try again |
|---|---|---|---|
";

const fn face(kind: Kind) -> Face {
    let soon = Some(Duration::from_millis(100));
    let later = Some(Duration::from_secs(1));
    let (code, reason, retry) = match kind {
        Kind::InvalidField => (Code::InvalidArgument, ErrorReason::InvalidField, None),
        Kind::UnknownEntity => (Code::InvalidArgument, ErrorReason::UnknownEntity, None),
        Kind::UnknownAlias => (Code::InvalidArgument, ErrorReason::UnknownAlias, None),
        Kind::ForeignKey => (Code::InvalidArgument, ErrorReason::ForeignKey, None),
        Kind::ValueRefused => (Code::InvalidArgument, ErrorReason::ValueRefused, None),
        Kind::UnknownJob => (Code::NotFound, ErrorReason::UnknownJob, None),
        Kind::UnknownPlan => (Code::InvalidArgument, ErrorReason::UnknownPlan, None),
        Kind::MemberUnresolved => (Code::FailedPrecondition, ErrorReason::MemberUnresolved, None),
        Kind::TooLarge => (Code::ResourceExhausted, ErrorReason::TooLarge, None),
        Kind::Unauthenticated => (Code::Unauthenticated, ErrorReason::Unauthenticated, None),
        Kind::PermissionDenied => (Code::PermissionDenied, ErrorReason::PermissionDenied, None),
        Kind::TenantDenied => (Code::PermissionDenied, ErrorReason::TenantDenied, None),
        Kind::RateLimited => (Code::ResourceExhausted, ErrorReason::RateLimited, later),
        Kind::Shed => (Code::ResourceExhausted, ErrorReason::Shed, soon),
        Kind::NotConfigured => (Code::FailedPrecondition, ErrorReason::NotConfigured, None),
        Kind::NotBuilt => (Code::Unimplemented, ErrorReason::NotBuilt, None),
        Kind::StoreUnavailable => (Code::Unavailable, ErrorReason::StoreUnavailable, later),
        Kind::JournalUnavailable => (Code::Unavailable, ErrorReason::JournalUnavailable, later),
        Kind::ShuttingDown => (Code::Unavailable, ErrorReason::ShuttingDown, later),
        Kind::Deadline => (Code::DeadlineExceeded, ErrorReason::Deadline, None),
        Kind::Internal => (Code::Internal, ErrorReason::Internal, None),
    };
    Face { code, reason, sentence: words(kind), retry }
}

const fn words(kind: Kind) -> &'static str {
    match kind {
        Kind::InvalidField => "a field of the request cannot be used",
        Kind::UnknownEntity => "the configuration declares no such entity",
        Kind::UnknownAlias => "the entity declares no such alias",
        Kind::ForeignKey => "a key or pattern lies under no declared prefix, or is one of hydrant's own",
        Kind::ValueRefused => "the given value cannot be cached",
        Kind::UnknownJob => "there is no such job, or it ended more than an hour ago",
        Kind::UnknownPlan => "no such plan is declared",
        Kind::MemberUnresolved => "the member cannot be found by this alias: give its own parameters",
        Kind::TooLarge => "the message is larger than this rpc takes",
        Kind::Unauthenticated => "the caller, or the cookie it passed on, was not accepted",
        Kind::PermissionDenied => "the caller lacks the right to do this",
        Kind::TenantDenied => "the call concerns a tenant that is not among the caller's",
        Kind::RateLimited => "the caller's limit for this rpc is used up",
        Kind::Shed => "this sidecar has more to do than it can finish in time",
        Kind::NotConfigured => "the configuration has this switched off",
        Kind::NotBuilt => "this version does not do this yet",
        Kind::StoreUnavailable => "the store cannot be reached",
        Kind::JournalUnavailable => {
            "the invalidation could be neither finished nor recorded; it was attempted all the same"
        }
        Kind::ShuttingDown => "this sidecar is ending",
        Kind::Deadline => "the deadline passed and there was nothing to answer",
        Kind::Internal => "a defect; the trace id leads to the log",
    }
}

fn build(face: &Face, fields: &[FieldError], metadata: HashMap<String, String>) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason(face.reason), DOMAIN, metadata);
    if !fields.is_empty() {
        let violation = |field: &FieldError| FieldViolation::new(&field.path, &field.problem);
        details.set_bad_request(fields.iter().map(violation).collect::<Vec<_>>());
    }
    if face.retry.is_some() {
        details.set_retry_info(face.retry);
    }
    Status::with_error_details(face.code, sentence(face, fields), details)
}

/// With the first wrong field, for whoever sees no more of an error than its text.
fn sentence(face: &Face, fields: &[FieldError]) -> String {
    let Some(FieldError { path, problem }) = fields.first() else { return face.sentence.to_owned() };
    let mut text = format!("{}: {path}: {problem}", face.sentence);
    if text.len() > MAX_SENTENCE_BYTES {
        text.truncate(text.floor_char_boundary(MAX_SENTENCE_BYTES));
        text.push('…');
    }
    match fields.len() {
        1 => text,
        more => format!("{text} (and {} more)", more - 1),
    }
}

/// The name a caller compares with: that of the contract without its prefix.
/// The stable reason of a kind, for answers that carry several.
pub fn reason_of(kind: Kind) -> &'static str {
    reason(face(kind).reason)
}

fn reason(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

/// The name of a code as gRPC's documents write it.
pub const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::caller::Right;

    #[test]
    fn every_kind_has_its_stable_reason_and_code() {
        let told: Vec<String> = KINDS
            .iter()
            .map(|kind| {
                let status = of(&Error::new(*kind, "only for the log"));
                let info = status.get_details_error_info().expect("every error has one");
                assert_eq!(info.domain, DOMAIN);
                assert!(!status.message().contains("log") || *kind == Kind::Internal);
                format!("{kind:?} {} {}", code_name(status.code()), info.reason)
            })
            .collect();
        assert_eq!(
            told,
            [
                "InvalidField INVALID_ARGUMENT INVALID_FIELD",
                "UnknownEntity INVALID_ARGUMENT UNKNOWN_ENTITY",
                "UnknownAlias INVALID_ARGUMENT UNKNOWN_ALIAS",
                "ForeignKey INVALID_ARGUMENT FOREIGN_KEY",
                "ValueRefused INVALID_ARGUMENT VALUE_REFUSED",
                "UnknownJob NOT_FOUND UNKNOWN_JOB",
                "UnknownPlan INVALID_ARGUMENT UNKNOWN_PLAN",
                "MemberUnresolved FAILED_PRECONDITION MEMBER_UNRESOLVED",
                "TooLarge RESOURCE_EXHAUSTED TOO_LARGE",
                "Unauthenticated UNAUTHENTICATED UNAUTHENTICATED",
                "PermissionDenied PERMISSION_DENIED PERMISSION_DENIED",
                "TenantDenied PERMISSION_DENIED TENANT_DENIED",
                "RateLimited RESOURCE_EXHAUSTED RATE_LIMITED",
                "Shed RESOURCE_EXHAUSTED SHED",
                "NotConfigured FAILED_PRECONDITION NOT_CONFIGURED",
                "NotBuilt UNIMPLEMENTED NOT_BUILT",
                "StoreUnavailable UNAVAILABLE STORE_UNAVAILABLE",
                "JournalUnavailable UNAVAILABLE JOURNAL_UNAVAILABLE",
                "ShuttingDown UNAVAILABLE SHUTTING_DOWN",
                "Deadline DEADLINE_EXCEEDED DEADLINE",
                "Internal INTERNAL INTERNAL",
            ]
        );
    }

    #[test]
    fn a_missing_right_is_named() {
        let info = of(&Error::lacks(Right::WarmUp)).get_details_error_info().expect("every error has one");
        assert_eq!(info.metadata.get("right").map(String::as_str), Some("warm_up"));
    }

    #[test]
    fn wrong_fields_are_named_by_their_paths() {
        let fields = vec![FieldError::new("who", "is missing"), FieldError::new("members[2].params.id", "is empty")];
        let bad = of(&Error::fields(fields)).get_details_bad_request().expect("field violations");
        let paths: Vec<_> = bad.field_violations.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(paths, ["who", "members[2].params.id"]);
    }

    #[test]
    fn the_sentence_names_the_first_wrong_field() {
        let wrong = |problem: &str| FieldError::new("targets[0].pattern.pattern", problem);
        let told = |fields| of(&Error::fields(fields)).message().to_owned();
        let first = "a field of the request cannot be used: targets[0].pattern.pattern: is too wide";
        assert_eq!(told(vec![wrong("is too wide")]), first);
        let two = vec![wrong("is too wide"), FieldError::new("mode", "is unknown")];
        assert_eq!(told(two), format!("{first} (and 1 more)"));
        let long = told(vec![wrong(&"é".repeat(1_000))]);
        assert!(long.len() < 520 && long.ends_with("é…"), "{long}");
    }

    #[test]
    fn an_error_that_may_pass_says_when_to_try_again() {
        let delay = |error: &Error| of(error).get_details_retry_info().and_then(|info| info.retry_delay);
        assert_eq!(delay(&Error::shed(Duration::from_millis(7))), Some(Duration::from_millis(7)));
        assert_eq!(delay(&Error::new(Kind::StoreUnavailable, "")), Some(Duration::from_secs(1)));
        assert_eq!(delay(&Error::new(Kind::NotBuilt, "")), None);
    }

    #[test]
    fn errors_reference_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/errors.md");
        if option_env!("BLESS").is_some() {
            std::fs::write(path, errors_reference()).expect("writable");
        }
        let written = std::fs::read_to_string(path).expect("the reference is there");
        assert_eq!(written, errors_reference(), "`BLESS=1 cargo test errors_reference` writes it anew");
    }
}
