//! A strict reader of JSON text that hands out its parts as they stand: numbers, escapes and order untouched.
//!
//! Why our own: a parser that makes values of numbers and strings cannot give back `1.0`, `1e400` or `\u00e9` as they
//! were received. It accepts what `serde_json` accepts (a property below), up to a depth, and keeps no state but its
//! place: whoever reads decides what to do with each part. Half a surrogate pair is refused, since it is no text.

use std::borrow::Cow;

/// Deeper values come from no honest source; the limit also bounds the recursion of whoever reads.
pub const MAX_DEPTH: usize = 64;

#[derive(Clone, Debug)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    /// Just behind an opening bracket, where no comma is due.
    opened: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Object,
    Array,
    Text,
    Number,
    Bool,
    Null,
}

/// A string as it stands, in its quotes.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    raw: &'a str,
    escaped: bool,
}

/// Why a text is not JSON. Names the place, never what stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("the text is not UTF-8")]
    NotUtf8,
    #[error("the text ends too early")]
    Short,
    #[error("byte {0} cannot stand there")]
    At(usize),
    #[error("deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Result<Self, Fault> {
        Ok(Self::of(std::str::from_utf8(bytes).map_err(|_| Fault::NotUtf8)?))
    }

    pub fn of(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0, opened: false }
    }

    /// What comes next, without taking it.
    pub fn peek(&mut self) -> Result<Kind, Fault> {
        match self.next_byte()? {
            b'{' => Ok(Kind::Object),
            b'[' => Ok(Kind::Array),
            b'"' => Ok(Kind::Text),
            b'-' | b'0'..=b'9' => Ok(Kind::Number),
            b't' | b'f' => Ok(Kind::Bool),
            b'n' => Ok(Kind::Null),
            _ => Err(Fault::At(self.at)),
        }
    }

    /// Steps into the object or array that `peek` announced.
    pub fn open(&mut self) -> Result<(), Fault> {
        if self.depth == MAX_DEPTH {
            return Err(Fault::TooDeep);
        }
        self.depth += 1;
        self.at += 1;
        self.opened = true;
        Ok(())
    }

    /// The next member's name, its colon taken too; none at the end of the object, which is then left.
    pub fn member(&mut self) -> Result<Option<Text<'a>>, Fault> {
        if !self.more(b'}')? {
            return Ok(None);
        }
        if self.next_byte()? != b'"' {
            return Err(Fault::At(self.at));
        }
        let name = self.text()?;
        if self.next_byte()? != b':' {
            return Err(Fault::At(self.at));
        }
        self.at += 1;
        Ok(Some(name))
    }

    /// Whether another element follows; at the end of the array it is left.
    pub fn element(&mut self) -> Result<bool, Fault> {
        self.more(b']')
    }

    pub fn text(&mut self) -> Result<Text<'a>, Fault> {
        let (bytes, start) = (self.text.as_bytes(), self.at);
        let mut escaped = false;
        self.at += 1;
        loop {
            self.at = plain_until(bytes, self.at);
            match bytes.get(self.at) {
                None => return Err(Fault::Short),
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.at = escape(bytes, self.at)?.1;
                }
                Some(_) => return Err(Fault::At(self.at)),
            }
        }
        self.at += 1;
        Ok(Text { raw: &self.text[start..self.at], escaped })
    }

    pub fn number(&mut self) -> Result<&'a str, Fault> {
        let (bytes, start) = (self.text.as_bytes(), self.at);
        if bytes[self.at] == b'-' {
            self.at += 1;
        }
        // A leading zero stands alone.
        match bytes.get(self.at) {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = bytes.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    /// `true`, `false` or `null`.
    pub fn word(&mut self) -> Result<&'a str, Fault> {
        let rest = &self.text[self.at..];
        let word = ["true", "false", "null"].into_iter().find(|word| rest.starts_with(word));
        let word = word.ok_or(Fault::At(self.at))?;
        self.at += word.len();
        Ok(word)
    }

    /// Passes over a whole value, checking it.
    pub fn skip(&mut self) -> Result<(), Fault> {
        match self.peek()? {
            Kind::Object => {
                self.open()?;
                while self.member()?.is_some() {
                    self.skip()?;
                }
            }
            Kind::Array => {
                self.open()?;
                while self.element()? {
                    self.skip()?;
                }
            }
            Kind::Text => drop(self.text()?),
            Kind::Number => drop(self.number()?),
            Kind::Bool | Kind::Null => drop(self.word()?),
        }
        Ok(())
    }

    /// The next value whole, as it stands.
    pub fn raw(&mut self) -> Result<&'a str, Fault> {
        self.peek()?;
        let start = self.at;
        self.skip()?;
        Ok(&self.text[start..self.at])
    }

    /// Proves that nothing is left.
    pub fn finish(mut self) -> Result<(), Fault> {
        match self.next_byte() {
            Err(_) => Ok(()),
            Ok(_) => Err(Fault::At(self.at)),
        }
    }

    /// Whether the bracket that is open goes on; takes the comma, or the closing bracket.
    fn more(&mut self, close: u8) -> Result<bool, Fault> {
        let next = self.next_byte()?;
        let first = std::mem::replace(&mut self.opened, false);
        if next == close {
            self.at += 1;
            self.depth -= 1;
            return Ok(false);
        }
        match (first, next) {
            (true, _) => Ok(true),
            (false, b',') => {
                self.at += 1;
                Ok(true)
            }
            (false, _) => Err(Fault::At(self.at)),
        }
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let rest = &self.text.as_bytes()[self.at..];
        let count = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        self.at += count;
        match (count, rest.is_empty()) {
            (0, true) => Err(Fault::Short),
            (0, false) => Err(Fault::At(self.at)),
            _ => Ok(()),
        }
    }

    fn next_byte(&mut self) -> Result<u8, Fault> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return Ok(*byte),
            }
        }
        Err(Fault::Short)
    }
}

impl<'a> Text<'a> {
    /// As received, quotes and escapes included.
    pub fn raw(&self) -> &'a str {
        self.raw
    }

    /// What it says.
    pub fn decoded(&self) -> Cow<'a, str> {
        let inner = &self.raw[1..self.raw.len() - 1];
        if !self.escaped {
            return Cow::Borrowed(inner);
        }
        let mut decoded = String::with_capacity(inner.len());
        let mut at = 0;
        while let Some(found) = inner[at..].find('\\') {
            decoded.push_str(&inner[at..at + found]);
            // The reader has passed every escape once, so none fails here.
            let Ok((c, next)) = escape(inner.as_bytes(), at + found) else { break };
            decoded.push(c);
            at = next;
        }
        decoded.push_str(&inner[at..]);
        Cow::Owned(decoded)
    }
}

/// The place of the first quote, backslash or control character, eight bytes at a time.
fn plain_until(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    /// The high bit of each byte that is zero (and of bytes above one that is; only "none at all" is relied on).
    const fn zeros(word: u64) -> u64 {
        word.wrapping_sub(ONES) & !word & HIGH
    }
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_ne_bytes(*chunk);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        if control | zeros(word ^ (ONES * b'"' as u64)) | zeros(word ^ (ONES * b'\\' as u64)) != 0 {
            break;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f)).unwrap_or(rest.len())
}

/// The character that the escape at this backslash stands for, and the place behind it.
fn escape(bytes: &[u8], at: usize) -> Result<(char, usize), Fault> {
    let plain = |c| Ok((c, at + 2));
    match bytes.get(at + 1) {
        None => Err(Fault::Short),
        Some(b'"') => plain('"'),
        Some(b'\\') => plain('\\'),
        Some(b'/') => plain('/'),
        Some(b'b') => plain('\u{8}'),
        Some(b'f') => plain('\u{c}'),
        Some(b'n') => plain('\n'),
        Some(b'r') => plain('\r'),
        Some(b't') => plain('\t'),
        Some(b'u') => {
            let first = unit(bytes, at + 2)?;
            if let Some(c) = char::from_u32(first) {
                return Ok((c, at + 6));
            }
            let second = match bytes.get(at + 6..at + 8) {
                Some(b"\\u") => unit(bytes, at + 8)?,
                _ => return Err(Fault::At(at)),
            };
            let mut pair = char::decode_utf16([first as u16, second as u16]);
            match pair.next() {
                Some(Ok(c)) => Ok((c, at + 12)),
                _ => Err(Fault::At(at)),
            }
        }
        Some(_) => Err(Fault::At(at + 1)),
    }
}

/// Four hex digits.
fn unit(bytes: &[u8], at: usize) -> Result<u32, Fault> {
    let digits = bytes.get(at..at + 4).ok_or(Fault::Short)?;
    digits.iter().try_fold(0, |unit, digit| {
        let value = char::from(*digit).to_digit(16).ok_or(Fault::At(at))?;
        Ok(unit * 16 + value)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn read(bytes: &[u8]) -> Result<(), Fault> {
        let mut reader = Reader::new(bytes)?;
        reader.skip()?;
        reader.finish()
    }

    /// What serde_json says; none where it refuses a number's size, which we do not judge.
    fn reference(bytes: &[u8]) -> Option<bool> {
        match serde_json::from_slice::<Value>(bytes) {
            Ok(_) => Some(true),
            Err(e) if e.to_string().contains("number out of range") => None,
            Err(_) => Some(false),
        }
    }

    #[test]
    fn the_edges_of_the_grammar() {
        for good in [
            "0",
            "-0",
            "1.0",
            "1e400",
            "-1E-7",
            "12345678901234567890",
            "\"\"",
            "\"\\ud83d\\ude00\"",
            " [ ] ",
            "{}",
            "[1,2]",
            "{\"a\":1,\"a\":2}",
            "null",
            "\"\u{7f}é\"",
            "\"eight by\\/te chunk\"",
        ] {
            assert_eq!(read(good.as_bytes()), Ok(()), "{good}");
        }
        for bad in [
            "",
            " ",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "-",
            "NaN",
            "Infinity",
            "nul",
            "tru",
            "[1,]",
            "[,1]",
            "{\"a\":1,}",
            "{\"a\"}",
            "{a:1}",
            "{\"a\":}",
            "[1 2]",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u12g4\"",
            "\"\\ud800\"",
            "\"\\ud800\\n\"",
            "\"\\udc00\"",
            "\"\\ud800\\ud800\"",
            "\"a\nb\"",
            "\"open",
            "1 1",
            "{} x",
            "[",
            "{",
            "]",
            "[}",
            "\u{feff}1",
            "'a'",
        ] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
            assert_eq!(reference(bad.as_bytes()), Some(false), "{bad}");
        }
        assert_eq!(read(b"\"\xff\""), Err(Fault::NotUtf8));
    }

    #[test]
    fn sixty_four_levels_and_no_more() {
        let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert_eq!(read(&nested(MAX_DEPTH)), Ok(()));
        assert_eq!(read(&nested(MAX_DEPTH + 1)), Err(Fault::TooDeep));
    }

    #[test]
    fn escapes_say_what_they_stand_for() {
        let mut reader = Reader::of(r#""pass\u0077ord \ud83d\ude00\n\\""#);
        assert_eq!(reader.text().expect("well formed").decoded(), "password \u{1f600}\n\\");
    }

    proptest! {
        #[test]
        fn it_accepts_what_serde_json_accepts(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(accepted) = reference(&bytes) {
                prop_assert_eq!(read(&bytes).is_ok(), accepted);
            }
        }

        /// Pieces of JSON in any order find more corners than noise does.
        #[test]
        fn also_for_text_that_is_nearly_json(text in r#"([\[\]{},:" \\]|"a"|"\\\\u[0-9a-fd]{4}"|-?[0-9]{1,3}|[.eE+]|true|null|é){0,14}"#) {
            if let Some(accepted) = reference(text.as_bytes()) {
                prop_assert_eq!(read(text.as_bytes()).is_ok(), accepted, "{}", text);
            }
        }

        #[test]
        fn strings_decode_as_serde_json_decodes_them(text in ".{0,40}", escape in any::<bool>()) {
            let mut json = serde_json::to_string(&text).expect("a string");
            if escape {
                let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
                json = format!("\"{units}\"");
            }
            let mut reader = Reader::of(&json);
            prop_assert_eq!(reader.text().expect("well formed").decoded(), text);
        }
    }
}
