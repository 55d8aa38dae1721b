//! What happened in a run, in order: the same seed writes the same lines.

#[derive(Default)]
pub struct Log {
    lines: Vec<(u64, String)>,
}

/// Lines shown before a violation.
const SHOWN: usize = 60;

impl Log {
    pub fn note(&mut self, at: u64, what: impl FnOnce() -> String) {
        self.lines.push((at, what()));
    }

    /// All of it, and the last lines that speak of one of these words or of the cluster.
    pub fn take(&mut self, words: &[String]) -> (Vec<(u64, String)>, String) {
        let lines = std::mem::take(&mut self.lines);
        let speaks =
            |line: &&(u64, String)| !line.1.starts_with("sidecar") || words.iter().any(|word| line.1.contains(word));
        let mut shown: Vec<String> =
            lines.iter().rev().filter(speaks).take(SHOWN).map(|(at, what)| format!("{at:>7} ms  {what}\n")).collect();
        shown.reverse();
        let story = if words.is_empty() { String::new() } else { shown.concat() };
        (lines, story)
    }
}
