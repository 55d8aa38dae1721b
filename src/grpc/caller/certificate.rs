//! What a client's certificate calls its owner: the names of its subject alternative name (DNS, URI), and its subject's
//! common name where an authority knows nothing better.
//!
//! It is read after TLS has verified it, by the little of DER that leads to these fields. Why not a crate: the one that
//! verifies gives no common name, and those that do bring a parser for everything else a certificate may hold.

use std::collections::BTreeSet;

/// The names in a certificate; or those that one must have, each of which must then be in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Names {
    /// In lower case.
    pub dns: BTreeSet<String>,
    /// As written: `spiffe://…`.
    pub uri: BTreeSet<String>,
    pub common: BTreeSet<String>,
}

const SEQUENCE: u8 = 0x30;
const OBJECT_ID: u8 = 0x06;
const OCTETS: u8 = 0x04;
const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
/// `[3]` of a certificate's body: its extensions.
const EXTENSIONS: u8 = 0xa3;
/// `[0]` of a certificate's body: its version.
const VERSION: u8 = 0xa0;
/// `[2]` and `[6]` of an alternative name.
const DNS_NAME: u8 = 0x82;
const URI_NAME: u8 = 0x86;
/// 2.5.29.17
const ALTERNATIVE_NAME: [u8; 3] = [0x55, 0x1d, 0x11];
/// 2.5.4.3
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];
/// A name that is longer is nobody's that a configuration names.
const MAX_NAME_BYTES: usize = 512;
/// Names that are looked at; a certificate of a caller has a few.
const MAX_NAMES: usize = 64;

impl Names {
    /// None where the bytes are no certificate.
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let mut names = Self::default();
        let mut body = Der(Der(Der(certificate).of(SEQUENCE)?).of(SEQUENCE)?);
        if body.peek() == Some(VERSION) {
            body.next()?;
        }
        // Serial number, signature, issuer, validity.
        for _ in 0..4 {
            body.next()?;
        }
        names.subject(body.of(SEQUENCE)?)?;
        while let Some((tag, content)) = body.next() {
            if tag == EXTENSIONS {
                names.extensions(Der(content).of(SEQUENCE)?)?;
            }
        }
        Some(names)
    }

    pub fn is_empty(&self) -> bool {
        self.dns.is_empty() && self.uri.is_empty() && self.common.is_empty()
    }

    /// Whether all of these are among the others.
    pub fn all_in(&self, shown: &Self) -> bool {
        self.dns.is_subset(&shown.dns) && self.uri.is_subset(&shown.uri) && self.common.is_subset(&shown.common)
    }

    fn subject(&mut self, subject: &[u8]) -> Option<()> {
        let mut sets = Der(subject);
        while let Some((_, set)) = sets.next() {
            let mut attributes = Der(set);
            while let Some((_, attribute)) = attributes.next() {
                let mut attribute = Der(attribute);
                let is_common = attribute.of(OBJECT_ID)? == COMMON_NAME;
                if let (true, (UTF8 | PRINTABLE, text)) = (is_common, attribute.next()?) {
                    self.common.extend(text_of(text).map(str::to_owned));
                }
            }
        }
        Some(())
    }

    fn extensions(&mut self, extensions: &[u8]) -> Option<()> {
        let mut extensions = Der(extensions);
        while let Some((_, extension)) = extensions.next() {
            let mut extension = Der(extension);
            if extension.of(OBJECT_ID)? != ALTERNATIVE_NAME {
                continue;
            }
            // Between the two may stand whether it is critical.
            while let Some((tag, content)) = extension.next() {
                if tag == OCTETS {
                    self.alternatives(Der(content).of(SEQUENCE)?);
                }
            }
        }
        Some(())
    }

    fn alternatives(&mut self, names: &[u8]) {
        let mut names = Der(names);
        let mut seen = 0;
        while let Some((tag, name)) = names.next().filter(|_| seen < MAX_NAMES) {
            seen += 1;
            match (tag, text_of(name)) {
                (DNS_NAME, Some(name)) => drop(self.dns.insert(name.to_ascii_lowercase())),
                (URI_NAME, Some(name)) => drop(self.uri.insert(name.to_owned())),
                (_, _) => {}
            }
        }
    }
}

fn text_of(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| (1..=MAX_NAME_BYTES).contains(&text.len()))
}

/// A run of DER values.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The content of the next value, if it is of this kind.
    fn of(&mut self, kind: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == kind).map(|(_, content)| content)
    }

    /// The next value: its tag and its content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        let (length, rest) = match usize::from(first) {
            short @ 0..0x80 => (short, rest),
            long => {
                let (digits, rest) = rest.split_at_checked(long & 0x7f)?;
                // Four bytes of length are more than any certificate has.
                if digits.is_empty() || digits.len() > 4 {
                    return None;
                }
                (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
            }
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }
}

#[cfg(test)]
mod tests {
    use rcgen::string::Ia5String;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn certificate() -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["Deployer.Ops".to_owned(), "10.0.0.1".to_owned()]).expect("good");
        let uri = Ia5String::try_from("spiffe://cluster/ns/ops/sa/Deployer").expect("ascii");
        params.subject_alt_names.push(SanType::URI(uri));
        params.distinguished_name.push(DnType::OrganizationName, "somebody else");
        params.distinguished_name.push(DnType::CommonName, "deployer");
        params.self_signed(&KeyPair::generate().expect("a key")).expect("signed").der().to_vec()
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_certificates_names_are_read_and_nothing_else_is_one() {
        let expected = Names {
            dns: set(&["deployer.ops"]),
            uri: set(&["spiffe://cluster/ns/ops/sa/Deployer"]),
            common: set(&["deployer"]),
        };
        assert_eq!(Names::of(&certificate()), Some(expected));
    }

    #[test]
    fn what_is_cut_short_has_no_names_and_harms_nobody() {
        let certificate = certificate();
        for end in 0..certificate.len() {
            assert_eq!(Names::of(&certificate[..end]), None, "{end}");
        }
        for at in 0..certificate.len() {
            let mut broken = certificate.clone();
            broken[at] = 0xff;
            drop(Names::of(&broken));
        }
    }

    #[test]
    fn all_that_is_asked_for_must_be_there() {
        let shown = Names::of(&certificate()).expect("a certificate");
        assert!(Names { common: set(&["deployer"]), ..Names::default() }.all_in(&shown));
        assert!(!Names { common: set(&["deployer"]), dns: set(&["other"]), ..Names::default() }.all_in(&shown));
        assert!(!Names { uri: set(&["spiffe://cluster/ns/ops/sa/deployer"]), ..Names::default() }.all_in(&shown));
    }
}
