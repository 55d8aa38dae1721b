//! Members and aliases as a command line writes them: `user:id=7`, `user id=7`, `email=ada@example.org`.
//!
//! Three ways of writing one thing, because each is what somebody types first: the way `hydrant prehydrate` has it, the
//! way a shell completes best, and the short way where the parameter is called like the alias itself.

use std::collections::BTreeMap;

/// An entity or an alias, with its parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    pub name: String,
    pub params: BTreeMap<String, String>,
}

pub fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// `user`, `user:id=7`, `oauth:userId=7,provider=google`.
pub fn named(text: &str) -> Result<Named, String> {
    let (name, params) = text.split_once(':').unwrap_or((text, ""));
    let params: Result<BTreeMap<_, _>, _> = params.split(',').filter(|p| !p.is_empty()).map(pair).collect();
    Ok(Named { name: name.to_owned(), params: params? })
}

/// Any number of them in a row: a word without `=`, or with a `:` before it, begins the next.
pub fn in_a_row(words: &[String]) -> Result<Vec<Named>, String> {
    let mut row: Vec<Named> = Vec::new();
    // Whether words such as `id=7` belong to the one before.
    let mut open = false;
    for word in words {
        let head = word.split('=').next().unwrap_or_default();
        if head.len() == word.len() || head.contains(':') {
            let next = named(word)?;
            open = next.params.is_empty();
            row.push(next);
        } else if open && let Some(last) = row.last_mut() {
            last.params.extend([pair(word)?]);
        } else {
            let (name, value) = pair(word)?;
            let param = name.rsplit('.').next().unwrap_or_default().to_owned();
            row.push(Named { name, params: [(param, value)].into() });
        }
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(words: &[&str]) -> Vec<(String, Vec<String>)> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let shown = |named: Named| {
            let params = named.params.iter().map(|(name, value)| format!("{name}={value}"));
            (named.name, params.collect())
        };
        in_a_row(&words).expect("well formed").into_iter().map(shown).collect()
    }

    fn one(name: &str, params: &[&str]) -> (String, Vec<String>) {
        (name.to_owned(), params.iter().map(|param| (*param).to_owned()).collect())
    }

    #[test]
    fn members_are_written_as_entity_and_parameters() {
        let parsed = named("oauth:userId=7,provider=a:b=c").expect("well formed");
        assert_eq!(parsed.name, "oauth");
        assert_eq!(parsed.params.get("provider").map(String::as_str), Some("a:b=c"));
        assert!(named("user").expect("well formed").params.is_empty());
        assert!(named("user:7").is_err());
    }

    #[test]
    fn what_is_written_in_words_may_hold_commas_and_colons() {
        let written = ["oauth", "userId=7", "provider=a,b:c", "user", "id=1", "role:id=2", "email=a:b@c"];
        let read = [
            one("oauth", &["provider=a,b:c", "userId=7"]),
            one("user", &["id=1"]),
            one("role", &["id=2"]),
            one("email", &["email=a:b@c"]),
        ];
        assert_eq!(row(&written), read);
    }

    #[test]
    fn a_parameter_called_like_its_alias_need_not_be_named_twice() {
        assert_eq!(row(&["user.email=a@b"]), [one("user.email", &["email=a@b"])]);
        assert_eq!(
            row(&["email=old@x", "email=new@x"]),
            [one("email", &["email=old@x"]), one("email", &["email=new@x"])]
        );
    }
}
