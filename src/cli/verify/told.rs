//! What a comparison came to, for people and for scripts.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::cli::exit::Exit;
use crate::domain::catalog::Catalog;
use crate::domain::key::Key;
use crate::domain::shown;
use crate::verify::case::{Case, Finding, Found, Wrong};
use crate::verify::look::Skip;
use crate::verify::sample::Sample;

#[derive(Debug, Default, Serialize)]
pub struct Told {
    /// What was drawn from; none where members were named.
    #[serde(skip_serializing_if = "Option::is_none")]
    sample: Option<Drawn>,
    entities: BTreeMap<String, Tally>,
    differs: Vec<Differs>,
}

#[derive(Debug, Serialize)]
struct Drawn {
    keys: usize,
    matched: u64,
    looked_at: u64,
    is_whole: bool,
}

/// Looks, by what they came to.
#[derive(Debug, Default, Serialize)]
struct Tally {
    same: u64,
    not_cached: u64,
    /// It differed, and no longer did when it was looked at again.
    passed: u64,
    differs: u64,
    /// Redis or the source did not answer, or not with what could be cached.
    not_seen: u64,
    /// Its source cannot be asked by anybody but the user.
    not_comparable: u64,
}

#[derive(Debug, Serialize)]
struct Differs {
    entity: String,
    keys: Vec<String>,
    /// `stale`, or `unannounced` where the source has changed since it was first looked at.
    kind: &'static str,
    /// For how long it has been seen.
    age_ms: u64,
    /// For how long it will be read if nobody removes it; none for ever.
    left_ms: Option<u64>,
}

impl Told {
    pub fn new(sample: Option<Sample>) -> Self {
        let drawn = |Sample { keys, looked_at, matched, is_whole }| Drawn {
            keys: Vec::len(&keys),
            matched,
            looked_at,
            is_whole,
        };
        Self { sample: sample.map(drawn), ..Self::default() }
    }

    pub fn skip(&mut self, catalog: &Catalog, key: &Key, skip: Skip) {
        let entity = std::str::from_utf8(key.as_bytes()).ok().and_then(|text| catalog.find(text));
        let Some(found) = entity else { return };
        let tally = self.entities.entry(found.entity.name().to_string()).or_default();
        match skip {
            Skip::Session | Skip::NoSource => tally.not_comparable += 1,
            Skip::Unknown | Skip::Full => tally.not_seen += 1,
        }
    }

    pub fn take(&mut self, catalog: &Catalog, case: &Case, found: Found, age: Duration) {
        let tally = self.entities.entry(case.entity.to_string()).or_default();
        let (kind, keys) = match found.finding {
            Finding::True => return tally.same += 1,
            Finding::Nothing => return tally.not_cached += 1,
            Finding::Passed => return tally.passed += 1,
            Finding::Blind(_) => return tally.not_seen += 1,
            Finding::Wrong { kind, keys } => (kind, keys),
        };
        tally.differs += 1;
        let kind = match kind {
            Wrong::Stale => "stale",
            Wrong::Unannounced => "unannounced",
        };
        let left = keys.iter().map(|seen| seen.left).max_by_key(|left| left.unwrap_or(Duration::MAX)).flatten();
        let left_ms = left.map(milliseconds);
        let keys = keys.iter().map(|seen| shown::any_key(catalog, &seen.key)).collect();
        self.differs.push(Differs { entity: case.entity.to_string(), keys, kind, age_ms: milliseconds(age), left_ms });
    }

    pub fn exit(&self) -> Exit {
        let sum = |of: fn(&Tally) -> u64| self.entities.values().map(of).sum::<u64>();
        let compared = sum(|tally| tally.same + tally.not_cached + tally.passed);
        match (self.differs.is_empty(), compared > 0 && sum(|tally| tally.not_seen) == 0) {
            (false, _) => Exit::No,
            (true, true) => Exit::Ok,
            // Nothing that was seen is wrong, but that is not all there was.
            (true, false) => Exit::Partial,
        }
    }

    pub fn summary(&self) -> String {
        let compared: u64 = self.entities.values().map(|tally| tally.same).sum();
        let from = match &self.sample {
            None => String::new(),
            Some(Drawn { matched: 0, .. }) => ": nothing of these entities is cached".to_owned(),
            Some(Drawn { keys, matched, looked_at, is_whole }) => {
                let part = if *is_whole { "all there is" } else { "a part of what there is" };
                format!(", {keys} of {matched} keys drawn from about {looked_at} looked through, {part}")
            }
        };
        let differs = match self.differs.len() {
            0 => "nothing differs".to_owned(),
            1 => "1 differs".to_owned(),
            count => format!("{count} differ"),
        };
        format!("hydrant: {differs}, {compared} looks found what the source says{from}")
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Differs { entity, keys, kind, age_ms, left_ms } in &self.differs {
            let seconds = |ms: u64| Duration::from_millis(ms).as_secs_f64();
            let left = left_ms.map_or_else(|| "for ever".to_owned(), |left| format!("for {:.0} s more", seconds(left)));
            let keys = keys.join(" ");
            writeln!(f, "{entity}  {keys}  {kind} for {:.1} s, and will be read {left}", seconds(*age_ms))?;
        }
        let head = ["entity", "same", "not cached", "passed", "differs", "not seen", "not comparable"];
        let row = |f: &mut fmt::Formatter<'_>, first: &str, rest: [String; 6]| {
            write!(f, "{first:<20}")?;
            rest.iter().try_for_each(|text| write!(f, "{text:>15}"))?;
            writeln!(f)
        };
        let [first, rest @ ..] = head;
        row(f, first, rest.map(str::to_owned))?;
        for (entity, tally) in &self.entities {
            let Tally { same, not_cached, passed, differs, not_seen, not_comparable } = tally;
            let counts = [same, not_cached, passed, differs, not_seen, not_comparable];
            row(f, entity, counts.map(u64::to_string))?;
        }
        Ok(())
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(tally: Tally) -> Told {
        Told { entities: [("user".to_owned(), tally)].into(), ..Told::default() }
    }

    #[test]
    fn the_exit_tells_what_was_seen_and_whether_all_was() {
        let differs = Differs { entity: "user".into(), keys: vec![], kind: "stale", age_ms: 0, left_ms: None };
        let wrong = Told { differs: vec![differs], ..told(Tally { same: 9, differs: 1, ..Tally::default() }) };
        assert_eq!(wrong.exit(), Exit::No);
        assert_eq!(told(Tally { same: 9, not_comparable: 1, ..Tally::default() }).exit(), Exit::Ok);
        assert_eq!(told(Tally { same: 9, not_seen: 1, ..Tally::default() }).exit(), Exit::Partial);
        assert_eq!(told(Tally { not_comparable: 1, ..Tally::default() }).exit(), Exit::Partial, "that proves nothing");
        assert_eq!(Told::default().exit(), Exit::Partial, "nor does that");
    }
}
