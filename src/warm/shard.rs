//! A shard of a step as it travels: a page of a listing, for whichever sidecar takes it.
//!
//! It names members and no values. The plan's rules are not in it: every sidecar of a group has them.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::domain::listing::{Cursor, Parameters};
use crate::domain::trace::TraceContext;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    pub plan: String,
    pub step: String,
    pub entity: String,
    /// Of the run, as a `traceparent`.
    trace: String,
    /// Where its page begins.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    from: Option<String>,
    pub members: Vec<BTreeMap<String, String>>,
}

impl Shard {
    pub fn new(names: [&str; 3], trace: TraceContext, from: Option<&Cursor>, members: Vec<Parameters>) -> Self {
        let [plan, step, entity] = names.map(str::to_owned);
        Self { plan, step, entity, trace: trace.to_string(), from: from.map(|Cursor(text)| text.clone()), members }
    }

    pub fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub fn trace(&self) -> Option<TraceContext> {
        TraceContext::parse(&self.trace)
    }

    pub fn from(&self) -> Option<Cursor> {
        self.from.clone().map(Cursor)
    }

    pub fn into_bytes(self) -> Bytes {
        // A struct of texts is always written.
        Bytes::from(serde_json::to_vec(&self).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::random::Random;

    #[test]
    fn a_shard_reads_back() {
        let trace = TraceContext::start(&Random::from_seed(1));
        let members = vec![Parameters::from([("id".to_owned(), "7".to_owned())])];
        let shard = Shard::new(["default", "users", "user"], trace, Some(&Cursor("256".into())), members);
        let read = Shard::read(&shard.clone().into_bytes()).expect("one of ours");
        assert_eq!((read.trace(), read.from()), (Some(trace), Some(Cursor("256".into()))));
        assert_eq!(read, shard);
        assert_eq!(Shard::read(b"something else"), None);
    }
}
