//! `hydrant check`: everything that is wrong with a configuration, or the whole of it as it would take effect.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

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

/// The configuration can be used.
pub const FINE: u8 = 0;
/// It cannot (EX_USAGE of sysexits.h).
pub const REFUSED: u8 = 64;

/// Answers the exit code. The configuration goes to `out`; what is wrong or doubtful with it to `err`.
pub fn run(args: &Args, env: &BTreeMap<String, String>, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    if args.schema {
        write!(out, "{}", config::schema())?;
        return Ok(FINE);
    }
    if args.reference {
        write!(out, "{}", reference::markdown())?;
        return Ok(FINE);
    }
    let file = file(args.file.clone(), env);
    match config::load(&file, env) {
        Ok(loaded) => {
            write!(out, "{}", loaded.effective.render(&file.display().to_string()))?;
            for warning in &loaded.warnings {
                writeln!(err, "warning: {}", warning.render(&file))?;
            }
            writeln!(err, "{}: fine, {}", file.display(), counted(loaded.warnings.len(), "warning"))?;
            Ok(FINE)
        }
        Err(problems) => {
            writeln!(err, "{problems}")?;
            Ok(REFUSED)
        }
    }
}

/// Which file is meant: as given, else as the environment has it, else the one in this directory.
pub fn file(given: Option<PathBuf>, env: &BTreeMap<String, String>) -> PathBuf {
    let named = env.get("HYDRANT_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    given.or(named).unwrap_or_else(|| PathBuf::from("hydrant.yaml"))
}

fn counted(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}
