//! Parses, runs, and gives the exit code.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Small pieces that live for the length of a call are most of what is allocated, and this is quick at them.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    headroom::cli::run()
}
