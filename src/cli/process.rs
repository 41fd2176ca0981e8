//! What a configuration refers to: the environment, and files of their own.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use super::loaded::fingerprint_of;
use crate::config::Outside;

/// The environment and the files of this process.
pub(super) struct Process<'a> {
    base: &'a Path,
    /// What was read of them, with its fingerprint: it is part of the configuration.
    read: RefCell<Vec<(PathBuf, u64)>>,
}

impl<'a> Process<'a> {
    /// With paths that begin at this folder.
    pub(super) const fn new(base: &'a Path) -> Self {
        Self {
            base,
            read: RefCell::new(Vec::new()),
        }
    }

    /// What was read, in the order of the reading.
    pub(super) fn read(self) -> Vec<(PathBuf, u64)> {
        self.read.into_inner()
    }
}

impl Outside for Process<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &str) -> Result<String, String> {
        let path = self.base.join(path);
        let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
        let fingerprint = fingerprint_of(&text);
        self.read.borrow_mut().push((path, fingerprint));
        Ok(text)
    }
}
