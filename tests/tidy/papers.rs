//! What is written beside the code and has to keep step with it.

use super::Problem;

/// A dependency is a decision, so the record of decisions names each one that Cargo.toml does.
pub fn dependencies_are_explained(manifest: &str, record: &str) -> Vec<Problem> {
    let mut section = "";
    let mut problems = Vec::new();
    for (at, line) in manifest.lines().enumerate() {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
        }
        let name = line.split_once('=').map(|(name, _)| name.trim()).filter(|name| !name.starts_with('#'));
        if let Some(name) = name.filter(|_| section.ends_with("dependencies"))
            && !record.contains(&format!("`{name}`"))
        {
            let what = format!("say in docs/adr/0002-dependencies.md why `{name}` and not another, or do without it");
            problems.push(Problem::at("Cargo.toml", at + 1, "why", what));
        }
    }
    problems
}

#[test]
fn a_dependency_nobody_explains_is_refused() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\n# bytes = \"1\"\nbytes = \"1\"\nleft-pad = \"1\"\n";
    let found = dependencies_are_explained(manifest, "| `bytes` | values |");
    assert_eq!(found.len(), 1);
    assert!(super::said(&found, "Cargo.toml:6: why: say in docs/adr/0002-dependencies.md why `left-pad`"));
}
