//! What SQLite's mistakes mean for the file.

use rusqlite::ErrorCode;

use super::version;
use crate::state::OpenError;
use crate::state::folder::Folder;

/// Why a database cannot be used.
pub(super) enum Trouble {
    /// It is no database, or damaged.
    Broken(String),
    Newer(i64),
    Failed(String),
    Other(OpenError),
}

impl Trouble {
    pub(super) fn into_error(self, folder: &Folder) -> OpenError {
        let path = folder.database();
        match self {
            Self::Newer(found) => OpenError::Newer {
                path,
                found,
                known: version(),
            },
            Self::Broken(reason) | Self::Failed(reason) => OpenError::Database { path, reason },
            Self::Other(error) => error,
        }
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error;

        let text = error.to_string();
        match (error.sqlite_error_code(), error) {
            (Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase), _)
            // The tables are strict: only damage makes a value of another type.
            | (
                _,
                Error::FromSqlConversionFailure(..)
                | Error::InvalidColumnType(..)
                | Error::Utf8Error(..),
            ) => Self::Broken(text),
            _ => Self::Failed(text),
        }
    }
}

impl From<OpenError> for Trouble {
    fn from(error: OpenError) -> Self {
        Self::Other(error)
    }
}

/// Whether the connection is as good as before.
pub(super) fn is_passing(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::TooBig
                | ErrorCode::ConstraintViolation
        )
    )
}
