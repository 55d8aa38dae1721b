//! One pass over an answer: finds the body, copies what may be kept, stops at the first secret.
//!
//! Every name and value that is copied has been judged before; what is left out is only checked to be JSON. Text inside
//! a string is inspected too: JSON in it must hold no never-cache name and no secret. It cannot be left out in part
//! without changing the bytes the app expects, so one such name refuses the whole.

use std::borrow::Cow;

use bytes::Bytes;

use crate::domain::detect;
use crate::domain::json::{Fault, Kind, Reader, Text};
use crate::domain::projection::names::Verdict;
use crate::domain::projection::paths::{Paths, Step};
use crate::domain::projection::{Projection, Refusal};

/// JSON in a string in JSON in a string: each level doubles the backslashes of the next, so more is no honest value.
const MAX_NESTED: usize = 4;
/// Longest name that a refusal shows; what is longer is an id or a token, not a field.
const MAX_SHOWN: usize = 40;

const NAME_INSIDE: &str = "JSON text with a field that is never cached";

pub(super) struct Walk<'a> {
    rules: &'a Projection,
    reader: Reader<'a>,
    kept: Vec<u8>,
    /// The names on the way to where the reader stands.
    trail: Vec<Text<'a>>,
    scratch: String,
}

/// What is allowed and trusted at one place.
#[derive(Clone, Copy)]
struct View<'a> {
    allow: &'a Paths,
    /// None where nothing here or below is trusted.
    trust: Option<&'a Paths>,
}

impl<'a> Walk<'a> {
    pub fn new(rules: &'a Projection, body: &'a [u8]) -> Result<Self, Fault> {
        let reader = Reader::new(body)?;
        let kept = Vec::with_capacity(body.len().min(rules.max_bytes));
        Ok(Self { rules, reader, kept, trail: Vec::new(), scratch: String::new() })
    }

    pub fn run(mut self) -> Result<Bytes, Refusal> {
        self.descend(&self.rules.body.steps)?;
        self.reader.finish()?;
        Ok(self.kept.into())
    }

    /// Goes to the body and keeps what is allowed of it; what stands beside it must be JSON and is left.
    fn descend(&mut self, steps: &[Step]) -> Result<(), Refusal> {
        let Some((step, rest)) = steps.split_first() else { return self.body() };
        let mut found = 0;
        match (step, self.reader.peek()?) {
            (Step::Name(wanted), Kind::Object) => {
                self.reader.open()?;
                while let Some(name) = self.reader.member()? {
                    if name.decoded() == *wanted {
                        found += 1;
                        self.descend(rest)?;
                    } else {
                        self.reader.skip()?;
                    }
                }
            }
            (Step::Index(wanted), Kind::Array) => {
                self.reader.open()?;
                let mut index = 0;
                while self.reader.element()? {
                    if index == *wanted {
                        found += 1;
                        self.descend(rest)?;
                    } else {
                        self.reader.skip()?;
                    }
                    index += 1;
                }
            }
            _ => {}
        }
        match found {
            1 => Ok(()),
            0 => Err(Refusal::NoBody(self.rules.body.text.clone())),
            // Readers differ in which of two they take; so neither is.
            _ => Err(Refusal::Malformed(format!("`{}` stands there twice", self.rules.body.text))),
        }
    }

    fn body(&mut self) -> Result<(), Refusal> {
        let view = View { allow: &self.rules.allow, trust: Some(&self.rules.trust) };
        let kind = self.reader.peek()?;
        if !view.admits(kind) {
            return Err(Refusal::Malformed("a bare value, where fields are listed".to_owned()));
        }
        self.value(kind, view)
    }

    fn value(&mut self, kind: Kind, view: View<'a>) -> Result<(), Refusal> {
        match kind {
            Kind::Object => self.object(view)?,
            Kind::Array => self.array(view)?,
            Kind::Text => {
                let text = self.reader.text()?;
                let what = self.rules.inspect(&text.decoded(), view.is_trusted(), 0, &mut self.scratch);
                self.refuse(what)?;
                self.keep(text.raw());
            }
            Kind::Number => {
                let number = self.reader.number()?;
                if !view.is_trusted() {
                    self.refuse(detect::in_number(number))?;
                }
                self.keep(number);
            }
            Kind::Bool | Kind::Null => {
                let word = self.reader.word()?;
                self.keep(word);
            }
        }
        Ok(())
    }

    fn object(&mut self, view: View<'a>) -> Result<(), Refusal> {
        self.reader.open()?;
        self.kept.push(b'{');
        while let Some(name) = self.reader.member()? {
            let kind = self.reader.peek()?;
            let decoded = name.decoded();
            let Some(view) = self.member_view(&decoded, kind, view) else {
                self.reader.skip()?;
                continue;
            };
            self.trail.push(name);
            // A map may be keyed by tokens.
            self.refuse(detect::in_text(&decoded))?;
            self.separate(b'{');
            self.keep(name.raw());
            self.kept.push(b':');
            self.value(kind, view)?;
            self.trail.pop();
        }
        self.kept.push(b'}');
        Ok(())
    }

    fn array(&mut self, view: View<'a>) -> Result<(), Refusal> {
        self.reader.open()?;
        self.kept.push(b'[');
        while self.reader.element()? {
            let kind = self.reader.peek()?;
            if view.admits(kind) {
                self.separate(b'[');
                self.value(kind, view)?;
            } else {
                self.reader.skip()?;
            }
        }
        self.kept.push(b']');
        Ok(())
    }

    /// The view of a member that is kept; none where it is left out.
    fn member_view(&mut self, name: &str, kind: Kind, view: View<'a>) -> Option<View<'a>> {
        let below = View { allow: view.allow.below(name)?, trust: view.trust.and_then(|trust| trust.below(name)) };
        let verdict = self.rules.never.judge(name, &mut self.scratch);
        (below.admits(kind) && verdict.admits(kind)).then_some(below)
    }

    /// A comma, unless what is kept ends in the bracket just opened.
    fn separate(&mut self, open: u8) {
        if self.kept.last() != Some(&open) {
            self.kept.push(b',');
        }
    }

    fn keep(&mut self, raw: &str) {
        self.kept.extend_from_slice(raw.as_bytes());
    }

    fn refuse(&self, what: Option<&'static str>) -> Result<(), Refusal> {
        match what {
            None => Ok(()),
            Some(what) => Err(Refusal::Secret { path: self.path(), what }),
        }
    }

    /// Where the reader stands, for a person. A name that is no field's name may be an id or a secret: it shows as `?`.
    fn path(&self) -> String {
        if self.trail.is_empty() {
            return "$".to_owned();
        }
        let shown = |name: &Text<'a>| {
            let name = name.decoded();
            let plain = name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_' || b == b'-');
            let fits = (1..=MAX_SHOWN).contains(&name.len()) && plain && detect::in_text(&name).is_none();
            if fits { name } else { Cow::Borrowed("?") }
        };
        self.trail.iter().map(shown).collect::<Vec<_>>().join(".")
    }
}

impl View<'_> {
    /// Where only some fields are listed, a value without fields is not among them. `null` says no more than `{}`.
    fn admits(&self, kind: Kind) -> bool {
        match kind {
            Kind::Object | Kind::Array | Kind::Null => true,
            Kind::Text | Kind::Number | Kind::Bool => self.allow.is_whole(),
        }
    }

    fn is_trusted(&self) -> bool {
        self.trust.is_some_and(Paths::is_whole)
    }
}

impl Verdict {
    fn admits(self, kind: Kind) -> bool {
        match self {
            Self::Keep => true,
            Self::Flag => matches!(kind, Kind::Bool | Kind::Null),
            Self::Never => false,
        }
    }
}

impl Projection {
    /// What secret a string holds, be it in JSON text inside it.
    fn inspect(&self, text: &str, trusted: bool, nested: usize, scratch: &mut String) -> Option<&'static str> {
        if !trusted && let Some(what) = detect::in_text(text) {
            return Some(what);
        }
        if text.trim_start().starts_with(['{', '[', '"']) {
            if nested == MAX_NESTED {
                return Some("JSON text in JSON text, nested too deep");
            }
            let mut reader = Reader::of(text);
            match self.inspect_json(&mut reader, trusted, nested, scratch) {
                Ok(Some(what)) => return Some(what),
                Ok(None) if reader.finish().is_ok() => return None,
                Err(Fault::TooDeep) => return Some("JSON text, nested too deep"),
                Ok(None) | Err(_) => {}
            }
        }
        self.names_in_prose(text, scratch)
    }

    fn inspect_json(
        &self,
        reader: &mut Reader<'_>,
        trusted: bool,
        nested: usize,
        scratch: &mut String,
    ) -> Result<Option<&'static str>, Fault> {
        match reader.peek()? {
            Kind::Object => {
                reader.open()?;
                while let Some(name) = reader.member()? {
                    let name = name.decoded();
                    if !self.never.judge(&name, scratch).admits(reader.peek()?) {
                        return Ok(Some(NAME_INSIDE));
                    }
                    let in_name = detect::in_text(&name);
                    if let Some(what) = in_name.or(self.inspect_json(reader, trusted, nested, scratch)?) {
                        return Ok(Some(what));
                    }
                }
                Ok(None)
            }
            Kind::Array => {
                reader.open()?;
                while reader.element()? {
                    if let Some(what) = self.inspect_json(reader, trusted, nested, scratch)? {
                        return Ok(Some(what));
                    }
                }
                Ok(None)
            }
            Kind::Text => Ok(self.inspect(&reader.text()?.decoded(), trusted, nested + 1, scratch)),
            Kind::Number => {
                let number = reader.number()?;
                Ok(if trusted { None } else { detect::in_number(number) })
            }
            Kind::Bool | Kind::Null => reader.word().map(|_| None),
        }
    }

    /// JSON that is cut short, one value a line, or inside a log line: a quoted name before a colon is enough.
    fn names_in_prose(&self, text: &str, scratch: &mut String) -> Option<&'static str> {
        let mut opened: Option<usize> = None;
        for (at, _) in text.bytes().enumerate().filter(|(_, b)| matches!(b, b'"' | b'\'')) {
            if let Some(start) = opened.replace(at + 1) {
                let is_name = text[at + 1..].trim_start().starts_with(':');
                if is_name && self.never.judge(&text[start..at], scratch) == Verdict::Never {
                    return Some(NAME_INSIDE);
                }
            }
        }
        None
    }
}
