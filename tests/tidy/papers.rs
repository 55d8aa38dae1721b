//! What is written beside the code and has to keep step with it.

use std::path::Path;

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

/// A link to a file that is not there sends a newcomer away.
pub fn links_lead_somewhere(path: &str, text: &str, exists: impl Fn(&Path) -> bool) -> Vec<Problem> {
    let folder = Path::new(path).parent().expect("a file is in a folder");
    let mut problems = Vec::new();
    let mut in_code = false;
    for (at, line) in text.lines().enumerate() {
        in_code ^= line.trim_start().starts_with("```");
        for target in line.split("](").skip(1).filter(|_| !in_code).filter_map(|rest| rest.split([')', '#']).next()) {
            let elsewhere = target.is_empty() || target.contains(':');
            if !elsewhere && !exists(&folder.join(target)) {
                problems.push(Problem::at(
                    path,
                    at + 1,
                    "link",
                    format!("`{target}` is not there: write it, or mend the link"),
                ));
            }
        }
    }
    problems
}

#[test]
fn a_link_into_nowhere_is_refused() {
    let text = "[a](b.md) [c](d.md#e) [f](#g) [h](https://i)\n```\n[j](k.md)\n```\n[l](../m/)";
    let found = links_lead_somewhere("docs/x.md", text, |path| path == Path::new("docs/d.md"));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(super::said(&found, "docs/x.md:1: link: `b.md` is not there"));
    assert!(super::said(&found, "docs/x.md:5: link: `../m/`"));
}

#[test]
fn a_dependency_nobody_explains_is_refused() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\n# bytes = \"1\"\nbytes = \"1\"\nleft-pad = \"1\"\n";
    let found = dependencies_are_explained(manifest, "| `bytes` | values |");
    assert_eq!(found.len(), 1);
    assert!(super::said(&found, "Cargo.toml:6: why: say in docs/adr/0002-dependencies.md why `left-pad`"));
}
