//! What can be told of a template's texts from the first parameter alone: how those of one tenant begin, and whether a
//! text could be one of them at all. Both are for whoever has to keep tenants apart: they rather say no too often.

use super::{Ids, Part, Template, check_plain, check_separator, percent_encode};

/// The beginning of a text, with the value of the first parameter in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned<'a> {
    pub text: String,
    /// What ends the parameter; empty where the text ends with it.
    pub after: &'a str,
}

impl Template {
    /// What every text of this template begins with whose first parameter is this one with this value, up to the end of
    /// what follows it; none where another parameter comes first, or the value cannot stand there.
    pub fn pinned(&self, param: &str, value: &str, ids: Ids) -> Option<Pinned<'_>> {
        let at = self.parts.iter().position(|part| matches!(part, Part::Param(_)))?;
        if !matches!(&self.parts[at], Part::Param(name) if name == param) || value.is_empty() {
            return None;
        }
        let after = match self.parts.get(at + 1) {
            None => "",
            Some(Part::Text(text)) => text,
            Some(Part::Param(_)) => return None,
        };
        let mut text = self.prefix().to_owned();
        match ids {
            Ids::Encoded => percent_encode(value, &mut text),
            Ids::Plain => {
                check_plain(param, value).ok()?;
                text.push_str(value);
            }
        }
        check_separator(param, &text[self.prefix().len()..], self.text_after(at)).ok()?;
        Some(Pinned { text: text + after, after })
    }

    /// Whether some values, whatever they hold, could make this text of it.
    pub fn may_make(&self, text: &str) -> bool {
        let mut rest = text;
        for (at, part) in self.parts.iter().enumerate() {
            let Part::Text(own) = part else { continue };
            let found =
                if at == 0 { rest.strip_prefix(own.as_str()) } else { rest.split_once(own.as_str()).map(|s| s.1) };
            match found {
                Some(after) => rest = after,
                None => return false,
            }
        }
        match self.parts.last() {
            Some(Part::Text(own)) => text.ends_with(own.as_str()),
            Some(Part::Param(_)) | None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pinned(template: &str, param: &str, value: &str, ids: Ids) -> Option<(String, String)> {
        let template = Template::parse(template).expect("a good template");
        template.pinned(param, value, ids).map(|pinned| (pinned.text.clone(), pinned.after.to_owned()))
    }

    #[test]
    fn a_text_is_pinned_by_its_first_parameter_alone() {
        let text = |text: &str, after: &str| Some((text.to_owned(), after.to_owned()));
        assert_eq!(pinned("o:{tenant}:{id}", "tenant", "acme", Ids::Plain), text("o:acme:", ":"));
        assert_eq!(pinned("s:{tenant}", "tenant", "acme", Ids::Plain), text("s:acme", ""));
        assert_eq!(pinned("{tenant}/x", "tenant", "acme", Ids::Plain), text("acme/x", "/x"));
        assert_eq!(pinned("o:{tenant}:{id}", "tenant", "a c", Ids::Encoded), text("o:a%20c:", ":"));
        for (template, value) in [
            ("o:{id}:{tenant}", "acme"),
            ("plain", "acme"),
            ("{tenant}{id}", "acme"),
            ("o:{tenant}:{id}", ""),
            ("o:{tenant}:{id}", "a:b"),
            ("o:{tenant}:{id}", "a{b"),
        ] {
            assert_eq!(pinned(template, "tenant", value, Ids::Plain), None, "{template} {value}");
        }
    }

    #[test]
    fn what_a_template_may_make_is_what_its_own_text_allows() {
        let may = |template: &str, text: &str| Template::parse(template).expect("a good template").may_make(text);
        assert!(may("tenant:{tenant}", "tenant:acme") && may("tenant:{tenant}", "tenant:a:b"));
        assert!(may("a:{x}:{y}:z", "a:1:2:z") && may("{x}", "anything"));
        assert!(!may("tenant:{tenant}:{id}", "tenant:acme"));
        assert!(!may("a:{x}:z", "a:1:zz1") && !may("tenant:{tenant}", "plan:acme"));
    }
}
