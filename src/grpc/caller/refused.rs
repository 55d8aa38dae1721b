//! Why a call went no further than its caller: a closed set, for a metric's label and the log. Nobody outside is told.

use crate::prehydrate::identity::refusal::Why;

/// Why a call went no further. The name is a metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refused {
    /// Neither a token nor a certificate.
    NoCredential,
    Token(Why),
    /// Genuine, and no declared caller's, or that of several.
    UnknownCaller,
    Right,
    Tenant,
    Limit,
}

impl Refused {
    /// Those that can always be; what is wrong with a token has words of its own.
    pub const PLAIN: [Self; 5] = [Self::NoCredential, Self::UnknownCaller, Self::Right, Self::Tenant, Self::Limit];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoCredential => "no_credential",
            Self::Token(why) => why.as_str(),
            Self::UnknownCaller => "unknown_caller",
            Self::Right => "right",
            Self::Tenant => "tenant",
            Self::Limit => "limit",
        }
    }
}
