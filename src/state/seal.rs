//! Whether the database's file is as it was left. SQLite writes it only when its log is moved into it, so between two of
//! those nobody has to: who overwrites or cuts it in place would otherwise be noticed when something reads the place that is
//! gone, and until then what is written goes nowhere.

use std::fs::File;
use std::time::SystemTime;

/// The header of SQLite's files: <https://www.sqlite.org/fileformat.html#the_database_header>.
const HEADER: usize = 100;

/// The file as it was left. Kept open for as long as a connection is: closing it takes this process's locks on it away.
#[derive(Default)]
pub(super) struct Seal {
    /// `None`: in memory.
    file: Option<File>,
    left: Option<Look>,
}

/// What is looked at.
#[derive(PartialEq, Eq)]
struct Look {
    header: [u8; HEADER],
    length: u64,
    /// Another headroom's file may have the same header.
    modified: Option<SystemTime>,
}

impl Seal {
    /// Of this file, as it is now.
    pub(super) fn of(file: Option<File>) -> Self {
        let left = look(file.as_ref());
        Self { file, left }
    }

    /// The file was written, and by nobody else.
    pub(super) fn renew(&mut self) {
        self.left = look(self.file.as_ref());
    }

    /// Whether nobody has written the file since.
    pub(super) fn is_whole(&self) -> bool {
        self.left == look(self.file.as_ref())
    }

    /// Which file it is, whatever stands in its place now.
    #[cfg(unix)]
    pub(super) fn identity(&self) -> Option<(u64, u64)> {
        use std::os::unix::fs::MetadataExt;

        let found = self.file.as_ref()?.metadata().ok()?;
        Some((found.dev(), found.ino()))
    }

    /// An open file cannot be taken away here.
    #[cfg(not(unix))]
    pub(super) fn identity(&self) -> Option<(u64, u64)> {
        None
    }
}

/// What is seen now; nothing of a file that is too short for a header.
#[cfg(unix)]
fn look(file: Option<&File>) -> Option<Look> {
    use std::os::unix::fs::FileExt;

    let file = file?;
    let mut header = [0; HEADER];
    file.read_exact_at(&mut header, 0).ok()?;
    let found = file.metadata().ok()?;
    Some(Look {
        header,
        length: found.len(),
        modified: found.modified().ok(),
    })
}

/// An open file cannot be written by others here.
#[cfg(not(unix))]
fn look(_file: Option<&File>) -> Option<Look> {
    None
}
