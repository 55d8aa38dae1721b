//! What went wrong, in the words of a source, and whose fault it was.
//!
//! The server's own message is logged only where it speaks of the query (class 42) or of the login (28): elsewhere it may
//! quote a value.

use tokio_postgres::Error;
use tokio_postgres::error::{DbError, SqlState};

use crate::domain::source::FetchError;
use crate::source::health::Blame;

/// A call that gave nothing.
#[derive(Clone, Debug)]
pub struct Failed {
    pub error: FetchError,
    pub blame: Blame,
    /// Another connection may do better.
    pub is_of_connection: bool,
    /// The session can be used again.
    pub is_session_fine: bool,
    /// For the log; none where there is nothing to be learnt from it.
    pub told: Option<String>,
}

impl Failed {
    fn new(error: FetchError, blame: Blame) -> Self {
        Self { error, blame, is_of_connection: false, is_session_fine: false, told: None }
    }

    /// What was taken of the rows ended the call.
    pub fn refused_here(error: FetchError) -> Self {
        Self::new(error, Blame::Ours)
    }

    pub fn late(is_patient: bool) -> Self {
        Self::new(FetchError::Timeout, if is_patient { Blame::Source } else { Blame::Ours })
    }

    pub fn unreachable(why: impl ToString) -> Self {
        Self { told: Some(why.to_string()), ..Self::new(FetchError::Unreachable, Blame::Source) }
    }

    /// While a connection was opened.
    pub fn from_connect(error: &Error) -> Self {
        match error.as_db_error() {
            Some(refused) => Self::from_server(refused),
            None => Self::unreachable(describe(error)),
        }
    }

    /// While a statement ran.
    pub fn from_call(error: &Error) -> Self {
        match error.as_db_error() {
            Some(refused) => Self::from_server(refused),
            None if error.is_closed() || is_io(error) => {
                Self { is_of_connection: true, ..Self::unreachable(describe(error)) }
            }
            None => Self { told: Some(describe(error)), ..Self::new(FetchError::Broken, Blame::Source) },
        }
    }

    fn from_server(refused: &DbError) -> Self {
        let code = refused.code();
        let class = code.code().get(..2).unwrap_or_default();
        let (error, blame) = match class {
            "28" => (FetchError::Denied, Blame::None),
            _ if *code == SqlState::INSUFFICIENT_PRIVILEGE => (FetchError::Denied, Blame::None),
            _ if *code == SqlState::QUERY_CANCELED || *code == SqlState::LOCK_NOT_AVAILABLE => {
                (FetchError::Timeout, Blame::Source)
            }
            // Too many connections, out of memory or disk; shutting down, starting up; the link itself.
            "53" | "57" | "08" => (FetchError::Unreachable, Blame::Source),
            // A database that is not there, a read that a transaction refuses, what is wrong with data or query.
            "3D" | "25" | "22" | "42" | "21" | "0A" | "54" | "26" => (FetchError::Refused, Blame::None),
            _ => (FetchError::Broken, Blame::Source),
        };
        let why = match class {
            "42" | "28" | "3D" => format!("{}: {}", code.code(), refused.message()),
            _ => format!("SQLSTATE {}", code.code()),
        };
        Self {
            // The server is going, or it has forgotten the statement, or the tables have changed under it.
            is_of_connection: matches!(class, "57" | "08") && *code != SqlState::QUERY_CANCELED
                || matches!(class, "26" | "0A"),
            is_session_fine: !matches!(class, "57" | "08" | "26" | "0A" | "53") || *code == SqlState::QUERY_CANCELED,
            told: Some(why),
            ..Self::new(error, blame)
        }
    }
}

fn is_io(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
}

fn describe(error: &Error) -> String {
    let mut source: &dyn std::error::Error = error;
    while let Some(deeper) = source.source() {
        source = deeper;
    }
    source.to_string()
}
