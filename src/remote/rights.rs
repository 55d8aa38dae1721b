//! What the sidecar's user has to be allowed on the servers: every command that this module sends, and those that its
//! functions call, because a function may do only what its caller may.
//!
//! `HELLO` and `AUTH` are everybody's. Where a list and the code differ, the test that does everything as such a user
//! (tests/it/acl.rs) fails.

/// On every server.
pub const COMMANDS: [&str; 37] = [
    "asking",
    "cluster|keyslot",
    "cluster|slots",
    "del",
    "dump",
    "exists",
    "get",
    "hdel",
    "hexists",
    "hlen",
    "hscan",
    "hset",
    "info",
    "object|freq",
    "object|idletime",
    "pexpire",
    "ping",
    "pttl",
    "restore",
    "scan",
    "set",
    "time",
    "type",
    "wait",
    "xadd",
    "xdel",
    "xlen",
    "xrange",
    "zadd",
    "zcard",
    "zcount",
    "zrange",
    "zrangebyscore",
    "zrem",
    "zremrangebyscore",
    "zscan",
    "zscore",
];

/// Calling functions, and before there were any, scripts.
pub const CALLING: [&str; 1] = ["fcall"];
pub const CALLING_BEFORE_FUNCTIONS: [&str; 2] = ["evalsha", "script|load"];

/// Putting functions there: once for each version, by an operator.
pub const INSTALLING: [&str; 6] = ["cluster|slots", "cluster|keyslot", "function|load", "exists", "info", "ping"];

pub const INSTALLING_BEFORE_FUNCTIONS: [&str; 6] =
    ["cluster|slots", "cluster|keyslot", "exists", "info", "ping", "script|load"];

/// Commands that a claim and a commit call, for applications that fill by themselves.
pub const FILLING: [&str; 13] = [
    "fcall",
    "del",
    "exists",
    "get",
    "pexpire",
    "pttl",
    "set",
    "time",
    "zadd",
    "zcard",
    "zcount",
    "zremrangebyscore",
    "zscore",
];
