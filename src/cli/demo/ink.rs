//! Colour: only on a terminal, and not against `NO_COLOR`.

use std::io::{IsTerminal, stdout};

/// Whether and how to colour.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ink {
    on: bool,
}

impl Ink {
    /// As stdout and the environment want it.
    pub(super) fn for_stdout() -> Self {
        let welcome = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            on: stdout().is_terminal() && welcome,
        }
    }

    /// None.
    #[cfg(test)]
    pub(super) const fn none() -> Self {
        Self { on: false }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.on && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// What matters.
    pub(super) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// What does not.
    pub(super) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// There is enough.
    pub(super) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// There is little.
    pub(super) fn warn(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// There is nothing left.
    pub(super) fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }
}
