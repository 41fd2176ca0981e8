//! Adapter files from disk.

use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

use crate::adapter::catalog::Catalog;

use super::{Failure, colour};

/// The catalogue with the user's folders. What was read goes into `seen`, so that a change can be told.
pub(super) fn catalog(folders: &[PathBuf], seen: &mut impl Hasher) -> Result<Catalog, Failure> {
    let mut catalog = Catalog::default();
    let mut mistakes = String::new();
    for folder in folders {
        for (id, path) in adapters_in(folder)? {
            let source = read(&path)?;
            (&id, &source).hash(seen);
            if let Err(found) = catalog.add(&id, &source) {
                mistakes.push_str(&found.render(&path.display().to_string(), &source, colour()));
            }
        }
    }
    if mistakes.is_empty() {
        Ok(catalog)
    } else {
        Err(Failure::mistakes(mistakes))
    }
}

/// The adapter files of a folder, sorted: id and path.
pub(super) fn adapters_in(folder: &Path) -> Result<Vec<(String, PathBuf)>, Failure> {
    let failure = |error: std::io::Error| {
        Failure::unreadable(format!(
            "headroom: cannot read the folder of adapters {}: {error}",
            folder.display()
        ))
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failure)? {
        let path = entry.map_err(failure)?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        if let (Some(stem), Some("toml")) = (stem, path.extension().and_then(|e| e.to_str())) {
            found.push((stem.to_owned(), path.clone()));
        }
    }
    found.sort();
    Ok(found)
}

/// A text file.
pub(super) fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| {
        Failure::unreadable(format!("headroom: cannot read {}: {error}", path.display()))
    })
}
