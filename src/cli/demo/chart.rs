//! The demo's story in numbers: as a table with bars for people, as JSON for machines.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

/// Everything the demo saw.
#[derive(Debug, Serialize)]
pub struct Story {
    /// Which store was used, and why.
    pub store: String,
    /// How long `Prehydrate` took to answer.
    pub accepted_ms: f64,
    /// How long after that everything was in the store.
    pub warm_after_ms: f64,
    pub without: Page,
    pub with: Page,
}

/// The first page after a login: what it needs, one after another.
#[derive(Debug, Serialize)]
pub struct Page {
    pub total_ms: f64,
    pub resources: Vec<Load>,
}

#[derive(Debug, Serialize)]
pub struct Load {
    pub name: &'static str,
    pub from: From,
    pub ms: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum From {
    Cache,
    Backend,
    /// Not in the cache, and the backend fails: the app shows the page without it.
    Failed,
}

/// The longest bar.
const WIDTH: f64 = 40.0;

pub fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

impl Story {
    pub fn table(&self) -> String {
        let mut text = String::new();
        let longest = self.without.resources.iter().map(|load| load.ms).fold(1.0, f64::max);
        let mut line = |args: std::fmt::Arguments<'_>| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{args}");
        };
        line(format_args!("A login, without and with Hydrant        store: {}\n", self.store));
        line(format_args!("Without: the page asks the backends itself"));
        self.without.rows(longest).for_each(|row| line(format_args!("{row}")));
        line(format_args!(
            "\nThe login calls Prehydrate: accepted in {:.1} ms; everything warm {:.0} ms later\n",
            self.accepted_ms, self.warm_after_ms
        ));
        line(format_args!("With: the page finds its data at the keys it always used"));
        self.with.rows(longest).for_each(|row| line(format_args!("{row}")));
        let times = self.without.total_ms / self.with.total_ms.max(0.1);
        line(format_args!(
            "\nFirst page: {:.0} ms before, {:.0} ms after, {times:.0} times faster.",
            self.without.total_ms, self.with.total_ms
        ));
        line(format_args!("The failing backend cost its own entry and nothing else."));
        text
    }
}

impl Page {
    fn rows(&self, longest: f64) -> impl Iterator<Item = String> {
        self.resources.iter().map(move |load| {
            let from = match load.from {
                From::Cache => "cache",
                From::Backend => "backend",
                From::Failed => "failed",
            };
            let length = (load.ms / longest * WIDTH).round().max(1.0) as usize;
            format!("  {:<16} {from:<8} {:>7.1} ms  {}", load.name, load.ms, "█".repeat(length))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_each_resource_and_the_two_totals() {
        let page = |from, time| Page { total_ms: time, resources: vec![Load { name: "orders", from, ms: time }] };
        let story = Story {
            store: "memory".into(),
            accepted_ms: 0.9,
            warm_after_ms: 340.0,
            without: page(From::Backend, 400.0),
            with: page(From::Cache, 1.0),
        };
        let table = story.table();
        assert!(
            table.contains("orders           backend    400.0 ms  ████████████████████████████████████████\n"),
            "{table}"
        );
        assert!(table.contains("orders           cache        1.0 ms  █\n"), "{table}");
        assert!(table.contains("400 ms before, 1 ms after, 400 times faster"), "{table}");
    }
}
