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

    pub fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Map(entries) => entries,
            Content::Nothing | Content::Text(_) | Content::List(_) => &[],
        }
    }

    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The node at a key, made where it is missing. What is not a map becomes one: whoever asks has a value to put there.
    pub fn child(&mut self, key: &str, place: &Place) -> &mut Node {
        if !matches!(self.content, Content::Map(_)) {
            self.content = Content::Map(Vec::new());
        }
        let Content::Map(entries) = &mut self.content else { unreachable!("it was made a map above") };
        let at = entries.iter().position(|entry| entry.key == key).unwrap_or_else(|| {
            let node = Node::new(Content::Nothing, place.clone());
            entries.push(Entry { key: key.to_owned(), place: place.clone(), node });
            entries.len() - 1
        });
        &mut entries[at].node
    }

    /// A section in which this value stands under one key.
    pub fn lifted(self, key: &str) -> Self {
        let place = self.place.clone();
        let entry = Entry { key: key.to_owned(), place: place.clone(), node: self };
        Self::new(Content::Map(vec![entry]), place)
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
