//! Parses, runs, and gives the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    headroom::cli::run()
}
