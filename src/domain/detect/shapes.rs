//! The shapes by which issuers mark their secrets: how each begins, and what must follow.

use crate::domain::json::{Kind, Reader};

pub(super) struct Shape {
    start: &'static [u8],
    rest: Rest,
    pub what: &'static str,
}

enum Rest {
    /// At least so many letters of an alphabet.
    Run(Alphabet, usize),
    /// Whatever this says of the text, given where the shape starts and where its rest does.
    Check(fn(&[u8], usize, usize) -> bool),
}

#[derive(Clone, Copy)]
enum Alphabet {
    /// Capitals and digits.
    Capitals,
    /// Letters, digits, `_` and `-`.
    Word,
    /// The same with `.`.
    Dotted,
    /// Base64 of either kind.
    Base64,
    /// What hashes of passwords are written in.
    Crypt,
}

/// Finds the shapes that could start at a place, for most places at the cost of one look.
pub(super) struct Index {
    /// Which two bytes some shape begins with: one bit each.
    pairs: [u64; 1024],
    /// Where the shapes that begin with a byte start among those sorted; they end where the next byte's start.
    from: [u8; 257],
}

pub(super) static INDEX: Index = Index::of(&SHAPES);

const AWS: &str = "an AWS key";
const GITHUB: &str = "a GitHub token";
const SLACK: &str = "a Slack token";
const STRIPE: &str = "a Stripe key";
const HASH: &str = "a password hash";
const KEY: &str = "a private key";
const BEARER: &str = "a bearer token";
const LOGIN: &str = "a name and password";
const GOOGLE: &str = "a Google key";
const TOKEN: &str = "an API token";

/// By first byte, so that the index can point at them.
static SHAPES: [Shape; 66] = sorted({
    use Alphabet::{Base64, Capitals, Crypt, Dotted, Word};
    [
        check(".", is_jwt, "a JSON web token"),
        check("-----BEGIN ", names_private_key, KEY),
        run("PuTTY-User-Key-File-", Word, 1, KEY),
        run("AGE-SECRET-KEY-1", Capitals, 20, KEY),
        // Keys without their armour: how DER begins for Ed25519, EC, EC in PKCS#8, RSA in PKCS#8 and RSA of four sizes.
        run("MC4CAQAwBQYDK2Vw", Base64, 20, KEY),
        run("MHcCAQEE", Base64, 40, KEY),
        run("MIGHAgEAMBMGByqGSM49", Base64, 40, KEY),
        run("IBADANBgkqhkiG9w0BAQEFAAS", Base64, 1, KEY),
        run("IBAAKCAQEA", Base64, 20, KEY),
        run("IBAAKCAgEA", Base64, 20, KEY),
        run("IBAAKCAYEA", Base64, 20, KEY),
        run("IBAAKBgQ", Base64, 20, KEY),
        run("AKIA", Capitals, 16, AWS),
        run("ASIA", Capitals, 16, AWS),
        run("ABIA", Capitals, 16, AWS),
        run("ACCA", Capitals, 16, AWS),
        run("AIza", Word, 35, GOOGLE),
        run("ya29.", Word, 20, GOOGLE),
        run("GOCSPX-", Word, 20, GOOGLE),
        run("AccountKey=", Base64, 40, "an Azure key"),
        run("SharedAccessKey=", Base64, 40, "an Azure key"),
        run("ghp_", Word, 30, GITHUB),
        run("gho_", Word, 30, GITHUB),
        run("ghu_", Word, 30, GITHUB),
        run("ghs_", Word, 30, GITHUB),
        run("ghr_", Word, 30, GITHUB),
        run("github_pat_", Word, 20, GITHUB),
        run("glpat-", Word, 20, "a GitLab token"),
        run("xoxa-", Word, 10, SLACK),
        run("xoxb-", Word, 10, SLACK),
        run("xoxc-", Word, 10, SLACK),
        run("xoxd-", Word, 10, SLACK),
        run("xoxe-", Word, 10, SLACK),
        run("xoxe.", Word, 3, SLACK),
        run("xoxo-", Word, 10, SLACK),
        run("xoxp-", Word, 10, SLACK),
        run("xoxr-", Word, 10, SLACK),
        run("xoxs-", Word, 10, SLACK),
        run("xapp-", Word, 20, SLACK),
        run("hooks.slack.com/services/", Word, 5, SLACK),
        run("sk_live_", Word, 16, STRIPE),
        run("rk_live_", Word, 16, STRIPE),
        run("sk_test_", Word, 16, STRIPE),
        run("rk_test_", Word, 16, STRIPE),
        run("whsec_", Base64, 20, STRIPE),
        run("sk-ant-", Word, 20, TOKEN),
        run("sk-proj-", Word, 20, TOKEN),
        run("SG.", Dotted, 40, TOKEN),
        run("npm_", Word, 36, TOKEN),
        run("pypi-AgE", Word, 40, TOKEN),
        run("hvs.", Word, 20, TOKEN),
        run("dop_v1_", Word, 40, TOKEN),
        run("shpat_", Word, 30, TOKEN),
        check("$2", is_bcrypt, HASH),
        run("$argon2", Crypt, 20, HASH),
        run("$scrypt$", Crypt, 20, HASH),
        run("$pbkdf2", Crypt, 20, HASH),
        check("$", is_crypt, HASH),
        run("pbkdf2_sha", Crypt, 20, HASH),
        run("pbkdf2:sha", Crypt, 20, HASH),
        run("scrypt:", Crypt, 30, HASH),
        run("{SSHA", Crypt, 20, HASH),
        check("earer ", is_bearer, BEARER),
        check("EARER ", is_bearer, BEARER),
        check("asic ", is_basic, LOGIN),
        check("://", has_userinfo, LOGIN),
    ]
});

const fn run(start: &'static str, alphabet: Alphabet, least: usize, what: &'static str) -> Shape {
    Shape { start: start.as_bytes(), rest: Rest::Run(alphabet, least), what }
}

const fn check(start: &'static str, check: fn(&[u8], usize, usize) -> bool, what: &'static str) -> Shape {
    Shape { start: start.as_bytes(), rest: Rest::Check(check), what }
}

impl Shape {
    pub fn stands_at(&self, bytes: &[u8], at: usize) -> bool {
        let here = &bytes[at..];
        // Byte by byte, since most fail at the second or third.
        if here.len() < self.start.len() || self.start.iter().zip(here).any(|(a, b)| a != b) {
            return false;
        }
        match self.rest {
            Rest::Run(alphabet, least) => alphabet.run(&here[self.start.len()..]) >= least,
            Rest::Check(check) => check(bytes, at, at + self.start.len()),
        }
    }
}

impl Alphabet {
    fn has(self, byte: u8) -> bool {
        let word = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        match self {
            Self::Capitals => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Word => word,
            Self::Dotted => word || byte == b'.',
            Self::Base64 => word || matches!(byte, b'+' | b'/' | b'='),
            Self::Crypt => byte.is_ascii_alphanumeric() || b"./$=,+-_:}".contains(&byte),
        }
    }

    /// How many letters of it the bytes begin with.
    fn run(self, bytes: &[u8]) -> usize {
        bytes.iter().take_while(|b| self.has(**b)).count()
    }
}

impl Index {
    /// Whether a shape could start with these two bytes.
    pub fn has(&self, pair: [u8; 2]) -> bool {
        let bit = usize::from(u16::from_be_bytes(pair));
        self.pairs[bit / 64] & (1 << (bit % 64)) != 0
    }

    pub fn of_first(&self, byte: u8) -> &'static [Shape] {
        let first = usize::from(byte);
        &SHAPES[usize::from(self.from[first])..usize::from(self.from[first + 1])]
    }

    const fn of(shapes: &[Shape]) -> Self {
        let (mut pairs, mut from) = ([0; 1024], [0; 257]);
        let mut at = 0;
        while at < shapes.len() {
            let start = shapes[at].start;
            // A start of one byte may be followed by any.
            let (mut second, last) = if start.len() > 1 { (start[1] as usize, start[1] as usize) } else { (0, 255) };
            while second <= last {
                let bit = (start[0] as usize) << 8 | second;
                pairs[bit / 64] |= 1 << (bit % 64);
                second += 1;
            }
            let mut later = start[0] as usize + 1;
            while later < from.len() {
                from[later] += 1;
                later += 1;
            }
            at += 1;
        }
        Self { pairs, from }
    }
}

const fn sorted<const N: usize>(mut shapes: [Shape; N]) -> [Shape; N] {
    let mut sorted = 1;
    while sorted < N {
        let mut at = sorted;
        while at > 0 && shapes[at - 1].start[0] > shapes[at].start[0] {
            shapes.swap(at - 1, at);
            at -= 1;
        }
        sorted += 1;
    }
    shapes
}

/// Around the first dot of `header.payload.signature`: the header is base64url of a JSON object. Payload and signature
/// may be empty (encrypted directly, unsigned).
fn is_jwt(bytes: &[u8], dot: usize, after: usize) -> bool {
    /// A header names an algorithm and a key; the longest carry a certificate chain.
    const LONGEST: usize = 8 * 1024;
    let length = bytes[..dot].iter().rev().take(LONGEST).take_while(|b| Alphabet::Word.has(**b)).count();
    let payload = Alphabet::Word.run(&bytes[after..]);
    if length < 8 || bytes.get(after + payload) != Some(&b'.') {
        return false;
    }
    let word = &bytes[dot - length..dot];
    // Something may be glued on in front (`session_eyJ...`): `{` in base64 is `e` and one of the last sixteen letters.
    let opens = |pair: &[u8; 2]| pair[0] == b'e' && matches!(pair[1], b'w'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    let glued = word.array_windows::<2>().enumerate().filter(|(_, pair)| opens(pair)).map(|(at, _)| at);
    // A few tries find it: text between the mark and the header is not made of such pairs.
    std::iter::once(0).chain(glued.take(8)).any(|at| decode(&word[at..]).is_some_and(|header| is_object(&header)))
}

fn is_object(bytes: &[u8]) -> bool {
    let Ok(mut reader) = Reader::new(bytes) else { return false };
    reader.peek() == Ok(Kind::Object) && reader.skip().is_ok() && reader.finish().is_ok()
}

/// The armour's first line: any kind of private key, but no certificate and no public key.
fn names_private_key(bytes: &[u8], _: usize, after: usize) -> bool {
    /// "ENCRYPTED PRIVATE KEY" and longer kinds.
    const LINE: usize = 64;
    let line = &bytes[after..bytes.len().min(after + LINE)];
    let line = line.split(|b| *b == b'-').next().unwrap_or_default();
    line.windows(11).any(|window| window == b"PRIVATE KEY")
}

/// `$2b$12$` and 53 letters.
fn is_bcrypt(bytes: &[u8], _: usize, after: usize) -> bool {
    match &bytes[after..] {
        [b'a' | b'b' | b'x' | b'y', b'$', b'0'..=b'9', b'0'..=b'9', b'$', rest @ ..] => Alphabet::Crypt.run(rest) >= 53,
        _ => false,
    }
}

/// `$1$`, `$5$`, `$6$`, `$7$`, `$y$`, `$apr1$`: what `crypt` writes.
fn is_crypt(bytes: &[u8], _: usize, after: usize) -> bool {
    let rest = &bytes[after..];
    let kinds: [&[u8]; 7] = [b"1$", b"5$", b"6$", b"7$", b"y$", b"gy$", b"apr1$"];
    kinds.iter().any(|kind| rest.strip_prefix(*kind).is_some_and(|rest| Alphabet::Crypt.run(rest) >= 22))
}

/// Long enough for a token, and no word: words have no digits, and capitals only in front.
fn is_bearer(bytes: &[u8], _: usize, after: usize) -> bool {
    let rest = &bytes[after..];
    let length = rest.iter().take_while(|b| Alphabet::Base64.has(**b) || matches!(b, b'.' | b'~')).count();
    let token = &rest[..length];
    let mixed = token.windows(2).any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase());
    length >= 16 && (mixed || token.iter().any(u8::is_ascii_digit))
}

/// Base64 of `name:password`.
fn is_basic(bytes: &[u8], _: usize, after: usize) -> bool {
    let rest = &bytes[after..];
    let length = Alphabet::Base64.run(rest);
    let login = decode(rest[..length].trim_ascii_end());
    length >= 8 && login.is_some_and(|login| login.contains(&b':') && login.iter().all(|b| (b' '..0x7f).contains(b)))
}

/// `user:pass@` or `:pass@` between the `//` of a URL and what ends its authority.
fn has_userinfo(bytes: &[u8], _: usize, after: usize) -> bool {
    let rest = &bytes[after..];
    let ends = |b: &u8| matches!(b, b'/' | b'?' | b'#' | b'"' | b'\'' | b'<' | b'>' | b'\\') || b.is_ascii_whitespace();
    let authority = rest.split(ends).next().unwrap_or_default();
    let Some(at) = authority.iter().rposition(|b| *b == b'@') else { return false };
    let password = authority[..at].splitn(2, |b| *b == b':').nth(1);
    password.is_some_and(|password| !password.is_empty())
}

/// Base64 of either alphabet, padded or not.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let digits = text.iter().rposition(|b| *b != b'=').map_or(0, |last| last + 1);
    let mut bytes = Vec::with_capacity(digits * 3 / 4);
    let (mut bits, mut held) = (0u32, 0);
    for digit in &text[..digits] {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_decodes_in_both_alphabets() {
        assert_eq!(decode(b"eyJhIjoxfQ").as_deref(), Some(&b"{\"a\":1}"[..]));
        assert_eq!(decode(b"_-8=").as_deref(), Some(&[0xff, 0xef][..]));
        assert_eq!(decode(b"a.b"), None);
    }

    #[test]
    fn every_shape_is_found_by_its_first_two_bytes() {
        for shape in &SHAPES {
            let second = *shape.start.get(1).unwrap_or(&b'x');
            assert!(INDEX.has([shape.start[0], second]), "{}", shape.what);
            let found = INDEX.of_first(shape.start[0]);
            assert!(found.iter().any(|other| std::ptr::eq(other, shape)), "{}", shape.what);
        }
        assert!(!INDEX.has(*b"zz"));
    }
}
