//! The cookie's value out of a `Cookie` header, read as browsers write it and servers read it.
//!
//! Pairs are parted by `;`, name and value by the first `=`; blanks around either are dropped; a pair without `=` is
//! nobody's. One pair of double quotes around a value is not part of it. `%XX` is decoded once, because common servers
//! encode what they set. All formats use letters that need neither, so nothing ambiguous is lost by it.
//!
//! Several cookies of the configured name are accepted only if they say the same. Which of two different ones a server
//! takes depends on paths and domains that a header does not show, and planting a second one is an attack (a sibling
//! domain can do it), so a difference is refused rather than guessed at.

use std::borrow::Cow;

use crate::prehydrate::identity::refusal::Why;

/// Twice what common servers accept for one header line.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;
/// What Chrome keeps for one domain.
pub const MAX_COOKIES: usize = 180;

/// The value of the cookie called `name`.
pub fn find<'a>(header: &'a str, name: &str, max_value_bytes: usize) -> Result<Cow<'a, str>, Why> {
    if header.len() > MAX_HEADER_BYTES {
        return Err(Why::TooLarge);
    }
    // A tab is a blank; any other control character has no business in a header.
    if header.chars().any(|c| c.is_control() && c != '\t') {
        return Err(Why::Malformed);
    }
    let mut found = None;
    for (count, pair) in header.split(';').enumerate() {
        if count == MAX_COOKIES {
            return Err(Why::TooManyCookies);
        }
        let Some((its_name, value)) = pair.split_once('=') else { continue };
        if trim(its_name) != name {
            continue;
        }
        let value = plain(value, max_value_bytes)?;
        if found.as_ref().is_some_and(|first| *first != value) {
            return Err(Why::Conflicting);
        }
        found = Some(value);
    }
    found.ok_or(Why::Missing)
}

/// A value as its issuer wrote it: without blanks, quotes and percent-encoding. Visible ASCII, and not empty.
pub fn plain(value: &str, max_bytes: usize) -> Result<Cow<'_, str>, Why> {
    if value.len() > max_bytes {
        return Err(Why::TooLarge);
    }
    let value = trim(value);
    let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    let value = if value.contains('%') { Cow::Owned(percent_decoded(value)?) } else { Cow::Borrowed(value) };
    if value.is_empty() {
        return Err(Why::Missing);
    }
    if value.bytes().all(|byte| byte.is_ascii_graphic()) { Ok(value) } else { Err(Why::Malformed) }
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn percent_decoded(text: &str) -> Result<String, Why> {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            decoded.push(c);
            continue;
        }
        let mut digit = || rest.next().and_then(|c| c.to_digit(16)).ok_or(Why::Malformed);
        let code = digit()? * 16 + digit()?;
        // Above ASCII it would be a part of some character: no format has any.
        let byte = u8::try_from(code).ok().filter(u8::is_ascii).ok_or(Why::Malformed)?;
        decoded.push(char::from(byte));
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(header: &str) -> Result<String, Why> {
        find(header, "session", 64).map(Cow::into_owned)
    }

    #[test]
    fn the_cookie_is_found_however_the_header_is_spaced() {
        for header in [
            "session=a.b",
            "theme=dark; session=a.b; lang=en",
            "theme=dark;session=a.b",
            " \tsession = a.b\t;",
            "session=\"a.b\"",
            "session=a%2Eb",
            "session=a%2eb",
            ";;; =; nothing; session=a.b",
            "session=a.b; session=a.b; session=a%2Eb",
            "session; session=a.b",
        ] {
            assert_eq!(session(header).as_deref(), Ok("a.b"), "{header}");
        }
        assert_eq!(session("session=a=b=").as_deref(), Ok("a=b="));
    }

    #[test]
    fn names_are_compared_whole_and_by_case() {
        for header in
            ["", "Session=a", "xsession=a", "session.x=a", "session", "a=session=b", "session%3Da", "session="]
        {
            assert_eq!(session(header), Err(Why::Missing), "{header}");
        }
    }

    #[test]
    fn a_second_cookie_that_says_something_else_is_refused() {
        assert_eq!(session("session=a; theme=x; session=b"), Err(Why::Conflicting));
        assert_eq!(session("session=a; session="), Err(Why::Missing));
    }

    #[test]
    fn what_no_browser_sends_is_refused() {
        for header in [
            "session=a\r\nX: y",
            "session=a\0",
            "session=a%00",
            "session=a%0d%0a",
            "session=a%2",
            "session=a%zz",
            "session=%+1",
            "session=a b",
            "session=\u{e9}",
            "session=%C3%A9",
        ] {
            assert_eq!(session(header), Err(Why::Malformed), "{header:?}");
        }
    }

    #[test]
    fn percent_encoding_is_undone_once() {
        assert_eq!(session("session=a%252Eb").as_deref(), Ok("a%2Eb"));
    }

    #[test]
    fn the_caps_come_before_everything_else() {
        assert_eq!(session(&format!("session={}", "a".repeat(65))), Err(Why::TooLarge));
        assert_eq!(session(&format!("x={}; session=a", "\0".repeat(MAX_HEADER_BYTES))), Err(Why::TooLarge));
        assert_eq!(session(&"a=b;".repeat(MAX_COOKIES)), Err(Why::TooManyCookies));
        assert_eq!(session(&format!("{}session=a", "a=b;".repeat(MAX_COOKIES - 1))).as_deref(), Ok("a"));
    }
}
