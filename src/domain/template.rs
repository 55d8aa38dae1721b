//! Key and path templates: `user:id:{id}`, `/users/{id}/roles`.
//!
//! Apps build keys by concatenation, so an id stands in a key as it is. That is safe only if two members can never meet
//! at one key: a value that contains the text which ends its own place (`7:google` in `oauth:{userId}:{provider}`) is
//! refused, as is one with a brace (it would move the key to another slot) or a control character. `encoded` ids are
//! percent-encoded instead, injectively, for apps that do the same. In URLs values are always encoded.

mod pin;

use std::collections::BTreeMap;
use std::fmt;

use crate::domain::key::{Key, KeyError};

/// More parameters than this make a key nobody can read; it also bounds the work of one rendering.
pub const MAX_PARAMS: usize = 8;

/// Values by parameter name, in the order of the names.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Params(BTreeMap<String, String>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Param(String),
}

/// How an id is written into a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ids {
    /// As it is; refused where it could change the slot or collide.
    #[default]
    Plain,
    /// Percent-encoded: everything but letters, digits and `-._~`.
    Encoded,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("a template cannot be empty")]
    Empty,
    #[error("`{{` without its `}}`; write `{{{{` and `}}}}` for literal braces")]
    Unbalanced,
    #[error("`{{{0}}}` is not a parameter name: letters, digits and `_`, starting with a letter")]
    BadName(String),
    #[error("the parameter `{0}` stands twice")]
    Twice(String),
    #[error("`{{{0}}}` and `{{{1}}}` touch: with no text between them, two members could share a key")]
    Touching(String, String),
    #[error("more than {MAX_PARAMS} parameters")]
    TooMany,
    #[error("a key template needs at least one parameter, or every member would share one key")]
    NoParam,
    #[error("the template's own text would make a bad key: {0}")]
    Key(#[from] KeyError),
}

/// Why a member cannot have a key. Names the parameter, never its value: the value may be a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    #[error("the parameter `{0}` is missing")]
    Missing(String),
    #[error("`{0}` is not a parameter of this entity")]
    Unknown(String),
    #[error("the parameter `{0}` is empty")]
    EmptyValue(String),
    #[error("the parameter `{param}` contains {what}")]
    Forbidden { param: String, what: &'static str },
    #[error("the parameter `{param}` contains `{separator}`, which ends its place in the key")]
    Separator { param: String, separator: String },
    #[error("the key that results is refused: {0}")]
    Key(#[from] KeyError),
}

impl RenderError {
    /// The parameter to blame, for a field path; none where the whole key is at fault.
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::Missing(p) | Self::Unknown(p) | Self::EmptyValue(p) => Some(p),
            Self::Forbidden { param, .. } | Self::Separator { param, .. } => Some(param),
            Self::Key(_) => None,
        }
    }
}

impl Params {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Params {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// Names only: values are ids and tokens.
impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Template {
    /// A template of a key: at least one parameter, and text between any two.
    pub fn for_key(text: &str) -> Result<Self, TemplateError> {
        let template = Self::parse(text)?;
        if template.params().next().is_none() {
            return Err(TemplateError::NoParam);
        }
        for pair in template.parts.windows(2) {
            if let [Part::Param(a), Part::Param(b)] = pair {
                return Err(TemplateError::Touching(a.clone(), b.clone()));
            }
        }
        // A sample shows a template that could only ever make refused keys, such as `{{x}}:g`.
        let sample = template.params().map(|p| (p.to_owned(), "1".to_owned())).collect();
        match template.key(&sample, Ids::Plain) {
            Err(RenderError::Key(e)) => Err(e.into()),
            // The sample value itself meets a separator (`{a}1{b}`): real values decide for themselves.
            _ => Ok(template),
        }
    }

    /// A template of text in which any number of parameters may stand: a URL path, a tag.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.is_empty() {
            return Err(TemplateError::Empty);
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '{' | '}' if chars.peek() == Some(&c) => {
                    chars.next();
                    literal.push(c);
                }
                '}' => return Err(TemplateError::Unbalanced),
                '{' => {
                    let name = param_name(&mut chars)?;
                    if parts.iter().any(|p| matches!(p, Part::Param(n) if *n == name)) {
                        return Err(TemplateError::Twice(name));
                    }
                    if !literal.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut literal)));
                    }
                    parts.push(Part::Param(name));
                }
                c => literal.push(c),
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        let template = Self { text: text.to_owned(), parts };
        if template.params().count() > MAX_PARAMS {
            return Err(TemplateError::TooMany);
        }
        Ok(template)
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn params(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Param(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The text before the first parameter: what every key of this template starts with.
    pub fn prefix(&self) -> &str {
        match self.parts.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// How much of the template is its own text.
    pub fn text_bytes(&self) -> usize {
        self.parts.iter().map(|part| if let Part::Text(text) = part { text.len() } else { 0 }).sum()
    }

    /// The template with its parameters' names left out: two of one shape make the same keys.
    pub fn shape(&self) -> String {
        let parts = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.replace(['{', '}'], "\u{1}"),
            Part::Param(_) => "{}".to_owned(),
        });
        parts.collect()
    }

    /// The key of one member. Two different members never get the same key.
    pub fn key(&self, params: &Params, ids: Ids) -> Result<Key, RenderError> {
        let mut key = String::with_capacity(self.text.len() + 16);
        for (at, part) in self.parts.iter().enumerate() {
            match part {
                Part::Text(text) => key.push_str(text),
                Part::Param(name) => {
                    let value = required(params, name)?;
                    match ids {
                        Ids::Encoded => {
                            let start = key.len();
                            percent_encode(value, &mut key);
                            // A separator of letters or `-._~` can stand in an encoded value too.
                            check_separator(name, &key[start..], self.text_after(at))?;
                        }
                        Ids::Plain => {
                            check_plain(name, value)?;
                            check_separator(name, value, self.text_after(at))?;
                            key.push_str(value);
                        }
                    }
                }
            }
        }
        Ok(Key::new(key)?)
    }

    /// What a key of this template looks like with these values, for people: nothing is checked and nothing is a key.
    pub fn show(&self, values: &Params) -> String {
        let parts = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Param(name) => values.get(name).unwrap_or_default(),
        });
        parts.collect()
    }

    /// The text of a URL path: every value percent-encoded. `.` and `..` are refused, since a client resolves them.
    pub fn path(&self, params: &Params) -> Result<String, RenderError> {
        let mut path = String::with_capacity(self.text.len() + 16);
        for part in &self.parts {
            match part {
                Part::Text(text) => path.push_str(text),
                Part::Param(name) => {
                    let value = required(params, name)?;
                    if matches!(value, "." | "..") {
                        return Err(RenderError::Forbidden { param: name.clone(), what: "only dots" });
                    }
                    percent_encode(value, &mut path);
                }
            }
        }
        Ok(path)
    }

    /// The parameters that make this key, if this template can make it.
    pub fn match_key(&self, key: &str, ids: Ids) -> Option<Params> {
        let mut rest = key;
        let mut params = Params::default();
        for (at, part) in self.parts.iter().enumerate() {
            match part {
                Part::Text(text) => rest = rest.strip_prefix(text.as_str())?,
                Part::Param(name) => {
                    let end = match self.text_after(at) {
                        Some(separator) => rest.find(separator)?,
                        None => rest.len(),
                    };
                    let (written, after) = rest.split_at(end);
                    let value = match ids {
                        Ids::Plain => written.to_owned(),
                        Ids::Encoded => percent_decode(written)?,
                    };
                    params.insert(name.clone(), value);
                    rest = after;
                }
            }
        }
        // Rendering again is the proof: it applies every rule, and shows that nothing was left over.
        let again = self.key(&params, ids).ok()?;
        (rest.is_empty() && again.as_bytes() == key.as_bytes()).then_some(params)
    }

    fn text_after(&self, at: usize) -> Option<&str> {
        match self.parts.get(at + 1) {
            Some(Part::Text(text)) => Some(text),
            _ => None,
        }
    }
}

fn param_name(chars: &mut impl Iterator<Item = char>) -> Result<String, TemplateError> {
    let mut name = String::new();
    for c in chars {
        match c {
            '}' if is_param_name(&name) => return Ok(name),
            '}' => return Err(TemplateError::BadName(name)),
            '{' => return Err(TemplateError::Unbalanced),
            c => name.push(c),
        }
    }
    Err(TemplateError::Unbalanced)
}

pub fn is_param_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn required<'a>(params: &'a Params, name: &str) -> Result<&'a str, RenderError> {
    match params.get(name) {
        None => Err(RenderError::Missing(name.to_owned())),
        Some("") => Err(RenderError::EmptyValue(name.to_owned())),
        Some(value) => Ok(value),
    }
}

fn check_plain(name: &str, value: &str) -> Result<(), RenderError> {
    let forbidden = |what| Err(RenderError::Forbidden { param: name.to_owned(), what });
    if value.contains(['{', '}']) {
        return forbidden("a brace, which would change the key's slot");
    }
    if value.chars().any(char::is_control) {
        return forbidden("a control character");
    }
    Ok(())
}

/// What is written must end where the separator first begins, or reading the key back would cut it elsewhere, and two
/// members could share a key.
fn check_separator(name: &str, value: &str, separator: Option<&str>) -> Result<(), RenderError> {
    if let Some(separator) = separator {
        let joined = [value, separator].concat();
        if joined.find(separator) != Some(value.len()) {
            return Err(RenderError::Separator { param: name.to_owned(), separator: separator.to_owned() });
        }
    }
    Ok(())
}

fn percent_encode(value: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let hex = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn oauth() -> Template {
        Template::for_key("oauth:{userId}:{provider}").expect("a good template")
    }

    fn params(pairs: &[(&str, &str)]) -> Params {
        pairs.iter().copied().collect()
    }

    #[test]
    fn a_member_gets_the_key_an_app_would_build() {
        let key = oauth().key(&params(&[("userId", "7"), ("provider", "google")]), Ids::Plain).expect("renders");
        assert_eq!(key.to_string(), "oauth:7:google");
    }

    #[test]
    fn double_braces_stand_for_a_hash_tag() {
        let template = Template::for_key("{{user}}:{id}").expect("parses");
        let key = template.key(&params(&[("id", "7")]), Ids::Plain).expect("renders");
        assert_eq!(key.to_string(), "{user}:7");
        assert_eq!(template.prefix(), "{user}:");
    }

    #[test]
    fn bad_templates_are_refused_with_the_reason() {
        for (text, why) in [
            ("", TemplateError::Empty),
            ("user", TemplateError::NoParam),
            ("user:{id", TemplateError::Unbalanced),
            ("user:id}", TemplateError::Unbalanced),
            ("user:{i d}", TemplateError::BadName("i d".into())),
            ("user:{}", TemplateError::BadName(String::new())),
            ("{a}{b}", TemplateError::Touching("a".into(), "b".into())),
            ("{a}:{a}", TemplateError::Twice("a".into())),
            ("{{{id}}}:g", TemplateError::Key(KeyError::LooksLikeOurs)),
        ] {
            assert_eq!(Template::for_key(text), Err(why), "{text}");
        }
    }

    #[test]
    fn values_that_could_collide_or_move_the_key_are_refused() {
        let render = |user: &str| oauth().key(&params(&[("userId", user), ("provider", "p")]), Ids::Plain);
        assert!(matches!(render("7:google"), Err(RenderError::Separator { .. })));
        assert!(matches!(render("{7"), Err(RenderError::Forbidden { .. })));
        assert!(matches!(render("7\n"), Err(RenderError::Forbidden { .. })));
        assert_eq!(render(""), Err(RenderError::EmptyValue("userId".into())));
    }

    #[test]
    fn an_encoded_value_cannot_hold_what_ends_its_place_either() {
        let template = Template::for_key("seat:{row}-{number}").expect("a good template");
        let render = |row: &str, number: &str| template.key(&params(&[("row", row), ("number", number)]), Ids::Encoded);
        assert!(render("1", "2-3").is_ok());
        assert!(matches!(render("1-2", "3"), Err(RenderError::Separator { .. })));
    }

    #[test]
    fn a_path_cannot_be_escaped_from() {
        let path = Template::parse("/users/{id}").expect("parses");
        let render = |id: &str| path.path(&params(&[("id", id)]));
        assert_eq!(render("../admin?x=1#y").as_deref(), Ok("/users/..%2Fadmin%3Fx%3D1%23y"));
        assert!(matches!(render(".."), Err(RenderError::Forbidden { .. })));
    }

    proptest! {
        #[test]
        fn keys_read_back_as_the_member_they_were_made_from(user in ".{1,8}", provider in ".{1,8}", encoded in any::<bool>()) {
            let ids = if encoded { Ids::Encoded } else { Ids::Plain };
            let member = params(&[("userId", &user), ("provider", &provider)]);
            if let Ok(key) = oauth().key(&member, ids) {
                prop_assert_eq!(oauth().match_key(&key.to_string(), ids), Some(member));
            }
        }

        #[test]
        fn two_members_never_share_a_key(
            a in "[ab:]{1,4}",
            b in "[ab:]{1,4}",
            c in "[ab:]{1,4}",
            d in "[ab:]{1,4}",
            encoded in any::<bool>(),
        ) {
            let ids = if encoded { Ids::Encoded } else { Ids::Plain };
            let template = Template::for_key("x{p}ab{q}").expect("a good template");
            let one = params(&[("p", &a), ("q", &b)]);
            let two = params(&[("p", &c), ("q", &d)]);
            if let (Ok(first), Ok(second)) = (template.key(&one, ids), template.key(&two, ids)) {
                prop_assert_eq!(one == two, first == second);
            }
        }

        #[test]
        fn encoding_is_injective_and_total(value in "\\PC{1,12}") {
            let template = Template::for_key("k:{id}").expect("a good template");
            let member = params(&[("id", &value)]);
            let key = template.key(&member, Ids::Encoded).expect("every value can be encoded");
            prop_assert_eq!(template.match_key(&key.to_string(), Ids::Encoded), Some(member));
        }
    }
}
