//! Just enough of a Rust lexer that comments, strings, lifetimes and chars cannot fool a rule.
//!
//! Why not a parser: a parser would be a dependency, and the rules ask only for words, marks and matching brackets.

#[derive(Debug)]
pub struct File {
    /// From the root of the repository, with `/`.
    pub path: String,
    pub text: String,
    pub tokens: Vec<Token>,
    pub comments: Vec<Comment>,
}

#[derive(Debug)]
pub struct Token {
    pub line: usize,
    pub kind: Kind,
    /// Stands in an item under `#[cfg(test)]`, in a file under `tests/` or `benches/`, or in one called `…tests.rs`.
    pub in_test: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    Word(String),
    Mark(char),
    /// A string, a char or a number: no rule looks inside.
    Literal,
}

#[derive(Debug)]
pub struct Comment {
    pub line: usize,
    pub text: String,
}

impl File {
    pub fn new(path: &str, text: &str) -> Self {
        let (mut tokens, comments) = Lexer { rest: text, line: 1, tokens: Vec::new(), comments: Vec::new() }.run();
        let outside = path.starts_with("tests/") || path.starts_with("benches/");
        mark_tests(&mut tokens, outside || path.ends_with("tests.rs"));
        Self { path: path.to_owned(), text: text.to_owned(), tokens, comments }
    }

    pub fn word(&self, at: usize) -> Option<&str> {
        match self.tokens.get(at).map(|token| &token.kind) {
            Some(Kind::Word(word)) => Some(word),
            _ => None,
        }
    }

    pub fn is_mark(&self, at: usize, mark: char) -> bool {
        is_mark(&self.tokens, at, mark)
    }

    /// Whether these words and marks stand from here on: `["select", "!"]`.
    pub fn stands(&self, at: usize, parts: &[&str]) -> bool {
        parts.iter().enumerate().all(|(i, part)| match &self.tokens.get(at + i).map(|token| &token.kind) {
            Some(Kind::Word(word)) => word == part,
            Some(Kind::Mark(mark)) => part.len() == 1 && part.starts_with(*mark),
            _ => false,
        })
    }

    /// Whether this token goes on a path that began earlier: `b` in `a::b` and in `<A as T>::b`, not in `use ::b`.
    pub fn continues_path(&self, at: usize) -> bool {
        let Some(before) = at.checked_sub(3) else { return false };
        let begun = match &self.tokens[before].kind {
            Kind::Word(word) => !matches!(word.as_str(), "use" | "as" | "in" | "dyn" | "impl" | "mut" | "return"),
            Kind::Mark('>') => {
                !(self.is_mark(before.wrapping_sub(1), '-') || self.is_mark(before.wrapping_sub(1), '='))
            }
            Kind::Mark(_) | Kind::Literal => false,
        };
        begun && self.stands(at - 2, &[":", ":"])
    }

    /// The token that closes the bracket which opens at this one; the last token where none does.
    pub fn closing(&self, open: usize) -> usize {
        closing(&self.tokens, open)
    }
}

fn is_mark(tokens: &[Token], at: usize, mark: char) -> bool {
    tokens.get(at).is_some_and(|token| token.kind == Kind::Mark(mark))
}

fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.kind {
            Kind::Mark('(' | '[' | '{') => depth += 1,
            Kind::Mark(')' | ']' | '}') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    tokens.len().saturating_sub(1)
}

/// The last token of the item that begins here: its closing brace, or its semicolon.
pub fn item_end(tokens: &[Token], from: usize) -> usize {
    let mut at = from;
    while at < tokens.len() {
        match tokens[at].kind {
            Kind::Mark('(' | '[') => at = closing(tokens, at),
            Kind::Mark('{') => return closing(tokens, at),
            Kind::Mark(';') => return at,
            _ => {}
        }
        at += 1;
    }
    tokens.len().saturating_sub(1)
}

fn mark_tests(tokens: &mut [Token], whole_file: bool) {
    let mut at = 0;
    while at < tokens.len() {
        if !(is_mark(tokens, at, '#') && is_mark(tokens, at + 1, '[')) {
            at += 1;
            continue;
        }
        let end = closing(tokens, at + 1);
        let has = |name: &str| tokens[at..end].iter().any(|token| token.kind == Kind::Word(name.to_owned()));
        if has("cfg") && has("test") && !has("not") {
            let last = item_end(tokens, end + 1);
            tokens[at..=last].iter_mut().for_each(|token| token.in_test = true);
            at = last;
        }
        at = at.max(end) + 1;
    }
    if whole_file {
        tokens.iter_mut().for_each(|token| token.in_test = true);
    }
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    tokens: Vec<Token>,
    comments: Vec<Comment>,
}

impl Lexer<'_> {
    fn run(mut self) -> (Vec<Token>, Vec<Comment>) {
        while let Some(c) = self.rest.chars().next() {
            let line = self.line;
            if self.rest.starts_with("//") {
                let text = self.take(self.rest.find('\n').unwrap_or(self.rest.len()));
                self.comments.push(Comment { line, text });
            } else if self.rest.starts_with("/*") {
                let text = self.take(block_comment(self.rest));
                let lines = text.lines().enumerate();
                self.comments.extend(lines.map(|(i, part)| Comment { line: line + i, text: part.to_owned() }));
            } else if let Some(length) = string(self.rest).or_else(|| char_literal(self.rest)) {
                self.take(length);
                self.push(line, Kind::Literal);
            } else if c.is_alphabetic() || c == '_' {
                let word = self.take(word(self.rest));
                self.push(line, Kind::Word(word.trim_start_matches("r#").to_owned()));
            } else if c.is_ascii_digit() {
                self.take(number(self.rest));
                self.push(line, Kind::Literal);
            } else {
                self.take(c.len_utf8());
                if !c.is_whitespace() {
                    self.push(line, Kind::Mark(c));
                }
            }
        }
        (self.tokens, self.comments)
    }

    fn take(&mut self, length: usize) -> String {
        let (taken, rest) = self.rest.split_at(length);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken.to_owned()
    }

    fn push(&mut self, line: usize, kind: Kind) {
        self.tokens.push(Token { line, kind, in_test: false });
    }
}

fn word(text: &str) -> usize {
    let start = if text.starts_with("r#") { 2 } else { 0 };
    text[start..].find(|c: char| !c.is_alphanumeric() && c != '_').map_or(text.len(), |n| start + n)
}

/// `1_000`, `0xff`, `1.5`; not the dots of `0..9` or of `1.max(2)`.
fn number(text: &str) -> usize {
    let whole = word(text);
    let digit_after_dot =
        text[whole..].strip_prefix('.').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    if digit_after_dot { whole + 1 + word(&text[whole + 1..]) } else { whole }
}

/// Block comments nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0usize, 0usize);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// `"…"`, `b"…"`, `c"…"`, and the raw ones with any number of `#`.
fn string(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| {
        let after = text.strip_prefix(prefix);
        after.is_some_and(|after| after.starts_with('"') || (prefix.ends_with('r') && raw_opens(after)))
    })?;
    let after = &text[prefix.len()..];
    if prefix.ends_with('r') {
        let hashes = after.bytes().take_while(|b| *b == b'#').count();
        let close = format!("\"{}", "#".repeat(hashes));
        let body = prefix.len() + hashes + 1;
        return Some(text[body..].find(&close).map_or(text.len(), |n| body + n + close.len()));
    }
    let end = unescaped(&after[1..], '"').map_or(text.len(), |n| prefix.len() + 1 + n + 1);
    Some(end)
}

fn raw_opens(text: &str) -> bool {
    text.starts_with('#') && text.trim_start_matches('#').starts_with('"')
}

/// `'a'`, `'\n'`, `b'x'`; not the lifetime `'a`, whose quote stands as a mark by itself.
fn char_literal(text: &str) -> Option<usize> {
    let start = if text.starts_with("b'") { 1 } else { 0 };
    let body = text[start..].strip_prefix('\'')?;
    let first = body.chars().next()?;
    let length = if first == '\\' { unescaped(body, '\'')? } else { first.len_utf8() };
    body[length..].starts_with('\'').then_some(start + 1 + length + 1)
}

fn unescaped(text: &str, end: char) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let ends = c == end && !escaped;
        escaped = c == '\\' && !escaped;
        ends.then_some(at)
    })
}

#[test]
fn comments_strings_and_lifetimes_do_not_look_like_code() {
    let text = r####"
        // pub use one
        /* pub use /* two */ pub use three */
        let a = "pub use \" four"; let b = r#"pub use "five" "#; let c = b"\\"; let d = b'\''; let e = '"';
        fn f<'a>(x: &'a str) -> char { '{' }
        let r#use = 1.5e3..2.max(0x1f);
    "####;
    let file = File::new("src/x.rs", text);
    let words: Vec<&str> = (0..file.tokens.len()).filter_map(|at| file.word(at)).collect();
    let expected = "let a let b let c let d let e fn f a x a str char let use max";
    assert_eq!(words.join(" "), expected);
    assert_eq!(file.comments.len(), 2);
    assert_eq!(file.tokens.last().expect("some").line, 6);
}

#[test]
fn items_under_cfg_test_are_known() {
    let file = File::new("src/x.rs", "fn a() {} #[cfg(test)] #[path = \"x\"] mod tests { fn b() {} } fn c() {}");
    let in_test = |name: &str| file.tokens.iter().find(|t| t.kind == Kind::Word(name.into())).expect("there").in_test;
    assert_eq!((in_test("a"), in_test("b"), in_test("c")), (false, true, false));
    for path in ["tests/it/x.rs", "src/remote/node_tests.rs"] {
        assert!(File::new(path, "fn a() {}").tokens.iter().all(|token| token.in_test), "{path}");
    }
}
