//! Statements that are written again and again: SQLite reads each once and keeps what it made of it. Reading one costs more
//! than most of them do.

use rusqlite::{Connection, Params, Row};

/// So many are kept; there are fewer.
pub(super) const MOST: usize = 64;

/// What a connection does with statements that come again.
pub(super) trait Kept {
    /// Runs a statement that gives no rows. Returns how many it changed.
    fn run(&self, statement: &str, parameters: impl Params) -> rusqlite::Result<usize>;

    /// Reads the first row, as [`Connection::query_row`] does.
    fn row<T>(
        &self,
        statement: &str,
        parameters: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T>;
}

impl Kept for Connection {
    fn run(&self, statement: &str, parameters: impl Params) -> rusqlite::Result<usize> {
        self.prepare_cached(statement)?.execute(parameters)
    }

    fn row<T>(
        &self,
        statement: &str,
        parameters: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.prepare_cached(statement)?.query_row(parameters, read)
    }
}
