//! The secrets of the configuration, by their paths in it.
//!
//! A cell is made once for a path and outlives every reload, so that whoever holds one (a connection pool, a source)
//! sees a rotated secret without being built again. New texts are staged first: a configuration that is refused changes
//! none of them.

use std::collections::BTreeMap;

use crate::domain::secret::{Secret, SecretCell};

#[derive(Clone, Debug, Default)]
pub struct Secrets(BTreeMap<String, SecretCell>);

/// Cells with the text that each is to hold once the configuration is accepted.
#[derive(Clone, Debug, Default)]
pub struct Staged(BTreeMap<String, (SecretCell, Secret)>);

impl Secrets {
    pub fn stage(&self, staged: &mut Staged, path: &str, secret: Secret) -> SecretCell {
        let cell = self.0.get(path).cloned().unwrap_or_else(|| SecretCell::new(secret.clone()));
        staged.0.insert(path.to_owned(), (cell.clone(), secret));
        cell
    }

    /// Puts the staged texts in place; answers at which paths one was replaced.
    pub fn adopt(&mut self, staged: Staged) -> Vec<String> {
        let mut rotated = Vec::new();
        for (path, (cell, secret)) in staged.0 {
            if cell.get() != secret {
                cell.set(secret);
                rotated.push(path.clone());
            }
            self.0.insert(path, cell);
        }
        rotated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_sees_the_new_text_once_it_is_adopted() {
        let (mut secrets, mut staged) = (Secrets::default(), Staged::default());
        let holder = secrets.stage(&mut staged, "redis.password", Secret::new("old"));
        assert_eq!(secrets.adopt(staged), [""; 0]);
        let mut staged = Staged::default();
        secrets.stage(&mut staged, "redis.password", Secret::new("new"));
        assert_eq!(holder.get().expose(), "old");
        assert_eq!(secrets.adopt(staged), ["redis.password"]);
        assert_eq!(holder.get().expose(), "new");
    }
}
