//! The commands over one keyspace, as a table: name, how many words at least, where the keys stand, what it may do, and a
//! function. What concerns a whole server or a connection (`WAIT`, `CLUSTER`, `FCALL`) is `cluster/`'s.

mod collections;
mod keys;
mod streams;
mod strings;

use crate::redis::keyspace::{Keyspace, Refused};
use crate::redis::wire::{Reply, Words};

pub type Answer = Result<Reply, Refused>;

pub struct Command {
    pub name: &'static str,
    /// Words at least, the name included.
    pub words: usize,
    pub keys: Keys,
    pub effect: Effect,
    pub run: fn(&mut Keyspace, &[Vec<u8>]) -> Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    None,
    /// The word after the name.
    First,
    /// Every word after the name.
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Reads,
    /// It only frees memory.
    Frees,
    /// Refused when memory is full.
    Takes,
}

pub fn find(name: &[u8]) -> Option<&'static Command> {
    let tables = [strings::TABLE, keys::TABLE, collections::TABLE, streams::TABLE];
    tables.into_iter().flatten().find(|command| command.name.as_bytes().eq_ignore_ascii_case(name))
}

impl Command {
    pub fn keys<'a>(&self, words: &'a [Vec<u8>]) -> &'a [Vec<u8>] {
        match self.keys {
            Keys::None => &[],
            Keys::First => words.get(1..2).unwrap_or_default(),
            Keys::All => words.get(1..).unwrap_or_default(),
        }
    }

    pub fn call(&self, keyspace: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
        if words.len() < self.words {
            let name = self.name.to_ascii_lowercase();
            return Err(format!("ERR wrong number of arguments for '{name}' command"));
        }
        (self.run)(keyspace, words)
    }
}

const SYNTAX: &str = "ERR syntax error";

fn syntax() -> Refused {
    SYNTAX.to_owned()
}

fn is(word: &[u8], option: &str) -> bool {
    word.eq_ignore_ascii_case(option.as_bytes())
}

pub fn integer<T: std::str::FromStr>(word: &[u8]) -> Result<T, Refused> {
    let text = std::str::from_utf8(word).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| "ERR value is not an integer or out of range".to_owned())
}

fn float(word: &[u8]) -> Result<f64, Refused> {
    let text = std::str::from_utf8(word).unwrap_or_default();
    match text.to_ascii_lowercase().as_str() {
        "+inf" | "inf" => Ok(f64::INFINITY),
        "-inf" => Ok(f64::NEG_INFINITY),
        text => text.parse().map_err(|_| "ERR value is not a valid float".to_owned()),
    }
}

/// A number as Redis writes it into a string reply.
fn shown(number: f64) -> Vec<u8> {
    match number {
        number if number == f64::INFINITY => b"inf".to_vec(),
        number if number == f64::NEG_INFINITY => b"-inf".to_vec(),
        number => number.to_string().into_bytes(),
    }
}

/// `MATCH pattern` and `COUNT n` among the words from `at` on.
fn scan_options(words: &[Vec<u8>], at: usize) -> Result<(Vec<u8>, usize), Refused> {
    let (mut pattern, mut count) = (b"*".to_vec(), 10);
    for pair in words[at..].chunks(2) {
        match pair {
            [option, value] if is(option, "MATCH") => pattern = value.clone(),
            [option, value] if is(option, "COUNT") => count = integer(value)?,
            _ => return Err(syntax()),
        }
    }
    Ok((pattern, count))
}

/// One step of a scan: items are met in the order of their hashes, which is the cursor. So what is there all the time is
/// met, and what comes or goes may be missed, as with Redis.
fn scan_page(items: impl Iterator<Item = Words>, cursor: u64, count: usize, pattern: &[u8]) -> (u64, Vec<Words>) {
    let mut rest: Vec<(u64, Words)> =
        items.map(|item| (place(&item[0]), item)).filter(|(place, _)| *place >= cursor).collect();
    rest.sort_by(|a, b| (a.0, &a.1[0]).cmp(&(b.0, &b.1[0])));
    // Items of one place stay together, or the second would never be met.
    let mut end = count.min(rest.len());
    while end > 0 && end < rest.len() && rest[end].0 == rest[end - 1].0 {
        end += 1;
    }
    let next = rest.get(end).map_or(0, |(place, _)| *place);
    let page = rest.drain(..end).map(|(_, item)| item).filter(|item| glob(pattern, &item[0])).collect();
    (next, page)
}

/// Where a scan meets an item. Never 0, which is the beginning and the end.
fn place(item: &[u8]) -> u64 {
    (xxhash_rust::xxh3::xxh3_64(item) >> 16) | 1
}

fn cursor_reply(next: u64, items: Vec<Reply>) -> Reply {
    Reply::Array(vec![Reply::text(next.to_string()), Reply::Array(items)])
}

/// Redis's glob: `*`, `?`, `[a-z]`, `[^…]`, and `\` before what is meant as it stands.
pub fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skipped| glob(rest, &text[skipped..])),
        Some((b'?', rest)) => !text.is_empty() && glob(rest, &text[1..]),
        Some((b'[', rest)) => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
            let (class, rest) = (&rest[..end], &rest[end + 1..]);
            text.split_first().is_some_and(|(first, text)| in_class(class, *first) && glob(rest, text))
        }
        Some((b'\\', [literal, rest @ ..])) => text.first() == Some(literal) && glob(rest, &text[1..]),
        Some((literal, rest)) => text.first() == Some(literal) && glob(rest, &text[1..]),
    }
}

fn in_class(class: &[u8], byte: u8) -> bool {
    let (negated, mut class) = match class.split_first() {
        Some((b'^', rest)) => (true, rest),
        _ => (false, class),
    };
    let mut found = false;
    while let Some((first, rest)) = class.split_first() {
        class = match rest {
            [b'-', last, rest @ ..] => {
                found |= (*first..=*last).contains(&byte);
                rest
            }
            rest => {
                found |= *first == byte;
                rest
            }
        };
    }
    found != negated
}
