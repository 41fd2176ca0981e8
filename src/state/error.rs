//! What can go wrong, in sentences for people.

use std::path::PathBuf;
use std::sync::Arc;
use std::{error, fmt, io};

/// Why the store could not be opened. Nothing was deleted.
#[derive(Debug)]
pub enum OpenError {
    /// Another headroom holds the folder.
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// A folder or file cannot be made, opened or locked.
    Folder {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A newer headroom made the file. It was not touched.
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version that this headroom knows.
        known: i64,
    },
    /// SQLite cannot read or write the file.
    Database {
        /// The file.
        path: PathBuf,
        /// Why, in SQLite's words.
        reason: String,
    },
    /// The writing thread cannot be started.
    Thread(io::Error),
    /// The operating system gives no random bytes.
    NoRandomness,
}

impl fmt::Display for OpenError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { folder } => {
                write!(out, "`{}` is in use by another headroom", folder.display())
            }
            Self::Folder { path, error } => {
                write!(out, "`{}` cannot be used: {error}", path.display())
            }
            Self::Newer { path, found, known } => write!(
                out,
                "`{}` is of a newer headroom (version {found}, this one knows {known})",
                path.display()
            ),
            Self::Database { path, reason } => {
                write!(out, "`{}` cannot be used: {reason}", path.display())
            }
            Self::Thread(error) => write!(out, "no thread can be started: {error}"),
            Self::NoRandomness => out.write_str("the operating system gives no random bytes"),
        }
    }
}

impl error::Error for OpenError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Folder { error, .. } | Self::Thread(error) => Some(error),
            _ => None,
        }
    }
}

/// Why rows are not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteError {
    /// More waits than may be kept in memory.
    Full,
    /// The store is closed.
    Closed,
    /// There is no file to write into, for this reason. What was called is kept in memory all the same.
    Unkept(Arc<str>),
    /// The disk does not answer. Whether the rows will be stored nobody knows.
    Hangs,
    /// The transaction failed, with all that was in it.
    Failed(Arc<str>),
}

impl fmt::Display for WriteError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => out.write_str("too much waits to be written"),
            Self::Closed => out.write_str("the state is closed"),
            Self::Hangs => out.write_str("the state does not answer"),
            Self::Failed(reason) | Self::Unkept(reason) => out.write_str(reason),
        }
    }
}

impl error::Error for WriteError {}

/// Why the history could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadError(String);

impl ReadError {
    /// For this reason.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the history cannot be read: {}", self.0)
    }
}

impl error::Error for ReadError {}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self(error.to_string())
    }
}
