//! The rules that one file can break by itself. Each is a function from a file to its problems, with a test that shows
//! it can fail.

use super::lexer::{File, Kind, item_end};
use super::{FENCES, MAX_FILE_LINES, MAX_FUNCTION_LINES, Problem};

pub const ALL: [fn(&File) -> Vec<Problem>; 9] =
    [head, file_size, function_size, fences, biased, hollow, sleeps, to_do, re_exports];

fn head(file: &File) -> Vec<Problem> {
    let missing = !file.text.starts_with("//!");
    problems(file, "head", missing.then_some((1, "begin with `//!`: what is here, why, and why not otherwise".into())))
}

fn file_size(file: &File) -> Vec<Problem> {
    let lines = file.text.lines().count();
    let generated = file.text.lines().next().is_some_and(|line| line.contains("@generated"));
    let over = lines > MAX_FILE_LINES && !generated;
    let what = || format!("{lines} lines; split it along what it talks about, at most {MAX_FILE_LINES}");
    problems(file, "size", over.then(|| (MAX_FILE_LINES + 1, what())))
}

fn function_size(file: &File) -> Vec<Problem> {
    let functions = (0..file.tokens.len()).filter(|at| file.word(*at) == Some("fn"));
    let long = functions.filter_map(|at| {
        let name = file.word(at + 1)?;
        let first = file.tokens[at].line;
        let lines = file.tokens[item_end(&file.tokens, at)].line - first + 1;
        let what = format!("`{name}` has {lines} lines; give its steps names, at most {MAX_FUNCTION_LINES}");
        (lines > MAX_FUNCTION_LINES).then_some((first, what))
    });
    problems(file, "size", long)
}

fn fences(file: &File) -> Vec<Problem> {
    if !file.path.starts_with("src/") {
        return Vec::new();
    }
    let outside = (0..file.tokens.len()).filter_map(|at| {
        let word = file.word(at)?;
        let fence = FENCES.iter().find(|fence| fence.crates.contains(&word))?;
        let inside = fence.places.iter().any(|place| is_in(&file.path, place));
        let what = format!("`{word}` is named {} only; {}", fence.places.join(", "), fence.instead);
        (!inside && names_a_crate(file, at, word)).then(|| (file.tokens[at].line, what))
    });
    problems(file, "fence", outside)
}

/// `src/remote/` is a folder, `src/source/http` the start of a name, `*/metrics.rs` a name in any folder.
fn is_in(path: &str, place: &str) -> bool {
    match place.strip_prefix('*') {
        Some(end) => path.ends_with(end),
        None => path.starts_with(place),
    }
}

/// The first word of a path, or of `use redis;`: not a module of ours that has the same name.
fn names_a_crate(file: &File, at: usize, word: &str) -> bool {
    let opens_path = file.stands(at + 1, &[":", ":"]) || (at > 0 && file.word(at - 1) == Some("use"));
    let absolute = at >= 2 && file.stands(at - 2, &[":", ":"]);
    let ours =
        |i: usize| file.word(i) == Some(word) && (file.continues_path(i) || (i > 0 && file.word(i - 1) == Some("mod")));
    opens_path && !file.continues_path(at) && (absolute || !(0..file.tokens.len()).any(ours))
}

fn biased(file: &File) -> Vec<Problem> {
    let selects = (0..file.tokens.len()).filter(|at| file.stands(*at, &["select", "!"]));
    let unbiased = selects.filter(|at| !file.stands(at + 3, &["biased", ";"]));
    let what = "begin the select with `biased;`, so that a seed repeats a run, and put the stop signal first";
    problems(file, "biased", unbiased.map(|at| (file.tokens[at].line, what.to_owned())))
}

fn hollow(file: &File) -> Vec<Problem> {
    let found = (0..file.tokens.len()).filter_map(|at| {
        let what = match file.word(at)? {
            "todo" | "unimplemented" if file.is_mark(at + 1, '!') => "build it, or leave the door out",
            "ignore" if in_attribute(file, at) => "a test that does not run proves nothing: mend it or delete it",
            "should_panic" if in_attribute(file, at) => "assert on the error that is returned",
            _ => return None,
        };
        Some((file.tokens[at].line, what.to_owned()))
    });
    problems(file, "hollow", found)
}

/// `#[ignore]`, `#[ignore = "…"]`, `#[cfg_attr(…, ignore)]`.
fn in_attribute(file: &File, at: usize) -> bool {
    let opens = (0..at).rev().find(|open| file.stands(*open, &["#", "["]));
    opens.is_some_and(|open| file.closing(open + 1) > at) && !file.continues_path(at)
}

/// A test that sleeps is slow when it need not be, and fails when the machine is slower still. With a paused clock
/// (`start_paused`) a sleep takes no time; without one it must say what it waits for.
fn sleeps(file: &File) -> Vec<Problem> {
    if file.tokens.iter().any(|token| token.kind == Kind::Word("start_paused".into())) {
        return Vec::new();
    }
    let calls = (0..file.tokens.len()).filter(|at| {
        let word = file.word(*at);
        matches!(word, Some("sleep" | "sleep_until")) && file.is_mark(at + 1, '(') && file.tokens[*at].in_test
    });
    let reasoned = |line: usize| {
        let near = file.comments.iter().filter(|comment| comment.line == line || comment.line + 1 == line);
        near.into_iter().any(|comment| comment.text.contains("tidy: waits because "))
    };
    let bare = calls.map(|at| file.tokens[at].line).filter(|line| !reasoned(*line));
    let what = "pause the clock, or poll for the condition and say `// tidy: waits because …`";
    problems(file, "sleep", bare.map(|line| (line, what.to_owned())))
}

fn to_do(file: &File) -> Vec<Problem> {
    let loose = file.comments.iter().filter(|comment| {
        let words = comment.text.split(|c: char| !c.is_alphanumeric() && c != '_');
        let promises = words.clone().any(|word| matches!(word, "TODO" | "FIXME" | "XXX"));
        let numbered =
            comment.text.split_once("TODO(#").is_some_and(|(_, n)| n.starts_with(|c: char| c.is_ascii_digit()));
        promises && !numbered
    });
    let what = "do it, or file an issue and write `TODO(#12)`";
    problems(file, "todo", loose.map(|comment| (comment.line, what.to_owned())))
}

fn re_exports(file: &File) -> Vec<Problem> {
    if !file.path.starts_with("src/") {
        return Vec::new();
    }
    let found = (0..file.tokens.len()).filter(|at| {
        let after = if file.is_mark(at + 1, '(') { file.closing(at + 1) + 1 } else { at + 1 };
        file.word(*at) == Some("pub") && file.word(after) == Some("use")
    });
    let what = "one thing has one name: let callers import it from where it lives";
    problems(file, "re-export", found.map(|at| (file.tokens[at].line, what.to_owned())))
}

fn problems(file: &File, rule: &'static str, found: impl IntoIterator<Item = (usize, String)>) -> Vec<Problem> {
    found.into_iter().map(|(line, what)| Problem::new(file, line, rule, what)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::said;

    /// Asserts that the rule finds exactly so many problems in the text.
    fn check(rule: fn(&File) -> Vec<Problem>, path: &str, text: &str, expected: &[&str]) {
        let found = rule(&File::new(path, text));
        assert_eq!(found.len(), expected.len(), "{text}: {found:?}");
        for line in expected {
            assert!(said(&found, line), "{text}: no {line:?} in {found:?}");
        }
    }

    #[test]
    fn a_file_without_a_head_is_refused() {
        check(head, "src/x.rs", "// a note\nfn f() {}", &["src/x.rs:1: head: begin with"]);
        check(head, "src/x.rs", "//! What is here.\n", &[]);
    }

    #[test]
    fn long_files_are_refused_and_generated_ones_are_not() {
        let long = "//! x\n".repeat(MAX_FILE_LINES + 1);
        check(file_size, "benches/x.rs", &long, &["benches/x.rs:501: size: 501 lines"]);
        check(file_size, "src/x.rs", &long.replacen("x", "@generated", 1), &[]);
        check(file_size, "src/x.rs", &"\n".repeat(MAX_FILE_LINES), &[]);
    }

    #[test]
    fn long_functions_are_refused() {
        let function = |lines: usize| {
            format!("\nfn f(a: [u8; 3]) -> fn(u8) {{{}}}\ntrait T {{ fn g(); }}", "\n".repeat(lines - 1))
        };
        check(function_size, "src/x.rs", &function(71), &["src/x.rs:2: size: `f` has 71 lines"]);
        check(function_size, "src/x.rs", &function(70), &[]);
    }

    #[test]
    fn crates_outside_their_fence_are_refused() {
        check(
            fences,
            "src/fill/mod.rs",
            "use redis::Value;",
            &["src/fill/mod.rs:1: fence: `redis` is named src/remote/ only"],
        );
        check(fences, "src/source/file.rs", "fn f() { reqwest::get() }", &["`reqwest`"]);
        check(fences, "src/cli/mod.rs", "use { tonic::Status, anyhow };", &["`tonic`"]);
        check(fences, "src/local/mod.rs", "#[derive(clap::Args)] struct X; use anyhow;", &["`clap`", "`anyhow`"]);
        check(fences, "src/fill/mod.rs", "use prometheus_client::registry::Registry;", &["`prometheus_client`"]);
        check(fences, "src/fill/mod.rs", "use a::redis; fn f() -> ::redis::Value {}", &["`redis`"]);
    }

    #[test]
    fn crates_inside_their_fence_and_namesakes_are_fine() {
        check(fences, "src/remote/node.rs", "use redis::Value;", &[]);
        check(fences, "src/source/http_tls.rs", "use reqwest::Client;", &[]);
        check(fences, "src/fill/metrics.rs", "use prometheus_client::metrics::counter::Counter;", &[]);
        check(fences, "src/config/mod.rs", "mod redis; fn f() { redis::convert() } // redis::Value", &[]);
        check(fences, "src/fill/mod.rs", "let redis = 1; x.redis(); \"redis::Value\";", &[]);
    }

    #[test]
    fn a_select_that_is_not_biased_is_refused() {
        check(biased, "src/x.rs", "tokio::select! {\n a = b => {} }", &["src/x.rs:1: biased:"]);
        check(biased, "src/x.rs", "tokio::select! { // why\n biased; a = b => {} }", &[]);
    }

    #[test]
    fn hollow_places_are_refused() {
        check(hollow, "src/x.rs", "fn f() { todo !() }", &["hollow: build it"]);
        check(hollow, "tests/x.rs", "#[ ignore = \"slow\"] fn f() { unimplemented !() }", &["mend it", "build it"]);
        check(
            hollow,
            "tests/x.rs",
            "#[test]\n#[cfg_attr(a, ignore)]\n#[should_panic ()] fn f() {}",
            &["mend it", "assert on"],
        );
        check(hollow, "tests/x.rs", "fn ignore() { let should_panic = todo; a.ignore() }", &[]);
    }

    #[test]
    fn a_test_that_sleeps_for_no_reason_is_refused() {
        let bare = "fn f() { tokio::time::sleep(d).await }";
        check(sleeps, "tests/it/x.rs", bare, &["tests/it/x.rs:1: sleep: pause the clock"]);
        check(sleeps, "src/x.rs", &format!("#[cfg(test)] mod tests {{ {bare} }}"), &["sleep: pause"]);
        check(sleeps, "src/x.rs", bare, &[]);
        check(sleeps, "tests/it/x.rs", &format!("#[tokio::test(start_paused = true)] async {bare}"), &[]);
        check(sleeps, "tests/it/x.rs", &format!("// tidy: waits because a server starts\n{bare}"), &[]);
        check(sleeps, "tests/it/x.rs", &format!("// tidy: waits because a server starts\n\n{bare}"), &["sleep: pause"]);
    }

    #[test]
    fn a_promise_without_an_issue_is_refused() {
        check(to_do, "src/x.rs", "// TODO: later", &["src/x.rs:1: todo: do it"]);
        check(to_do, "src/x.rs", "/*\n FIXME(#3)\n*/", &["src/x.rs:2: todo:"]);
        check(to_do, "src/x.rs", "// TODO(#12): later\nlet a = \"TODO\"; // TODOS", &[]);
    }

    #[test]
    fn a_re_export_is_refused() {
        check(re_exports, "src/x.rs", "pub use a::B;\npub(crate) use c::D;", &["src/x.rs:1: re-export", "src/x.rs:2:"]);
        check(re_exports, "src/x.rs", "pub fn f() {} use a::B; pub(super) struct S;", &[]);
    }
}
