//! A query with named parameters: `select … from users where id = {id}`.
//!
//! Parameters become `$1`, `$2` … of a prepared statement, and their values are sent beside it: no value is ever part of
//! the text. In quotes and comments a brace is a brace, so `'{1,2}'` and `'{a,b}'::text[]` stay what they are. `$1` may be
//! written for the first of the key's parameters, as people know it from elsewhere, but not beside names.
//!
//! What is read here is what must hold for the text to stand inside another query: one statement, brackets in pairs.

use crate::domain::template::{MAX_PARAMS, Params, RenderError, is_param_name};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    text: String,
    params: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("there is no query")]
    Empty,
    #[error("it must be one query, and read only: `select`, `with`, `values` or `table`")]
    NotAQuery,
    #[error("`;` ends a query, and only one can be sent")]
    Several,
    #[error("a quote, a comment or a bracket is not closed, or closed twice")]
    Unbalanced,
    #[error("`{{{0}}}` is not a parameter name: letters, digits and `_`, starting with a letter")]
    BadName(String),
    #[error("`${0}` stands for a parameter that is not there")]
    BadNumber(String),
    #[error("parameters are written by name or by number, not both ways in one query")]
    Mixed,
    #[error("more than {MAX_PARAMS} parameters")]
    TooMany,
}

/// How a query may begin.
const OPENINGS: [&str; 4] = ["select", "with", "values", "table"];

impl Query {
    /// `positions` are the parameters that `$1`, `$2` … stand for.
    pub fn parse(text: &str, positions: &[&str]) -> Result<Self, QueryError> {
        let trimmed = text.trim().trim_end_matches(';').trim_end();
        if trimmed.is_empty() {
            return Err(QueryError::Empty);
        }
        let mut scan = Scan { rest: trimmed, text: String::with_capacity(trimmed.len()), params: Vec::new(), depth: 0 };
        let (mut by_name, mut by_number) = (false, false);
        while let Some(c) = scan.rest.chars().next() {
            match c {
                '\'' | '"' => scan.quoted(c)?,
                '-' if scan.rest.starts_with("--") => scan.line_comment(),
                '/' if scan.rest.starts_with("/*") => scan.block_comment()?,
                '$' if scan.is_number() => {
                    by_number = true;
                    scan.number(positions)?;
                }
                '$' => scan.dollar()?,
                '{' => {
                    by_name = true;
                    scan.name()?;
                }
                ';' => return Err(QueryError::Several),
                '}' => return Err(QueryError::Unbalanced),
                c => scan.plain(c)?,
            }
        }
        if scan.depth != 0 {
            return Err(QueryError::Unbalanced);
        }
        if by_name && by_number {
            return Err(QueryError::Mixed);
        }
        if !is_query(&scan.text) {
            return Err(QueryError::NotAQuery);
        }
        Ok(Self { text: scan.text, params: scan.params })
    }

    /// With `$1`, `$2` … where the parameters are.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The parameters in the order of their numbers.
    pub fn params(&self) -> impl Iterator<Item = &str> {
        self.params.iter().map(String::as_str)
    }

    /// The values in the order of their numbers.
    pub fn bind<'a>(&self, params: &'a Params) -> Result<Vec<&'a str>, RenderError> {
        let value = |name: &String| params.get(name).ok_or_else(|| RenderError::Missing(name.clone()));
        self.params.iter().map(value).collect()
    }
}

fn is_query(text: &str) -> bool {
    let bare = text.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
    let word: String = bare.chars().take_while(char::is_ascii_alphabetic).collect();
    OPENINGS.contains(&word.to_ascii_lowercase().as_str())
}

struct Scan<'a> {
    rest: &'a str,
    text: String,
    params: Vec<String>,
    depth: u32,
}

impl Scan<'_> {
    fn take(&mut self, bytes: usize) {
        let (taken, rest) = self.rest.split_at(bytes);
        self.text.push_str(taken);
        self.rest = rest;
    }

    fn plain(&mut self, c: char) -> Result<(), QueryError> {
        match c {
            '(' => self.depth += 1,
            ')' => self.depth = self.depth.checked_sub(1).ok_or(QueryError::Unbalanced)?,
            _ => {}
        }
        self.take(c.len_utf8());
        Ok(())
    }

    /// A doubled quote is a quote in it; in `E'…'` a backslash takes what follows.
    fn quoted(&mut self, quote: char) -> Result<(), QueryError> {
        let before = self.text.chars().rev().take(2).collect::<Vec<_>>();
        let word_before = before.get(1).is_some_and(|c| c.is_alphanumeric() || *c == '_');
        let escapes = quote == '\'' && matches!(before.first(), Some('e' | 'E')) && !word_before;
        let mut chars = self.rest.char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' if escapes => drop(chars.next()),
                c if c == quote && chars.peek().is_some_and(|(_, next)| *next == quote) => drop(chars.next()),
                c if c == quote => {
                    self.take(at + 1);
                    return Ok(());
                }
                _ => {}
            }
        }
        Err(QueryError::Unbalanced)
    }

    /// Left out: what follows it may be a bracket of ours.
    fn line_comment(&mut self) {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        self.rest = &self.rest[end..];
        self.text.push(' ');
    }

    fn block_comment(&mut self) -> Result<(), QueryError> {
        let (mut depth, mut at) = (0_u32, 0);
        loop {
            let rest = &self.rest[at..];
            if rest.starts_with("/*") {
                (depth, at) = (depth + 1, at + 2);
            } else if rest.starts_with("*/") {
                (depth, at) = (depth - 1, at + 2);
            } else {
                at += rest.chars().next().ok_or(QueryError::Unbalanced)?.len_utf8();
            }
            if depth == 0 {
                self.rest = &self.rest[at..];
                self.text.push(' ');
                return Ok(());
            }
        }
    }

    /// `$$…$$` or `$tag$…$tag$`; a `$` within a name is neither.
    fn dollar(&mut self) -> Result<(), QueryError> {
        let in_name = self.text.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let tag = self.rest[1..].find('$').map(|end| &self.rest[..end + 2]);
        let tag = tag.filter(|tag| tag[1..tag.len() - 1].chars().all(|c| c.is_alphanumeric() || c == '_'));
        match tag {
            Some(tag) if !in_name => {
                let body = self.rest[tag.len()..].find(tag).ok_or(QueryError::Unbalanced)?;
                self.take(tag.len() * 2 + body);
            }
            Some(_) | None => self.take(1),
        }
        Ok(())
    }

    fn is_number(&self) -> bool {
        let in_name = self.text.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        !in_name && self.rest[1..].starts_with(|c: char| c.is_ascii_digit())
    }

    fn number(&mut self, positions: &[&str]) -> Result<(), QueryError> {
        let digits: String = self.rest[1..].chars().take_while(char::is_ascii_digit).collect();
        let position = digits.parse::<usize>().ok().and_then(|n| positions.get(n.checked_sub(1)?));
        let name = position.ok_or_else(|| QueryError::BadNumber(digits.clone()))?;
        self.rest = &self.rest[1 + digits.len()..];
        self.param(name)
    }

    fn name(&mut self) -> Result<(), QueryError> {
        let end = self.rest.find('}').ok_or(QueryError::Unbalanced)?;
        let name = self.rest[1..end].to_owned();
        if !is_param_name(&name) {
            return Err(QueryError::BadName(name));
        }
        self.rest = &self.rest[end + 1..];
        self.param(&name)
    }

    fn param(&mut self, name: &str) -> Result<(), QueryError> {
        let known = self.params.iter().position(|known| known == name);
        let at = known.unwrap_or_else(|| {
            self.params.push(name.to_owned());
            self.params.len() - 1
        });
        if self.params.len() > MAX_PARAMS {
            return Err(QueryError::TooMany);
        }
        // Two digits in a row, `$1` and a `0`, would be another number.
        self.text.push_str(&format!("${} ", at + 1));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<(String, Vec<String>), QueryError> {
        Query::parse(text, &["id", "kind"]).map(|query| (query.text, query.params))
    }

    #[test]
    fn names_become_numbers() {
        let (text, params) = parse("select * from t where a = {a} and (b = {b} or c = {a});").expect("a query");
        assert_eq!(text, "select * from t where a = $1  and (b = $2  or c = $1 )");
        assert_eq!(params, ["a", "b"]);
        let (text, params) = parse("select 1 where $2 = 'x' and id = any($1)").expect("a query");
        assert_eq!(
            (text.as_str(), params.as_slice()),
            ("select 1 where $1  = 'x' and id = any($2 )", &["kind".to_owned(), "id".to_owned()][..])
        );
    }

    #[test]
    fn quotes_and_comments_are_left_alone() {
        for text in [
            "select '{1,2}'::int[], '{a}', 'it''s {x}'",
            r"select E'\'{x}', '\', e'a\\'",
            "select \"odd {name}\"\"s\" from t",
            "select $${x}; $1$$, $q$ $$ {y} $q$, a$b from t",
            "select 'a;b' where x @> '{\"k\": 1}'",
        ] {
            assert_eq!(parse(text), Ok((text.to_owned(), vec![])), "{text}");
        }
        assert_eq!(
            parse("select 1 -- {x}; it's\n, 2 /* ' /* ; */ */ -- )"),
            Ok(("select 1  \n, 2    ".to_owned(), vec![]))
        );
    }

    #[test]
    fn what_could_not_stand_inside_another_query_is_refused() {
        for (text, why) in [
            ("", QueryError::Empty),
            (" ; ", QueryError::Empty),
            ("select 1; drop table t", QueryError::Several),
            ("select 1) x; --", QueryError::Unbalanced),
            ("select (1", QueryError::Unbalanced),
            ("select 'x", QueryError::Unbalanced),
            ("select $a$ x", QueryError::Unbalanced),
            ("select 1 /* x", QueryError::Unbalanced),
            ("select {i d}", QueryError::BadName("i d".to_owned())),
            ("select {", QueryError::Unbalanced),
            ("select }", QueryError::Unbalanced),
            ("select $3", QueryError::BadNumber("3".to_owned())),
            ("select $0", QueryError::BadNumber("0".to_owned())),
            ("select $1, {id}", QueryError::Mixed),
            ("delete from t", QueryError::NotAQuery),
            ("selection", QueryError::NotAQuery),
        ] {
            assert_eq!(parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn values_are_bound_and_never_written() {
        let query = Query::parse("select 1 where a = {a} and b = {b}", &[]).expect("a query");
        let params: Params = [("b", "'; drop table t; --"), ("a", "1")].into_iter().collect();
        assert_eq!(query.bind(&params), Ok(vec!["1", "'; drop table t; --"]));
        assert_eq!(query.bind(&Params::default()), Err(RenderError::Missing("a".to_owned())));
    }

    proptest! {
        /// Whatever is written, nothing is read past its end, and what is taken has brackets in pairs outside of quotes.
        #[test]
        fn any_text_is_taken_or_refused(text in "(select )?[a-e0-9'\"$(){};/*\\- \\n]{0,40}") {
            if let Ok(query) = Query::parse(&text, &["id"]) {
                prop_assert!(!query.text.is_empty());
                prop_assert!(Query::parse(&query.text, &["id"]).is_ok() || !query.params.is_empty());
            }
        }
    }
}
