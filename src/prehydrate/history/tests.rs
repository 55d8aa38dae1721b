//! What a history makes of reads, looks, visits and time.

use super::*;
use crate::domain::entity::sample::{loaded, shared};
use crate::domain::entity::{Draft, Entity};

const CONFIG: Config =
    Config { half_life: Duration::from_secs(7 * DAY), keep: 4, life: Duration::from_secs(DAY), floor: 0.3 };
const DAY: u64 = 86_400;

fn catalog() -> Catalog {
    let drafts = [
        loaded("profile", "profile:{id}"),
        loaded("orders", "orders:{id}"),
        Draft { secret: true, ..loaded("session", "session:{id}:{token}") },
        shared("tenant", "tenant:{tenant}"),
        Draft { load: loaded("product", "product:{id}").load, ..shared("product", "product:{sku}") },
    ];
    Catalog::new(drafts.map(|draft| Entity::new(draft).expect("an entity")).to_vec()).expect("a catalog")
}

/// The hash, as Redis would hold it between logins.
#[derive(Default)]
struct Hash {
    fields: BTreeMap<String, String>,
    usual: BTreeMap<Name, f64>,
}

impl Hash {
    fn read(&mut self, name: &str, at: u64) {
        self.fields.extend([told(&item(name), at)]);
    }

    fn seen(&mut self, name: &str, shown: Shown, at: u64) {
        self.fields.extend([seen(&item(name), shown, at)]);
    }

    fn login(&mut self, at: u64) -> History {
        let fields = self.fields.iter().map(|(name, value)| (name.clone().into(), value.clone().into())).collect();
        let known = Known { catalog: &catalog(), usual: &self.usual };
        let history = History::at_login(&fields, Duration::from_secs(at), &CONFIG, &known);
        for field in &history.update.remove {
            self.fields.remove(std::str::from_utf8(field).unwrap_or_default());
        }
        self.fields.extend(history.update.set.iter().cloned());
        history
    }
}

fn item(text: &str) -> Item {
    Item::parse(text).expect("an item")
}

fn score(history: &History, text: &str) -> f64 {
    history.scores.get(&item(text)).copied().unwrap_or_default()
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
fn two_logins_in_a_row_move_nothing() {
    let mut hash = Hash::default();
    hash.read("profile", 1_000);
    let first = score(&hash.login(1_001), "profile");
    assert_eq!(score(&hash.login(1_002), "profile"), score(&hash.login(1_003), "profile"));
    assert!((score(&hash.login(1_004), "profile") - first).abs() < 0.01);
}

#[test]
fn whoever_comes_once_a_month_is_known_from_the_third_login_on_too() {
    for days in [1, 3, 7, 29] {
        let mut hash = Hash::default();
        let mut seen = Vec::new();
        for visit in 1..=3 {
            let at = visit * days * DAY;
            seen.push(score(&hash.login(at), "profile"));
            hash.read("profile", at + 60);
        }
        assert!(seen[2] >= CONFIG.floor, "every {days} days: {seen:?}");
    }
}

#[test]
fn what_nobody_has_looked_at_fades_with_time_and_by_little_from_one_visit_to_the_next() {
    let mut hash = Hash::default();
    hash.fields.extend([scored(&item("profile"), 0.8), ("login".to_owned(), (10 * DAY).to_string())]);
    let after_a_day = score(&hash.login(11 * DAY), "profile");
    assert!((after_a_day - 0.8 * 0.5f64.powf(1.0 / 7.0)).abs() < 0.01, "{after_a_day}");
    let after_a_month = score(&hash.login(41 * DAY), "profile");
    assert!((after_a_month - 0.9 * after_a_day).abs() < 0.01, "{after_a_month}");
}

#[test]
fn what_others_read_does_not_fade_below_what_is_usual() {
    let mut hash = Hash { usual: BTreeMap::from([(item("profile").entity().clone(), 0.5)]), ..Hash::default() };
    hash.fields.extend([scored(&item("profile"), 0.8), scored(&item("orders"), 0.8)]);
    let mut last = History::default();
    for visit in 1..=40 {
        last = hash.login(visit * DAY);
    }
    assert!((score(&last, "profile") - 0.5).abs() < 0.05 && score(&last, "orders") < CONFIG.floor, "{last:?}");
}

#[test]
fn a_look_moves_only_what_it_has_shown() {
    let mut hash = Hash::default();
    let items = ["profile", "orders", "product?sku=1"];
    hash.fields.extend(items.map(|text| scored(&item(text), 0.6)));
    hash.login(1_000);
    hash.seen("profile", Shown::Read, 1_001);
    hash.seen("orders", Shown::NotRead, 1_001);
    let history = hash.login(1_002);
    let scores = items.map(|text| (score(&history, text) * 100.0).round());
    assert_eq!((scores, history.is_told), ([70.0, 40.0, 60.0], false), "the third was not looked at");
    let again = hash.login(1_003);
    assert!((score(&again, "profile") - 0.7).abs() < 0.01, "a look counts once");
}

#[test]
fn where_applications_tell_silence_is_a_proof() {
    let mut hash = Hash::default();
    hash.fields.extend(["profile", "orders", "product?sku=1"].map(|text| scored(&item(text), 0.6)));
    hash.login(1_000);
    hash.read("profile", 1_001);
    hash.seen("product?sku=1", Shown::Read, 1_001);
    let history = hash.login(1_002);
    assert!(history.is_told && score(&history, "profile") > 0.6 && score(&history, "orders") < 0.45);
    assert!(score(&history, "product?sku=1") > 0.6, "it was seen to be read all the same");
}

#[test]
fn what_is_tried_begins_with_what_is_usual() {
    let mut hash = Hash::default();
    let mut history = hash.login(1_000);
    history.adopt(&item("profile"), 0.5);
    hash.fields.extend(history.update.set);
    hash.seen("profile", Shown::Read, 1_001);
    assert!((score(&hash.login(1_002), "profile") - 0.625).abs() < 0.01);
}

#[test]
fn only_so_many_items_are_kept() {
    let mut hash = Hash::default();
    for number in 0..20 {
        hash.read(&format!("product?sku={number}"), 1_000);
    }
    let history = hash.login(2_000);
    assert_eq!(history.scores.len(), CONFIG.keep);
    assert!(hash.fields.len() <= 2 * CONFIG.keep + 1, "{:?}", hash.fields.keys());
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
        ("l:profile", "17"),
        ("l:profile", "*17"),
        ("r:typo", "1000"),
        ("s:tenant", "0.5"),
        ("r:profile?id=8", "1000"),
        ("s:session?token=abc", "0.5"),
        ("r:product", "1000"),
        ("r:product?sku=1&size=2", "1000"),
    ];
    for (name, value) in foreign {
        hash.fields.insert(name.into(), value.into());
    }
    hash.read("orders", 1_500);
    let history = hash.login(2_000);
    assert_eq!(history.foreign, foreign.len() - 1, "one of them stands twice");
    assert_eq!(history.scores.len(), 1);
    assert_eq!(hash.login(2_001).foreign, 0, "repaired");
}

#[test]
fn bytes_that_are_no_text_are_foreign() {
    let fields = vec![(Bytes::from_static(b"\xff\xfe"), Bytes::from_static(b"1"))];
    let known = Known { catalog: &catalog(), usual: &BTreeMap::new() };
    assert_eq!(History::at_login(&fields, Duration::from_secs(1), &CONFIG, &known).foreign, 1);
}
