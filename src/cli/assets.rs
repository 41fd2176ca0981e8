//! What packages and shells want: completions and the manual page.

use std::io;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Failure, print};

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// Which shell
    shell: Shell,
}

pub(super) fn completions(arguments: &Completions) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "headroom", &mut text);
    print(&String::from_utf8_lossy(&text))
}

pub(super) fn man() -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_mangen::Man::new(Cli::command())
        .render(&mut text)
        .map_err(|error: io::Error| {
            Failure::unreadable(format!("headroom: cannot write the manual page: {error}"))
        })?;
    print(&String::from_utf8_lossy(&text))
}
