//! Card numbers: 13 to 19 digits that begin as an issuer's do and end in the right check digit.
//!
//! Digits may stand in groups, as on a card. One number in ten has a right check digit by chance, so what is known to be
//! something else is let go: phone numbers with their `+`, UUIDs, digits that are part of a word, lists of short numbers.

const WHAT: &str = "a card number";
const SHORTEST: usize = 13;
const LONGEST: usize = 19;
/// Groups on a card: 4-4-4-4-3, 4-6-5. More, or shorter ones, are a list of numbers.
const GROUPS: usize = 5;
const GROUP: usize = 3;

/// A run of digits: its bounds, and whether letters touch it.
#[derive(Clone, Copy)]
struct Group {
    start: usize,
    end: usize,
    glued: bool,
}

pub fn in_text(bytes: &[u8]) -> Option<&'static str> {
    if bytes.iter().filter(|b| b.is_ascii_digit()).count() < SHORTEST {
        return None;
    }
    // The last few groups that stand in one row, the newest last.
    let mut row: Vec<Group> = Vec::with_capacity(GROUPS);
    let mut at = 0;
    while let Some(found) = bytes[at..].iter().position(u8::is_ascii_digit) {
        let group = group_at(bytes, at + found);
        let in_row = row.last().is_some_and(|last| is_separator(&bytes[last.end..group.start]));
        if !in_row {
            row.clear();
        } else if row.len() == GROUPS {
            row.remove(0);
        }
        row.push(group);
        if (0..row.len()).any(|first| is_card_row(bytes, &row[first..])) {
            return Some(WHAT);
        }
        at = group.end;
    }
    None
}

/// The number as JSON writes it: its whole part is what is looked at, however the number is written.
pub fn in_number(number: &str) -> Option<&'static str> {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent: i32 = exponent.parse().ok()?;
    let written = whole.bytes().chain(fraction.bytes()).filter(u8::is_ascii_digit);
    let zeros = written.clone().take_while(|b| *b == b'0').count();
    // How many digits the whole part has: those before the point, moved by the exponent.
    let before_point = whole.bytes().filter(u8::is_ascii_digit).count();
    let moved = i64::try_from(before_point).ok()? - i64::try_from(zeros).ok()? + i64::from(exponent);
    let length = usize::try_from(moved).ok()?;
    if !(SHORTEST..=LONGEST).contains(&length) {
        return None;
    }
    let mut digits: Vec<u8> = written.skip(zeros).take(length).collect();
    digits.resize(length, b'0');
    is_card(&digits).then_some(WHAT)
}

fn group_at(bytes: &[u8], start: usize) -> Group {
    let length = bytes[start..].iter().take_while(|b| b.is_ascii_digit()).count();
    let end = start + length;
    let letter = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphabetic());
    let before = start.checked_sub(1).and_then(|i| bytes.get(i));
    Group { start, end, glued: letter(before) || letter(bytes.get(end)) }
}

/// One space or dash, in any of the usual widths.
fn is_separator(between: &[u8]) -> bool {
    let one = std::str::from_utf8(between).unwrap_or_default();
    matches!(one, " " | "-" | "\u{a0}" | "\u{2009}" | "\u{202f}" | "\u{2010}" | "\u{2011}" | "\u{2012}" | "\u{2013}")
}

fn is_card_row(bytes: &[u8], row: &[Group]) -> bool {
    let length: usize = row.iter().map(|group| group.end - group.start).sum();
    let (Some(first), Some(last)) = (row.first(), row.last()) else { return false };
    let long_enough = |group: &Group| group.end - group.start >= GROUP;
    if !(SHORTEST..=LONGEST).contains(&length)
        || row.iter().any(|group| group.glued)
        || !row[..row.len() - 1].iter().all(long_enough)
    {
        return false;
    }
    let digits: Vec<u8> = row.iter().flat_map(|group| &bytes[group.start..group.end]).copied().collect();
    is_card(&digits) && !is_phone(bytes, first.start, length) && !is_uuid(bytes, first.start, last.end)
}

/// `+` and at most fifteen digits, as the numbering plan has it.
fn is_phone(bytes: &[u8], start: usize, length: usize) -> bool {
    length <= 15 && start > 0 && bytes[start - 1] == b'+'
}

fn is_uuid(bytes: &[u8], start: usize, end: usize) -> bool {
    let part = |b: &&u8| b.is_ascii_hexdigit() || **b == b'-';
    let before = bytes[..start].iter().rev().take_while(part).count();
    let after = bytes[end..].iter().take_while(part).count();
    let word = &bytes[start - before..end + after];
    word.len() == 36 && word.iter().enumerate().all(|(i, b)| (*b == b'-') == matches!(i, 8 | 13 | 18 | 23))
}

fn is_card(digits: &[u8]) -> bool {
    has_issuer(digits) && passes_luhn(digits)
}

fn has_issuer(digits: &[u8]) -> bool {
    let first = |count: usize| digits[..count].iter().fold(0u32, |n, d| n * 10 + u32::from(d - b'0'));
    let (one, two, three, four) = (first(1), first(2), first(3), first(4));
    match digits.len() {
        // Visa; Maestro and Diners beside it below.
        13 | 16 | 19 if one == 4 => true,
        15 if matches!(two, 34 | 37) => true,
        16 if matches!(two, 51..=55) || matches!(four, 2221..=2720) => true,
        // Mir, JCB, Discover, UnionPay, RuPay.
        16..=19
            if matches!(four, 2200..=2204 | 3528..=3589 | 6011)
                || matches!(three, 644..=649)
                || matches!(two, 62 | 65 | 81 | 82) =>
        {
            true
        }
        14..=19 if matches!(three, 300..=305 | 309) || matches!(two, 36 | 38 | 39) => true,
        13..=19 => matches!(four, 5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763),
        _ => false,
    }
}

/// Every second digit from the right counts double, less nine where that has two digits; the sum ends in zero.
fn passes_luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let value = u32::from(digit - b'0') * (1 + place as u32 % 2);
            if value > 9 { value - 9 } else { value }
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that issuers publish for tests.
    const CARDS: [&str; 10] = [
        "4111111111111111",
        "4222222222222",
        "5555555555554444",
        "2223003122003222",
        "378282246310005",
        "30569309025904",
        "6011111111111117",
        "3530111333300000",
        "6200000000000005",
        "6304000000000000",
    ];

    #[test]
    fn cards_are_found_however_they_are_grouped() {
        for card in CARDS {
            let grouped = |separator: &str| {
                let groups: Vec<&str> = (0..card.len()).step_by(4).map(|i| &card[i..card.len().min(i + 4)]).collect();
                groups.join(separator)
            };
            for text in [card.to_owned(), grouped(" "), grouped("-"), grouped("\u{a0}"), format!("n:{card},")] {
                assert_eq!(in_text(text.as_bytes()), Some(WHAT), "{text}");
            }
        }
        assert_eq!(in_text(b"3782 822463 10005"), Some(WHAT));
        assert_eq!(in_text(b"+4111111111111111"), Some(WHAT));
    }

    #[test]
    fn cards_are_found_among_numbers() {
        for number in [
            "4111111111111111",
            "-4111111111111111",
            "4111111111111111.0",
            "4.111111111111111e15",
            "411111111111111.1E+1",
            "0.4111111111111111e16",
        ] {
            assert_eq!(in_number(number), Some(WHAT), "{number}");
        }
        for number in [
            "4111111111111112",
            "1",
            "0",
            "-0.0",
            "1e400",
            "1e-400",
            "4.1111111111111111",
            "1732160000000",
            "1e99999999999",
            "0e15",
        ] {
            assert_eq!(in_number(number), None, "{number}");
        }
    }

    #[test]
    fn other_numbers_pass() {
        for text in [
            "4111111111111112",
            "x4111111111111111",
            "4111111111111111z",
            "41111111111111110000",
            "1732160000000",
            "+4222222222222",
            "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
            "41-11-11-11-11-11-11-11",
            "4111  1111  1111  1111",
            "41111111-1111-1111-1111-111111111111",
        ] {
            assert_eq!(in_text(text.as_bytes()), None, "{text}");
        }
    }
}
