//! The binary: hands the command line and the environment to the library, and its answer to the shell.

use std::io::{stderr, stdout};
use std::process::ExitCode;

use hydrant::cli::{self, Out};

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn main() -> ExitCode {
    // A variable that is not text cannot be one of ours.
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let env = std::env::vars_os().filter_map(text).collect();
    // Not locked: log lines of other threads go to the same stream.
    let mut out = Out { text: &mut stdout(), errors: &mut stderr() };
    cli::run(std::env::args_os(), &env, &mut out).into()
}
