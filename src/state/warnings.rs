//! Rows of warnings: what was told of which meter, and the webhooks that were not delivered yet. What is in them is opaque
//! here.

use std::collections::HashMap;

use rusqlite::{Transaction, params};

/// The step that makes the table.
pub(super) const TABLES: &str = "
    CREATE TABLE warnings (
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (kind, key)
    ) STRICT;
";

const LOAD: &str = "SELECT kind, key, data FROM warnings ORDER BY kind, key";
const PUT: &str = "
    INSERT INTO warnings (kind, key, data) VALUES (?1, ?2, ?3)
    ON CONFLICT DO UPDATE SET data = excluded.data";
const REMOVE: &str = "DELETE FROM warnings WHERE kind = ?1 AND key = ?2";

/// Something that a warning has to remember. A later row of the same kind and key takes its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarningRow {
    /// What it is.
    pub kind: String,
    /// Which one.
    pub key: String,
    /// What is remembered, opaque here; `None`: nothing any more.
    pub data: Option<Vec<u8>>,
}

impl WarningRow {
    fn weight(&self) -> usize {
        self.kind.len() + self.key.len() + self.data.as_ref().map_or(0, Vec::len)
    }
}

/// The bytes that rows hold.
pub(super) fn weight(rows: &[WarningRow], overhead: usize) -> usize {
    rows.iter().map(|row| overhead + row.weight()).sum()
}

/// What waits: of each row only what was handed over last.
pub(super) type Rows = HashMap<(String, String), Option<Vec<u8>>>;

/// Puts rows beside those that wait.
pub(super) fn collect(waiting: &mut Rows, rows: Vec<WarningRow>) {
    let rows = rows.into_iter();
    waiting.extend(rows.map(|row| ((row.kind, row.key), row.data)));
}

/// Reads all.
pub(super) fn load(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<WarningRow>> {
    let mut statement = transaction.prepare(LOAD)?;
    let rows = statement.query_map([], |row| {
        Ok(WarningRow {
            kind: row.get(0)?,
            key: row.get(1)?,
            data: Some(row.get(2)?),
        })
    })?;
    rows.collect()
}

/// Writes what waits.
pub(super) fn write(transaction: &Transaction<'_>, rows: &Rows) -> rusqlite::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut put = transaction.prepare(PUT)?;
    let mut remove = transaction.prepare(REMOVE)?;
    for ((kind, key), data) in rows {
        match data {
            Some(data) => put.execute(params![kind, key, data])?,
            None => remove.execute(params![kind, key])?,
        };
    }
    Ok(())
}
