//! Text that must not be printed: session tokens, passwords, service credentials.
//!
//! `Debug` and `Display` give `***`; the text is had only by asking for it (`expose`), which is easy to search for.
//! A `SecretCell` is a secret that may be replaced while the process runs: a mounted file that is rotated.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(Arc<str>);

/// Cloning shares the cell: whoever holds one sees the newest text.
#[derive(Clone, Debug)]
pub struct SecretCell(Arc<ArcSwap<Secret>>);

impl Secret {
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl SecretCell {
    pub fn new(secret: Secret) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(secret)))
    }

    pub fn get(&self) -> Secret {
        Secret::clone(&self.0.load())
    }

    pub fn set(&self, secret: Secret) {
        self.0.store(Arc::new(secret));
    }
}

/// Equal is the same cell, whatever it holds: a secret that is rotated is still the same secret.
impl PartialEq for SecretCell {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SecretCell {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print_itself() {
        let cell = SecretCell::new(Secret::new("hunter2"));
        assert_eq!(format!("{cell:?} {}", cell.get()).matches("hunter2").count(), 0);
        assert_eq!(cell.get().expose(), "hunter2");
    }

    #[test]
    fn every_holder_of_a_cell_sees_the_newest_text() {
        let cell = SecretCell::new(Secret::new("old"));
        let holder = cell.clone();
        cell.set(Secret::new("new"));
        assert_eq!(holder.get().expose(), "new");
    }
}
