//! A state that has to begin without its store, and gets it later.

use std::fmt;
use std::path::Path;

use super::batch::Changes;
use super::folder::Folder;
use super::store::{self, Store};
use super::{END_PATIENCE, Loaded, OpenError, SALT, State, Written, random};

/// A store that was opened for a [`State`] which had to begin without one.
#[must_use]
pub struct Opened(Store);

impl State {
    /// A state whose store in `folder` cannot be opened for this reason, and may be later: see [`State::open_again`]. Until
    /// then [`State::health`] says so, and every write is answered with [`super::WriteError::Unkept`]; the history can be read all
    /// the same. Nothing is loaded; the salt is that of the store, where at least that can be read.
    ///
    /// # Errors
    ///
    /// There is no thread to be had, or no randomness.
    pub fn without_store(
        folder: &Path,
        reason: &OpenError,
        now_ms: i64,
    ) -> Result<(Self, Loaded), OpenError> {
        let name = u128::from_le_bytes(random()?);
        let salt = match Folder::unlocked(folder).and_then(|folder| store::salt_of(&folder)) {
            Some(salt) => salt,
            None => random()?,
        };
        let (store, empty) = Store::open(Folder::in_memory(name), salt, now_ms)?;
        let reason = unkept(reason);
        Ok((Self::start_with(store, END_PATIENCE, Some(reason))?, empty))
    }

    /// Why the store in `folder` could not be opened however free it is, as far as that shows without altering anything: a
    /// newer headroom made it.
    #[must_use]
    pub fn trouble(folder: &Path) -> Option<OpenError> {
        store::newer(&Folder::unlocked(folder)?)
    }

    /// Whether there is still no store.
    #[must_use]
    pub fn is_without_store(&self) -> bool {
        self.handle.shared.waits()
    }

    /// Tries once more. What is found has to be taken over by whoever counts; only then [`State::go_on_in`] may be called.
    /// Blocks.
    ///
    /// # Errors
    ///
    /// It cannot be opened still.
    pub fn open_again(
        &self,
        folder: &Path,
        salt: [u8; SALT],
        now_ms: i64,
    ) -> Result<(Opened, Loaded), OpenError> {
        let opened = Folder::lock(folder).and_then(|folder| Store::open(folder, salt, now_ms));
        match opened {
            Ok((store, loaded)) => Ok((Opened(store), loaded)),
            Err(error) => {
                self.handle.shared.tell_unkept(unkept(&error));
                Err(error)
            }
        }
    }

    /// From here on everything is written into this store, and what was handed over before is not. What is returned is ready
    /// when that is so, with an answer that says nothing: see [`State::is_without_store`].
    pub fn go_on_in(&self, opened: Opened) -> Written {
        self.later(Changes::into_file(opened.0))
    }
}

/// What is told of a store that cannot be opened.
fn unkept(error: &OpenError) -> String {
    format!("{error}; what is counted is kept in memory until it can be opened")
}

impl fmt::Debug for Opened {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Opened").finish_non_exhaustive()
    }
}
