//! The terminal as a whole screen, given back as it was.

use std::io::{self, IsTerminal, Read};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::mpsc;

use crate::cli::{Failure, print};

/// Another screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
/// The screen that was there before.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// The whole screen, until it is dropped.
pub(super) struct Screen {
    /// How the terminal was, where stdin is one.
    before: Option<Termios>,
    keys: mpsc::UnboundedReceiver<u8>,
}

impl Screen {
    pub(super) fn open() -> Result<Self, Failure> {
        let (pressed, keys) = mpsc::unbounded_channel();
        let before = listen(pressed);
        print(ENTER)?;
        Ok(Self { before, keys })
    }

    /// Draws over what was there; what has no room is left out.
    pub(super) fn draw(&self, text: &str, lines: usize) -> Result<(), Failure> {
        let shown: String = text
            .lines()
            .take(lines)
            .map(|line| format!("{line}\x1b[K\r\n"))
            .collect();
        // No line feed behind the last line: it would push the first one out.
        print(&format!("\x1b[H{}\x1b[J", shown.trim_end_matches("\r\n")))
    }

    /// Somebody wants to leave. Ctrl-C is a signal, and another's care.
    pub(super) async fn left(&mut self) {
        while let Some(key) = self.keys.recv().await {
            if matches!(key, b'q' | b'Q') {
                return;
            }
        }
        // Nobody can press a key.
        std::future::pending().await
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // A terminal that has gone needs nothing back.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
        let _ = print(LEAVE);
    }
}

/// Has keys told one by one, as they are pressed, without showing them.
fn listen(pressed: mpsc::UnboundedSender<u8>) -> Option<Termios> {
    if !io::stdin().is_terminal() {
        return None;
    }
    let before = tcgetattr(io::stdin()).ok()?;
    let mut quiet = before.clone();
    quiet
        .local_modes
        .remove(LocalModes::ICANON | LocalModes::ECHO);
    tcsetattr(io::stdin(), OptionalActions::Now, &quiet).ok()?;
    // A read cannot be broken off: the thread ends with the process.
    std::thread::spawn(move || {
        for key in io::stdin().lock().bytes() {
            let Ok(key) = key else { return };
            if pressed.send(key).is_err() {
                return;
            }
        }
    });
    Some(before)
}
