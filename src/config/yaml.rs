//! YAML text → tree, with the place of every key and value.
//!
//! Why not serde straight away: serde stops at its first error, forgets places once a value is taken, and has typed a
//! scalar before a variable could be put in. Anchors are allowed and bounded; duplicate keys, tags and a second
//! document are refused.

use std::collections::BTreeMap;

use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, StrInput, options};

use super::problem::{Place, Problem};
use super::tree::{Content, Entry, Node, join};

/// A configuration of a thousand entities is below this; a ConfigMap ends there too.
pub const MAX_FILE_BYTES: usize = 1024 * 1024;
/// A file of 1 MiB without anchors has fewer; this ends anchors that multiply.
const MAX_NODES: usize = 200_000;
/// The deepest key of the configuration lies seven levels down.
const MAX_DEPTH: usize = 32;

/// The tree of the file; none where its text cannot be read as YAML at all. Problems are added to the list.
pub fn parse(text: &str, problems: &mut Vec<Problem>) -> Option<Node> {
    let mut limits: Options = options! { emit_comments: false };
    limits.flow_nesting_limit = MAX_DEPTH;
    limits.block_nesting_limit = MAX_DEPTH;
    let parser = Parser::new_from_str_with_options(text, limits);
    let mut reader = Reader { text, parser, anchors: BTreeMap::new(), nodes: 0, problems: Vec::new() };
    let tree = reader.document();
    problems.append(&mut reader.problems);
    tree.map_err(|problem| problems.push(problem)).ok()
}

struct Reader<'a> {
    text: &'a str,
    parser: Parser<'a, StrInput<'a>>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Node, Problem> {
        let mut tree = None;
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamStart | Event::StreamEnd | Event::DocumentStart(..) | Event::DocumentEnd => {}
                _ if tree.is_some() => {
                    return Err(Problem::new("", "a second document starts here")
                        .hint("one file holds one configuration: remove the `---`")
                        .at(Some(place(span))));
                }
                event => tree = Some(self.node(event, span, "")?),
            }
        }
        let empty = Node::new(Content::Nothing, Place::File { line: 1, column: 1 });
        Ok(tree.unwrap_or(empty))
    }

    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, Problem> {
        self.parser.next().transpose().map_err(|error| self.syntax(&error))
    }

    fn more(&mut self) -> Result<(Event<'a>, Span), Problem> {
        self.next()?.ok_or_else(|| Problem::new("", "the file ends in the middle of a value"))
    }

    fn node(&mut self, event: Event<'a>, span: Span, path: &str) -> Result<Node, Problem> {
        let place = place(span);
        self.grow(1, path, &place)?;
        let (content, anchor, tag) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let nothing = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let content = if nothing { Content::Nothing } else { Content::Text(text.into_owned()) };
                (content, anchor, tag.is_some())
            }
            Event::SequenceStart(_, anchor, tag) => (self.list(path)?, anchor, tag.is_some()),
            Event::MappingStart(_, anchor, tag) => (self.map(path)?, anchor, tag.is_some()),
            Event::Alias(anchor) => return self.alias(anchor, path, place),
            _ => return Err(Problem::new(path, "a value is missing here").at(Some(place))),
        };
        if tag {
            let problem = Problem::new(path, "YAML tags (`!…`) are not used here").hint("remove the tag");
            self.problems.push(problem.at(Some(place.clone())));
        }
        let node = Node::new(content, place);
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, path: &str) -> Result<Content, Problem> {
        let mut items = Vec::new();
        loop {
            match self.more()? {
                (Event::SequenceEnd, _) => return Ok(Content::List(items)),
                (event, span) => {
                    let path = format!("{path}[{}]", items.len());
                    items.push(self.node(event, span, &path)?);
                }
            }
        }
    }

    fn map(&mut self, path: &str) -> Result<Content, Problem> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen = BTreeMap::new();
        loop {
            let (key, key_span) = match self.more()? {
                (Event::MappingEnd, _) => return Ok(Content::Map(entries)),
                (Event::Scalar(key, ..), span) => (key.into_owned(), span),
                (_, span) => {
                    return Err(Problem::new(path, "a key must be plain text")
                        .maybe_hint(self.quote_hint(span.start.line()))
                        .at(Some(place(span))));
                }
            };
            let (event, span) = self.more()?;
            let at = join(path, &key);
            let node = self.node(event, span, &at)?;
            let place = place(key_span);
            if let Some(first) = seen.insert(key.clone(), key_span.start.line()) {
                let problem = format!("the key `{key}` stands twice, first on line {first}");
                let hint = "keep one of them: the second would silently win";
                self.problems.push(Problem::new(at, problem).hint(hint).at(Some(place)));
            } else {
                entries.push(Entry { key, place, node });
            }
        }
    }

    fn alias(&mut self, anchor: usize, path: &str, place: Place) -> Result<Node, Problem> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return Err(Problem::new(path, "the anchor refers to itself").at(Some(place)));
        };
        self.grow(node.count(), path, &place)?;
        Ok(node)
    }

    fn grow(&mut self, by: usize, path: &str, place: &Place) -> Result<(), Problem> {
        self.nodes = self.nodes.saturating_add(by);
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        let problem = Problem::new(path, format!("more than {MAX_NODES} values"));
        Err(problem.hint("anchors multiply what they stand for").at(Some(place.clone())))
    }

    fn syntax(&self, error: &ScanError) -> Problem {
        let marker = error.marker();
        let place = Place::File { line: marker.line(), column: marker.col() + 1 };
        let tabbed = self.line(marker.line()).is_some_and(|l| l.trim_start_matches(' ').starts_with('\t'));
        let hint = if tabbed {
            Some("YAML is indented with spaces, not with tabs".to_owned())
        } else {
            self.quote_hint(marker.line())
        };
        Problem::new("", format!("not YAML: {}", error.info())).maybe_hint(hint).at(Some(place))
    }

    /// What most often breaks the syntax: a brace inside braces.
    fn quote_hint(&self, line: usize) -> Option<String> {
        let line = self.line(line)?;
        let hint = "a value with braces is quoted: \"user:{id}\", \"${VAR:-default}\"";
        line.contains(['{', '}']).then(|| hint.to_owned())
    }

    fn line(&self, number: usize) -> Option<&'a str> {
        self.text.lines().nth(number.checked_sub(1)?)
    }
}

fn place(span: Span) -> Place {
    Place::File { line: span.start.line(), column: span.start.col() + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        parse(text, &mut problems);
        problems
    }

    #[test]
    fn a_tree_knows_where_everything_stands() {
        let mut none = Vec::new();
        let tree = parse("a: 1\nb:\n  - x\n  - {c: d}\n", &mut none).expect("good YAML");
        assert_eq!(none, []);
        let b = tree.get("b").expect("there");
        assert_eq!(b.place, Place::File { line: 2, column: 1 });
        let Content::List(items) = &b.node.content else { panic!("a list") };
        assert_eq!(items[1].get("c").expect("there").node.place, Place::File { line: 4, column: 9 });
    }

    #[test]
    fn nothing_is_nothing_however_it_is_written() {
        let tree = parse("a:\nb: ~\nc: null\nd: \"\"\n", &mut Vec::new()).expect("good YAML");
        let nothing: Vec<bool> = tree.entries().iter().map(|e| e.node.content == Content::Nothing).collect();
        assert_eq!(nothing, [true, true, true, false]);
        assert_eq!(parse("", &mut Vec::new()).map(|t| t.content), Some(Content::Nothing));
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_at_its_second_place() {
        let found = problems("a:\n  b: 1\n  b: 2\n");
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].path.as_str(), &found[0].place), ("a.b", &Some(Place::File { line: 3, column: 3 })));
    }

    #[test]
    fn anchors_stand_for_their_value_and_cannot_multiply_without_end() {
        let tree = parse("a: &x { b: 1 }\nc: *x\n", &mut Vec::new()).expect("good YAML");
        assert_eq!(tree.get("c").expect("there").node.get("b").map(|e| e.key.as_str()), Some("b"));
        let mut bomb = "l0: &l0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for i in 1..20 {
            let refs = vec![format!("*l{}", i - 1); 10].join(",");
            bomb.push_str(&format!("l{i}: &l{i} [{refs}]\n"));
        }
        assert!(problems(&bomb)[0].problem.contains("more than"));
        assert!(!problems("a: &x [*x]").is_empty());
    }

    #[test]
    fn what_is_not_yaml_says_where_and_why() {
        let found = problems("a: {b: user:{id}\n");
        assert!(found[0].hint.as_ref().is_some_and(|h| h.contains("quoted")), "{found:?}");
        assert!(problems("a:\n\t- b\n")[0].hint.as_ref().is_some_and(|h| h.contains("tabs")));
        assert_eq!(problems("a: 1\n---\nb: 2\n").len(), 1);
        assert_eq!(problems("a: !thing 1\n").len(), 1);
        assert!(!problems(&"[".repeat(5_000)).is_empty());
    }
}
