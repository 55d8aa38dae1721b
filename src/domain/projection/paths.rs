//! Which parts of a value are meant: a set of dotted paths as a tree, and the one place where the value stands.
//!
//! Arrays are transparent: `addresses.city` means the city of each address. A name with a dot in it cannot be written.

use std::collections::BTreeMap;

/// More than this is no path that a person wrote.
const MAX_STEPS: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Paths {
    /// This and everything below it.
    Whole,
    /// What stands under these names, and nothing else.
    Of(BTreeMap<String, Paths>),
}

/// `$.a.b[0]`, already in steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub text: String,
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Name(String),
    Index(usize),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("`{0}` is not a path: names with dots between them, such as `address.city`")]
    Malformed(String),
    #[error("`{0}` has more than {MAX_STEPS} parts")]
    TooLong(String),
    #[error("`*` stands for everything, and only by itself: `{0}`")]
    Star(String),
    #[error("`{0}` is already covered by another path")]
    Covered(String),
    #[error("`{0}` is not a place in an answer: `$`, then `.name` or `[0]` for each step, such as `$.data.items[0]`")]
    NotAPlace(String),
}

impl Paths {
    pub fn none() -> Self {
        Self::Of(BTreeMap::new())
    }

    /// Reads all of them; gives every problem there is.
    pub fn parse(texts: &[String]) -> Result<Self, Vec<PathError>> {
        let mut paths = Self::none();
        let problems: Vec<PathError> = texts.iter().filter_map(|text| paths.add(text).err()).collect();
        if problems.is_empty() { Ok(paths) } else { Err(problems) }
    }

    pub fn below(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Whole => Some(self),
            Self::Of(names) => names.get(name),
        }
    }

    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Whole)
    }

    /// Whether some part of the path is meant.
    pub fn touches(&self, path: &str) -> bool {
        path.split('.').try_fold(self, |paths, name| paths.below(name)).is_some()
    }

    fn add(&mut self, text: &str) -> Result<(), PathError> {
        let names: Vec<&str> = text.split('.').collect();
        if text == "*" {
            let before = std::mem::replace(self, Self::Whole);
            return if before == Self::none() { Ok(()) } else { Err(PathError::Star(text.to_owned())) };
        }
        if names.iter().any(|name| name.contains('*')) {
            return Err(PathError::Star(text.to_owned()));
        }
        if names.iter().any(|name| name.is_empty() || name.trim() != *name || name.contains(['[', ']', '$'])) {
            return Err(PathError::Malformed(text.to_owned()));
        }
        if names.len() > MAX_STEPS {
            return Err(PathError::TooLong(text.to_owned()));
        }
        self.insert(&names).map_err(|()| PathError::Covered(text.to_owned()))
    }

    fn insert(&mut self, names: &[&str]) -> Result<(), ()> {
        let (Self::Of(children), Some((name, rest))) = (&mut *self, names.split_first()) else { return Err(()) };
        match (children.get_mut(*name), rest.is_empty()) {
            (Some(_), true) => Err(()),
            (Some(child), false) => child.insert(rest),
            (None, true) => {
                children.insert((*name).to_owned(), Self::Whole);
                Ok(())
            }
            (None, false) => {
                let mut child = Self::none();
                child.insert(rest)?;
                children.insert((*name).to_owned(), child);
                Ok(())
            }
        }
    }
}

impl Place {
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let bad = || PathError::NotAPlace(text.to_owned());
        let mut rest = text.strip_prefix('$').ok_or_else(bad)?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(named) = rest.strip_prefix('.') {
                let end = named.find(['.', '[']).unwrap_or(named.len());
                let name = &named[..end];
                if name.is_empty() || name.contains(['*', ']', '$', '?', '@', '"', '\'', ' ']) {
                    return Err(bad());
                }
                steps.push(Step::Name(name.to_owned()));
                rest = &named[end..];
            } else {
                let (index, after) = rest.strip_prefix('[').and_then(|r| r.split_once(']')).ok_or_else(bad)?;
                if index.is_empty() || !index.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(bad());
                }
                steps.push(Step::Index(index.parse().map_err(|_| bad())?));
                rest = after;
            }
        }
        if steps.len() > MAX_STEPS {
            return Err(PathError::TooLong(text.to_owned()));
        }
        Ok(Self { text: text.to_owned(), steps })
    }

    /// The field of this name, whatever characters stand in it.
    pub fn field(name: &str) -> Self {
        Self { text: format!("$.{name}"), steps: vec![Step::Name(name.to_owned())] }
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter_map(|step| match step {
            Step::Name(name) => Some(name.as_str()),
            Step::Index(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(texts: &[&str]) -> Result<Paths, Vec<PathError>> {
        Paths::parse(&texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn paths_share_what_they_have_in_common() {
        let paths = parse(&["id", "address.city", "address.zip"]).expect("good paths");
        let address = paths.below("address").expect("listed");
        assert!(address.below("city").is_some_and(Paths::is_whole));
        assert!(address.below("street").is_none());
        assert!(paths.touches("address") && paths.touches("id.x") && !paths.touches("name"));
    }

    #[test]
    fn every_bad_path_is_reported() {
        let problems = parse(&["a..b", "", "a.*", "b", "b.c", "b", " c", "d[0]"]).expect_err("bad paths");
        assert_eq!(problems.len(), 7);
        assert!(matches!(parse(&["a", "*"]).expect_err("two at once")[..], [PathError::Star(_)]));
        assert!(matches!(parse(&["*", "a"]).expect_err("two at once")[..], [PathError::Covered(_)]));
        assert_eq!(parse(&["*"]), Ok(Paths::Whole));
    }

    #[test]
    fn places_are_read_in_steps() {
        let place = Place::parse("$.data.items[10].user-name").expect("a good place");
        let name = |n: &str| Step::Name(n.to_owned());
        assert_eq!(place.steps, [name("data"), name("items"), Step::Index(10), name("user-name")]);
        assert_eq!(Place::parse("$").expect("the whole").steps, []);
        for bad in ["", "data", "$data", "$..a", "$.", "$.a[", "$.a[]", "$.a[-1]", "$.a[*]", "$.*", "$.a[0]b", "$['a']"]
        {
            assert!(Place::parse(bad).is_err(), "{bad}");
        }
    }
}
