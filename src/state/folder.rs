//! The folder that is the state's own: its lock, the file before SQLite opens it, and where a broken one goes.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::OpenFlags;

use super::OpenError;

/// The database.
const NAME: &str = "headroom.db";

/// What SQLite keeps beside it while it is open: the log of what is committed, and the index of that.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

/// The folder, locked for as long as this lives; or a name in memory, where there is none.
pub(super) struct Folder {
    path: PathBuf,
    /// `None`: in memory.
    lock: Option<File>,
}

/// A process that was just begun may have the lock's file too, until it has become another program: to close it here would not
/// be enough.
impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(lock) = &self.lock {
            // The operating system takes it back with the last that has the file, in any case.
            let _ = lock.unlock();
        }
    }
}

impl Folder {
    /// Makes the folder where there is none, and locks it.
    pub(super) fn lock(path: &Path) -> Result<Self, OpenError> {
        make_folder(path).map_err(|error| cannot_use(path, error))?;
        // Absolute: SQLite would take a path that begins with `file:` for a URI.
        let path = &fs::canonicalize(path).map_err(|error| cannot_use(path, error))?;
        let lock_path = path.join("headroom.lock");
        let lock = open_private(&lock_path).map_err(|error| cannot_use(&lock_path, error))?;
        // The operating system takes the lock back however the process ends.
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.clone(),
                lock: Some(lock),
            }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
                folder: path.clone(),
            }),
            Err(TryLockError::Error(error)) => Err(cannot_use(&lock_path, error)),
        }
    }

    /// A folder that is there, for looking into it only.
    pub(super) fn unlocked(path: &Path) -> Option<Self> {
        let path = fs::canonicalize(path).ok()?;
        Some(Self { path, lock: None })
    }

    /// No folder: the database is in memory, under a name that connections of this process share.
    pub(super) fn in_memory(name: u128) -> Self {
        Self {
            path: PathBuf::from(format!("file:/headroom-{name:032x}?vfs=memdb")),
            lock: None,
        }
    }

    pub(super) const fn is_memory(&self) -> bool {
        self.lock.is_none()
    }

    /// What SQLite has to know of the name.
    pub(super) fn flags(&self) -> OpenFlags {
        if self.is_memory() {
            OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_CREATE
        } else {
            OpenFlags::empty()
        }
    }

    pub(super) fn database(&self) -> PathBuf {
        if self.is_memory() {
            self.path.clone()
        } else {
            self.path.join(NAME)
        }
    }

    /// The database's file, where there is a folder.
    pub(super) fn file(&self) -> PathBuf {
        self.path.join(NAME)
    }

    /// There is something beside the database that belongs to it.
    pub(super) fn has_log(&self) -> bool {
        let [log, _] = BESIDE.map(|suffix| self.path.join(format!("{NAME}{suffix}")));
        fs::metadata(log).is_ok_and(|log| log.len() > 0)
    }

    /// The database's file without its log, as SQLite names it.
    pub(super) fn bare_database(&self) -> String {
        let mut name = String::from("file:");
        for byte in self.path.join(NAME).as_os_str().as_encoded_bytes() {
            let _in_memory = write!(name, "%{byte:02x}");
        }
        name + "?immutable=1"
    }

    /// Makes an empty database file where there is none; SQLite gives what it makes beside it the same permissions. No
    /// connection may be open: closing a file takes this process's locks on it away. So whoever gets it keeps it for longer
    /// than its own connection. `None`: in memory.
    pub(super) fn make_database(&self) -> Result<Option<File>, OpenError> {
        if self.is_memory() {
            return Ok(None);
        }
        let path = self.database();
        match open_private(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) => Err(cannot_use(&path, error)),
        }
    }

    /// Which file the database is: another one, or none, after somebody took it away.
    #[cfg(unix)]
    pub(super) fn identity(&self) -> Option<(u64, u64)> {
        use std::os::unix::fs::MetadataExt;

        let found = fs::metadata(self.database()).ok()?;
        Some((found.dev(), found.ino()))
    }

    /// An open file cannot be taken away here.
    #[cfg(not(unix))]
    pub(super) fn identity(&self) -> Option<(u64, u64)> {
        None
    }

    /// Renames a broken database and what is beside it; gives its new name. Nothing is deleted or overwritten.
    pub(super) fn move_aside(&self, now_ms: i64) -> Result<PathBuf, OpenError> {
        let name = |ms: i64| format!("{NAME}.broken-{ms}");
        let free = |ms: &i64| fs::symlink_metadata(self.path.join(name(*ms))).is_err();
        let name = name((now_ms..i64::MAX).find(free).unwrap_or(i64::MAX));
        let rename = |from: &Path, to: PathBuf| match fs::rename(from, to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.map_err(|error| cannot_use(from, error)),
        };
        // The file itself last: SQLite would delete what stands beside no file.
        for suffix in BESIDE {
            let from = self.path.join(format!("{NAME}{suffix}"));
            rename(&from, self.path.join(format!("{name}{suffix}")))?;
        }
        rename(&self.database(), self.path.join(&name))?;
        Ok(self.path.join(name))
    }
}

fn cannot_use(path: &Path, error: io::Error) -> OpenError {
    OpenError::Folder {
        path: path.to_owned(),
        error,
    }
}

/// Nobody else reads it: what accounts do is their users' own.
fn make_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}

/// Opens for writing, makes the file where there is none, and leaves what is in it.
fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_goes_with_its_owner_whoever_else_has_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let first = Folder::lock(folder.path()).unwrap();
        assert!(Folder::lock(folder.path()).is_err());
        // As a process has it that was begun and has not yet become another program.
        let _inherited = first.lock.as_ref().unwrap().try_clone().unwrap();
        drop(first);
        assert!(Folder::lock(folder.path()).is_ok());
    }
}
