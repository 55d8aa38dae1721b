//! `hydrant check`: everything that is wrong with a configuration, or the whole of it as it would take effect.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use crate::cli::exit::Exit;
use crate::cli::{Out, config_file};
use crate::config::{self, reference};

/// Check a configuration, and show every value with where it came from.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file; HYDRANT_CONFIG if it is not given, else hydrant.yaml.
    pub file: Option<PathBuf>,
    /// Print the JSON Schema of the file instead, for editors.
    #[arg(long, conflicts_with = "reference")]
    pub schema: bool,
    /// Print the reference of all keys instead, as Markdown.
    #[arg(long)]
    pub reference: bool,
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
    let file = config_file(args.file.clone(), env);
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
