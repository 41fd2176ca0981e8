//! Where the gateway keeps what it has counted.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::PathBuf;

use clap::Args;
use clap::builder::FalseyValueParser;
use rustix::fs::{Access, access};

use crate::state as store;

#[derive(Debug, Default, Args)]
pub(super) struct StateArguments {
    /// Where counts and usage are kept [default: $XDG_STATE_HOME/headroom, else ~/.local/state/headroom]
    #[arg(long, value_name = "DIR", env = "HEADROOM_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// Keep no state: a restart forgets what was counted. Goes before any folder
    #[arg(long, env = "HEADROOM_NO_STATE", value_parser = FalseyValueParser::new())]
    no_state: bool,
}

/// Where the state lives.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    /// In this folder.
    Folder(PathBuf),
    /// The user wants none.
    Off,
    /// Nobody has named a folder, and there is no home to have one in.
    Homeless,
}

impl StateArguments {
    /// The flag, else the configuration's folder, else the place that systems have for such data.
    pub(super) fn place(
        &self,
        configured: Option<PathBuf>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> State {
        if self.no_state {
            return State::Off;
        }
        let folder = |name: &str| Some(PathBuf::from(variable(name)?));
        let default = || {
            // The XDG specification has relative paths ignored, and empty ones.
            let xdg = folder("XDG_STATE_HOME").filter(|path| path.is_absolute());
            let home = || folder("HOME").filter(|path| path.is_absolute());
            let below = xdg.or_else(|| Some(home()?.join(".local/state")))?;
            Some(below.join("headroom"))
        };
        let named = self.state_dir.clone();
        named
            .or(configured)
            .or_else(default)
            .map_or(State::Homeless, State::Folder)
    }
}

impl State {
    /// Why nothing can be kept there, as far as that shows without making anything.
    pub(super) fn trouble(&self) -> Option<String> {
        let folder = match self {
            Self::Folder(folder) => folder,
            Self::Off => return None,
            Self::Homeless => {
                return Some(
                    "there is no home to keep them in: name a folder with --state-dir".to_owned(),
                );
            }
        };
        // What is not there yet is made at the start, below the first folder that is.
        let mut above = std::path::absolute(folder).ok()?;
        let found = loop {
            match std::fs::metadata(&above) {
                Err(error) if error.kind() == ErrorKind::NotFound && above.pop() => {}
                found => break found,
            }
        };
        let trouble = match found {
            Ok(found) if !found.is_dir() => format!("{} is no folder", above.display()),
            Ok(_) => match access(&above, Access::WRITE_OK | Access::EXEC_OK) {
                Ok(()) => return store::State::trouble(folder).map(|error| error.to_string()),
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        Some(format!("cannot use {}: {trouble}", folder.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_counts() {
        let flag = |path: &str| StateArguments {
            state_dir: Some(PathBuf::from(path)),
            no_state: false,
        };
        let none = StateArguments::default;
        let off = StateArguments {
            no_state: true,
            ..flag("/flag")
        };
        let folder = |path: &str| State::Folder(PathBuf::from(path));
        for (arguments, configured, xdg, home, expected) in [
            (off, Some("/file"), "/xdg", "/home/a", State::Off),
            (flag("f"), Some("/file"), "/xdg", "/home/a", folder("f")),
            (none(), Some("/file"), "/xdg", "/home/a", folder("/file")),
            (none(), None, "/xdg", "/home/a", folder("/xdg/headroom")),
            (
                none(),
                None,
                "xdg",
                "/home/a",
                folder("/home/a/.local/state/headroom"),
            ),
            (
                none(),
                None,
                "",
                "/home/a",
                folder("/home/a/.local/state/headroom"),
            ),
            (none(), None, "", "", State::Homeless),
        ] {
            let place = arguments.place(configured.map(PathBuf::from), |name| match name {
                "XDG_STATE_HOME" => Some(xdg.into()),
                "HOME" => Some(home.into()),
                _ => None,
            });
            assert_eq!(place, expected, "{arguments:?}");
        }
    }
}
