//! `hydrant check`: everything that is wrong with a configuration, or the whole of it as it would take effect.

use std::collections::BTreeMap;
use std::io;

use crate::cli::exit::Exit;
use crate::cli::{ConfigArg, Out};
use crate::config::{self, reference};

/// Check a configuration, and show every value with where it came from.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Print the JSON Schema of the file instead, for editors.
    #[arg(long, conflicts_with = "reference")]
    schema: bool,
    /// Print the reference of all keys instead, as Markdown.
    #[arg(long)]
    reference: bool,
}

/// The configuration goes to the text; what is wrong or doubtful with it to the errors.
pub fn run(args: &Args, env: &BTreeMap<String, String>, out: &mut Out<'_>) -> io::Result<Exit> {
    if args.schema {
        write!(out.text, "{}", config::schema())?;
        return Ok(Exit::Ok);
    }
    if args.reference {
        write!(out.text, "{}", reference::markdown())?;
        return Ok(Exit::Ok);
    }
    let file = args.config.resolve(env);
    match config::load(&file, env) {
        Ok(loaded) => {
            write!(out.text, "{}", loaded.effective.render(&file.display().to_string()))?;
            for warning in &loaded.warnings {
                writeln!(out.errors, "warning: {}", warning.render(&file))?;
            }
            writeln!(out.errors, "{}: fine, {}", file.display(), counted(loaded.warnings.len(), "warning"))?;
            Ok(Exit::Ok)
        }
        Err(problems) => {
            writeln!(out.errors, "{problems}")?;
            Ok(Exit::Usage)
        }
    }
}

fn counted(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, env: &[(&str, &str)]) -> (Exit, String, String) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("hydrant.yaml");
        std::fs::write(&path, text).expect("writes");
        let mut env: BTreeMap<String, String> = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        env.insert("HYDRANT_CONFIG".to_owned(), path.display().to_string());
        let (mut text, mut errors) = (Vec::new(), Vec::new());
        let args = Args { config: ConfigArg { config: None }, schema: false, reference: false };
        let code = run(&args, &env, &mut Out { text: &mut text, errors: &mut errors }).expect("writes");
        let told =
            |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8").replace(dir.path().to_str().expect("UTF-8"), "");
        (code, told(text), told(errors))
    }

    #[test]
    fn a_good_file_is_shown_as_it_takes_effect() {
        let text = "group: shop\nredis: { mode: cluster, nodes: [a], password: hunter2, tls: {} }\n";
        let (code, out, err) = check(text, &[("HYDRANT__WORKERS", "3")]);
        assert_eq!(code, Exit::Ok);
        assert!(out.starts_with("group: shop                                      # /hydrant.yaml:1\n"), "{out}");
        assert!(
            out.contains("workers: 3                                       # environment HYDRANT__WORKERS\n"),
            "{out}"
        );
        assert!(out.contains("password: \"***\"") && !out.contains("hunter2") && !err.contains("hunter2"));
        assert!(err.ends_with("/hydrant.yaml: fine, 1 warning\n"), "{err}");
    }

    #[test]
    fn a_bad_file_is_refused_with_64_and_nothing_on_the_first_stream() {
        let (code, out, err) = check("group: shop\ncolour: red\n", &[]);
        assert_eq!((code, out.as_str()), (Exit::Usage, ""));
        assert!(err.ends_with("/hydrant.yaml: 2 problems\n"), "{err}");
    }
}
