//! What has to happen in one step on the server: scripts, as a function library where the server has functions, else by their hashes.
//!
//! The library's name carries its version and it is never replaced in place, because sidecars of two versions share a
//! server while they are rolled out: a change to a script is a new version (a test holds the text to its version).
//! Nothing is checked ahead: the first claim that finds the functions missing (a new server, a flush) has them loaded,
//! once for everybody, and is sent again; a server that says "no such function" has certainly done nothing. Where
//! loading is not allowed fills are refused and everything else goes on.

use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_lc_rs::digest;
use redis::Value;
use tokio::time::Instant;

use crate::domain::store::{Refusal, StoreError};
use crate::remote::error::{accepted, is_library_there};
use crate::remote::link::Link;
use crate::remote::node::Node;
use crate::remote::request::{Op, Request};

/// How long to leave it after loading failed: an operator has to act, and every claim asks.
const LOAD_PAUSE: Duration = Duration::from_secs(5);

/// Registrations that have ended stay this long, because a fill may be slower than its clock: in milliseconds.
pub const GRACE: &[u8] = b"60000";

pub const NAME: &str = "hydrant_v3";

/// When a server came by the functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loaded {
    Now,
    Before,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    Claim,
    /// Of an entity without aliases and rules: most are, and the short script costs the server a third of the long one.
    Commit,
    CommitRuled,
    Absent,
    Abort,
    Register,
    Replace,
    Weed,
    Recall,
    Remember,
    Acquire,
    Renew,
    Release,
    Note,
}

/// The library's text and the scripts' hashes, worked out once.
#[derive(Debug)]
pub struct Functions {
    text: String,
    hashes: [String; Script::ALL.len()],
}

impl Functions {
    pub fn new() -> Self {
        let mut library = format!("#!lua name={NAME}\n");
        for script in Script::ALL {
            library.push_str(&format!(
                "redis.register_function{{function_name='{}', flags={{{}}}, callback=function(KEYS, ARGV)\n{}end}}\n",
                script.function(),
                script.flags(),
                script.source(),
            ));
        }
        Self { text: library, hashes: Script::ALL.map(|script| sha1_hex(script.source())) }
    }

    /// What is loaded, for those who want to read it first.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Runs one script on one connection.
    pub async fn run(
        &self,
        node: &Node,
        link: &Link,
        script: Script,
        keys: &[&[u8]],
        args: &[&[u8]],
    ) -> Result<Value, StoreError> {
        let loads = node.loads.load(Ordering::Relaxed);
        let reply = node.call_on(link, script.op(), self.request(link, script, keys, args)).await?;
        match accepted(reply) {
            Err(StoreError::Refused(Refusal::NoFunctions)) => {}
            other => return other,
        }
        self.install(node, link, loads).await?;
        accepted(node.call_on(link, script.op(), self.request(link, script, keys, args)).await?)
    }

    fn request(&self, link: &Link, script: Script, keys: &[&[u8]], args: &[&[u8]]) -> Request {
        let count = [b'0' + keys.len() as u8];
        let (verb, name): (&[u8], &[u8]) = if link.server.has_functions {
            (b"FCALL", script.function().as_bytes())
        } else {
            (b"EVALSHA", self.hashes[script as usize].as_bytes())
        };
        Request::gathered(&[&[verb, name, &count], keys, args])
    }

    /// Loads what is missing, unless somebody did since `seen` loads.
    async fn install(&self, node: &Node, link: &Link, seen: u64) -> Result<(), StoreError> {
        let missing = Err(StoreError::Refused(Refusal::NoFunctions));
        let mut last_failure = node.loading.lock().await;
        if node.loads.load(Ordering::Relaxed) != seen {
            return Ok(());
        }
        if last_failure.is_some_and(|failed| failed.elapsed() < LOAD_PAUSE) {
            return missing;
        }
        let outcome = self.load(node, link).await;
        node.functions_missing.store(outcome.is_err(), Ordering::Relaxed);
        match outcome {
            Ok(_) => {
                tracing::info!(node = %node.address, library = NAME, "functions loaded");
                node.loads.fetch_add(1, Ordering::Relaxed);
                *last_failure = None;
                Ok(())
            }
            Err(error) => {
                tracing::warn!(node = %node.address, library = NAME, %error, "functions are missing and cannot be loaded; fills are refused");
                *last_failure = Some(Instant::now());
                missing
            }
        }
    }

    pub async fn load(&self, node: &Node, link: &Link) -> Result<Loaded, StoreError> {
        if link.server.has_functions {
            let request = Request::one(&[b"FUNCTION", b"LOAD", self.text.as_bytes()]);
            let reply = node.call_on(link, Op::Install, request).await?;
            // It is there already where another sidecar was faster.
            return if is_library_there(&reply) { Ok(Loaded::Before) } else { accepted(reply).map(|_| Loaded::Now) };
        }
        for script in Script::ALL {
            let request = Request::one(&[b"SCRIPT", b"LOAD", script.source().as_bytes()]);
            accepted(node.call_on(link, Op::Install, request).await?)?;
        }
        Ok(Loaded::Now)
    }
}

impl Default for Functions {
    fn default() -> Self {
        Self::new()
    }
}

impl Script {
    const ALL: [Self; 14] = [
        Self::Claim,
        Self::Commit,
        Self::CommitRuled,
        Self::Absent,
        Self::Abort,
        Self::Register,
        Self::Replace,
        Self::Weed,
        Self::Recall,
        Self::Remember,
        Self::Acquire,
        Self::Renew,
        Self::Release,
        Self::Note,
    ];

    const fn function(self) -> &'static str {
        match self {
            Self::Claim => "hydrant_v3_claim",
            Self::Commit => "hydrant_v3_commit",
            Self::CommitRuled => "hydrant_v3_commit_ruled",
            Self::Absent => "hydrant_v3_absent",
            Self::Abort => "hydrant_v3_abort",
            Self::Register => "hydrant_v3_register",
            Self::Replace => "hydrant_v3_replace",
            Self::Weed => "hydrant_v3_weed",
            Self::Recall => "hydrant_v3_recall",
            Self::Remember => "hydrant_v3_remember",
            Self::Acquire => "hydrant_v3_acquire",
            Self::Renew => "hydrant_v3_renew",
            Self::Release => "hydrant_v3_release",
            Self::Note => "hydrant_v3_note",
        }
    }

    const fn source(self) -> &'static str {
        match self {
            Self::Claim => include_str!("lua/claim.lua"),
            Self::Commit => include_str!("lua/commit.lua"),
            Self::CommitRuled => include_str!("lua/commit_ruled.lua"),
            Self::Absent => include_str!("lua/absent.lua"),
            Self::Abort => include_str!("lua/abort.lua"),
            Self::Register => include_str!("lua/register.lua"),
            Self::Replace => include_str!("lua/replace.lua"),
            Self::Weed => include_str!("lua/weed.lua"),
            Self::Recall => include_str!("lua/recall.lua"),
            Self::Remember => include_str!("lua/remember.lua"),
            Self::Acquire => include_str!("lua/acquire.lua"),
            Self::Renew => include_str!("lua/renew.lua"),
            Self::Release => include_str!("lua/release.lua"),
            Self::Note => include_str!("lua/note.lua"),
        }
    }

    /// What only frees memory is allowed when there is none.
    const fn flags(self) -> &'static str {
        match self {
            Self::Claim
            | Self::Commit
            | Self::CommitRuled
            | Self::Absent
            | Self::Register
            | Self::Replace
            | Self::Remember
            | Self::Acquire
            | Self::Renew
            | Self::Note => "",
            Self::Recall => "'no-writes'",
            Self::Abort | Self::Weed | Self::Release => "'allow-oom'",
        }
    }

    const fn op(self) -> Op {
        match self {
            Self::Claim => Op::Claim,
            Self::Commit | Self::CommitRuled => Op::Commit,
            Self::Absent => Op::Absent,
            Self::Abort => Op::Abort,
            Self::Register => Op::Register,
            Self::Replace => Op::Replace,
            Self::Weed => Op::Weed,
            Self::Recall | Self::Remember => Op::Habits,
            Self::Acquire | Self::Renew | Self::Release | Self::Note => Op::Lease,
        }
    }
}

fn sha1_hex(text: &str) -> String {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_library_has_a_new_version() {
        // Changed a script? Then the version in its name changes with it, and this hash.
        assert_eq!(
            (NAME, sha1_hex(&Functions::new().text).as_str()),
            ("hydrant_v3", "431ff312d99fce7834abc848168ab5c4e5a2b4a0")
        );
    }

    #[test]
    fn every_function_carries_the_librarys_version() {
        for (index, script) in Script::ALL.into_iter().enumerate() {
            assert!(script.function().starts_with(NAME));
            assert_eq!(script as usize, index);
        }
    }
}
