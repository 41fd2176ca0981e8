//! A file that somebody has taken away, overwritten or cut while it is open.

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::{PATIENCE, Store, Trouble, steps_done};
use crate::state::folder::Folder;
use crate::state::{OpenError, SALT};

impl Store {
    /// Looks whether the file is still there, and still what was left.
    pub(super) fn look_after(&mut self) -> Result<(), Trouble> {
        let Some(connection) = &self.connection else {
            return Ok(());
        };
        if self.seal.identity() != self.folder.identity() {
            // Somebody took the file away: what is written to it now would be gone with the process. Its log must be
            // empty before another file is opened, which would take it for its own.
            empty_log(connection)?;
            self.connection = None;
            self.news = Some("The state's file was taken away; a new one is begun".to_owned());
        } else if !self.seal.is_whole() {
            examine(&self.folder, self.salt)?;
            // Somebody else has moved the log into it, or has put a copy in its place, which may know less.
            self.connection = None;
            self.news = Some("Somebody has written the state's file".to_owned());
        }
        Ok(())
    }

    /// Puts a broken file aside, with its log as it is.
    pub(super) fn move_aside(&mut self, reason: &str) -> Result<(), Trouble> {
        if let Some(connection) = self.connection.take() {
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        }
        let aside = self.folder.move_aside(self.now_ms)?;
        self.is_proven = false;
        self.news = Some(format!(
            "`{}` was broken while headroom ran ({reason}) and is now `{}`; a new one is begun",
            self.folder.database().display(),
            aside.display()
        ));
        Ok(())
    }
}

/// Moves the whole log into the file that the connection has open, wherever that is now.
fn empty_log(connection: &Connection) -> Result<(), Trouble> {
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    let held_up: bool = connection.query_row(checkpoint, [], |row| row.get(0))?;
    if held_up {
        let reason = "it was taken away while somebody reads it".to_owned();
        return Err(Trouble::Failed(reason));
    }
    Ok(())
}

/// Looks at a file that somebody else has written, on connections that remember nothing of it.
fn examine(folder: &Folder, salt: [u8; SALT]) -> Result<(), Trouble> {
    // The log has a copy of what tells whose file it is; the file itself must have it too.
    if salt_of(folder) != Some(salt) {
        return Err(Trouble::Broken("somebody has written over it".to_owned()));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let whole = Connection::open_with_flags(folder.database(), flags)?;
    whole.busy_timeout(PATIENCE)?;
    let check = "PRAGMA quick_check(1)";
    let found: String = whole.query_row(check, [], |row| row.get(0))?;
    if found == "ok" {
        Ok(())
    } else {
        Err(Trouble::Broken(found))
    }
}

/// The salt of the file itself, whoever has it. It never changes, so neither log nor locks matter.
pub(in crate::state) fn salt_of(folder: &Folder) -> Option<[u8; SALT]> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let flags = flags | OpenFlags::SQLITE_OPEN_URI;
    let bare = Connection::open_with_flags(folder.bare_database(), flags).ok()?;
    let salt = "SELECT value FROM meta WHERE name = 'salt'";
    bare.query_row(salt, [], |row| row.get(0)).ok()
}

/// Why the file is not taken, if a newer headroom made it. Nothing is altered.
pub(in crate::state) fn newer(folder: &Folder) -> Option<OpenError> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // Where there is a log, the version may stand in that alone; where there is none, looking must not make one.
    let path = if folder.has_log() {
        folder.file().into_os_string()
    } else {
        flags |= OpenFlags::SQLITE_OPEN_URI;
        folder.bare_database().into()
    };
    let connection = Connection::open_with_flags(path, flags).ok()?;
    connection.busy_timeout(PATIENCE).ok()?;
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0));
    let found: i64 = version.ok()?;
    steps_done(found).is_none().then(|| OpenError::Newer {
        path: folder.file(),
        found,
        known: super::version(),
    })
}
