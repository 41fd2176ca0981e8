//! `headroom key`: keys of consumers.

use clap::{Args, Subcommand};
use ring::rand::{SecureRandom, SystemRandom};

use super::{Failure, print};
use crate::consumer::{hash_key, is_name, key_of, to_hex};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key: printed once, with the table for headroom.toml
    New(New),
}

#[derive(Debug, Args)]
struct New {
    /// The consumer's name: letters, digits, `-` and `_`
    name: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Command::New(New { name }) = &arguments.command;
    if !is_name(name) {
        return Err(Failure::unreadable(format!(
            "headroom: \"{name}\" cannot be a consumer's name; write letters, digits, `-` and `_`, a letter or a digit first, at most 63 of them"
        )));
    }
    let mut random = [0; 32];
    SystemRandom::new().fill(&mut random).map_err(|_| {
        Failure::unreadable("headroom: the system gives no random bytes to make a key of")
    })?;
    let key = key_of(&random);
    let hash = to_hex(&hash_key(&key));
    print(&format!(
        "{key}\n\n[consumers.{name}]\nkey_hash = \"{hash}\"\n"
    ))?;
    super::tell(
        "The first line is the key. It is for the program that calls and is shown only now; headroom.toml gets the table below it.",
    );
    Ok(())
}
