//! What a server's error means for us, in one place: nobody else looks at the text of an error.

use redis::{ServerError, Value};

use crate::domain::store::{Refusal, StoreError};
use crate::remote::Address;

/// "Not here": where the command should have gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redirect {
    Moved(Address),
    /// This once, and after `ASKING`.
    Ask(Address),
    /// Some of the keys are here and some are not; one by one they can be reached.
    TryAgain,
}

/// Why there is no connection to a node.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot connect: {0}")]
    Dial(std::io::Error),
    #[error("cannot read {path}: {source}")]
    File { path: String, source: std::io::Error },
    #[error("cannot use TLS: {0}")]
    Tls(String),
    #[error("no connection within the time for it")]
    Timeout,
    #[error("the connection was closed")]
    Closed,
    #[error("the other side does not speak RESP3")]
    Protocol,
    #[error("the server is a replica")]
    NotPrimary,
    #[error("the server refused: {0}")]
    Refused(Refusal),
}

impl From<&ConnectError> for StoreError {
    fn from(error: &ConnectError) -> Self {
        match error {
            ConnectError::NotPrimary => Self::Refused(Refusal::NotServing),
            ConnectError::Refused(refusal) => Self::Refused(*refusal),
            ConnectError::Dial(_)
            | ConnectError::File { .. }
            | ConnectError::Tls(_)
            | ConnectError::Timeout
            | ConnectError::Closed
            | ConnectError::Protocol => Self::Unreachable,
        }
    }
}

/// The value, or the server's refusal as an error.
pub fn accepted(value: Value) -> Result<Value, StoreError> {
    match value {
        Value::ServerError(error) => Err(StoreError::Refused(refusal(&error))),
        value => Ok(value),
    }
}

/// The first refusal in a reply, or in the replies of a request with several.
pub fn refused(value: &Value) -> Option<Refusal> {
    match value {
        Value::ServerError(error) => Some(refusal(error)),
        Value::Array(values) => values.iter().find_map(|value| match value {
            Value::ServerError(error) => Some(refusal(error)),
            _ => None,
        }),
        _ => None,
    }
}

/// Whether the command has to be sent on.
pub fn is_redirect(value: &Value) -> bool {
    matches!(value, Value::ServerError(error) if refusal(error) == Refusal::Moved)
}

/// What a server answers that is asked to load a library which it has.
pub fn is_library_there(value: &Value) -> bool {
    let Value::ServerError(error) = value else { return false };
    error.details().is_some_and(|detail| detail.starts_with("Library '") && detail.ends_with("' already exists"))
}

/// Whether the node is to blame, so that its breaker counts it. A redirect is a healthy node's answer.
pub fn is_fault(refusal: Refusal) -> bool {
    match refusal {
        Refusal::NotServing => true,
        Refusal::Moved
        | Refusal::OutOfMemory
        | Refusal::NotAllowed
        | Refusal::BadCredentials
        | Refusal::NoFunctions
        | Refusal::WrongType
        | Refusal::Other => false,
    }
}

fn refusal(error: &ServerError) -> Refusal {
    let detail = error.details().unwrap_or_default();
    match error.code() {
        "MOVED" | "ASK" | "TRYAGAIN" => Refusal::Moved,
        "CLUSTERDOWN" | "LOADING" | "MASTERDOWN" | "READONLY" => Refusal::NotServing,
        "OOM" => Refusal::OutOfMemory,
        "NOPERM" => Refusal::NotAllowed,
        "NOAUTH" | "WRONGPASS" => Refusal::BadCredentials,
        "NOSCRIPT" => Refusal::NoFunctions,
        "WRONGTYPE" => Refusal::WrongType,
        "ERR" if detail.contains("Function not found") => Refusal::NoFunctions,
        // A function may do only what its caller may.
        "ERR" if detail.contains("The user executing the script can't run") => Refusal::NotAllowed,
        // Before 7.0 an error inside a script comes wrapped in one of the script's.
        "ERR" if detail.contains("-OOM ") => Refusal::OutOfMemory,
        "ERR" if detail.contains("-WRONGTYPE ") => Refusal::WrongType,
        "ERR" if detail.contains("-READONLY ") => Refusal::NotServing,
        _ => Refusal::Other,
    }
}

/// Where a reply sends us. A server that does not know its own name leaves the host out: then it is the one we asked.
pub fn redirect(value: &Value, asked: &Address) -> Option<Redirect> {
    let Value::ServerError(error) = value else { return None };
    let target = || {
        let (host, port) = error.details()?.split_whitespace().nth(1)?.rsplit_once(':')?;
        let host = if host.is_empty() || host == "?" { &asked.host } else { host };
        Some(Address { host: host.to_owned(), port: port.parse().ok()? })
    };
    match error.code() {
        "MOVED" => target().map(Redirect::Moved),
        "ASK" => target().map(Redirect::Ask),
        "TRYAGAIN" => Some(Redirect::TryAgain),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Value {
        redis::parse_redis_value(format!("{line}\r\n").as_bytes()).expect("a good reply")
    }

    fn asked() -> Address {
        Address { host: "10.0.0.9".to_owned(), port: 1 }
    }

    #[test]
    fn every_refusal_has_its_meaning() {
        for (line, meaning) in [
            ("-MOVED 1 10.0.0.1:6379", Refusal::Moved),
            ("-TRYAGAIN Multiple keys request during rehashing of slot", Refusal::Moved),
            ("-CLUSTERDOWN The cluster is down", Refusal::NotServing),
            ("-LOADING Redis is loading the dataset in memory", Refusal::NotServing),
            ("-READONLY You can't write against a read only replica.", Refusal::NotServing),
            ("-OOM command not allowed when used memory > 'maxmemory'.", Refusal::OutOfMemory),
            ("-NOPERM this user has no permissions to run the 'fcall' command", Refusal::NotAllowed),
            ("-WRONGPASS invalid username-password pair or user is disabled.", Refusal::BadCredentials),
            ("-NOAUTH Authentication required.", Refusal::BadCredentials),
            ("-NOSCRIPT No matching script. Please use EVAL.", Refusal::NoFunctions),
            ("-ERR Function not found", Refusal::NoFunctions),
            ("-WRONGTYPE Operation against a key holding the wrong kind of value script: x", Refusal::WrongType),
            ("-ERR Error running script (call to f_1): @user_script:9: -OOM command not allowed", Refusal::OutOfMemory),
            ("-ERR The user executing the script can't run this command or subcommand script: x", Refusal::NotAllowed),
            ("-ERR something else", Refusal::Other),
        ] {
            assert_eq!(accepted(parse(line)), Err(StoreError::Refused(meaning)), "{line}");
        }
    }

    #[test]
    fn redirects_name_the_node() {
        let address = |host: &str, port| Address { host: host.to_owned(), port };
        for (line, meaning) in [
            ("-MOVED 3999 127.0.0.1:6381", Redirect::Moved(address("127.0.0.1", 6381))),
            ("-MOVED 3999 ::1:6381", Redirect::Moved(address("::1", 6381))),
            ("-MOVED 3999 :6381", Redirect::Moved(address("10.0.0.9", 6381))),
            ("-ASK 3999 redis-1.example:6381", Redirect::Ask(address("redis-1.example", 6381))),
            ("-TRYAGAIN Multiple keys request during rehashing of slot", Redirect::TryAgain),
        ] {
            assert_eq!(redirect(&parse(line), &asked()), Some(meaning), "{line}");
        }
        assert_eq!(redirect(&parse("-ERR no"), &asked()), None);
    }
}
