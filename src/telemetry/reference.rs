//! The inventory of metrics, from the page as it is scraped: what `docs/reference/metrics.md` is written from and
//! compared with, so that no metric comes, goes or is renamed without being seen.
//!
//! A family shows itself only once something was counted, so a process should have counted one of everything.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
struct Family {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

/// The reference page of all metrics in an exposition.
pub fn metrics_reference(exposition: &str) -> String {
    page(&families(exposition))
}

fn page(families: &BTreeMap<String, Family>) -> String {
    let mut page = String::from(HEAD);
    for (name, Family { kind, help, labels }) in families {
        // What a query names is what is scraped.
        let suffix = match kind.as_str() {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        page += &format!("| `{name}{suffix}` | {kind} | {} | {help} |\n", labels.join(", "));
    }
    page
}

const HEAD: &str = "\
<!-- Written by `telemetry::reference::metrics_reference`; a test compares. -->
# Metrics

On the probe port under `/metrics`, as OpenMetrics text. Labels come from closed sets or from the configuration: never a
key, an id or a user. A histogram also has `_bucket`, `_sum` and `_count`.

| metric | type | labels | what it says |
|---|---|---|---|
";

/// Reads the exposition back. It is our own encoder's, so what does not look like it is left out rather than reported.
fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            families.entry(name.to_owned()).or_default().help = help.trim_end_matches('.').to_owned();
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            families.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else if let Some((sample, labels)) = line.split_once('{').filter(|_| !line.starts_with('#')) {
            let Some((labels, _)) = labels.rsplit_once('}') else { continue };
            let family = families.iter_mut().rev().find(|(name, _)| sample.starts_with(name.as_str()));
            if let Some((_, family)) = family {
                family.labels.extend(label_names(labels).filter(|label| *label != "le").map(str::to_owned));
            }
        }
    }
    families
}

fn label_names(labels: &str) -> impl Iterator<Item = &str> {
    labels.split("\",").filter_map(|pair| Some(pair.split_once("=\"")?.0))
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;
    use prometheus_client::metrics::histogram::Histogram;
    use prometheus_client::registry::{Registry, Unit};

    use super::*;

    #[test]
    fn the_inventory_names_what_is_scraped() {
        let mut registry = Registry::default();
        let calls = Family::<Vec<(&str, &str)>, Counter>::default();
        calls.get_or_create(&vec![("rpc", "a,b"), ("code", "OK")]).inc();
        registry.register("calls", "Calls answered", calls);
        let time = Family::<Vec<(&str, &str)>, Histogram>::new_with_constructor(|| Histogram::new([1.0]));
        time.get_or_create(&vec![("rpc", "a")]).observe(2.0);
        registry.register_with_unit("call_duration", "How long they took", Unit::Seconds, time);
        let mut exposition = String::new();
        encode(&mut exposition, &registry).expect("encodes");
        let page = metrics_reference(&exposition);
        let table: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
        assert_eq!(
            table,
            [
                "| `call_duration_seconds` | histogram | `rpc` | How long they took |",
                "| `calls_total` | counter | `code`, `rpc` | Calls answered |",
            ]
        );
    }
}
