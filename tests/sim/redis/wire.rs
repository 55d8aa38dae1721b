//! RESP, as far as a server needs it: commands in, replies out. Replies are those of RESP3, which every connection of
//! Hydrant's asks for in its greeting.

/// One command and its arguments.
pub type Words = Vec<Vec<u8>>;

#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Status(String),
    Error(String),
    Int(i64),
    Double(f64),
    Bulk(Vec<u8>),
    Nil,
    Array(Vec<Reply>),
    Map(Vec<(Reply, Reply)>),
}

impl Reply {
    pub fn ok() -> Self {
        Self::Status("OK".to_owned())
    }

    pub fn text(text: impl Into<Vec<u8>>) -> Self {
        Self::Bulk(text.into())
    }

    pub fn bulk_or_nil(value: Option<Vec<u8>>) -> Self {
        value.map_or(Self::Nil, Self::Bulk)
    }

    pub fn count(number: usize) -> Self {
        Self::Int(number as i64)
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Status(text) => line(out, b'+', text.as_bytes()),
            Self::Error(text) => line(out, b'-', text.as_bytes()),
            Self::Int(number) => line(out, b':', number.to_string().as_bytes()),
            Self::Double(number) => line(out, b',', number.to_string().as_bytes()),
            Self::Nil => line(out, b'_', b""),
            Self::Bulk(bytes) => {
                line(out, b'$', bytes.len().to_string().as_bytes());
                out.extend_from_slice(bytes);
                out.extend_from_slice(b"\r\n");
            }
            Self::Array(items) => {
                line(out, b'*', items.len().to_string().as_bytes());
                items.iter().for_each(|item| item.encode(out));
            }
            Self::Map(pairs) => {
                line(out, b'%', pairs.len().to_string().as_bytes());
                for (key, value) in pairs {
                    key.encode(out);
                    value.encode(out);
                }
            }
        }
    }
}

fn line(out: &mut Vec<u8>, kind: u8, text: &[u8]) {
    out.push(kind);
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

/// Takes the first whole command off the buffer.
pub fn take_command(inbox: &mut Vec<u8>) -> Option<Words> {
    let (words, used) = parse(inbox)?;
    inbox.drain(..used);
    Some(words)
}

fn parse(bytes: &[u8]) -> Option<(Words, usize)> {
    let (count, mut at) = number(bytes, 0, b'*')?;
    let mut words = Words::with_capacity(count);
    for _ in 0..count {
        let (length, start) = number(bytes, at, b'$')?;
        words.push(bytes.get(start..start + length)?.to_vec());
        at = start + length + 2;
        if at > bytes.len() {
            return None;
        }
    }
    Some((words, at))
}

/// The number in a line of this kind, and where the next line begins.
fn number(bytes: &[u8], at: usize, kind: u8) -> Option<(usize, usize)> {
    let rest = bytes.get(at..)?;
    let end = rest.iter().position(|byte| *byte == b'\r').filter(|end| end + 1 < rest.len())?;
    assert_eq!(rest[0], kind, "a command that is no array of strings");
    let digits = std::str::from_utf8(&rest[1..end]).expect("digits");
    Some((digits.parse().expect("a length"), at + end + 2))
}
