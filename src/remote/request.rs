//! Commands in the bytes that go over the wire.
//!
//! They are packed once, by the caller, into one buffer; the connection only appends buffers. Several commands that must
//! stay together (`ASKING` and what it is for, a node's share of a read) are one request with several replies.

use std::time::Duration;

/// One or more commands, and how many replies they will have.
#[derive(Clone, Debug, Default)]
pub struct Request {
    bytes: Vec<u8>,
    replies: usize,
}

/// What a command is for: the closed set of metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Claim,
    Commit,
    Absent,
    Abort,
    Remove,
    Read,
    Register,
    Erase,
    Replace,
    Soften,
    Weed,
    Tagged,
    Bury,
    Scan,
    Journal,
    /// A subject's history, and who has read what.
    Habits,
    /// Asking replicas whether they have it.
    Wait,
    /// Asking who owns what.
    Topology,
    Ping,
    /// Loading the functions or scripts.
    Install,
}

/// Which of a node's connections some commands take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Road {
    Usual,
    /// The lane: whoever sends them waits for the replicas before anything else.
    Lane,
}

impl Request {
    pub fn one(parts: &[&[u8]]) -> Self {
        Self::gathered(&[parts])
    }

    /// One command whose parts lie in several places.
    pub fn gathered(groups: &[&[&[u8]]]) -> Self {
        // "$", up to seven digits and two line ends around each part; the rest is the first line.
        let size = groups.iter().copied().flatten().map(|part| part.len() + 12).sum::<usize>() + 8;
        let mut request = Self { bytes: Vec::with_capacity(size), replies: 0 };
        request.push_gathered(groups);
        request
    }

    pub fn push(&mut self, parts: &[&[u8]]) {
        self.push_gathered(&[parts]);
    }

    fn push_gathered(&mut self, groups: &[&[&[u8]]]) {
        push_length(&mut self.bytes, b'*', groups.iter().map(|parts| parts.len()).sum());
        for part in groups.iter().copied().flatten() {
            push_length(&mut self.bytes, b'$', part.len());
            self.bytes.extend_from_slice(part);
            self.bytes.extend_from_slice(b"\r\n");
        }
        self.replies += 1;
    }

    /// This and then another's commands.
    pub fn append(&mut self, other: &Self) {
        self.bytes.extend_from_slice(&other.bytes);
        self.replies += other.replies;
    }

    /// This after `ASKING`: a node that is taking a slot over answers only so.
    pub fn asking(&self) -> Self {
        let mut request = Self::one(&[b"ASKING"]);
        request.append(self);
        request
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn replies(&self) -> usize {
        self.replies
    }
}

impl Op {
    pub const ALL: [Self; 20] = [
        Self::Claim,
        Self::Commit,
        Self::Absent,
        Self::Abort,
        Self::Remove,
        Self::Read,
        Self::Register,
        Self::Erase,
        Self::Replace,
        Self::Soften,
        Self::Weed,
        Self::Tagged,
        Self::Bury,
        Self::Scan,
        Self::Journal,
        Self::Habits,
        Self::Wait,
        Self::Topology,
        Self::Ping,
        Self::Install,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Commit => "commit",
            Self::Absent => "absent",
            Self::Abort => "abort",
            Self::Remove => "remove",
            Self::Read => "read",
            Self::Register => "register",
            Self::Erase => "erase",
            Self::Replace => "replace",
            Self::Soften => "soften",
            Self::Weed => "weed",
            Self::Tagged => "tagged",
            Self::Bury => "bury",
            Self::Scan => "scan",
            Self::Journal => "journal",
            Self::Habits => "habits",
            Self::Wait => "wait",
            Self::Topology => "topology",
            Self::Ping => "ping",
            Self::Install => "install",
        }
    }
}

/// A number in decimal on the stack, for arguments.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    digits: [u8; 20],
    start: usize,
}

impl Decimal {
    pub fn new(mut number: u64) -> Self {
        let (mut digits, mut start) = ([b'0'; 20], 20);
        loop {
            start -= 1;
            digits[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return Self { digits, start };
            }
        }
    }

    /// At least one: Redis refuses a life of nothing.
    pub fn millis(duration: Duration) -> Self {
        Self::new((duration.as_millis() as u64).max(1))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}

fn push_length(bytes: &mut Vec<u8>, kind: u8, length: usize) {
    bytes.push(kind);
    bytes.extend_from_slice(Decimal::new(length as u64).as_bytes());
    bytes.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_packed_as_the_redis_crate_packs_them() {
        let value = vec![b'x'; 1234];
        let mut request = Request::one(&[b"SET", b"k\r\n", &value]);
        request.push(&[b"GET", b""]);
        let theirs = [
            redis::cmd("SET").arg(b"k\r\n").arg(&value).get_packed_command(),
            redis::cmd("GET").arg(b"").get_packed_command(),
        ];
        assert_eq!(request.bytes(), theirs.concat());
        assert_eq!(request.replies(), 2);
        assert_eq!(request.asking().replies(), 3);
    }

    #[test]
    fn numbers_are_written_in_decimal() {
        for number in [0, 7, 10, 65_535, u64::MAX] {
            assert_eq!(Decimal::new(number).as_bytes(), number.to_string().as_bytes());
        }
    }
}
