//! `headroom key`: keys of consumers, and the one of headroom's own pages.

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
    /// The consumer's name, or of whoever runs headroom: letters, digits, `-` and `_`
    name: String,
    /// A key for headroom's own pages instead of one for calls
    #[arg(long)]
    admin: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Command::New(New { name, admin }) = &arguments.command;
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
    let (table, holder) = if *admin {
        (format!("[admin] # {name}"), "whoever looks at /-/")
    } else {
        (format!("[consumers.{name}]"), "the program that calls")
    };
    print(&format!("{key}\n\n{table}\nkey_hash = \"{hash}\"\n"))?;
    super::tell(&format!(
        "The first line is the key. It is for {holder} and is shown only now; headroom.toml gets the table below it."
    ));
    Ok(())
}
