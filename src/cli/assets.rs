//! What packages and shells want: completions and the manual page.

use std::io;

use clap::Args;
use clap_complete::Shell;

use super::{Failure, command, print};

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// Which shell
    shell: Shell,
}

pub(super) fn completions(arguments: &Completions) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut command(), "headroom", &mut text);
    print(&String::from_utf8_lossy(&text))
}

pub(super) fn man() -> Result<(), Failure> {
    let failure = |error: io::Error| {
        Failure::unreadable(format!("headroom: cannot write the manual page: {error}"))
    };
    let mut text = Vec::new();
    let mut command = command().disable_help_subcommand(true);
    command.build();
    let page = clap_mangen::Man::new(command.clone());
    page.render(&mut text).map_err(failure)?;
    // One page for all: who asks for a manual wants the flags of `serve` too.
    for subcommand in command.get_subcommands() {
        let name = subcommand.get_name().to_uppercase();
        text.extend_from_slice(format!(".SH {name}\n").as_bytes());
        let page = clap_mangen::Man::new(subcommand.clone());
        page.render_synopsis_section(&mut text).map_err(failure)?;
        page.render_description_section(&mut text)
            .map_err(failure)?;
        page.render_options_section(&mut text).map_err(failure)?;
        if subcommand.has_subcommands() {
            page.render_subcommands_section(&mut text)
                .map_err(failure)?;
        }
    }
    print(&String::from_utf8_lossy(&text))
}
