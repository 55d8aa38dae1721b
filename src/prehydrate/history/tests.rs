//! What a history makes of reads, visits and time.

use bytes::Bytes;

use super::*;

const CONFIG: Config =
    Config { half_life: Duration::from_secs(7 * 86_400), keep: 4, life: Duration::from_secs(86_400) };
const DAY: u64 = 86_400;

/// The hash, as Redis would hold it between logins.
#[derive(Default)]
struct Hash(BTreeMap<String, String>);

impl Hash {
    fn read(&mut self, item: &str, at: u64) {
        self.0.insert(format!("r:{item}"), at.to_string());
    }

    fn login(&mut self, at: u64) -> History {
        let fields = self.0.iter().map(|(name, value)| (name.clone().into(), value.clone().into())).collect();
        let history = History::at_login(&fields, Duration::from_secs(at), &CONFIG);
        for field in &history.update.remove {
            self.0.remove(std::str::from_utf8(field).unwrap_or_default());
        }
        self.0.extend(history.update.set.iter().cloned());
        history
    }
}

fn score(history: &History, item: &str) -> f64 {
    history.scores.get(&Item::parse(item).expect("an item")).copied().unwrap_or_default()
}

#[test]
fn what_is_read_on_every_visit_rises_and_what_is_not_falls() {
    let mut hash = Hash::default();
    let mut seen = Vec::new();
    for visit in 0..6 {
        let at = 1_000_000 + visit * 60;
        seen.push(score(&hash.login(at), "profile"));
        hash.read("profile", at + 1);
    }
    assert!(seen.is_sorted() && seen[0] == 0.0 && seen[5] > 0.7, "{seen:?}");
    let mut fallen = Vec::new();
    for visit in 6..12 {
        let at = 1_000_000 + visit * 60;
        fallen.push(score(&hash.login(at), "profile"));
        hash.read("orders", at + 1);
    }
    assert!(fallen[5] < 0.3, "{fallen:?}");
}

#[test]
fn a_visit_of_which_nobody_told_moves_nothing() {
    let mut hash = Hash::default();
    hash.read("profile", 1_000);
    let first = score(&hash.login(1_001), "profile");
    assert_eq!(score(&hash.login(1_002), "profile"), score(&hash.login(1_003), "profile"));
    assert!((score(&hash.login(1_004), "profile") - first).abs() < 0.01);
}

#[test]
fn time_alone_lets_a_habit_fade() {
    let mut hash = Hash::default();
    hash.read("profile", 1_000);
    let before = score(&hash.login(2_000), "profile");
    let after = score(&hash.login(2_000 + 7 * DAY), "profile");
    assert!((after - before / 2.0).abs() < 0.01, "{before} {after}");
}

#[test]
fn only_so_many_items_are_kept() {
    let mut hash = Hash::default();
    for number in 0..20 {
        hash.read(&format!("product?sku={number}"), 1_000);
    }
    let history = hash.login(2_000);
    assert_eq!(history.scores.len(), CONFIG.keep);
    assert!(hash.0.len() <= 2 * CONFIG.keep + 1, "{:?}", hash.0.keys());
}

#[test]
fn foreign_fields_are_counted_and_taken_out() {
    let mut hash = Hash::default();
    let foreign = [
        ("hello", "1"),
        ("r:profile", "yesterday"),
        ("s:profile", "7"),
        ("s:orders", "NaN"),
        ("r:a b", "1"),
        ("q:profile", "1"),
        ("r:late", "99999999999"),
        ("login:x", "1"),
    ];
    for (name, value) in foreign {
        hash.0.insert(name.into(), value.into());
    }
    hash.read("orders", 1_500);
    let history = hash.login(2_000);
    assert_eq!(history.foreign, foreign.len());
    assert_eq!(history.scores.len(), 1);
    assert_eq!(hash.login(2_001).foreign, 0, "repaired");
}

#[test]
fn bytes_that_are_no_text_are_foreign() {
    let fields = vec![(Bytes::from_static(b"\xff\xfe"), Bytes::from_static(b"1"))];
    assert_eq!(History::at_login(&fields, Duration::from_secs(1), &CONFIG).foreign, 1);
}
