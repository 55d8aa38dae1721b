//! `${VAR}`, `${VAR:-default}` and `${file:/path}` in a value.
//!
//! `$${` stands for a literal `${`. What a variable or file holds is taken as it is and not expanded again. A variable
//! that is set to nothing counts as unset, as shells have it with `:-`. Files are for secrets and keys: what is read from one
//! is never printed, and a text that may be printed should stand where it can be reviewed.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::problem::unreadable;

/// A token or a password; anything longer is the wrong file.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

pub struct Expander<'a> {
    env: &'a BTreeMap<String, String>,
    /// Every file that was named, with a hash of what was in it. One that could not be read may yet appear.
    pub files: BTreeMap<PathBuf, u64>,
}

/// Whether what comes out is a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    Secret,
    Print,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expanded {
    pub text: String,
    /// What stood for a part of it, in order.
    pub via: Vec<Via>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    Variable(String),
    /// The variable was not set, and its default stands.
    Fallback(String),
    File(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("`${{` without its `}}`")]
    Unclosed,
    #[error("`${{{0}}}` is not the name of a variable")]
    BadName(String),
    #[error("the environment variable `{0}` is not set")]
    Unset(String),
    #[error("`${{file:…}}` may stand for secrets only")]
    NotSecret,
    #[error("the file `{path}` {why}")]
    File { path: String, why: String },
}

enum Piece<'a> {
    Text(&'a str),
    Variable { name: &'a str, default: Option<&'a str> },
    File(&'a str),
}

impl<'a> Expander<'a> {
    pub fn new(env: &'a BTreeMap<String, String>) -> Self {
        Self { env, files: BTreeMap::new() }
    }

    pub fn expand(&mut self, text: &str, purpose: For) -> Result<Expanded, Fault> {
        let mut expanded = Expanded { text: String::new(), via: Vec::new() };
        for piece in pieces(text)? {
            match piece {
                Piece::Text(text) => expanded.text.push_str(text),
                Piece::Variable { name, default } => {
                    let set = self.env.get(name).map(String::as_str).filter(|value| !value.is_empty());
                    let unset = default.is_none() && !self.env.contains_key(name);
                    if unset {
                        return Err(Fault::Unset(name.to_owned()));
                    }
                    expanded.text.push_str(set.or(default).unwrap_or_default());
                    expanded.via.push(match set {
                        None if default.is_some() => Via::Fallback(name.to_owned()),
                        _ => Via::Variable(name.to_owned()),
                    });
                }
                Piece::File(_) if purpose == For::Print => return Err(Fault::NotSecret),
                Piece::File(path) => {
                    let secret = read_secret(Path::new(path));
                    let told = secret.as_ref().map_or_else(Fault::to_string, String::clone);
                    self.files.insert(PathBuf::from(path), xxh3_64(told.as_bytes()));
                    expanded.text.push_str(&secret?);
                    expanded.via.push(Via::File(PathBuf::from(path)));
                }
            }
        }
        Ok(expanded)
    }
}

impl Fault {
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Unclosed => "close it, or write `$${` for a literal `${`".to_owned(),
            Self::BadName(_) => {
                "write `${NAME}`, `${NAME:-default}` or `${file:/path}`; `$${` is a literal `${`".to_owned()
            }
            Self::Unset(name) => format!("set it, or give a default: `${{{name}:-…}}`"),
            Self::NotSecret => "write the value here, or take it from the environment: `${NAME}`".to_owned(),
            Self::File { .. } => "mount the secret there, readable for this process".to_owned(),
        };
        Some(hint)
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "${{{name}}}"),
            Self::Fallback(name) => write!(f, "${{{name}}} not set, its default"),
            Self::File(path) => write!(f, "file {}", path.display()),
        }
    }
}

/// The text of a secret file without the line break that editors put at its end.
pub fn read_secret(path: &Path) -> Result<String, Fault> {
    let fault = |why: &str| Fault::File { path: path.display().to_string(), why: why.to_owned() };
    let cannot = |error: std::io::Error| fault(&format!("cannot be read: {}", unreadable(&error)));
    if !fs::metadata(path).map_err(cannot)?.is_file() {
        return Err(fault("is not a file"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path).and_then(|file| file.take(MAX_SECRET_BYTES + 1).read_to_end(&mut bytes)).map_err(cannot)?;
    if bytes.len() as u64 > MAX_SECRET_BYTES {
        return Err(fault("is larger than 64KiB, which is no secret"));
    }
    let text = String::from_utf8(bytes).map_err(|_| fault("is not UTF-8 text"))?;
    let text = text.strip_suffix('\n').map(|t| t.strip_suffix('\r').unwrap_or(t)).unwrap_or(&text);
    if text.is_empty() { Err(fault("is empty")) } else { Ok(text.to_owned()) }
}

fn pieces(text: &str) -> Result<Vec<Piece<'_>>, Fault> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(literal) = before.strip_suffix('$') {
            pieces.extend([Piece::Text(literal), Piece::Text("${")]);
            rest = after;
            continue;
        }
        let end = after.find('}').ok_or(Fault::Unclosed)?;
        pieces.extend([Piece::Text(before), piece(&after[..end])?]);
        rest = &after[end + 1..];
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

fn piece(inside: &str) -> Result<Piece<'_>, Fault> {
    if let Some(path) = inside.strip_prefix("file:") {
        return if path.starts_with('/') { Ok(Piece::File(path)) } else { Err(Fault::BadName(inside.to_owned())) };
    }
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if starts_well && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        Ok(Piece::Variable { name, default })
    } else {
        Err(Fault::BadName(inside.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Result<String, Fault> {
        let env: BTreeMap<String, String> =
            [("A", "1"), ("EMPTY", ""), ("NESTED", "${A}")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        Expander::new(&env).expand(text, For::Print).map(|expanded| expanded.text)
    }

    #[test]
    fn variables_and_defaults_take_their_place() {
        for (text, becomes) in [
            ("plain", "plain"),
            ("${A}", "1"),
            ("x${A}y${B:-2}z", "x1y2z"),
            ("${EMPTY:-full}", "full"),
            ("${EMPTY}", ""),
            ("${B:-}", ""),
            ("${NESTED}", "${A}"),
            ("$${A} $A", "${A} $A"),
        ] {
            assert_eq!(expand(text).as_deref(), Ok(becomes), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_expanded_is_refused() {
        assert_eq!(expand("${B}"), Err(Fault::Unset("B".into())));
        assert_eq!(expand("${A"), Err(Fault::Unclosed));
        assert_eq!(expand("${}"), Err(Fault::BadName("".into())));
        assert_eq!(expand("${a b}"), Err(Fault::BadName("a b".into())));
        assert_eq!(expand("${file:/etc/hostname}"), Err(Fault::NotSecret));
    }

    #[test]
    fn a_secret_file_loses_its_last_line_break_and_must_hold_something() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("secret");
        let text = format!("Bearer ${{file:{}}}", path.display());
        let env = BTreeMap::new();
        let read = |bytes: &[u8]| {
            fs::write(&path, bytes).expect("writes");
            Expander::new(&env).expand(&text, For::Secret).map(|expanded| expanded.text)
        };
        assert_eq!(read(b"hunter2\r\n").as_deref(), Ok("Bearer hunter2"));
        assert!(matches!(read(b"\n"), Err(Fault::File { .. })));
        assert!(matches!(read(&[0xff]), Err(Fault::File { .. })));
        assert!(matches!(read(&[b'a'; 65_537]), Err(Fault::File { .. })));
        assert!(matches!(read_secret(dir.path()), Err(Fault::File { .. })));
        assert!(matches!(read_secret(&dir.path().join("none")), Err(Fault::File { .. })));
    }
}
