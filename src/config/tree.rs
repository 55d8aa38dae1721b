//! A configuration as it was written: text, lists and maps, each with its place, not yet of any type.
//!
//! Scalars are kept as text; what they mean is decided by the field they stand in (`tree` → `settle`). So a number may
//! come from the environment, and `no` is a fine name for an entity.

use super::problem::Place;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub content: Content,
    pub place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// `null`, `~` or nothing at all: as if the key were not there.
    Nothing,
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    /// Where the key stands; the value's own place may be a line further down.
    pub place: Place,
    pub node: Node,
}

impl Node {
    pub fn new(content: Content, place: Place) -> Self {
        Self { content, place }
    }

    pub fn is_nothing(&self) -> bool {
        self.content == Content::Nothing
    }

    pub fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Map(entries) => entries,
            Content::Nothing | Content::Text(_) | Content::List(_) => &[],
        }
    }

    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The place of what stands at a path of keys.
    pub fn place_of(&self, path: &[&str]) -> Option<&Place> {
        let (first, rest) = path.split_first()?;
        let entry = self.get(first)?;
        if rest.is_empty() { Some(&entry.place) } else { entry.node.place_of(rest) }
    }

    /// The node at a key, made where it is missing. What is not a map becomes one: whoever asks has a value to put there.
    pub fn child(&mut self, key: &str, place: &Place) -> &mut Node {
        if !matches!(self.content, Content::Map(_)) {
            self.content = Content::Map(Vec::new());
        }
        let Content::Map(entries) = &mut self.content else { return self };
        let at = entries.iter().position(|entry| entry.key == key).unwrap_or_else(|| {
            let node = Node::new(Content::Nothing, place.clone());
            entries.push(Entry { key: key.to_owned(), place: place.clone(), node });
            entries.len() - 1
        });
        &mut entries[at].node
    }

    pub fn count(&self) -> usize {
        let below: usize = match &self.content {
            Content::Nothing | Content::Text(_) => 0,
            Content::List(items) => items.iter().map(Self::count).sum(),
            Content::Map(entries) => entries.iter().map(|entry| entry.node.count()).sum(),
        };
        1 + below
    }
}

/// `parent.key`, or `key` at the top.
pub fn join(parent: &str, key: &str) -> String {
    if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") }
}
