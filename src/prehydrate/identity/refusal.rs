//! Why a cookie is not accepted. The caller learns only that it is not: one sentence, whatever the cause, so that a
//! forger is told nothing. The cause is for a metric's label and the log; it is one of a closed set and holds no value.

/// The one answer to every cookie that is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cookie is not accepted")]
pub struct Unauthenticated {
    why: Why,
}

/// The cause, for people who run Hydrant. Never for callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Why {
    /// The header holds no cookie of the configured name, or the value is empty.
    Missing,
    /// Header or value is over its cap; nothing was parsed.
    TooLarge,
    TooManyCookies,
    /// Two cookies of the configured name with different values: one of them was planted.
    Conflicting,
    /// Not of the configured format: its parts, its base64url, its JSON.
    Malformed,
    /// A header that asks for something never done here: a key by URL, compression, extensions, encryption.
    ForbiddenHeader,
    /// A token for another purpose, by its `typ`.
    Type,
    /// The key is for another algorithm than the token names.
    Algorithm,
    UnknownKey,
    /// The signature, or the seal of an encrypted value, does not fit.
    Signature,
    Expired,
    NotYetValid,
    /// A time that is missing where one is needed, is not a time, or contradicts the others.
    Time,
    Issuer,
    Audience,
    /// A claim the subject is made of is missing, or is not usable as an id.
    Claim,
}

impl Unauthenticated {
    pub fn why(self) -> Why {
        self.why
    }
}

impl From<Why> for Unauthenticated {
    fn from(why: Why) -> Self {
        Self { why }
    }
}

impl Why {
    pub const ALL: [Self; 16] = [
        Self::Missing,
        Self::TooLarge,
        Self::TooManyCookies,
        Self::Conflicting,
        Self::Malformed,
        Self::ForbiddenHeader,
        Self::Type,
        Self::Algorithm,
        Self::UnknownKey,
        Self::Signature,
        Self::Expired,
        Self::NotYetValid,
        Self::Time,
        Self::Issuer,
        Self::Audience,
        Self::Claim,
    ];

    /// For a metric's label and a log field.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::TooLarge => "too_large",
            Self::TooManyCookies => "too_many_cookies",
            Self::Conflicting => "conflicting",
            Self::Malformed => "malformed",
            Self::ForbiddenHeader => "forbidden_header",
            Self::Type => "type",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Time => "time",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Claim => "claim",
        }
    }
}
