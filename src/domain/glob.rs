//! Redis's patterns: `*`, `?`, `[a-z]`, `[^a]`, and a backslash before what is meant literally.

/// Whether all of the text is as the pattern says. Time grows with pattern times text at most.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at_pattern, mut at_text) = (0, 0);
    // Where the last `*` stood, and how far it reaches for now.
    let mut star: Option<(usize, usize)> = None;
    while at_text < text.len() {
        if pattern.get(at_pattern) == Some(&b'*') {
            star = Some((at_pattern, at_text));
            at_pattern += 1;
        } else if let Some(length) = one(&pattern[at_pattern..], text[at_text]) {
            at_pattern += length;
            at_text += 1;
        } else if let Some((at, reach)) = star {
            star = Some((at, reach + 1));
            (at_pattern, at_text) = (at + 1, reach + 1);
        } else {
            return false;
        }
    }
    pattern[at_pattern..].iter().all(|b| *b == b'*')
}

/// The text with everything escaped that a pattern would take for more than itself.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 4);
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// What two texts both begin with.
pub fn common<'a>(one: &'a str, other: &str) -> &'a str {
    let same = one.char_indices().zip(other.chars()).find(|((_, a), b)| a != b);
    match same {
        Some(((at, _), _)) => &one[..at],
        None => &one[..one.len().min(other.len())],
    }
}

/// How much of the pattern stands for this one byte, if it does.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [b'[', set @ ..] => {
            let (is_in, length) = within(set, byte);
            is_in.then_some(length + 1)
        }
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

/// Whether the byte is in the set, and where the set ends. One that is never closed reaches to the end.
fn within(set: &[u8], byte: u8) -> (bool, usize) {
    let negated = set.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match &set[at.min(set.len())..] {
            [] => return (found != negated, set.len()),
            [b']', ..] => return (found != negated, at + 1),
            [b'\\', literal, ..] => {
                found |= *literal == byte;
                at += 2;
            }
            [from, b'-', to, ..] => {
                found |= (*from.min(to)..=*from.max(to)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= *literal == byte;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_redis() {
        let is = |pattern: &str, text: &str| matches(pattern.as_bytes(), text.as_bytes());
        for (pattern, text) in [
            ("*", ""),
            ("user:*", "user:7"),
            ("*:g", "{user:7}:g"),
            ("u*r:*7", "user:x:77"),
            ("h?llo", "hallo"),
            ("h[ae]llo", "hello"),
            ("h[^e]llo", "hallo"),
            ("h[a-c]llo", "hbllo"),
            ("h[c-a]llo", "hbllo"),
            (r"a\*b", "a*b"),
            (r"a[\]]b", "a]b"),
            ("a[b", "ab"),
        ] {
            assert!(is(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "a"),
            ("user:*", "order:7"),
            ("h?llo", "hllo"),
            ("h[^e]llo", "hello"),
            (r"a\*b", "axb"),
            ("a*b*c", "acb"),
            ("a", "ab"),
        ] {
            assert!(!is(pattern, text), "{pattern} {text}");
        }
    }
}
