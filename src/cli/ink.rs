//! Text on a terminal: colour where it is welcome, widths, numbers and times for people.

use std::io::stdout;

use terminal_size::{Height, Width, terminal_size_of};

/// Whether and how to colour.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Ink {
    on: bool,
}

impl Ink {
    /// As stdout and the environment want it.
    pub(in crate::cli) fn for_stdout() -> Self {
        Self {
            on: super::colour_on(&stdout()),
        }
    }

    /// None.
    #[cfg(test)]
    pub(in crate::cli) const fn none() -> Self {
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
    pub(in crate::cli) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// What does not.
    pub(in crate::cli) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// There is enough.
    pub(in crate::cli) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// There is little.
    pub(in crate::cli) fn warn(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// There is nothing left.
    pub(in crate::cli) fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }
}

/// How wide everything fits that is not written to a terminal, and what no terminal is taken to be narrower than.
pub(in crate::cli) const NARROW: usize = 80;

/// Columns and lines of stdout, where it is a terminal.
pub(in crate::cli) fn size() -> Option<(usize, usize)> {
    let (Width(columns), Height(lines)) = terminal_size_of(stdout())?;
    Some((usize::from(columns).max(NARROW), usize::from(lines)))
}

/// A text that is not wider than this.
pub(in crate::cli) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let short: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{short}…")
}

/// `59m 58s`: the two largest units, because nobody plans a day by its seconds.
pub(in crate::cli) fn length(secs: u64) -> String {
    let (minutes, hours, days) = (secs / 60, secs / 3_600, secs / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{secs}s"),
        (0, 0, _) => format!("{minutes}m {}s", secs % 60),
        (0, _, _) => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_for_people() {
        for (secs, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m 0s"),
            (3_598, "59m 58s"),
            (50_400, "14h 0m"),
            (86_399, "23h 59m"),
            (2_678_399, "30d 23h"),
        ] {
            assert_eq!(length(secs), text);
        }
    }

    #[test]
    fn what_is_too_long_is_cut() {
        assert_eq!(cut("Toggl Track", 11), "Toggl Track");
        assert_eq!(cut("Toggl Track", 6), "Toggl…");
    }
}
